"""What a storage says of an object, as headers of the request."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

#: Parameters for which botocore computes more headers.
_COMPUTED = re.compile(r"SSECustomer|Checksum")


def spelled(service: Any, parameters: Mapping[str, Any]) -> dict[str, str] | None:
    """Return the parameters as headers; None where one is none, or botocore would compute more from it.

    ``service`` is botocore's model of S3.
    """
    headers: dict[str, str] = {}
    for parameter, value in parameters.items():
        place, name = _place(service, parameter)
        if place == "header" and isinstance(value, str):
            headers[name] = value
        elif place == "headers" and isinstance(value, Mapping):
            headers |= {f"{name}{key}": text for key, text in value.items()}
        else:
            return None
    plain = (isinstance(text, str) and text.isascii() and text.isprintable() for text in headers.values())
    return headers if all(plain) else None


@lru_cache
def _place(service: Any, parameter: str) -> tuple[str, str]:
    """Return where the parameter of PutObject goes, and by which name: a string's header, a map's; or nowhere."""
    from boto3.s3.transfer import S3Transfer

    shape = service.operation_model("PutObject").input_shape.members.get(parameter)
    if parameter not in S3Transfer.ALLOWED_UPLOAD_ARGS or _COMPUTED.search(parameter) or shape is None:
        return "", ""
    place, name = shape.serialization.get("location"), shape.serialization.get("name")
    if place == "header" and shape.type_name != "string":
        return "", ""
    return place or "", name or ""
