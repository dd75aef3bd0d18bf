"""The example: its own tests pass, its settings know both stacks, and what Docker is told of it fits."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "example"
COMPOSE = yaml.safe_load((EXAMPLE / "compose.yaml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if service["image"] == "album"]
SHOW = """
import json
from album_site import settings
print(json.dumps({name: getattr(settings, name) for name in dir(settings) if name.isupper()}, default=str))
"""


def run(*arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a Python of the example's, with nothing of this run's own settings."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("DJANGO_", "ALBUM_", "PG"))
    }
    paths = os.pathsep.join([str(EXAMPLE), str(ROOT)])
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=kept | {"PYTHONPATH": paths, "ALBUM_DATA": str(folder)} | environment,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def settings_of(folder: Path, **environment: str) -> dict[str, Any]:
    done = run("-c", SHOW, folder=folder, **environment)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_its_own_tests_pass(tmp_path: Path) -> None:
    done = run("-W", "error", str(EXAMPLE / "manage.py"), "test", str(EXAMPLE), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(r"Ran (3[5-9]|[4-9]\d) tests", done.stderr)


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return settings_of(tmp_path_factory.mktemp("embedded"))


class TestStacks:
    def test_embedded_is_what_is_had_without_a_word(self, embedded: dict[str, Any]) -> None:
        told = embedded
        assert told["DATABASES"]["default"]["ENGINE"] == "django.db.backends.sqlite3"
        assert told["CELERY_BROKER_URL"] == "filesystem://localhost/"
        assert told["DEBUG"] is True

    def test_one_variable_makes_it_servers(self, tmp_path: Path, embedded: dict[str, Any]) -> None:
        told = settings_of(
            tmp_path, ALBUM_STACK="servers", ALBUM_SECRET_KEY="k", ALBUM_DATA=embedded["DATA_DIR"]
        )
        assert told["DATABASES"]["default"]["ENGINE"] == "django.db.backends.postgresql"
        assert told["CELERY_BROKER_URL"] == "redis://127.0.0.1:6379/0"
        assert told["DEBUG"] is False
        # The chains are the same: what changes is what stands behind them.
        assert told["QUEUED_STORAGE_TIERS"] == embedded["QUEUED_STORAGE_TIERS"]

    def test_servers_need_a_key(self, tmp_path: Path) -> None:
        assert "needs ALBUM_SECRET_KEY" in run("-c", SHOW, folder=tmp_path, ALBUM_STACK="servers").stderr

    def test_another_is_refused(self, tmp_path: Path) -> None:
        refused = run("-c", SHOW, folder=tmp_path, ALBUM_STACK="docker").stderr
        assert "ALBUM_STACK=docker is not known; write embedded or servers." in refused


def plain(value: str) -> str:
    """Fill in what compose does: ``${NAME:-default}``."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value)


class TestCompose:
    def test_settings_take_all_that_it_gives(self, tmp_path: Path) -> None:
        environment = {name: plain(value) for name, value in SERVICES["site"]["environment"].items()}
        told = settings_of(tmp_path, **environment)
        assert told["CELERY_BROKER_URL"] == "redis://redis:6379/0"
        assert told["QUEUED_STORAGE_TIERS"]["media"]["TIERS"]["s3"]["OPTIONS"] | {"location": ""} == {
            "bucket_name": "album",
            "location": "",
            "endpoint_url": "http://s3:8333",
            "region_name": "us-east-1",
            "access_key": "album",
            "secret_key": "album-secret",
            "addressing_style": "path",
            "signature_version": "s3v4",
        }
        code = "".join(path.read_text(encoding="utf-8") for path in (EXAMPLE / "album_site").rglob("*.py"))
        assert [name for name in environment if name.startswith("ALBUM_") and f'"{name}"' not in code] == []

    def test_who_is_waited_for_is_there_and_tells_when_it_is_ready(self) -> None:
        for service in SERVICES.values():
            for name, how in service.get("depends_on", {}).items():
                if how["condition"] == "service_healthy":
                    assert "healthcheck" in SERVICES[name]

    def test_volumes_are_declared_and_all_of_ours_share_the_first_tier(self) -> None:
        for name, service in SERVICES.items():
            for volume in service.get("volumes", []):
                assert volume.partition(":")[0] in COMPOSE["volumes"], name
        assert {tuple(SERVICES[name]["volumes"]) for name in OURS} == {("media:/srv/album",)}

    def test_only_the_site_is_reached_and_from_this_machine_alone(self) -> None:
        ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
        assert ports == {"site": ["127.0.0.1:8000:8000"]}

    def test_images_are_of_a_version(self) -> None:
        others = [service["image"] for name, service in SERVICES.items() if name not in OURS]
        assert all(re.fullmatch(r"[\w/]+:[\d.]+", image) for image in others)

    @pytest.mark.parametrize("name", ["worker", "beat"])
    def test_stop_reaches_celery(self, name: str) -> None:
        assert SERVICES[name]["command"][0] == "celery"

    def test_image_is_built_of_what_is_there(self) -> None:
        dockerfile = (EXAMPLE / "Dockerfile").read_text(encoding="utf-8")
        copied = re.findall(r"^COPY (.+) \S+$", dockerfile, re.MULTILINE)
        sources = " ".join(copied).split()
        assert "queued_storage" in sources
        assert [source for source in sources if not (ROOT / source).exists()] == []
        let_in = re.findall(r"^!(.+)$", (EXAMPLE / "Dockerfile.dockerignore").read_text(), re.MULTILINE)
        assert {source.split("/")[0] for source in sources} == set(let_in)
        commands = " ".join(str(SERVICES[name].get("command", "")) for name in OURS)
        for command in re.findall(r"manage\.py (\w+_\w+)", commands):
            assert list(EXAMPLE.rglob(f"management/commands/{command}.py"))
