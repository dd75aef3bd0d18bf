"""The stable URL of a file on the host that has it."""

from __future__ import annotations

from django.http import QueryDict

from .. import conf, links

#: The parameter of the query that says which host sent the reader on: nobody is sent on twice.
SENT_BY = "sent_by"


def url(host: str, chain: str, name: str, query: QueryDict) -> str | None:
    """Return the file's stable URL on that host, with what this one was asked for: the signature, say.

    None where HOSTS does not have it, or the reader was sent here by another.
    """
    base = conf.get("HOSTS").get(host)
    if base is None or SENT_BY in query:
        return None
    query = query.copy()
    query[SENT_BY] = conf.host()
    return f"{base.rstrip('/')}{links.url(chain, name)}?{query.urlencode()}"
