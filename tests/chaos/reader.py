"""A web process that reads all the time, through the storage, and checks each content whole and recent.

Usage: python -m tests.chaos.reader PLAN.json. Its findings go line by line into ``reader.findings``.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import django

#: Most reads are of what was written lately, which is likely on its way.
RECENT = 60
UNKNOWN = "not in the catalog, and a tier is down"


class Reader:
    def __init__(self, folder: Path, seed: int, pause: float) -> None:
        from tests.chaos.journal import History

        self.folder = folder
        self.pause = pause
        self.history = History(folder)
        self.rng = random.Random(f"{seed}/reader")
        self.keys: dict[tuple[str, str], None] = {}
        self.reads = self.bytes = self.absent = 0
        self.findings = (folder / "reader.findings").open("a", buffering=1)
        self.ended = False

    def run(self) -> None:
        told = 0.0
        while not self.ended:
            self._catch_up()
            if not self.keys:
                time.sleep(0.05)
                continue
            self.read(self._choose())
            time.sleep(self.pause)  # the workers are to have some of the machine too
            if time.monotonic() - told > 0.5:
                self.tell()
                told = time.monotonic()
        self.tell()

    def end(self, *_: object) -> None:
        self.ended = True

    def tell(self) -> None:
        note = self.folder / "reader.new"
        note.write_text(json.dumps({"reads": self.reads, "bytes": self.bytes, "absent": self.absent}))
        note.replace(self.folder / "reader.json")

    def _catch_up(self) -> None:
        for op in self.history.catch_up():
            if (
                op.doomed
            ):  # a new name stays on the first tier, as with plain Django; an old one is read anyhow
                continue
            key = (op.chain, op.name)
            self.keys.pop(key, None)
            self.keys[key] = None

    def _choose(self) -> tuple[str, str]:
        keys = list(self.keys)
        return self.rng.choice(keys[-RECENT:] if self.rng.random() < 0.7 else keys)

    def read(self, key: tuple[str, str]) -> None:
        since = time.monotonic_ns()
        seen, error = self._seen(*key)
        until = time.monotonic_ns()
        self._catch_up()
        allowed = self.history.candidates(key, since, until)
        self.reads += 1
        if error == UNKNOWN and "" in allowed:
            return  # the catalog does not know the name, and a tier that could have it is cut off: no answer is right
        if error or seen not in allowed:
            self._tell_of(key, since, until, seen, allowed, error)

    def _seen(self, chain: str, name: str) -> tuple[str | None, str]:
        """Return the operation whose content the name has; "" without file, None for a part of one."""
        from queued_storage import catalog
        from queued_storage.exceptions import ChainUnavailable
        from queued_storage.storage import TieredStorage

        from tests.chaos import content

        try:
            with TieredStorage(chain).open(name) as file:
                data = file.read()
        except FileNotFoundError:
            self.absent += 1
            return "", ""
        except ChainUnavailable as error:
            return None, UNKNOWN if catalog.find(chain, name) is None else repr(error)
        except Exception as error:  # noqa: BLE001 - whatever a reader meets is a finding
            return None, repr(error)
        self.bytes += len(data)
        return content.op_of(data), ""

    def _tell_of(
        self, key: tuple[str, str], since: int, until: int, seen: str | None, allowed: set[str], error: str
    ) -> None:
        what = error or {None: "a part, or a mix", "": "no file"}.get(seen, f"the content of {seen}")
        self.findings.write(
            f"{key[0]}:{key[1]} from {since / 1e9:.3f} to {until / 1e9:.3f}: {what}; "
            f"allowed: {', '.join(sorted(op or 'no file' for op in allowed))}\n"
        )


def main(plan: str) -> None:
    from tests.chaos.writer import Plan

    django.setup()
    settings = Plan.read(plan)
    reader = Reader(Path(settings.folder), settings.seed, settings.pause)
    signal.signal(signal.SIGTERM, reader.end)
    os.nice(5)
    reader.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
