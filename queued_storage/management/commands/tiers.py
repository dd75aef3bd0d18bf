"""``manage.py tiers``: see what is owed, ask for it, do it."""

from __future__ import annotations

import io
import json
import sys
import time
from argparse import ArgumentParser, ArgumentTypeError
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, TypeVar

from django.core.exceptions import SuspiciousOperation
from django.core.management.base import BaseCommand, CommandError, OutputWrapper
from django.core.serializers.json import DjangoJSONEncoder
from django.db import DatabaseError
from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.timesince import timesince
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from queued_storage import batch, catalog, causes, dispatch, neighbours, operations
from queued_storage import hosts as own_hosts
from queued_storage.backends import asked_to_transfer
from queued_storage.brakes import Cap, TooMany
from queued_storage.chain import Chain, chains
from queued_storage.exceptions import QueuedStorageError, WrongPlace
from queued_storage.management import (
    applying,
    braking,
    escaping,
    hosts,
    identify,
    retention,
    simulate,
    stopping,
    verify,
)
from queued_storage.names import clean
from queued_storage.operations import ChainStatus
from queued_storage.planning import Plan
from queued_storage.retention import erase
from queued_storage.storage import TieredStorage

T = TypeVar("T")

#: What Ctrl-C leaves of the actions that change something, and how to go on.
_TO_GO_ON = {
    "transfer": "What was asked for is on its way; run it again to ask for the rest.",
    "sweep": "What was handed over is on its way; run it again to hand over the rest.",
    "drain": "What was not begun is still due; run it again to go on.",
    "retry": "What was made due again is on its way; run it again for the rest.",
    "apply": "What was made due stays due; run it again to go on where it was.",
    "gc": "What was removed is gone; run it again for the rest.",
    "restore": "What was not restored is in the trash still; run it again.",
    "erase": "Run it again: it goes on, and tells what is done.",
    "hosts": "What was told is done; run it again to go on.",
}
_NOTHING_DONE = "Nothing was changed; run it again to see the whole."

FINDINGS = 2
#: Rows asked for at once: a statement has room for 65,535 parameters on PostgreSQL, 250,000 on SQLite.
ROWS_AT_ONCE = 1_000
#: What came of asking for a transfer that somebody has to look at, and in which list of the report it stands.
_FINDINGS = {"missing": "missing", "unnameable": "missing", "differing": "differing", "foreign": "foreign"}


class Command(BaseCommand):
    help = "See and do the work that files are owed. Exits with 0 (fine), 1 (error) or 2 (findings)."
    requires_system_checks = ("queued_storage",)

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
        for name, add in _ACTIONS.items():
            action = actions.add_parser(name, help=add.__doc__, description=add.__doc__)
            action.add_argument("--chain", help="alias of one chain (default: every chain, or the only one)")
            action.add_argument("--json", action="store_true", help="print one JSON document")
            add(action)

    def handle(self, *, action: str, **options: Any) -> None:
        self.json: bool = options["json"]
        try:
            if options["chain"] is not None:
                _ = chains[options["chain"]]
            findings = getattr(self, action)(options)
        except (QueuedStorageError, FileNotFoundError, DatabaseError, SuspiciousOperation) as error:
            raise CommandError(escaping.lines(str(error))) from error
        except KeyboardInterrupt:
            raise CommandError(f"Stopped. {_TO_GO_ON.get(action, _NOTHING_DONE)}") from None
        if findings:
            sys.exit(FINDINGS)

    # ---- actions: each returns whether there is something to look at ----

    def status(self, options: dict[str, Any]) -> bool:
        if options["watch"] is None:
            return self._status(options)
        if self.json:
            raise CommandError("--watch is for people: ask for --json again and again instead.")
        with suppress(KeyboardInterrupt):
            while True:
                self._redraw(options)
                time.sleep(options["watch"])
        return False

    def _redraw(self, options: dict[str, Any]) -> None:
        """Print a status over the one before, all at once so that nothing flickers; in a pipe below it."""
        terminal, self.stdout = self.stdout, OutputWrapper(io.StringIO())
        try:
            self._status(options)
            drawn = self.stdout.getvalue()
        finally:
            self.stdout = terminal
        top = "\x1b[H\x1b[2J" if terminal.isatty() else ""
        terminal.write(f"{top}{timezone.localtime():%H:%M:%S}\n{drawn}")
        terminal.flush()

    def _status(self, options: dict[str, Any]) -> bool:
        aliases = self._aliases(options)
        if options["chain"] is None:
            aliases += operations.strays()
        chains_status = [operations.status(alias, exact=options["exact"]) for alias in aliases]
        hosts_status = own_hosts.status(timezone.now())
        if self.json:
            of_hosts = {"hosts": [asdict(status) for status in hosts_status]} if hosts_status else {}
            self._print_json({"chains": [status.as_dict() for status in chains_status]} | of_hosts)
        else:
            for status in chains_status:
                self._print_status(status)
            for host in hosts_status:
                self._line(f"{hosts.state(host)}; {hosts.waiting(host)}")
        return any(status.failed for status in chains_status) or any(host.is_silent for host in hosts_status)

    def transfer(self, options: dict[str, Any]) -> bool:
        storage = asked_to_transfer(self._alias(options), options["policy"])
        dry_run = options["dry_run"]
        if not (options["name"] or options["prefix"] or options["all"]):
            self._beware_of_others(storage.chain, dry_run=dry_run)
        wanted = [clean(name) for name in options["name"]] or operations.names(
            storage.chain, options["prefix"] or ""
        )
        cap = braking.cap(options)
        results = operations.transfer(storage, wanted, dry_run=dry_run, cap=cap)
        came_of_it: Counter[str] = Counter()
        findings: dict[str, list[str]] = {"missing": []}
        for name, state in self._progress(results, len(options["name"]) or None, "transfer"):
            came_of_it[state] += 1
            if (finding := _FINDINGS.get(state)) is not None:
                findings.setdefault(finding, []).append(name)
            elif dry_run and self.json:
                findings.setdefault("names", []).append(name)
            elif dry_run:
                self._line(f"{state}: {name}")
        names = {"names": findings.pop("names")} if "names" in findings else {}
        self._report(
            {
                "asked": sum(came_of_it.values()),
                **came_of_it,
                "dry_run": dry_run,
                **names,
                **self._told_of(cap),
            },
            **findings,
        )
        return any(findings.values())

    def _beware_of_others(self, chain: Chain, *, dry_run: bool) -> None:
        """Refuse to take in every file where some may be those of others, which would miss them there."""
        shared = neighbours.sharing(chain)
        if not shared:
            return
        who = ", ".join(f"{name} (on tier {tier!r})" for name, tier in shared.items())
        place = f"the same place as chain {chain.alias!r}"
        told = f"Others keep files in {place}, and would miss those that are moved: {who}."
        if not dry_run:
            raise CommandError(
                f"{escaping.line(told)} See with --dry-run which files there are; then give names, or --prefix "
                "FOLDER/, or --all if each of them is this chain's."
            )
        self.stderr.write(escaping.line(told))

    def sweep(self, options: dict[str, Any]) -> bool:
        if options["dry_run"]:
            self._report({"due": catalog.due(timezone.now(), options["chain"]).count(), "dry_run": True})
        else:
            self._report({"dispatched": dispatch.sweep(options["chain"])})
        return False

    def drain(self, options: dict[str, Any]) -> bool:
        chain = options["chain"]
        due = catalog.due(timezone.now(), chain).count()
        if options["dry_run"]:
            self._report({"due": due, "dry_run": True})
            return False
        ids, cap = set[int](), Cap(size=options["max_bytes"])
        with stopping.on_signal() as stop:
            work = batch.drain(options["max_files"], chain, again=False, stopping=stop, cap=cap)
            ids.update(self._progress(work, due, "drain"))
        left = _states(ids)
        self._report({"worked_on": len(ids), **left, **self._told_of(cap)})
        if stop():
            of_chain = "" if chain is None else f" --chain {chain}"
            raise CommandError(
                f"Stopped. What was not begun is still due: manage.py tiers drain{of_chain} goes on."
            )
        return bool(left["failed"] or left["pending"])

    def retry(self, options: dict[str, Any]) -> bool:
        waiting = options["waiting"]
        rows = operations.failed(options["chain"], options["name"], error=options["error"], waiting=waiting)
        is_wanted = operations.reads(options["cause"], options["tier"])
        if not options["dry_run"]:
            count = dispatch.retry(rows, options["limit"], lambda row: is_wanted(row.last_error))
            self._report({"retried": count})
            return False
        told = rows.order_by().values_list("last_error", flat=True).iterator()
        reasons = Counter(reason for reason in told if is_wanted(reason))
        count = min(reasons.total(), options["limit"] or reasons.total())
        counts = {"waiting" if waiting else "failed": count, "dry_run": True}
        if self.json:
            self._report(counts | {"reasons": dict(reasons.most_common())})
            return False
        self._report(counts)
        for reason, files in reasons.most_common(10):
            self._line(f"{files} {causes.read(reason).cause}: {reason}")
        return False

    def verify(self, options: dict[str, Any]) -> bool:
        run = verify.Verify(self.stdout, self._progress, options, DjangoJSONEncoder)
        return run.run([chains[alias] for alias in self._catalogued(options)])

    def gc(self, options: dict[str, Any]) -> bool:
        if options["orphans"]:
            return self._gc_orphans(options)
        before = datetime.now(UTC) - timedelta(seconds=_older_than(options))
        found: Counter[str] = Counter({"staging": 0, "upload": 0})
        dry_run, cap = options["dry_run"], braking.cap(options)
        try:
            for alias in [options["chain"]] if options["chain"] is not None else chains:
                for leftover in operations.collect(
                    alias, before, dry_run=dry_run, max_share=_share(options, 50.0), cap=cap
                ):
                    found[leftover.kind] += 1
                    if not self.json:
                        self._line(f"{alias}: {leftover.tier}: {leftover.kind} {leftover.name}")
            pruned = dispatch.prune(options["chain"], options["history"], dry_run=dry_run)
            purged = dispatch.purge(options["chain"], dry_run=dry_run)
        except (TooMany, WrongPlace) as error:
            self._report({**found, "tombstones": 0, "trash": 0, "dry_run": dry_run})
            raise CommandError(escaping.lines(str(error))) from error
        counts = {**found, "tombstones": pruned, "trash": purged, "dry_run": dry_run}
        self._report(counts | self._told_of(cap))
        return False

    def _told_of(self, cap: Cap) -> dict[str, bool]:
        """Say, and return for the report, that the cap of this run has held something back."""
        if not cap.is_reached:
            return {}
        self.stderr.write("The cap of this run was reached: run it again for the rest.")
        return {"capped": True}

    def plan(self, options: dict[str, Any]) -> bool:
        plans = [applying.plan(chain, self._progress) for chain in self._with_files(options)]
        if self.json:
            self._print_json({"chains": [applying.as_dict(told) for told in plans]})
        else:
            self._print_plans(plans)
        return any(told.has_findings or not told.is_empty for told in plans)

    def apply(self, options: dict[str, Any]) -> bool:
        reports, refusals, findings = [], [], False
        for chain in self._with_files(options):
            told = applying.plan(chain, self._progress)
            if not self.json:
                self._print_plans([told])
            report, refusal = applying.refusal(chain, told, options, self._progress)
            reports.append({"plan": applying.as_dict(told)} | report)
            findings |= told.has_findings
            if not self.json:
                for line in applying.applied_lines(report):
                    self._line(line)
            if refusal:
                refusals.append(refusal)
                break
        if self.json:
            self._print_json({"chains": reports, "dry_run": options["dry_run"]})
        if refusals:
            raise CommandError(escaping.lines(refusals[0]))
        return findings

    def _print_plans(self, plans: Iterable[Plan]) -> None:
        for told in plans:
            for line in applying.plan_lines(told):
                self._line(line)

    def _with_files(self, options: dict[str, Any]) -> list[Chain]:
        return [chains[alias] for alias in self._catalogued(options)]

    def identify(self, options: dict[str, Any]) -> bool:
        alias = options["chain"]
        which = [chains[each] for each in ([alias] if alias is not None else chains)]
        told = identify.run(
            which, options["tier"], accept=options["accept"], one_chain=alias is not None or len(which) == 1
        )
        if self.json:
            self._print_json({"tiers": [asdict(each) for each in told]})
        else:
            for each in told:
                self._line(str(each))
        if any(each.result == "refused" for each in told):
            raise CommandError(
                "Not every tier is identified. Nothing was changed on those that were refused."
            )
        return False

    def _gc_orphans(self, options: dict[str, Any]) -> bool:
        if options["older_than"] is None:
            raise CommandError("Say how old an orphan has to be: --older-than P30D")
        aliases = self._catalogued(options)
        cap = braking.cap(options)
        options["max_share"] = _share(options, 10.0)
        report, findings = retention.collect_orphans(aliases, options, cap, self._line, json=self.json)
        self._report(report | self._told_of(cap))
        return findings

    def restore(self, options: dict[str, Any]) -> bool:
        storage = TieredStorage(self._alias(options))
        report, findings = retention.Restore(storage, options, self._line, json=self.json).run()
        self._report(report)
        return findings

    def erase(self, options: dict[str, Any]) -> bool:
        storage = TieredStorage(self._alias(options))
        names = list(dict.fromkeys(clean(name) for name in options["name"]))
        if options["dry_run"]:
            self._report(
                {"would_erase": len(names), "tiers": ", ".join(storage.chain.names), "dry_run": True}
            )
            return False
        if not options["yes"]:
            retention.confirm(names, storage.chain)
        receipts = []
        for name in names:
            receipts.append(receipt := erase(storage, name))
            if not self.json:
                retention.print_receipt(receipt, self._line)
        if self.json:
            self._print_json({"receipts": [receipt.as_dict() for receipt in receipts]})
        return not all(receipt.is_complete for receipt in receipts)

    def hosts(self, options: dict[str, Any]) -> bool:
        if options["give_up"] is not None:
            return self._give_up(options)
        listed = hosts.listed(options["chain"])
        if self.json:
            self._print_json({"hosts": [host.as_dict() for host in listed]})
        else:
            for host in listed:
                self._line(host.line)
        return any(host.status.is_silent for host in listed)

    def _give_up(self, options: dict[str, Any]) -> bool:
        report = hosts.give_up(options, self._line, self._progress, json=self.json)
        if self.json:
            self._print_json(report)
        else:
            for line in hosts.lines(report):
                self._line(line)
        if report.get("stopped"):
            raise CommandError("Stopped. What was told is done; run it again to go on.")
        return bool(report["lost"] or report["left"])

    def explain(self, options: dict[str, Any]) -> bool:
        story = operations.explain(TieredStorage(self._alias(options)), options["name"])
        if self.json:
            self._print_json(story)
        else:
            for key, value in story.items():
                self._line(f"{key + ':':<14} {_plain(value)}")
        return story["state"] in (None, "failed")

    def simulate(self, options: dict[str, Any]) -> bool:
        report = simulate.run(chains[self._alias(options)], options)
        if self.json:
            self._print_json(report.as_dict())
        else:
            self.stdout.write(escaping.lines(simulate.as_text(report)), ending="")
        return bool(report.failures)

    # ---- options ----

    def _aliases(self, options: dict[str, Any]) -> list[str]:
        if options["chain"] is not None:
            return [options["chain"]]
        return [alias for alias in chains if chains[alias].policy_name is not None]

    def _catalogued(self, options: dict[str, Any]) -> list[str]:
        """Return the chains that have a catalog to compare with."""
        known = set(catalog.aliases())
        found = [alias for alias in chains if alias in known or chains[alias].policy_name is not None]
        if options["chain"] is None:
            return found
        if options["chain"] not in found:
            raise CommandError(f"Chain {options['chain']!r} has no POLICY, so no catalog to compare with.")
        return [options["chain"]]

    def _alias(self, options: dict[str, Any]) -> str:
        aliases = self._aliases(options)
        if len(aliases) != 1:
            raise CommandError(f"Say which chain: --chain {' | '.join(aliases) or 'ALIAS'}")
        return aliases[0]

    # ---- printing ----

    def _print_status(self, status: ChainStatus) -> None:
        policy = f"policy {status.policy or 'none'}" if status.is_known else "not known to this process"
        about = "about " if status.is_estimate else ""
        self._line(f"{status.chain}: {about}{status.files} files, {filesizeformat(status.bytes)}; {policy}")
        self.stdout.write(
            f"  settled {about}{status.settled}  pending {status.pending}  running {status.running}"
            f"  failed {status.failed}  deleting {status.deleting}"
        )
        if status.owed_since is not None:
            self.stdout.write(f"  longest owed: {timesince(status.owed_since)}")
        alone = status.first_tier_only
        if status.is_known:
            self.stdout.write(
                f"  on {alone.tier} alone: {about}{alone.files} files, {filesizeformat(alone.bytes)}"
            )
        lately = status.throughput
        self.stdout.write(
            f"  copied in the last {lately.minutes} minutes: {about}{lately.files} files, "
            f"{filesizeformat(lately.bytes)} ({lately.files_per_second:.1f} files/s, "
            f"{filesizeformat(lately.bytes_per_second)}/s)"
        )
        self._print_tiers(status, about)
        for reason, count in status.reasons.items():
            self._line(f"  failed, {count}: {reason}")
        if status.changes:
            changes = "; ".join(status.changes)
            self._line(f"  settings changed: {changes}; `tiers plan` says what that means for the files")

    def _print_tiers(self, status: ChainStatus, about: str) -> None:
        table = Table("tier", "files", "bytes", box=None, pad_edge=False, padding=(0, 2, 0, 2))
        for tier in status.tiers:
            table.add_row(tier.tier, f"{about}{tier.files}", filesizeformat(tier.bytes).replace("\xa0", " "))
        console = Console(highlight=False, markup=False, emoji=False)
        with console.capture() as capture:
            console.print(table)
        self.stdout.write(capture.get(), ending="")

    def _report(self, counts: dict[str, Any], **lists: list[str]) -> None:
        if self.json:
            self._print_json(counts | lists)
            return
        self.stdout.write(", ".join(f"{key.replace('_', ' ')}: {value}" for key, value in counts.items()))
        for key, names in lists.items():
            for name in names:
                self.stderr.write(escaping.line(f"{key}: {name}"))

    def _line(self, text: str) -> None:
        self.stdout.write(escaping.line(text))

    def _print_json(self, document: dict[str, Any]) -> None:
        self.stdout.write(json.dumps(document, cls=DjangoJSONEncoder, indent=2, ensure_ascii=False))

    def _progress(self, items: Iterable[T], total: int | None, what: str) -> Iterator[T]:
        """Show a bar with rate and time left where somebody watches; nothing in a pipe."""
        if self.json or not self.stdout.isatty():
            yield from items
            return
        with Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn(),
            console=Console(file=sys.stderr),
        ) as progress:  # fmt: skip
            yield from progress.track(items, total=total, description=what)


class Rate(ProgressColumn):
    """Files a second."""

    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:.1f} files/s")


def _states(ids: Iterable[int]) -> Counter[str]:
    """Return how many of these rows are in each state."""
    states: Counter[str] = Counter()
    left = iter(ids)
    while some := list(islice(left, ROWS_AT_ONCE)):
        states.update(catalog.files().filter(pk__in=some).values_list("state", flat=True))
    return states


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {item}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(value) or "-"
    return "-" if value in (None, "") else str(value)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError("write a whole number, 1 or more")
    return int(text)


def _seconds(text: str) -> float:
    return _positive(text, "seconds")


def _share(options: dict[str, Any], default: float) -> float:
    return default if options["max_share"] is None else float(options["max_share"])


def _older_than(options: dict[str, Any]) -> float:
    return 86_400.0 if options["older_than"] is None else options["older_than"]


def _days(text: str) -> float:
    return _positive(text, "days", zero=True)


def _positive(text: str, unit: str, *, zero: bool = False) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1
    if not (0 < number < float("inf") or (zero and number == 0)):
        raise ArgumentTypeError(f"write a number of {unit}")
    return number


def _dry_run(parser: ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="change nothing, only say what would be done")


def _status(parser: ArgumentParser) -> None:
    """Say, for each chain and tier, how many files and bytes lie there and what is owed.

    What is owed is counted. Of a chain with many files, what is settled is estimated, and told as "about".
    """
    parser.add_argument("--exact", action="store_true", help="count all files, however many and long that is")
    parser.add_argument(
        "--watch",
        type=_seconds,
        nargs="?",
        const=2.0,
        metavar="SECONDS",
        help="go on and redraw every so many seconds (2), until Ctrl-C",
    )


def _transfer(parser: ArgumentParser) -> None:
    """Ask for files to be brought where their policy wants them, also files that were there before."""
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument(
        "name", nargs="*", default=[], help="names of files (default: every file of the chain)"
    )
    chosen.add_argument("--prefix", help="every file whose name begins so, reports/ say")
    chosen.add_argument(
        "--all", action="store_true", help="every file, also where others keep files in its place"
    )
    parser.add_argument(
        "--policy", help="policy for files that are new to the catalog (default: the chain's)"
    )
    braking.add_caps(parser, "make due")
    _dry_run(parser)


def _sweep(parser: ArgumentParser) -> None:
    """Hand all due work to the dispatcher: for cron, where no Celery beat runs."""
    _dry_run(parser)


def _drain(parser: ArgumentParser) -> None:
    """Do due work here, in this process, each file's once: no worker is needed."""
    braking.add_caps(parser, "work on", "--limit")
    _dry_run(parser)


def _retry(parser: ArgumentParser) -> None:
    """Make failed files due again, with all their attempts; --dry-run counts them by their reasons."""
    parser.add_argument("name", nargs="*", help="names of files (default: every failed file)")
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--failed", action="store_true", help="files that failed for good: the default")
    chosen.add_argument(
        "--waiting",
        action="store_true",
        help="instead files that failed an attempt and wait for their next: try them at once",
    )
    parser.add_argument("--error", default="", metavar="TEXT", help="those whose reason has this text in it")
    parser.add_argument("--cause", choices=causes.ALL, help="those whose reason is of this kind")
    parser.add_argument("--tier", help="those whose reason speaks of this tier")
    parser.add_argument("--limit", type=_count, help="so many files at most")
    _dry_run(parser)


def _verify(parser: ArgumentParser) -> None:
    """Compare the catalog with the tiers, both ways: what is missing, wrong, or unknown; with --repair heal it.

    A tier that is down could not be checked, and none of its copies is believed missing.
    """
    verify.add_arguments(parser, _count)


def _gc(parser: ArgumentParser) -> None:
    """Remove what crashed processes left: unfinished files, unfinished multipart uploads; old tombstones and trash.

    With --orphans instead whole files that nobody knows: see with --dry-run which those are.
    """
    parser.add_argument(
        "--older-than",
        type=retention.seconds,
        metavar="SECONDS",
        help="leave what was written to since then alone, so many seconds, or P30D say (default: a day; for orphans "
        "there is none); slow uploads need their time",
    )
    parser.add_argument(
        "--history",
        type=_days,
        metavar="DAYS",
        help="keep tombstones of deleted files for so many days (default: QUEUED_STORAGE_HISTORY)",
    )
    retention.add_orphans(parser)
    what = "stop when more of a tier's files look like what a crash left (default: 50), or are orphans (10)"
    braking.add_share(parser, None, what)
    braking.add_caps(parser, "remove")
    _dry_run(parser)


def _plan(parser: ArgumentParser) -> None:
    """Say what changed settings mean for the files that are there: copies, deletions and bytes on each tier.

    Changes nothing. What is to be done is a finding.
    """


def _apply(parser: ArgumentParser) -> None:
    """Have the files that are there follow the settings: what the plan says becomes due.

    Before anything is changed, tiers with IDENTITY have to prove that they are the right ones, and too large a share of
    deletions is refused.
    """
    applying.add_arguments(parser)
    _dry_run(parser)


def _identify(parser: ArgumentParser) -> None:
    """Write the small files that prove tiers with IDENTITY to be the right mounts and buckets.

    A tier that has its file is left as it is. A file that this catalog has not written, or one that is not there any
    more, is refused, until somebody who has looked says --accept.
    """
    identify.add_arguments(parser)


def _restore(parser: ArgumentParser) -> None:
    """Bring deleted files back from the trash of a chain that has one (TRASH), or tell what lies there (--list)."""
    retention.add_restore(parser, _count)


def _erase(parser: ArgumentParser) -> None:
    """Remove every copy, generation, part and trash of a name from every tier, and print a receipt.

    What a tier that is down may have stays owed (exit 2): run it again, which tells what is done by then.
    """
    retention.add_erase(parser)


def _hosts(parser: ArgumentParser) -> None:
    """List hosts with disks of their own: when each was seen, what lies on its disk alone, what waits for it.

    With --give-up one that is gone for good is waited for no more, and what it alone had is told as lost.
    """
    hosts.add_arguments(parser)
    _dry_run(parser)


def _explain(parser: ArgumentParser) -> None:
    """Tell the story of one file: where it lies, where it should, and what happens next."""
    parser.add_argument("name", help="the file's name in its storage")


def _simulate(parser: ArgumentParser) -> None:
    """Look ahead: what a policy would do with the files that there are, and with files to come. Changes nothing.

    Prints bytes on each tier, moves and, of tiers with a PRICE in the settings, cost per day.
    """
    simulate.add_arguments(parser, _count)


_ACTIONS = {
    "status": _status,
    "transfer": _transfer,
    "sweep": _sweep,
    "drain": _drain,
    "retry": _retry,
    "verify": _verify,
    "gc": _gc,
    "plan": _plan,
    "apply": _apply,
    "identify": _identify,
    "restore": _restore,
    "erase": _erase,
    "hosts": _hosts,
    "explain": _explain,
    "simulate": _simulate,
}
