"""What ancestors of this package, and the libraries of their time, called things; and what to write now."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

_S3 = "storages.backends.s3.S3Storage"
_CONTRIB = "queued_storage.contrib.storages"
_OURS = "queued_storage.backends"

#: Class paths that a project may still name, and the class that took each one's place.
SUCCESSORS = {
    "storages.backends.s3boto.S3BotoStorage": _S3,
    "storages.backends.s3boto.S3StaticStorage": "storages.backends.s3.S3StaticStorage",
    "storages.backends.s3boto3.S3Boto3Storage": _S3,
    "storages.backends.s3boto3.S3StaticStorage": "storages.backends.s3.S3StaticStorage",
    "storages.backends.s3boto3.S3ManifestStaticStorage": "storages.backends.s3.S3ManifestStaticStorage",
    "storages.backends.gs.GSBotoStorage": "storages.backends.gcloud.GoogleCloudStorage",
    "storages.backends.dropbox.DropBoxStorage": "storages.backends.dropbox.DropboxStorage",
    "storages.backends.mosso.CloudFilesStorage": "swift.storage.SwiftStorage",
    "storages.backends.mosso.ThreadSafeCloudFilesStorage": "swift.storage.SwiftStorage",
    "storages.backends.couchdb.CouchDBStorage": f"{_CONTRIB}.couchdb.CouchDBStorage",
    "storages.backends.database.DatabaseStorage": f"{_CONTRIB}.database.DatabaseStorage",
    "storages.backends.image.ImageStorage": f"{_CONTRIB}.image.ImageStorage",
    "storages.backends.mogile.MogileFSStorage": f"{_CONTRIB}.mogilefs.MogileFSStorage",
    "storages.backends.mongodb.GridFSStorage": f"{_CONTRIB}.gridfs.GridFSStorage",
    "storages.backends.overwrite.OverwriteStorage": f"{_CONTRIB}.overwrite.OverwriteStorage",
    "storages.backends.symlinkorcopy.SymlinkOrCopyStorage": f"{_CONTRIB}.symlink.SymlinkOrCopyStorage",
    "fallback_storage.storage.FallbackStorage": f"{_OURS}.FallbackStorage",
    "queued_storage.backend.QueuedRemoteStorage": f"{_OURS}.QueuedStorage",
    "queued_storage.backend.DoubleFilesystemStorage": f"{_OURS}.QueuedFileSystemStorage",
    "queued_storage.backend.S3Storage": f"{_OURS}.QueuedS3BotoStorage",
    "queued_storage.backend.DelayedStorage": f"{_OURS}.QueuedStorage",
    "queued_storage.storage.QueuedRemoteStorage": f"{_OURS}.QueuedStorage",
    "queued_storage.storage.DoubleFilesystemStorage": f"{_OURS}.QueuedFileSystemStorage",
    "queued_storage.storage.S3Storage": f"{_OURS}.QueuedS3BotoStorage",
    "queued_storage.storage.DelayedStorage": f"{_OURS}.QueuedStorage",
}
#: Class paths that no class took the place of, and what to do instead.
WITHOUT_SUCCESSOR = {
    "storages.backends.hashpath.HashPathStorage": (
        "Write 'django.core.files.storage.FileSystemStorage', and make the path from the content in the field's "
        "upload_to; files that are there keep their names."
    ),
}
#: For each module that held them, the first of its classes above.
_MODULES = {path.rpartition(".")[0]: path for path in reversed([*SUCCESSORS, *WITHOUT_SUCCESSOR])} | {
    "fallback_storage": "fallback_storage.storage.FallbackStorage"
}


def advice(path: str) -> str:
    """Return a sentence that says what to write instead of this class path; "" where that is as it should be."""
    if path in SUCCESSORS:
        return f"Write {SUCCESSORS[path]!r}."
    return WITHOUT_SUCCESSOR.get(path, "")


def advice_on(error: Exception, path: str) -> str:
    """Return the same for a class path that cannot be imported, also where a module behind it is what is gone."""
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    return advice(path) or advice(_MODULES.get(missing or "", ""))


def is_gone(path: str) -> bool:
    """Tell whether the path cannot be imported; the libraries of the project may be older than this package."""
    try:
        import_string(path)
    except ImportError:
        return True
    except ImproperlyConfigured:  # django-storages', over a client library or a setting
        return False
    return False


def of_today(path: str) -> str:
    """Return the successor of a class that is gone, with a warning; any other path as it is."""
    if path not in SUCCESSORS or not is_gone(path):
        return path
    warn(f"{path!r} is gone. {advice(path)}")
    return SUCCESSORS[path]


def names(module: str, moved: Mapping[str, str]) -> Callable[[str], Any]:
    """Return a ``__getattr__`` for the module, which tells of each of its former names where the thing is now."""

    def get(name: str) -> Any:
        if name not in moved:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        now = moved[name]
        warn(f"Import {SUCCESSORS.get(now, now)} instead of {module}.{name}.")
        return import_string(now)

    return get


def warn(message: str) -> None:
    """Warn of what is deprecated, at the line outside of this package that did it."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and _is_ours(frame.f_back.f_globals):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, DeprecationWarning, stacklevel=level + 1)


def _is_ours(scope: Mapping[str, Any]) -> bool:
    return str(scope.get("__name__", "")).partition(".")[0] == __package__
