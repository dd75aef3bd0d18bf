"""Objects to and from S3 in as few and as cheap requests as there can be, on connections that are kept.

A request by boto3 costs its client ten times what the request itself does. Here it is the same request, cheaper: its
parameters are the storage's own, spelled by botocore's model of the service; ``tests/test_direct.py`` compares what
reaches a server. The digest that a copy makes of its content anyway signs the body, and a checksum goes with it, as
boto3's does: servers refuse a body that arrived damaged. Their answer tells what they keep.

Whatever is out of the ordinary (a class with its own way of saving, parameters that botocore computes more for,
proxies) goes the storage's own way, and so does what fails here: that way knows redirects and how to try again.
"""

from __future__ import annotations

from .answers import Refused, Sent
from .copies import Object, copy, find, is_one_server
from .downloads import get
from .looks import exists, size
from .uploads import is_way, put

__all__ = [
    "Object",
    "Refused",
    "Sent",
    "copy",
    "exists",
    "find",
    "get",
    "is_one_server",
    "is_way",
    "put",
    "size",
]
