"""``tiers hosts``: its options, what it lists, and the end of a host that is gone for good."""

from __future__ import annotations

from argparse import ArgumentParser
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError
from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.timesince import timesince

from queued_storage import catalog, conf, dispatch, giving_up, hosts
from queued_storage.chain import chains
from queued_storage.giving_up import Fate, NotAsked
from queued_storage.hosts import HostStatus

from . import stopping
from .applying import Progress

Line = Callable[[str], None]


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--give-up",
        metavar="NAME",
        help="say that this host is gone for good: nothing waits for it, and what it alone had is listed, and failed",
    )
    parser.add_argument("--yes", action="store_true", help="with --give-up: do not ask whether that is meant")


@dataclass(frozen=True)
class Listed:
    """A host, and what lies on its disk alone."""

    status: HostStatus
    files: int
    bytes: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self.status) | {"files": self.files, "bytes": self.bytes}

    @property
    def line(self) -> str:
        alone = f"{self.files} files, {filesizeformat(self.bytes)} on its disk alone"
        return f"{state(self.status)}; {alone}; {waiting(self.status)}"


def state(status: HostStatus) -> str:
    """Tell in words whether the host lives."""
    if status.given_up_at is not None:
        told = f"given up {timesince(status.given_up_at)} ago"
    else:
        told = "never seen" if status.seen_at is None else f"seen {timesince(status.seen_at)} ago"
    return f"host {status.host}: {'SILENT: ' if status.is_silent else ''}{told}"


def waiting(status: HostStatus) -> str:
    """Tell in words what waits for the host."""
    since = "" if status.owed_since is None else f" since {timesince(status.owed_since)}"
    return f"{status.owed} wait for it alone{since}"


def listed(chain: str | None) -> list[Listed]:
    """Return all hosts with what lies on each one's disk alone (of one chain); it goes through all rows."""
    files, sizes = Counter[str](), Counter[str]()
    for host, alias, tiers, count, size in catalog.on_hosts(chain):
        if alias in chains and set(tiers) <= {chains[alias].first.name}:
            files[host] += count
            sizes[host] += size
    known = {status.host: status for status in hosts.status(timezone.now())}
    unheard = {
        host: HostStatus(host, None, 0, None, None, is_silent=False) for host in files if host not in known
    }
    return [Listed(status, files[host], sizes[host]) for host, status in sorted((known | unheard).items())]


def give_up(options: dict[str, Any], line: Line, progress: Progress, *, json: bool) -> dict[str, Any]:
    """Give the host up; return what came of it, and print what is lost or left, unless that is to be JSON."""
    host, dry_run = options["give_up"], options["dry_run"]
    if options["chain"] is not None:
        raise CommandError("A host is given up with all that it has: leave --chain out.")
    if not catalog.is_heard_of(host):
        raise CommandError(f"Nothing is known of a host {host!r}; `tiers hosts` lists those that there are.")
    if not dry_run:
        _require_gone(host)
        if not options["yes"]:
            _confirm(host)
    counts, named = Counter[str](lost=0, elsewhere=0, deleted=0, left=0), list[Fate]()
    with stopping.on_signal() as stop:
        for fate in progress(giving_up.give_up(host, dry_run=dry_run, stopping=stop), None, "give up"):
            counts[fate.result] += 1
            if fate.result in ("lost", "left") and json:
                named.append(fate)
            elif fate.result in ("lost", "left"):
                line(
                    f"{fate.result}: {fate.chain}: {fate.name} ({filesizeformat(fate.size or 0)}){_why(fate)}"
                )
    report: dict[str, Any] = {"host": host, **counts, "given_up": not (dry_run or stop() or counts["left"])}
    report["dry_run"] = dry_run
    if json:
        report["files"] = [asdict(fate) for fate in named]
    if stop():
        report["stopped"] = True
    return report


def _why(fate: Fate) -> str:
    return f": {fate.reason}" if fate.result == "left" else ""


def _require_gone(host: str) -> None:
    try:
        giving_up.require_gone(host)
    except NotAsked as error:
        dispatch.ask(host)
        until = timezone.localtime(timezone.now() + timedelta(seconds=conf.get("HOST_SILENT")))
        raise CommandError(
            f"{error} It is asked now: if it gives none until {until:%H:%M:%S}, say so again."
        ) from None


def _confirm(host: str) -> None:
    """Ask as Django's ``flush`` does; raise CommandError for any other answer than yes."""
    question = (
        f"This gives up host {host!r}: what lies on its disk alone is told as lost. See with --dry-run what that is.\n"
        "Type 'yes' to continue, or 'no' to cancel: "
    )
    try:
        answer = input(question)
    except EOFError:
        raise CommandError("Nobody is there to confirm it: say --yes.") from None
    if answer != "yes":
        raise CommandError("Nothing was changed.")


def lines(report: dict[str, Any]) -> Iterator[str]:
    """Yield the report as people read it."""
    would = "would be " if report["dry_run"] else ""
    yield (
        f"host {report['host']}: {report['lost']} files {would}lost, {report['elsewhere']} are on other tiers, "
        f"{report['deleted']} were deleted, {report['left']} left as they are"
    )
    if report["given_up"]:
        yield f"host {report['host']}: given up. If it comes back, `tiers retry` brings back what it alone had."
    elif report["left"] and not report["dry_run"]:
        yield f"host {report['host']}: not given up yet: run it again when the others can be looked at."
