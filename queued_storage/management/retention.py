"""``tiers restore``, ``tiers erase`` and the orphans of ``tiers gc``: their options, and what they print."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError
from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.dateparse import parse_duration

from queued_storage import identity, neighbours, retention
from queued_storage.brakes import Cap
from queued_storage.chain import Chain, chains
from queued_storage.exceptions import NotRestored
from queued_storage.names import clean
from queued_storage.operations import printable
from queued_storage.retention import Orphans, Receipt
from queued_storage.storage import TieredStorage

from . import stopping

if TYPE_CHECKING:
    from queued_storage.models import TrashedFile

Line = Callable[[str], None]


def seconds(text: str) -> float:
    """Return the seconds that a text such as 86400, P30D or PT1H says."""
    try:
        return float(text)
    except ValueError:
        duration = parse_duration(text)
    if duration is None:
        raise ArgumentTypeError("write a number of seconds, or a duration such as P30D or PT1H")
    return duration.total_seconds()


# ---- restore ----


def add_restore(parser: ArgumentParser, count: Callable[[str], int]) -> None:
    parser.add_argument("name", nargs="*", default=[], help="names of files, or patterns ('reports/*.pdf')")
    parser.add_argument("--prefix", default="", help="every file whose name begins so, reports/ say")
    parser.add_argument("--all", action="store_true", help="everything in the trash")
    parser.add_argument("--list", action="store_true", help="tell what lies in the trash, and until when")
    parser.add_argument(
        "--id", type=count, help="the one that --list tells by this id (default: what was deleted last)"
    )
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--as", dest="new_name", metavar="NAME", help="bring the one file back by this name")
    chosen.add_argument(
        "--rename", action="store_true", help="give a file whose name is taken another, as a save would"
    )
    parser.add_argument("--dry-run", action="store_true", help="change nothing, only say what would be done")


class Restore:
    """Runs ``tiers restore`` for one chain."""

    def __init__(self, storage: TieredStorage, options: dict[str, Any], line: Line, *, json: bool) -> None:
        self.storage = storage
        self.options = options
        self.line = line
        self.json = json
        self.done: list[dict[str, Any]] = []
        self.found = 0
        #: Names that were given and not come across yet; a pattern need not find anything.
        self.unseen = {clean(name) for name in options["name"] if not set("*?[") & set(name)}
        self.counts = Counter[str]()

    def run(self) -> tuple[dict[str, Any], bool]:
        """Return a report, and whether there is something to look at."""
        options = self.options
        if options["list"]:
            return self._list(), False
        if not (options["name"] or options["prefix"] or options["all"] or options["id"]):
            raise CommandError(
                "Say what to restore: names, patterns, --prefix, --id or --all; --list tells what there is."
            )
        found = self._found(newest=options["id"] is None)
        if options["new_name"] is not None:
            found = iter([self._only_one(found)])
        with stopping.on_signal() as stop:
            for entry in found:
                self._restore(entry)
                if stop():
                    raise CommandError("Stopped. What was not restored is in the trash still; run it again.")
        missing = self._missing()
        report = {"restored": self.counts["restored"], "dry_run": options["dry_run"]}
        if self.json:
            report |= {"files": self.done, "missing": missing}
        for name in () if self.json else missing:
            self.line(f"not in the trash: {name}")
        return report, bool(missing or self.counts["refused"])

    def _found(self, *, newest: bool) -> Iterator[TrashedFile]:
        options = self.options
        for entry in retention.find(self.storage.alias, options["name"], options["prefix"], newest=newest):
            if options["id"] in (None, entry.pk):
                yield entry

    def _only_one(self, found: Iterator[TrashedFile]) -> TrashedFile:
        first, second = next(found, None), next(found, None)
        if first is None or second is not None:
            raise CommandError("--as is for one file: give its name as it was, or its --id.")
        return first

    def _missing(self) -> list[str]:
        """Return the names that were given and that nothing was found for."""
        if self.found or self.unseen:
            return sorted(self.unseen)
        return [*self.options["name"]] or list(
            filter(None, [self.options["prefix"], str(self.options["id"] or "")])
        )

    def _restore(self, entry: TrashedFile) -> None:
        name = self.options["new_name"]
        told = {"name": printable(entry.name), "id": entry.pk}
        if self.options["dry_run"]:
            self._tell(told | {"result": "would be restored"}, f"would restore {entry.name}")
            return
        try:
            given = retention.restore(self.storage, entry, name, rename=self.options["rename"])
        except NotRestored as error:
            self.counts["refused"] += 1
            self._tell(told | {"result": "refused", "reason": str(error)}, str(error))
        else:
            self.counts["restored"] += 1
            as_what = "" if given == entry.name else f" as {given}"
            self._tell(
                told | {"result": "restored", "as": printable(given)}, f"restored {entry.name}{as_what}"
            )

    def _tell(self, item: dict[str, Any], text: str) -> None:
        self.found += 1
        if self.json:
            self.done.append(item)
        else:
            self.line(text)
        self.unseen.discard(item["name"])

    def _list(self) -> dict[str, Any]:
        files = size = 0
        listed = []
        for entry in self._found(newest=False):
            files, size = files + 1, size + (entry.size or 0)
            if self.json:
                listed.append(_as_dict(entry))
            else:
                self.line(_told(entry))
        total: dict[str, Any] = {"in_trash": files, "bytes": size}
        return total | ({"files": listed} if self.json else {})


def _as_dict(entry: TrashedFile) -> dict[str, Any]:
    return {
        "id": entry.pk,
        "name": printable(entry.name),
        "size": entry.size,
        "tier": entry.tier or None,
        "deleted_at": entry.deleted_at,
        "until": entry.until,
    }


def _told(entry: TrashedFile) -> str:
    size = "size not known" if entry.size is None else filesizeformat(entry.size).replace("\xa0", " ")
    where = f"on {entry.tier}" if entry.tier else "not in the trash yet"
    when = f"deleted {_moment(entry.deleted_at)}  until {_moment(entry.until)}"
    return f"{entry.pk}  {entry.name}  {size}  {where}  {when}"


def _moment(when: datetime) -> str:
    return f"{timezone.localtime(when) if timezone.is_aware(when) else when:%Y-%m-%d %H:%M}"


# ---- erase ----


def add_erase(parser: ArgumentParser) -> None:
    parser.add_argument("name", nargs="+", help="names of files, as their storage has them")
    parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    parser.add_argument(
        "--dry-run", action="store_true", help="change nothing, only say what would be erased"
    )


def confirm(names: Sequence[str], chain: Chain) -> None:
    """Ask as Django's ``flush`` does; raise CommandError for any other answer than yes."""
    told = f"{names[0]!r}" if len(names) == 1 else f"{len(names)} names ({names[0]!r} to {names[-1]!r})"
    question = (
        f"This erases {told} from every tier of chain {chain.alias!r} ({', '.join(chain.names)}), with the trash, and "
        "cannot be undone.\nType 'yes' to continue, or 'no' to cancel: "
    )
    try:
        answer = input(question)
    except EOFError:
        raise CommandError("Nobody is there to confirm it: say --yes.") from None
    if answer != "yes":
        raise CommandError("Nothing was erased.")


def print_receipt(receipt: Receipt, line: Line) -> None:
    """Print what became of a name, a line for each tier."""
    state = "erased" if receipt.is_complete else "not erased everywhere"
    line(f"{receipt.chain}:{receipt.name}: {state} ({_moment(receipt.at)})")
    for tier in receipt.tiers:
        what = ", ".join(f"{count} {_plural(kind, count)}" for kind, count in tier.removed.items())
        told = ": ".join(filter(None, [tier.state + (f" ({what})" if what else ""), tier.reason]))
        line(f"  {tier.tier}: {told}")
    line(f"  catalog: {receipt.rows or 'no row has the name'}")


def _plural(kind: str, count: int) -> str:
    if count == 1 or kind == "trash":
        return kind if kind != "trash" else "from the trash"
    return "copies" if kind == "copy" else f"{kind}s"


# ---- orphans ----


def add_orphans(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--orphans",
        action="store_true",
        help="instead whole files that the catalog does not know, and no model names, older than --older-than",
    )
    parser.add_argument("--prefix", default="", help="with --orphans: files whose name begins so")
    parser.add_argument("--tier", help="with --orphans: files on this tier alone")


def collect_orphans(
    aliases: Sequence[str], options: dict[str, Any], cap: Cap, line: Line, *, json: bool
) -> tuple[dict[str, Any], bool]:
    """Count the orphans of the chains first, then remove them; return a report, and whether all was done."""
    before = datetime.now(UTC) - timedelta(seconds=options["older_than"])
    with stopping.on_signal() as stop:
        found = [_orphans(chains[alias], before, options, stop) for alias in aliases]
        for orphans in found:
            for orphan in orphans.find():
                if options["dry_run"] and not json:
                    line(f"{orphans.chain.alias}: {orphan.tier}: orphan {orphan.name}")
            if stop():
                raise CommandError("Stopped. Nothing was removed.")
            if not options["dry_run"]:
                orphans.check(options["max_share"])
        removed = (
            0 if options["dry_run"] else sum(_remove(orphans, cap, line, json=json) for orphans in found)
        )
    report: dict[str, Any] = {
        "files": sum(each.files.total() for each in found),
        "orphans": sum(each.orphans.total() for each in found),
        "named_by_models": sum(each.named.total() for each in found),
        "removed": removed,
        "dry_run": options["dry_run"],
    }
    unlisted = {f"{each.chain.alias}: {tier}": why for each in found for tier, why in each.unlisted.items()}
    if stop():
        raise CommandError(f"Stopped. {removed} orphans were removed; run it again for the rest.")
    if json:
        report["unlisted"] = unlisted
    for tier, why in () if json else unlisted.items():
        line(f"{tier}: not looked at: {why}")
    return report, bool(unlisted)


def _orphans(chain: Chain, before: datetime, options: dict[str, Any], stop: stopping.Stop) -> Orphans:
    if options["tier"] is not None:
        _ = chain[options["tier"]]
    if shared := neighbours.sharing(chain):
        who = ", ".join(f"{name} (on tier {tier!r})" for name, tier in shared.items())
        raise CommandError(
            f"Others keep files in the same place as chain {chain.alias!r}, which would be orphans here: {who}. "
            "Give the chain a place of its own, or remove what is to go by other means."
        )
    identity.require_each(chain, [tier.name for tier in chain.writable])
    return Orphans(chain, before, prefix=options["prefix"], tier=options["tier"], stopping=stop)


def _remove(counted: Orphans, cap: Cap, line: Line, *, json: bool) -> int:
    """Look again, and remove what is found: the names of the first look were not kept."""
    removed = 0
    again = counted.again()
    for orphan in again.find():
        if again.stopping() or cap.is_reached:
            break
        if again.remove(orphan, cap):
            removed += 1
            if not json:
                line(f"{counted.chain.alias}: {orphan.tier}: removed orphan {orphan.name}")
    counted.unlisted |= again.unlisted
    return removed
