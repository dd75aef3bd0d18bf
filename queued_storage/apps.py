from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class QueuedStorageAppConfig(AppConfig):
    name = "queued_storage"
    verbose_name = _("queued storage")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from . import checks, conf, database_checks  # noqa: F401 - registers the checks, and the defaults of the settings
