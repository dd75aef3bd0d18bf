"""A project with all the packages, whose default storage is a chain: a disk, then S3."""

from __future__ import annotations

from tests.base_settings import *  # noqa: F403
from tests.base_settings import INSTALLED_APPS as OURS
from tests.base_settings import RUN_DIR
from tests.support import databases

DATABASES = {"default": databases.with_test_name("sqlite", "default", RUN_DIR)}
ROOT_URLCONF = "tests.third_party.urls"

CHAIN = {"BACKEND": "queued_storage.storage.TieredStorage", "OPTIONS": {"alias": "media"}}
STORAGES = {
    "default": CHAIN,
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
#: django-filer takes the class of the default storage, and leaves its options out.
_OF_FILER = {"ENGINE": CHAIN["BACKEND"], "OPTIONS": CHAIN["OPTIONS"]}
FILER_STORAGES = {
    "public": {
        "main": {**_OF_FILER, "UPLOAD_TO_PREFIX": "filer"},
        "thumbnails": {**_OF_FILER, "THUMBNAIL_OPTIONS": {"base_dir": "filer_thumbnails"}},
    },
    "private": {
        "main": {**_OF_FILER, "UPLOAD_TO_PREFIX": "filer_private"},
        "thumbnails": {**_OF_FILER, "THUMBNAIL_OPTIONS": {"base_dir": "filer_private_thumbnails"}},
    },
}

#: Errors of thumbnails are raised, and not left out of what a page shows.
FILER_DEBUG = True

INSTALLED_APPS = [
    *(app for app in OURS if not app.startswith("tests.")),
    "django.contrib.staticfiles",
    "easy_thumbnails",
    "sorl.thumbnail",
    "imagekit",
    "polymorphic",
    "filer",
    "rest_framework",
    "wagtail.users",
    "wagtail.documents",
    "wagtail.images",
    "wagtail.search",
    "wagtail.admin",
    "wagtail",
    "modelcluster",
    "taggit",
    "tests.third_party.gallery",
    # The models that ask for it alone: all other models would be cleaned of their files too.
    "django_cleanup.apps.CleanupSelectedConfig",
]

WAGTAIL_SITE_NAME = "Gallery"
WAGTAILADMIN_BASE_URL = "http://testserver"
THUMBNAIL_ALIASES = {"": {"small": {"size": (40, 40), "crop": True}}}
