"""What the page about deploys shows: units and manifests that can be read, and a worker that ends when it is told."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from django.core.files.base import ContentFile

from queued_storage.catalog import files
from queued_storage.checks import check_chains
from queued_storage.storage import TieredStorage

from tests.docs.pages import DOCS, blocks, captioned
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.workers import Worker

PAGE = "howto/deploy.rst"
CONTENT = bytes(200_000)


def manifests() -> dict[str, Any]:
    found = [block for block in blocks(DOCS / PAGE) if block.language == "yaml"]
    return {block.caption.partition(":")[0]: yaml.safe_load(block.code) for block in found}


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    verify = shutil.which("systemd-analyze")
    if verify is None:
        pytest.skip("systemd-analyze is not here")
    unit = captioned(PAGE, "/etc/systemd/system/site-worker.service")
    # What the unit names is not on this machine, and is not what is verified.
    unit = unit.replace("/srv/site/.venv/bin/celery", shutil.which("true") or "/bin/true")
    unit = unit.replace("User=site\n", "").replace(
        "WorkingDirectory=/srv/site", f"WorkingDirectory={tmp_path}"
    )
    path = tmp_path / "site-worker.service"
    path.write_text(unit)
    told = subprocess.run([verify, "verify", str(path)], capture_output=True, text=True, check=False)
    of_unit = [line for line in told.stderr.splitlines() if "site-worker" in line]
    assert not of_unit, told.stderr


def test_web_and_worker_share_the_volume_of_the_first_tier() -> None:
    services = manifests()["compose.yaml"]["services"]
    assert services["web"]["volumes"] == services["worker"]["volumes"]
    assert all(isinstance(each.get("command", []), list) for each in services.values()), "no shell between"


def test_each_pods_disk_is_mounted_where_it_saves_and_where_it_works() -> None:
    spec = manifests()["web.yaml"]["spec"]
    pod = spec["template"]["spec"]
    web, worker = pod["containers"]
    assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
    assert web["volumeMounts"] == worker["volumeMounts"]
    assert web["env"] == worker["env"]
    assert [claim["metadata"]["name"] for claim in spec["volumeClaimTemplates"]] == ["media"]
    assert "emptyDir" not in str(pod)


def test_worker_has_a_while_to_end() -> None:
    pod = manifests()["worker.yaml"]["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > 30, "longer than a worker begins new work of a message"
    volumes = {volume["name"] for volume in pod["volumes"]}
    assert {mount["name"] for mount in pod["containers"][0]["volumeMounts"]} == volumes


def test_database_can_be_the_first_tier(settings: Any) -> None:
    scope: dict[str, Any] = {"INSTALLED_APPS": []}
    exec(captioned(PAGE, "The database as first tier"), scope)  # noqa: S102 - the page is ours
    settings.QUEUED_STORAGE_TIERS = scope["QUEUED_STORAGE_TIERS"]
    assert check_chains() == []


@pytest.mark.servers
@pytest.mark.slow
@pytest.mark.storages
@pytest.mark.parametrize("broker", ["redis", "rabbitmq"], indirect=True)
@pytest.mark.parametrize("pool", ["prefork", "solo"])
@pytest.mark.parametrize("catalog_db", ["default"], indirect=True)
def test_sigterm_ends_a_worker_after_the_files_that_it_is_at(
    make_chain: Any,
    catalog_db: str,
    broker: Any,
    start_worker: Callable[..., Worker],
    tmp_path: Path,
    pool: str,
) -> None:
    gate = tmp_path / "gate"
    gate.mkdir()
    near = {
        "BACKEND": "tests.support.gated.GatedStorage",
        "OPTIONS": {"location": str(tmp_path / "near"), "gate": str(gate)},
    }
    storage: TieredStorage = make_chain({"near": near, "far": "disk"}, policy="transfer-and-delete")
    storage.save("a.bin", ContentFile(CONTENT))
    worker = start_worker(pool=pool)
    wait_until((gate / "reached").exists, "the copy is under way")
    worker.signal(signal.SIGTERM)
    worker.wait_for_line("Warm shutdown")
    storage.save("b.bin", ContentFile(CONTENT))  # RabbitMQ may have handed its message out before
    (gate / "open").touch()
    wait_until(lambda: not worker.running, "the worker has ended")
    assert worker.stop() == 0
    assert (storage.state("a.bin"), storage.tiers("a.bin")) == ("settled", ["far"])
    assert not files().exclude(lease="").exists(), "nothing has to wait for a lease"
    start_worker(pool=pool)
    wait_until(lambda: storage.state("b.bin") == "settled", "the next worker goes on")
