"""``python -m benchmarks.profiles``: where the time of small files goes, with the fast paths and without; keeps a page.

py-spy samples who holds the interpreter while one process drains files from a disk to S3, the catalog on PostgreSQL.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CHECKOUT))

from benchmarks import ending, moves  # noqa: E402
from benchmarks.world import Options, World  # noqa: E402

PAGE = CHECKOUT / "docs" / "explanation" / "performance-profiles.rst"
FILES = {"without": 1000, "with": 5000}
ROUNDS = 2
#: Samples a second.
RATE = 200

#: The first whose text stands in a frame of the stack has the sample; what is nobody's is of the engine.
PARTS: Mapping[str, tuple[str, ...]] = {
    "making clients": ("boto3/session.py", "(storages/backends/s3.py):connect", "create_client"),
    "signing": ("direct/signing.py", "botocore/auth.py", "botocore/signers.py"),
    "HTTP": (
        "direct/connections.py", "direct/heads.py", "http/client.py", "urllib3/", "botocore/httpsession.py",
        "botocore/awsrequest.py",
    ),
    "the rest of botocore, boto3 and s3transfer": ("botocore/", "boto3/", "s3transfer/"),
    "catalog: recording copies": ("record_copies (", "record_copy ("),
    "catalog: leases": ("claim_each (", "claim (", "renew (", "note_writing", "_held", "_change (", "_change_each ("),
    "catalog: the rest": ("django/db/", "psycopg/"),
    "waiting for threads": ("_wait (queued_storage/batch.py",),
    "the engine: the batch, the file and its digest": ("",),
}  # fmt: skip
#: What is measured: the drain itself, and the threads that copy for it.
MEASURED = ("drain (queued_storage/batch.py", "copy_from_any (queued_storage/copies.py")


def main() -> None:
    ending.orderly()
    if len(sys.argv) == 2:
        drain(sys.argv[1])
        return
    told = {way: profile(way) for way in FILES}
    PAGE.write_text(page(told), encoding="utf-8")
    print(PAGE.read_text(encoding="utf-8"))


def drain(way: str) -> None:
    """Move the files, twice: this is what is sampled."""
    options = Options(settings={"FAST_PATHS": way == "with"})
    with ExitStack() as stack:
        world = World(options, {"default": "postgresql"}, stack)
        world.renew("ours")
        tiers = {
            "disk": moves.disk(world.new_folder("source")),
            "s3": world.s3.tier("ours") | {"EXCLUSIVE": True},
        }
        with world.chains({moves.CHAIN: {"TIERS": tiers, "POLICY": "transfer"}}):
            load = moves.Load(FILES[way], 10 << 10)
            moving = moves.Moves(None, moves.saved(world, load))  # type: ignore[arg-type] # no worker has a part in it
            for _ in range(ROUNDS):
                world.renew("ours")
                run = moving.here()
                print(1000 * run.cpu / load.files)


def profile(way: str) -> tuple[float, Counter[str]]:
    """Return what a file costs, in ms of CPU, and how many samples each part has."""
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw"
        command = [
            "py-spy",
            "record",
            "--gil",
            "--rate",
            str(RATE),
            "--format",
            "raw",
            "--output",
            str(raw),
            "--",
        ]
        found = subprocess.run(
            [*command, sys.executable, "-m", "benchmarks.profiles", way],
            cwd=CHECKOUT,
            env=os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        costs = [float(line) for line in found.stdout.splitlines() if line.replace(".", "", 1).isdigit()]
        return min(costs), shares(raw.read_text(encoding="utf-8").splitlines())


def shares(samples: Iterable[str]) -> Counter[str]:
    """Count samples by part, from lines of stack and count."""
    parts: Counter[str] = Counter()
    for line in samples:
        stack, _, count = line.rpartition(" ")
        if any(text in stack for text in MEASURED):
            part = next(name for name, texts in PARTS.items() if any(text in stack for text in texts))
            parts[part] += int(count)
    return parts


def page(told: Mapping[str, tuple[float, Counter[str]]]) -> str:
    (slow, before), (quick, after) = told["without"], told["with"]
    return f"""Performance: where the time goes
================================

.. Made by ``python -m benchmarks.profiles``: do not edit.

What a file of 10 KB costs one process that drains a disk to S3, the catalog on PostgreSQL: **{slow:.2g} ms** of CPU
without the fast paths, where each file is claimed, copied by ``S3Storage.save`` and recorded by itself, and
**{quick:.2g} ms** with them. Shares are of samples in which a thread held the interpreter, taken by py-spy {RATE} times
a second.

.. list-table::
   :header-rows: 1
   :align: left

   * - part
     - without
     - with
{"".join(_line(part, before, after) for part in PARTS)}
What was learnt, and what came of it:

* boto3 spends many times as long on a request as its signature and the socket need, so small objects are sent by
  requests that are signed here, on kept connections (``queued_storage/direct``).
* A statement for each step of each file cost more than the file: a batch claims, marks and records many rows by one
  statement each. What is the same for all rows of a statement is sent once.
* ``http.client`` parses the head of every answer as an e-mail, which took longer than to sign the request: the few
  lines are split here.
* A file of a few KB that is read whole is digested, compared with what the catalog knows and sent without a second look
  at it, and the server's answer to the PUT proves what it keeps: no HEAD follows.
* A client of boto3 takes as long to make as fifty files, and each thread made one: threads share one way to a bucket,
  its endpoint, credentials (renewed as botocore renews them) and connections.
* A list of a hundred keys is a hundred parameters to an ORM, and the driver's work on them took longer than the query.
  On PostgreSQL keys and what differs from row to row go as arrays, one parameter each; what a batch claims and what it
  says that it will write are one statement.
* Spans that nobody collects took a twentieth of a file; none are begun where no tracer provider is set.
* To resolve a name below a folder takes nearly as long as to open the file. A name of plain parts has nothing to be
  resolved.
* A save of its own was three questions to PostgreSQL: its INSERT brings the BEGIN along.
"""


def _line(part: str, before: Counter[str], after: Counter[str]) -> str:
    cells = (100 * counter[part] / max(counter.total(), 1) for counter in (before, after))
    return f"   * - {part}\n" + "".join(f"     - {cell:.0f} %\n" for cell in cells)


if __name__ == "__main__":
    main()
