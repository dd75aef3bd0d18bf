"""A project of one chain, where only the wheel and one extra are installed: ``manage.py check`` is content with it.

Usage: python extra_project.py EXTRA [missing]. With "missing" the extra is not installed, and check says what to type.
"""

from __future__ import annotations

import importlib
import sys
from importlib.metadata import version
from pathlib import Path

import django
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from extra_names import BACKENDS, DISK, MODULES


def configure(extra: str, root: Path) -> None:
    backend, options = BACKENDS.get(extra, (DISK, {"location": str(root / "vault")}))
    apps = ["queued_storage.contrib.prometheus"] if extra == "prometheus" else []
    settings.configure(
        INSTALLED_APPS=["django.contrib.contenttypes", "queued_storage", *apps],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": root / "db.sqlite3"}},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        MEDIA_ROOT=str(root / "media"),
        LIBCLOUD_PROVIDERS={
            "local": {
                "type": "libcloud.storage.types.Provider.LOCAL",
                "user": str(root),
                "key": "",
                "bucket": "vault",
            }
        },
        QUEUED_STORAGE_TIERS={
            "media": {
                "TIERS": {
                    "disk": {"BACKEND": DISK, "OPTIONS": {"location": str(root / "disk")}},
                    "far": {"BACKEND": backend, "OPTIONS": options},
                },
                "POLICY": "transfer",
            }
        },
    )
    (root / "vault").mkdir(exist_ok=True)
    django.setup()


def told_by_check() -> str:
    try:
        call_command("check")
    except SystemCheckError as error:
        return str(error)
    return ""


def main(extra: str, *, is_missing: bool) -> None:
    configure(extra, Path.cwd())
    import queued_storage

    assert "site-packages" in queued_storage.__file__, queued_storage.__file__
    told = told_by_check()
    if is_missing:
        assert f"pip install 'django-queued-storage[{extra}]'" in told, told or "nothing was told"
    else:
        assert not told, told
        for module in MODULES.get(extra, ()):
            importlib.import_module(module)
    print(f"{extra}: {'its absence is told' if is_missing else 'works'}, with Django {version('Django')}")


if __name__ == "__main__":
    main(sys.argv[1], is_missing="missing" in sys.argv[2:])
