"""A process that is killed at any step leaves nothing broken, and what it left undone is done by another.

``QUEUED_STORAGE_TEST_KILL_ALL=1`` kills before and after each step, goes on from each in each way, and does it on S3
and PostgreSQL too (minutes).
"""

from __future__ import annotations

import json
import os

import pytest

from tests.support import services

pytestmark = [pytest.mark.servers, pytest.mark.timeout(900)]


@pytest.fixture
def kill_at_every_step(make_project, tmp_path):
    """Run a group of scenarios; return what came of each."""

    def run(group, database="sqlite", tier=None):
        project = make_project(database)
        arguments = [group]
        if tier is not None:
            (tmp_path / "tier.json").write_text(json.dumps(tier))
            arguments.append(str(tmp_path / "tier.json"))
        result = project.run("-m", "tests.kill.program", *arguments, check=True, timeout=900)
        return [json.loads(line) for line in result.stdout.splitlines()]

    return run


def expect_nothing_wrong(trials, capsys):
    with capsys.disabled():
        if os.environ.get("QUEUED_STORAGE_TEST_KILL_ALL"):
            for trial in trials:
                print(f"\n{trial['label']}: {trial['kills']} kills, {len(trial['orphans'])} orphans")
    assert {trial["label"]: trial["wrong"] for trial in trials if trial["wrong"]} == {}
    assert min(trial["steps"] for trial in trials) > 5


elsewhere = pytest.mark.skipif(
    not os.environ.get("QUEUED_STORAGE_TEST_KILL_ALL"), reason="takes long: QUEUED_STORAGE_TEST_KILL_ALL=1"
)


@pytest.mark.parametrize("group", ["save", "transfer", "delete"])
def test_g1_to_g5_hold_whatever_step_of_it_a_process_is_killed_at(kill_at_every_step, group, capsys):
    expect_nothing_wrong(kill_at_every_step(group), capsys)


@elsewhere
def test_g1_to_g5_hold_whatever_step_of_work_on_s3_a_process_is_killed_at(
    kill_at_every_step, moto_s3, capsys
):
    tier = moto_s3.tier() | {"BACKEND": "tests.kill.program.OneClientStorage"}
    expect_nothing_wrong(kill_at_every_step("s3", tier=tier), capsys)


@elsewhere
def test_g1_to_g5_hold_on_postgresql_too(kill_at_every_step, capsys):
    services.need("postgresql")
    expect_nothing_wrong(kill_at_every_step("postgresql", "postgresql"), capsys)
