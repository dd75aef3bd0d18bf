"""The stable URL of a file, and the signature that opens a private one for a while."""

from __future__ import annotations

import re
from datetime import timedelta

from django.core.signing import BadSignature, SignatureExpired, TimestampSigner
from django.urls import NoReverseMatch, reverse
from django.utils.http import urlencode

from .exceptions import ConfigurationError
from .schema import LONGEST_LINK, SHORTEST_LINK

#: Kept apart from all that a project signs: no other signature opens a file.
SALT = "queued_storage.links"
#: The parameter of the query that holds the signature.
PARAMETER = "signature"
INCLUDE = 'path("files/", include("queued_storage.urls"))'

__all__ = ["BadSignature", "SignatureExpired", "signed_url", "url", "verify"]


def url(chain: str, name: str) -> str:
    """Return the path, on this site, of the file of this clean name; raise ConfigurationError."""
    try:
        return reverse("queued_storage:file", args=[chain, name])
    except NoReverseMatch:
        raise ConfigurationError(
            f"Chain {chain!r} has stable URLs, but the project's urls do not serve them. "
            f"Add {INCLUDE} to urlpatterns."
        ) from None


def signed_url(chain: str, name: str, lifetime: timedelta) -> str:
    """Return the same with a signature that ends after the lifetime, in whole seconds; raise ValueError for none."""
    if not SHORTEST_LINK <= lifetime <= LONGEST_LINK:
        raise ValueError(
            f"A link cannot open a file for {lifetime}. Give 1 second or more, and {LONGEST_LINK.days} days at most: "
            "lifetime=timedelta(hours=1)."
        )
    seconds = str(int(lifetime.total_seconds()))
    said = _said(chain, name, seconds)
    stamp = TimestampSigner(salt=SALT).sign(said).removeprefix(f"{said}:")
    return f"{url(chain, name)}?{urlencode({PARAMETER: f'{seconds}:{stamp}'})}"


def verify(chain: str, name: str, signature: str) -> None:
    """Raise SignatureExpired once the link's lifetime is over, BadSignature for one that was not made for the file."""
    seconds, _, stamp = signature.partition(":")
    if not re.fullmatch("[0-9]{1,12}", seconds):
        raise BadSignature("a link says for how long it lasts")
    said = _said(chain, name, seconds)
    # What was signed may be more than was said: another name, of which the stamp has the end.
    if TimestampSigner(salt=SALT).unsign(f"{said}:{stamp}", max_age=int(seconds)) != said:
        raise BadSignature("this is another file's link")


def _said(chain: str, name: str, seconds: str) -> str:
    return f"{seconds}/{chain}/{name}"  # neither a number nor the alias of a chain has a slash in it
