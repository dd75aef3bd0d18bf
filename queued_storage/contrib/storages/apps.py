from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class StoragesAppConfig(AppConfig):
    name = "queued_storage.contrib.storages"
    label = "queued_storage_storages"
    verbose_name = _("files in the database")
    default_auto_field = "django.db.models.BigAutoField"
