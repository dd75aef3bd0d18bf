"""Rounds in which all contenders run, one after the other; and what the rounds tell, as medians of ratios."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib import metadata
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

from .peers import CannotRun
from .usage import Run

#: What a contender does in one round, from a fresh start, and what that took.
Contender = Callable[[], Run]
Round = Mapping[str, Run]

__all__ = ["CannotRun", "Contender", "Measure", "Result", "Round", "Run", "conditions", "interleave", "tell"]


@dataclass(frozen=True)
class Measure:
    """What is told of a run."""

    name: str
    of: Callable[[Run], float]
    #: The ratio to reach, and the one to go for: at least where ``more_is_better``, else at most.
    bar: float | None = None
    goal: float | None = None
    more_is_better: bool = True

    @property
    def spelled(self) -> str:
        """The bar, and the goal in brackets."""
        sign = "≥" if self.more_is_better else "≤"
        bar = "" if self.bar is None else f"{sign} {self.bar:g}"
        goal = "" if self.goal is None else f"({sign} {self.goal:g})"
        return f"{bar} {goal}".strip()


@dataclass(frozen=True)
class Result:
    """One line of the table; ``ratio`` is the median of the rounds' ratios of ``value`` to the peer's."""

    row: int
    metric: str
    value: float
    peer: str
    ratio: float | None
    rounds: int
    conditions: dict[str, Any]
    peer_value: float | None = None
    ratios: list[float] = field(default_factory=list)
    #: "at least 1.1", "at most 150 MB": what issue and docs ask for; empty where nothing is.
    bar: str = ""
    is_met: bool | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def interleave(contenders: Mapping[str, Contender], rounds: int) -> list[Round]:
    """Run every contender in each round, each round another one first; the first round warms up, and is dropped."""
    numbers = count()
    return per_round(
        lambda: {name: contenders[name]() for name in turned(list(contenders), next(numbers))}, rounds
    )


def turned(names: list[str], number: int) -> list[str]:
    """Return the names, beginning with another one for each number."""
    turn = number % len(names)
    return [*names[turn:], *names[:turn]]


def progress(number: int, rounds: int, runs: Round) -> None:
    label = f"round {number}/{rounds}" if number else "warm-up"
    times = ", ".join(f"{name} {run.seconds:.4g} s" for name, run in runs.items())
    print(f"    {label}: {times}; load {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)


def tell(
    row: int,
    measure: Measure,
    rounds: list[Round],
    ours: str,
    peer: str,
    *,
    conditions: Mapping[str, Any],
    bar: bool = True,
) -> Result:
    """Compare one contender with another, round by round."""
    values = [measure.of(each[ours]) for each in rounds]
    of_peer = [measure.of(each[peer]) for each in rounds]
    ratios = [value / other if other else float("inf") for value, other in zip(values, of_peer, strict=True)]
    ratio = median(ratios)
    limit = measure.bar if bar else None
    return Result(
        row,
        measure.name,
        significant(median(values)),
        peer,
        significant(ratio),
        len(rounds),
        dict(conditions),
        significant(median(of_peer)),
        [significant(each) for each in ratios],
        bar=measure.spelled if bar else "",
        is_met=None if limit is None else (ratio >= limit if measure.more_is_better else ratio <= limit),
    )


def tell_value(
    row: int,
    measure: Measure,
    rounds: list[Round],
    ours: str,
    *,
    conditions: Mapping[str, Any],
    peer: str = "",
) -> Result:
    """Tell a value that has a bar of its own; the peer's, if one is named, stands beside it."""
    result = tell(row, measure, rounds, ours, peer or ours, conditions=conditions)
    value, limit = result.value, measure.bar
    return Result(
        **{
            **result.as_dict(),
            "peer": peer,
            "ratio": result.ratio if peer else None,
            "ratios": result.ratios if peer else [],
            "peer_value": result.peer_value if peer else None,
            "is_met": None
            if limit is None
            else (value >= limit if measure.more_is_better else value <= limit),
        }
    )


def significant(number: float) -> float:
    """Return the number with four digits that mean something."""
    return float(f"{number:.4g}")


def alternately(functions: Mapping[str, Callable[[], object]], times: int, block: int = 1) -> Round:
    """Call the functions in turn, so often; return the median of what a call of each took.

    ``block`` calls of one make one time, where a call takes less than the clock does.
    """
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for number in range(times):
        for name in turned(list(functions), number):
            call = functions[name]
            started = time.perf_counter()
            for _ in range(block):
                call()
            seconds[name].append((time.perf_counter() - started) / block)
    return {name: Run(median(each)) for name, each in seconds.items()}


def per_round(run: Callable[[], Round], rounds: int) -> list[Round]:
    """Run so many rounds, after one that warms up and is dropped."""
    told = []
    for number in range(rounds + 1):
        runs = run()
        progress(number, rounds, runs)
        told.append(runs)
    return told[1:]


def conditions(**more: Any) -> dict[str, Any]:
    """Return what every figure depends on: the machine and the versions."""
    packages = ["Django", "celery", "django-storages", "boto3", *(["obstore"] if uses_obstore() else [])]
    told: dict[str, Any] = {
        "cpus": len(os.sched_getaffinity(0)),
        "machine": platform.machine(),
        "Python": platform.python_version(),
        **{name: version for name in packages if (version := _version(name))},
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "warm-up": "one round before, dropped",
    }
    return told | more


@cache
def uses_obstore() -> bool:
    """Tell whether the package has a use for obstore where that is installed."""
    package = Path(__file__).resolve().parents[1] / "queued_storage"
    return any("import obstore" in file.read_text(encoding="utf-8") for file in package.rglob("*.py"))


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
