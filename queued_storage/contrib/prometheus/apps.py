from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class PrometheusConfig(AppConfig):
    name = "queued_storage.contrib.prometheus"
    label = "queued_storage_prometheus"
    verbose_name = _("queued storage: metrics")

    def ready(self) -> None:
        from . import counters  # noqa: F401 - its receivers count
