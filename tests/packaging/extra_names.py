"""The extras, and what a project has of each: data alone, for a Python in which nothing is installed."""

from __future__ import annotations

from typing import Any

DISK = "django.core.files.storage.FileSystemStorage"
CONTRIB = "queued_storage.contrib.storages"
#: Backends by extra, with options that lead nowhere: a check connects to nobody.
BACKENDS: dict[str, tuple[str, dict[str, Any]]] = {
    "s3": ("storages.backends.s3.S3Storage", {"bucket_name": "media"}),
    "sftp": ("storages.backends.sftpstorage.SFTPStorage", {"host": "127.0.0.1", "root_path": "/media/"}),
    "ftp": ("storages.backends.ftp.FTPStorage", {"location": "ftp://u:p@127.0.0.1:1/"}),
    "azure": (
        "storages.backends.azure_storage.AzureStorage",
        {"account_name": "shop", "account_key": "a2V5", "azure_container": "media"},
    ),
    "google": ("storages.backends.gcloud.GoogleCloudStorage", {"bucket_name": "media", "project_id": "shop"}),
    "dropbox": ("storages.backends.dropbox.DropboxStorage", {"oauth2_access_token": "token"}),
    "libcloud": ("storages.backends.apache_libcloud.LibCloudStorage", {"provider_name": "local"}),
    "swift": (
        "swift.storage.SwiftStorage",
        {
            "api_auth_url": "http://127.0.0.1:1/auth/v1.0",
            "api_username": "u",
            "api_key": "k",
            "container_name": "media",
        },
    ),
    "mogilefs": (f"{CONTRIB}.mogilefs.MogileFSStorage", {"trackers": ["127.0.0.1:1"], "domain": "media"}),
    "webdav": (f"{CONTRIB}.webdav.WebDAVStorage", {"url": "http://127.0.0.1:1/"}),
    "gridfs": (f"{CONTRIB}.gridfs.GridFSStorage", {"uri": "mongodb://127.0.0.1:1", "database": "shop"}),
    "couchdb": (f"{CONTRIB}.couchdb.CouchDBStorage", {"url": "http://127.0.0.1:1", "database": "media"}),
    "image": (f"{CONTRIB}.image.ImageStorage", {}),
}
#: What the other extras are for, as modules that can then be imported.
MODULES = {
    "redis": ["redis"],
    "health": ["queued_storage.contrib.health"],
    "prometheus": ["queued_storage.contrib.prometheus.collector"],
    "otel": ["opentelemetry.trace", "queued_storage.tracing"],
    "conformance": ["queued_storage.testing.conformance"],
    "demo": ["storages.backends.s3", "moto.server", "PIL", "requests"],
    "docs": ["sphinx", "furo"],
    "test": ["pytest", "pytest_django", "boto3", "queued_storage.testing.conformance"],
    "third-party": [
        "easy_thumbnails",
        "filer",
        "imagekit",
        "rest_framework",
        "sorl",
        "wagtail",
        "moto.server",
    ],
    "bench": ["obstore", "pytest"],
    "screenshots": ["axe_playwright_python", "playwright", "PIL"],
    "lint": ["build", "importlinter", "mypy_django_plugin", "ruff", "tox"],
}
#: Whose libraries nothing but the extra brings, and whose absence is told.
TOLD = sorted(set(BACKENDS) - {"ftp", "image"})
