from importlib.util import find_spec

from django.apps import AppConfig
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _


class PrometheusConfig(AppConfig):
    name = "queued_storage.contrib.prometheus"
    label = "queued_storage_prometheus"
    verbose_name = _("queued storage: metrics")

    def ready(self) -> None:
        if find_spec("prometheus_client") is None:
            raise ImproperlyConfigured(
                f"INSTALLED_APPS has {self.name!r}, which needs prometheus-client: "
                "pip install 'django-queued-storage[prometheus]', or take the app out."
            )
        from . import counters  # noqa: F401 - its receivers count
