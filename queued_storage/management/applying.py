"""``tiers plan`` and ``tiers apply``: their options, and what they print."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any, Protocol

from django.core.management.base import CommandError
from django.template.defaultfilters import filesizeformat

from queued_storage import planning
from queued_storage.chain import Chain
from queued_storage.exceptions import QueuedStorageError
from queued_storage.planning import Amount, Application, Plan

from . import braking, stopping


class Progress(Protocol):
    def __call__(self, items: Iterable[Any], total: int | None, what: str) -> Iterator[Any]: ...


def add_arguments(parser: ArgumentParser) -> None:
    braking.add_share(parser, 10.0, "refuse when more of a tier's copies would be deleted")
    braking.add_caps(parser, "make due")


def plan(chain: Chain, progress: Progress) -> Plan:
    """Go through all rows; raise CommandError where somebody stopped that."""
    told, is_whole = Plan(chain.alias, [], {}), False
    with stopping.on_signal() as stop:
        for told, is_whole in progress(planning.plan(chain, stop), None, "plan"):  # noqa: B007 - the last one
            pass
    if not is_whole:
        raise CommandError(f"Stopped after {told.looked_at} files. Nothing was changed.")
    return told


def apply(chain: Chain, told: Plan, options: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Apply the plan; return what was done. Raise the error that refuses it, CommandError where it was stopped."""
    report: dict[str, Any] = {"chain": chain.alias, "identified": [], "applied": False}
    proved = planning.prove(chain, dry_run=options["dry_run"])
    report["identified"] = [each.tier for each in proved if each.result == "written"]
    planning.brake(told, options["max_share"])
    if options["dry_run"]:
        return report
    cap, done = braking.cap(options), Application(told)
    with stopping.on_signal() as stop:
        for done in progress(planning.apply(chain, told, cap, stop), None, "apply"):  # noqa: B007 - the last one
            pass
    report |= {"due": asdict(done.due), "reviews": done.reviews, "applied": done.is_complete}
    if cap.is_reached:
        report["capped"] = True
    elif not done.is_complete:
        report["stopped"] = True
    return report


def refusal(
    chain: Chain, told: Plan, options: dict[str, Any], progress: Progress
) -> tuple[dict[str, Any], str]:
    """Apply the plan; return what was done, and why it was refused or stopped ("" if it was not)."""
    try:
        report = apply(chain, told, options, progress)
    except QueuedStorageError as error:
        return {"chain": chain.alias, "applied": False, "refused": str(error)}, str(error)
    if report.get("stopped"):
        return report, f"Stopped. manage.py tiers apply --chain {chain.alias} goes on where it was."
    return report, ""


def as_dict(told: Plan) -> dict[str, Any]:
    return asdict(told) | {"stranded": dict(told.stranded), "problems": dict(told.problems)}


def plan_lines(told: Plan) -> Iterator[str]:
    """Yield the plan as people read it."""
    alias = told.chain
    for change in told.changes:
        yield f"{alias}: since the last apply: {change}"
    yield f"{alias}: looked at {told.looked_at} files; {_moving(told)}"
    for name, tier in told.tiers.items():
        if tier.copies.files or tier.releases.files:
            share = f" ({tier.releases.files * 100 / tier.holds:.0f} %)" if tier.releases.files else ""
            yield (
                f"{alias}: {name}: holds {tier.holds}; to copy there {_amount(tier.copies)}; "
                f"to delete there {_amount(tier.releases)}{share}"
            )
    if told.waiting:
        yield f"{alias}: not part of it: {told.waiting} files that wait for a time of their policy's"
    if told.owed or told.failed:
        yield f"{alias}: not part of it: {told.owed} files with work under way or due, {told.failed} that failed"
    for where, count in told.stranded.items():
        yield f"{alias}: cannot be read: {count} files lie on {where} alone, which is not in the settings"
    for reason, count in told.problems.items():
        yield f"{alias}: left alone: {count} files: {reason}"


def _moving(told: Plan) -> str:
    if told.is_empty:
        return "nothing is to be moved"
    later = f"; {told.reviews} to be looked at at another time" if told.reviews else ""
    follow = f"; {told.followers} to follow the chain's new POLICY" if told.followers else ""
    return f"to move {_amount(told.moves)}{later}{follow}"


def _amount(amount: Amount) -> str:
    size = filesizeformat(amount.bytes).replace("\xa0", " ")
    return f"{amount.files} files, {size}" if amount.files else "nothing"


def applied_lines(report: dict[str, Any]) -> Iterator[str]:
    alias = report["chain"]
    for tier in report.get("identified", ()):
        yield f"{alias}: {tier}: identity file written"
    if "due" in report:
        due = Amount(**report["due"])
        yield f"{alias}: made due {_amount(due)}; another time for {report['reviews']}"
    if report["applied"]:
        yield f"{alias}: applied. Workers do what is due at their next sweep; `tiers drain` does it here."
    elif report.get("capped"):
        yield f"{alias}: the cap of this run was reached: run it again for the rest"
