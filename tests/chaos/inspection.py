"""Every tier, looked at past all storages, against the journal."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from tests.chaos import content
from tests.chaos.journal import Op
from tests.chaos.world import World

Key = tuple[str, str]
TIERS = ("disk", "s3", "second")
#: What must be nothing at all.
COUNTS = ("lost", "stale", "resurrected", "partial", "unsettled", "leaked", "misread", "failed")
STAGING = re.compile(r"\..*queued-storage.*", re.DOTALL)
#: In place of an operation: bytes that are not the whole content of any.
PART = "a part"


@dataclass
class Inspection:
    world: World
    #: What each tier holds by each name: the operation whose content it is, or PART.
    held: dict[Key, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    #: Files on the first tier of saves that were rolled back, or killed before their commit: as with plain Django.
    orphans: list[str] = field(default_factory=list)
    uploads: list[str] = field(default_factory=list)
    problems: dict[str, dict[str, str]] = field(default_factory=lambda: {name: {} for name in COUNTS})
    rows: dict[Key, Any] = field(default_factory=dict)

    def run(self) -> None:
        self.world.history.catch_up()
        self._walk_disks()
        self._list_buckets()
        self._read_rows()
        for key in sorted({*self.world.history.of, *self.held, *self.rows}):
            self._judge(key)
        for op in self.world.history.ops.values():
            if op.outcome == "failed":
                self._tell("failed", (op.chain, op.name), str(op))
        for number, line in enumerate(self.world.findings()):
            self.problems["misread"][f"read {number}"] = line

    @property
    def is_clean(self) -> bool:
        return not any(self.problems.values())

    # ---- looking ----

    def _walk_disks(self) -> None:
        for chain in {chain for chain, _ in self.world.buckets}:
            root = self.world.tier_folder(chain)
            for path in root.rglob("*"):
                if path.is_file():
                    name = str(path.relative_to(root))
                    self._note((chain, name), "disk", path.read_bytes())

    def _list_buckets(self) -> None:
        server = self.world.server
        with ThreadPoolExecutor(4) as pool:
            for (chain, tier), bucket in self.world.buckets.items():
                names = server.keys(bucket)
                contents = pool.map(lambda name, bucket=bucket: server.read(bucket, name), names)
                for name, data in zip(names, contents, strict=True):
                    self._note((chain, name), tier, data)
                uploads = server.client.list_multipart_uploads(Bucket=bucket).get("Uploads", ())
                self.uploads += [f"{chain}:{tier}:{upload['Key']}" for upload in uploads]

    def _note(self, key: Key, tier: str, data: bytes) -> None:
        if STAGING.fullmatch(key[1].rpartition("/")[2]):
            self._tell("leaked", key, f"an unfinished file on {tier}, which gc left")
        else:
            self.held[key][tier] = content.op_of(data) or PART

    def _read_rows(self) -> None:
        from queued_storage import catalog

        self.rows = {(row.chain, row.name): row for row in catalog.files()}

    # ---- judging ----

    def _judge(self, key: Key) -> None:
        held = dict(self.held.get(key, {}))
        for tier, op in list(held.items()):
            if op == PART:
                self._tell("partial", key, f"on {tier}")
                del held[tier]
        candidates = self.world.history.candidates(key)
        self._judge_row(key, held)
        if self._is_orphan(key, held):
            self.orphans.append(f"{key[0]}:{key[1]}")
        elif key not in self.world.history.of:
            self._tell("leaked", key, f"nobody ordered this: {held}")
        elif right := sorted(set(held.values()) & candidates):
            self._judge_live(key, held, self.world.history.ops[right[0]])
        elif not held and "" not in candidates:
            self._tell("lost", key, f"no tier has any of {sorted(candidates)}")
        elif held and candidates == {""}:
            self._tell("resurrected", key, f"{held}")
        elif held:
            self._tell("stale", key, f"{held}, where only {sorted(candidates)} may be")

    def _is_orphan(self, key: Key, held: dict[str, str]) -> bool:
        if set(held) != {"disk"} or key in self.rows:
            return False
        op = self.world.history.ops.get(held["disk"])
        return op is not None and (op.doomed or op.outcome == "unknown")

    def _judge_live(self, key: Key, held: dict[str, str], op: Op) -> None:
        wanted = TIERS if op.policy == "transfer" else TIERS[1:]
        if others := {tier: other for tier, other in held.items() if other != op.id}:
            self._tell("stale", key, f"{others}, elsewhere {op.id}")
        if missing := [tier for tier in wanted if tier not in held]:
            self._tell("unsettled", key, f"not on {missing}")
        if surplus := [tier for tier in held if tier not in wanted]:
            self._tell("leaked", key, f"still on {surplus}, by policy {op.policy}")

    def _judge_row(self, key: Key, held: dict[str, str]) -> None:
        row = self.rows.get(key)
        if row is None:
            return
        if row.state not in ("settled", "deleted") or row.lease or (row.state == "deleted" and row.due_at):
            self._tell("unsettled", key, f"its row is {row.state}, due {row.due_at}, lease {row.lease!r}")
        elif row.state == "settled" and set(row.tiers) != set(held):
            self._tell("unsettled", key, f"its row says {row.tiers}, the tiers {sorted(held)}")

    def _tell(self, kind: str, key: Key, what: str) -> None:
        told = self.problems[kind]
        label = f"{key[0]}:{key[1]}"
        told[label] = f"{told[label]}; {what}" if label in told else what

    # ---- telling ----

    def stories(self, most: int = 20) -> Iterator[str]:
        """Yield, for names with problems, all that is known of them."""
        from queued_storage.operations import explain
        from queued_storage.storage import TieredStorage

        for kind, told in self.problems.items():
            for label, what in list(told.items())[:most]:
                yield f"{kind}: {label}: {what}"
                chain, _, name = label.partition(":")
                for op in self.world.history.of.get((chain, name), ()):
                    yield f"    {op}"
                if kind != "misread":
                    yield f"    tiers explain: {explain(TieredStorage(chain), name)}"
            if len(told) > most:
                yield f"{kind}: and {len(told) - most} more"
