"""What Prometheus scrapes. Who may, is for the project to say: it tells how much is stored, not what."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from ...autocommitting import autocommitting
from . import collector


@never_cache
@require_safe
@autocommitting
def metrics(request: HttpRequest) -> HttpResponse:
    """Tell all that this process, or its registry of many processes, knows; and the catalog's numbers."""
    return _told(request, collector.registry())


@never_cache
@require_safe
@autocommitting
def catalog(request: HttpRequest) -> HttpResponse:
    """Tell the catalog's numbers alone, where something else serves the counters."""
    registry = CollectorRegistry()
    collector.register(registry)
    return _told(request, registry)


def _told(request: HttpRequest, registry: CollectorRegistry) -> HttpResponse:
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    return HttpResponse(encode(registry), content_type=content_type)
