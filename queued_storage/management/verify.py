"""``tiers verify``: its options, and what it prints of a verification."""

from __future__ import annotations

import json
import shlex
from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from django.core.management.base import CommandError, OutputWrapper

from queued_storage import census, identity
from queued_storage.brakes import TooManyFlaws
from queued_storage.chain import Chain
from queued_storage.exceptions import NotIdentified
from queued_storage.operations import printable
from queued_storage.uncatalogued import Uncatalogued, Walk
from queued_storage.verifying import Looked, Options, Verification

from . import braking, escaping, stopping

#: What lies on a tier is told by name if it is asked for, or is somebody's mistake in any case.
_ALWAYS_TOLD = ("deleted",)


class Progress(Protocol):
    def __call__(self, items: Iterable[Any], total: int | None, what: str) -> Iterator[Any]: ...


def add_arguments(parser: ArgumentParser, count: Callable[[str], int]) -> None:
    parser.add_argument(
        "--content",
        action="store_true",
        help="read every copy, and compare it with the digest (default: is it there, and of its size?)",
    )
    parser.add_argument("--tier", help="look at the copies on this tier alone")
    parser.add_argument("--prefix", default="", help="files whose name begins so, reports/ say")
    parser.add_argument("--limit", type=count, help="stop after this many files of each chain")
    parser.add_argument("--after", type=count, default=0, metavar="ID", help="go on after the row of this id")
    parser.add_argument(
        "--unknown", action="store_true", help="name what the catalog does not count on, as findings"
    )
    parser.add_argument("--repair", action="store_true", help="make bad copies anew from good ones")
    braking.add_share(parser, 10.0, "stop the repair when more of a tier's copies are missing or wrong")
    parser.add_argument("--dry-run", action="store_true", help="with --repair: only say what it would do")


@dataclass
class _ChainReport:
    """One chain, while and after it is looked at."""

    verification: Verification
    walk: Walk
    has_walked: bool = False
    left: int = 0

    @property
    def chain(self) -> Chain:
        return self.verification.chain

    @property
    def is_complete(self) -> bool:
        return self.verification.is_complete and self.has_walked

    @property
    def unchecked(self) -> dict[str, str]:
        return self.verification.reasons | self.walk.unlisted

    def as_dict(self) -> dict[str, Any]:
        seen, walk = self.verification, self.walk
        return {
            "chain": self.chain.alias,
            "files": seen.files,
            "copies": dict(seen.copies),
            "flaws": dict(seen.flaws),
            "outcomes": dict(seen.outcomes),
            "unchecked": {
                tier: {"copies": seen.unchecked[tier], "reason": reason}
                for tier, reason in self.unchecked.items()
            },
            "not_in_catalog": dict(walk.kinds),
            "cannot_be_listed": walk.unlistable,
            "in_hand": seen.in_hand,
            "without_digest": seen.without_digest,
            "complete": self.is_complete,
        }


class Verify:
    """Runs the action for some chains."""

    def __init__(
        self, out: OutputWrapper, progress: Progress, options: dict[str, Any], encoder: type[json.JSONEncoder]
    ) -> None:
        self.out = out
        self.progress = progress
        self.names_unknown: bool = options["unknown"]
        self.json: bool = options["json"]
        self.encoder = encoder
        wanted = ("content", "repair", "dry_run", "tier", "prefix", "after", "limit", "max_share")
        self.options = Options(**{name: options[name] for name in wanted})
        if self.options.dry_run and not self.options.repair:
            raise CommandError("--dry-run says what --repair would do: write both.")
        self.reports: list[_ChainReport] = []
        self._has_begun = self._has_items = False

    def run(self, chains: Iterable[Chain]) -> bool:
        """Look at the chains; return whether there are findings. Raise CommandError where the answer is not whole."""
        refusal = None
        try:
            with stopping.on_signal() as stop:
                self.reports = [self._report_of(chain, stop) for chain in chains]
                refusal = self._look(stop)
        finally:  # the document is whole, also where the database is gone
            go_on = [self._command(report) for report in self.reports if not report.is_complete]
            if self._has_begun:
                self._close(go_on, is_stopped=stop())
        if refusal is not None:
            raise CommandError(escaping.lines(str(refusal))) from refusal
        if stop():
            raise CommandError(escaping.lines("Stopped. " + _go_on(go_on)))
        return self._has_findings()

    def _report_of(self, chain: Chain, stop: stopping.Stop) -> _ChainReport:
        if self.options.tier is not None:
            _ = chain[self.options.tier]
        if self.options.repair and (names := identity.unidentified(chain)):
            raise NotIdentified(chain.alias, names[0])
        verification = Verification(chain, self.options, stop)
        return _ChainReport(verification, Walk(chain, verification.looker, stop))

    def _look(self, stop: stopping.Stop) -> TooManyFlaws | None:
        self._begin_list("findings", first=True)
        self._has_begun = True
        try:
            for report in self.reports:
                for looked in self.progress(report.verification.run(), self._total(report.chain), "verify"):
                    self._tell(report, looked)
        except TooManyFlaws as error:
            return error
        finally:
            self._begin_list("unknown")
        for report in self.reports:
            if report.verification.is_complete and not stop():
                self._walk(report)
                report.has_walked = not stop()
        return None

    def _walk(self, report: _ChainReport) -> None:
        tiers = [tier for tier in report.chain if self.options.tier in (None, tier.name)]
        for found in self.progress(report.walk.run(tiers, self.options.prefix), None, "list"):
            if self.names_unknown or found.kind in _ALWAYS_TOLD:
                report.left += 1
                self._tell_uncatalogued(report.chain, found)

    def _total(self, chain: Chain) -> int | None:
        if self.json or not self.out.isatty() or self.options.prefix or self.options.after:
            return self.options.limit
        known = sum(group.files for group in census.take(chain.alias).groups if group.state != "deleted")
        return min(known, self.options.limit or known)

    def _has_findings(self) -> bool:
        if any(report.left for report in self.reports):
            return True
        if any(report.unchecked for report in self.reports):
            raise CommandError("Some copies could not be checked: nothing is said of those.")
        return False

    def _command(self, report: _ChainReport) -> str:
        """Return what to type to go on."""
        options = self.options
        words = ["manage.py", "tiers", "verify", "--chain", report.chain.alias]
        if report.verification.last:
            words += ["--after", str(report.verification.last)]
        for name in ("tier", "prefix", "limit"):
            if value := getattr(options, name):
                words += [f"--{name}", str(value)]
        flags = {"content": options.content, "repair": options.repair, "dry-run": options.dry_run}
        flags["unknown"] = self.names_unknown
        words += [f"--{flag}" for flag, is_set in flags.items() if is_set]
        if options.max_share != Options.max_share:
            words += ["--max-share", f"{options.max_share:g}"]
        return shlex.join(words)

    # ---- printing, as it comes: neither list is ever held ----

    def _begin_list(self, name: str, *, first: bool = False) -> None:
        if self.json:
            self.out.write(f'{{"{name}": [' if first else f'\n], "{name}": [', ending="")
        self._has_items = False

    def _item(self, item: dict[str, Any]) -> None:
        text = json.dumps(item, cls=self.encoder, ensure_ascii=False)
        self.out.write(f"{',' if self._has_items else ''}\n  {text}", ending="")
        self._has_items = True

    def _tell(self, report: _ChainReport, looked: Looked) -> None:
        report.left += looked.is_finding
        for flaw in looked.flaws:
            outcome = None if looked.outcome is None else asdict(looked.outcome)
            name = printable(looked.row.name)
            if self.json:
                self._item({"chain": report.chain.alias, "name": name, **asdict(flaw), "repair": outcome})
                continue
            line = f"{report.chain.alias}: {flaw.tier}: {flaw.kind}: {name} ({flaw.detail})"
            if looked.outcome is not None:
                line += f" -> {looked.outcome.result}"
                line += f": {looked.outcome.reason}" if looked.outcome.reason else ""
            self._line(line)

    def _line(self, line: str) -> None:
        line = escaping.line(line)
        # In a terminal the bar is in the way, which draws itself anew below.
        self.out.write(f"\r\x1b[2K{line}" if self.out.isatty() else line)

    def _tell_uncatalogued(self, chain: Chain, found: Uncatalogued) -> None:
        if self.json:
            self._item({"chain": chain.alias, **asdict(found)})
        else:
            self._line(f"{chain.alias}: {found.tier}: {found.kind}: {found.name}")

    def _close(self, go_on: list[str], *, is_stopped: bool) -> None:
        if self.json:
            rest = {"chains": [report.as_dict() for report in self.reports], "go_on": go_on}
            text = json.dumps(rest, cls=self.encoder, indent=2, ensure_ascii=False)
            self.out.write(f"\n], {text.removeprefix('{').lstrip()}")
            return
        for report in self.reports:
            for line in _summary(report, names_unknown=self.names_unknown):
                self.out.write(escaping.line(f"{report.chain.alias}: {line}"))
        if go_on and not is_stopped:  # then the error says so
            self.out.write(escaping.lines(_go_on(go_on)))


def _go_on(commands: list[str]) -> str:
    return "\n  ".join(["Go on with:", *commands]) if commands else "All was done."


def _summary(report: _ChainReport, *, names_unknown: bool) -> Iterator[str]:
    seen, walk = report.verification, report.walk
    yield f"looked at {seen.files} files, {_counted(seen.copies, 'copies')}; {_counted(seen.flaws, 'flaws')}"
    if seen.outcomes:
        yield f"repair: {_listed(seen.outcomes)}"
    for tier, reason in report.unchecked.items():
        yield f"could not be checked: tier {tier!r}, {seen.unchecked[tier]} copies: {reason}"
    if walk.unlistable:
        yield f"cannot be listed: {', '.join(walk.unlistable)}"
    if walk.kinds:
        hint = "" if names_unknown else " (--unknown names them, `tiers transfer` takes in unknown ones)"
        yield f"on tiers, not in the catalog: {_listed(walk.kinds)}{hint}"
    if seen.in_hand:
        yield f"in the hands of workers, so not looked at: {seen.in_hand} files"
    if seen.without_digest:
        yield f"no digest is known yet, so only sizes were compared: {seen.without_digest} files"


def _counted(counts: dict[str, int], what: str) -> str:
    total = sum(counts.values())
    return f"{total} {what} ({_listed(counts)})" if total else f"no {what}"


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())
