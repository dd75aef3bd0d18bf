"""What is known of storage backends, as data: one module for each backend, and no library imported for it.

A backend is found by the path of its class, or of one of its bases; a class that nobody knows gets the defaults of
``Backend``, which are safe for all. A project tells what it knows of its own with ``register``, in the ``ready()`` of
an app say.

Sources: django-storages 1.14.6 and the client libraries, measured against their servers.
"""

from __future__ import annotations

from .base import (
    Backend,
    Judge,
    always,
    class_paths,
    is_unprintable,
    judged,
    known,
    known_by_path,
    missing_extra,
    register,
    registered,
)

__all__ = [
    "Backend",
    "Judge",
    "always",
    "class_paths",
    "is_unprintable",
    "judged",
    "known",
    "known_by_path",
    "missing_extra",
    "register",
    "registered",
]

# Each tells what it knows as it is imported.
from . import (  # noqa: F401
    azure,
    couchdb,
    database,
    django,
    dropbox,
    ftp,
    google,
    gridfs,
    libcloud,
    mogilefs,
    opendal,
    requests,
    s3,
    sftp,
    swift,
    webdav,
)
