"""A whole project in one file: two disk tiers, one upload, one drain, where only the wheel is installed."""

from __future__ import annotations

import sys
from pathlib import Path

import django
from django.conf import settings
from django.core.files.base import ContentFile
from django.core.management import call_command

DISK = "django.core.files.storage.FileSystemStorage"


def configure(root: Path) -> None:
    settings.configure(
        INSTALLED_APPS=["django.contrib.contenttypes", "queued_storage"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": root / "db.sqlite3"}},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
        QUEUED_STORAGE_TIERS={
            "media": {
                "TIERS": {
                    "disk": {"BACKEND": DISK, "OPTIONS": {"location": str(root / "disk")}},
                    "vault": {"BACKEND": DISK, "OPTIONS": {"location": str(root / "vault")}},
                },
                "POLICY": "transfer-and-delete",
            },
        },
        # There is no broker here: the work stays in the catalog until it is drained.
        CELERY_BROKER_URL="memory://",
    )
    django.setup()


def main() -> None:
    root = Path.cwd()
    configure(root)
    import queued_storage

    assert root not in Path(queued_storage.__file__).parents
    assert "site-packages" in queued_storage.__file__, queued_storage.__file__
    call_command("check", fail_level="WARNING")
    call_command("migrate", verbosity=0)
    call_command("makemigrations", check_changes=True, dry_run=True, verbosity=0)
    save_and_drain(root)
    print("the installed wheel works:", queued_storage.__file__, "with Django", django.__version__)


def save_and_drain(root: Path) -> None:
    from queued_storage.storage import tiered_storages

    storage = tiered_storages["media"]
    name = storage.save("letters/hello.txt", ContentFile(b"hello"))
    assert (root / "disk" / name).read_bytes() == b"hello"
    call_command("tiers", "drain")
    assert (root / "vault" / name).read_bytes() == b"hello"
    assert not (root / "disk" / name).exists()
    assert storage.state(name) == "settled", storage.state(name)
    with storage.open(name) as file:
        assert file.read() == b"hello"


if __name__ == "__main__":
    sys.exit(main())
