"""Sessions of boto3: what they share, and which storages would make the same."""

from __future__ import annotations

import os
from collections.abc import Hashable
from functools import lru_cache
from typing import Any

#: What an S3Storage makes its client from, beside the environment and the configuration of clients.
_OPTIONS = (
    "access_key", "secret_key", "security_token", "session_profile", "bucket_name", "endpoint_url", "region_name",
    "use_ssl", "verify",
)  # fmt: skip
_models: dict[Any, Any] = {}


def create(storage: Any) -> Any:
    """Make the session that the storage makes, with the models of services that an earlier one has read.

    To read them takes most of the time that a client's construction takes.
    """
    from storages.backends.s3 import S3Storage

    session = S3Storage._create_session(storage)
    core = session._session
    loader = _models.setdefault(core.get_config_variable("data_path"), session._loader)
    session._loader = loader
    core.register_component("data_loader", loader)
    return session


@lru_cache
def is_ordinary(backend: Any) -> bool:
    """Tell whether storages of the class make their clients as S3Storage does; a subclass' own way is respected."""
    from storages.backends.s3 import S3Storage

    own, stock = (
        [getattr(each, name, None) for name in ("_create_session", "connection", "bucket")]
        for each in (backend, S3Storage)
    )
    return own in (stock, [create, *stock[1:]])


def identity(storage: Any) -> Hashable:
    """Return what tells the storage from those whose clients ask in another way, or as somebody else."""
    told = [(name, getattr(storage, name)) for name in _OPTIONS]
    config = [(name, repr(value)) for name, value in vars(storage.client_config).items()]
    around = [(name, text) for name, text in os.environ.items() if _counts(name)]
    return (*told, *sorted(config), *sorted(around))


def _counts(variable: str) -> bool:
    return variable.startswith("AWS_") or variable.lower().endswith("_proxy") or variable == "HOME"
