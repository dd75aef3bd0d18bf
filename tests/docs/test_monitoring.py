"""Dashboard, alerts and their page name metrics and labels that there are; each alert has its runbook."""

from __future__ import annotations

import ast
import copy
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import Counter, Histogram
from pydantic import ValidationError

from queued_storage import causes
from queued_storage.contrib.prometheus import collector, counters

from tests.docs import grafana

DOCS = Path(__file__).resolve().parents[2] / "docs"
DASHBOARD = json.loads((DOCS / "monitoring" / "grafana.json").read_text())
ALERTS = [
    rule
    for group in yaml.safe_load((DOCS / "monitoring" / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
PAGE = (DOCS / "howto" / "monitoring.rst").read_text()
METRIC = re.compile(r"\bqueued_storage_\w+")
LABELS = re.compile(r"(?:by|without) \(([^)]*)\)|\{([^}]*)\}")


def exposed() -> dict[str, set[str]]:
    """The names of all samples that a scrape may tell, each with its labels."""
    found: dict[str, set[str]] = {
        gauge.name: set(gauge._labelnames) for gauge in collector.CatalogCollector().describe()
    }
    for metric in counters.ALL:
        labels = set(metric._labelnames)
        if isinstance(metric, Counter):
            found[f"{metric._name}_total"] = labels
        elif isinstance(metric, Histogram):
            found |= {f"{metric._name}_{suffix}": labels for suffix in ("count", "sum")}
            found[f"{metric._name}_bucket"] = labels | {"le"}
    return found


def queries_of(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        yield from (value for key, value in part.items() if key in ("expr", "definition"))
        part = list(part.values())
    if isinstance(part, list):
        for each in part:
            yield from queries_of(each)


QUERIES = [*queries_of(DASHBOARD), *(rule["expr"] for rule in ALERTS)]


@pytest.mark.parametrize("query", QUERIES)
def test_query_names_metrics_and_labels_that_there_are(query: str) -> None:
    metrics = METRIC.findall(query)
    assert metrics
    known = exposed()
    assert set(metrics) <= set(known)
    labels = {
        re.split(r"[=!]", label)[0].strip()
        for groups in LABELS.findall(query)
        for label in ",".join(groups).split(",")
        if label.strip()
    }
    assert labels <= {"instance"}.union(*(known[metric] for metric in metrics))


def test_dashboard_shows_every_metric() -> None:
    shown = {name for query in QUERIES for name in METRIC.findall(query)}
    left_out = {
        "queued_storage_is_estimate",
        "queued_storage_transfer_duration_seconds_count",
        "queued_storage_transfer_duration_seconds_sum",
    }
    assert set(exposed()) - shown == left_out


def test_dashboard_is_one_that_grafana_takes() -> None:
    told = grafana.Dashboard.model_validate(DASHBOARD)
    names = {variable.name for variable in told.templating.list}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD["panels"])))
    assert used - {"__rate_interval"} == names


@pytest.mark.parametrize(
    ("break_it", "place"),
    [
        (lambda board: board["panels"][0].update(type="singlestat"), "panels.0"),
        (lambda board: board["panels"][0]["fieldConfig"]["defaults"].update(unit="furlongs"), "unit"),
        (lambda board: board["panels"][7]["targets"][1].update(refId="A"), "panels.7"),
        (lambda board: board["panels"][7]["targets"][0].update(expression="up"), "expression"),
        (lambda board: board["panels"][7]["gridPos"].update(w=25), "gridPos.w"),
        (lambda board: board.pop("schemaVersion"), "schemaVersion"),
    ],
)
def test_broken_dashboard_is_noticed(break_it: Any, place: str) -> None:
    """What looks after the dashboard has to be able to find something."""
    board = copy.deepcopy(DASHBOARD)
    break_it(board)
    with pytest.raises(ValidationError) as told:
        grafana.Dashboard.model_validate(board)
    assert any(place in ".".join(map(str, error["loc"])) for error in told.value.errors())


def test_panels_have_ids_of_their_own_and_lie_side_by_side() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (place["x"] + across, place["y"] + down)
            for across in range(place["w"])
            for down in range(place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells


def test_page_tells_of_every_metric() -> None:
    told = set(re.findall(r"``(queued_storage_\w+)``", PAGE))
    metrics = {re.sub("_(bucket|count|sum)$", "", name) for name in exposed() if not name.endswith("_total")}
    metrics |= {name for name in exposed() if name.endswith("_total")}
    assert {name for name in told if not name.startswith("queued_storage_copy")} >= metrics


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_alert_has_a_runbook(rule: Any) -> None:
    assert re.search(rf"^{rule['alert']}\n~+\n\n\*.", PAGE, re.MULTILINE)
    assert rule["annotations"]["summary"]
    assert rule["labels"]["severity"] in ("critical", "warning")


def test_alerts_fire_when_they_should() -> None:
    if (promtool := shutil.which("promtool")) is None:
        pytest.skip("promtool comes with Prometheus")
    rules = DOCS / "monitoring" / "alerts-test.yml"
    told = subprocess.run(
        [promtool, "test", "rules", rules.name], cwd=rules.parent, capture_output=True, check=False
    )
    assert told.returncode == 0, told.stderr


def test_page_lists_the_options_of_the_health_check() -> None:
    from dataclasses import fields

    from queued_storage.contrib.health import Tiers

    _, _, rest = PAGE.partition("   * - Option\n")
    table = rest.partition("\n\n")[0]
    assert re.findall(r"\* - ``(\w+)``", table) == [field.name for field in fields(Tiers)]


def test_python_on_the_page_can_be_parsed() -> None:
    blocks = re.findall(r"\.\. code-block:: python\n\n((?:    .*\n|\n)+)", PAGE)
    assert len(blocks) >= 4
    for block in blocks:
        ast.parse(re.sub(r"^    ", "", block, flags=re.MULTILINE))


def test_every_cause_is_described() -> None:
    _, _, table = (DOCS / "reference" / "logs.rst").read_text().partition("   * - Cause\n")
    assert set(re.findall(r"\* - ``(\w+)``", table)) == set(causes.ALL)
