"""``tiers simulate``: the policies' own code in virtual time comes to what the engine does as time goes by."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from django.core.files.base import ContentFile
from django.core.management import CommandError, call_command
from django.utils import timezone

from queued_storage import plotting, simulation
from queued_storage.batch import drain
from queued_storage.exceptions import ConfigurationError
from queued_storage.management.simulate import size
from queued_storage.models import StoredFile
from queued_storage.policies import Policy
from queued_storage.simulation import DAY, Load, Report, SimulatedFile, Simulation
from queued_storage.storage import TieredStorage

from tests.policies.facts import HOUR
from tests.support import clock
from tests.test_tiers_command import tiers, tiers_json

pytestmark = pytest.mark.django_db

GB = 10**9
FILES, DAYS = 200, 10
#: Every kind of answer that a policy gives: at once, later, never, in two steps, and by the file's kind.
BY_KIND = {
    "BACKEND": "rules",
    "OPTIONS": {
        "rules": [
            {"name": "*.tmp", "policy": "delayed"},
            {
                "name": "*.mp4",
                "policy": {
                    "BACKEND": "transfer-and-delete",
                    "OPTIONS": {"to": ["vault"], "after": "P2D", "keep": "P1DT3H"},
                },
            },
            {"smaller_than": 40, "policy": {"BACKEND": "transfer", "OPTIONS": {"to": ["near"]}}},
            {
                "larger_than": 80,
                "policy": {"BACKEND": "transfer-and-delete", "OPTIONS": {"keep": "PT30H"}},
            },
        ],
        "default": {"BACKEND": "transfer", "OPTIONS": {"after": "P3DT5H"}},
    },
}


class Telling(Policy):
    """Raises what a console could take for its markup, with a password."""

    def place(self, file: Any, tiers: Any, now: datetime) -> Any:
        raise ValueError("refused by hunter2secret [/tmp/x] :smile:")


@pytest.fixture
def now() -> Iterator[clock.Clock]:
    with clock.stopped() as stopped:
        yield stopped


@pytest.mark.slow
def test_engine_comes_to_the_same_placement_day_by_day(make_chain: Any, now: clock.Clock) -> None:
    storage: TieredStorage = make_chain(("disk", "near", "vault"), policy=BY_KIND)
    start = timezone.now()
    saves = sorted((start + (i * 7 % 25) * 9 * HOUR, i) for i in range(FILES))  # on 25 moments of ten days
    names = [f"{i}{('.tmp', '.mp4', '.txt', '.png')[i % 4]}" for i in range(FILES)]

    def simulated(days: int) -> tuple[dict[str, list[str]], Report]:
        files = [
            SimulatedFile(names[i], i % 120, "", saved_at, ["disk"])
            for saved_at, i in saves
            if saved_at < start + days * DAY
        ]
        follower = Simulation(storage.chain, start, days)
        follower.follow(files)
        return {file.name: list(file.tiers) for file in files}, follower.report(0, FILES)

    waiting = list(saves)
    for day in range(1, DAYS + 1):
        _live_until(
            start + day * DAY, now, waiting, lambda i: storage.save(names[i], ContentFile(b"x" * (i % 120)))
        )
        real = {row.name: row.tiers for row in StoredFile.objects.all()}
        placed, report = simulated(day)
        assert placed == real
        assert {name: tier.bytes for name, tier in report.days[-1].tiers.items()} == _bytes_by_tier(storage)
    assert {tuple(held) for held in real.values()} == {  # the load meets every rule
        ("disk",), ("disk", "near"), ("disk", "near", "vault"), ("near", "vault"), ("disk", "vault"), ("vault",),
    }  # fmt: skip


def _live_until(
    end: datetime, now: clock.Clock, waiting: list[tuple[datetime, int]], save: Callable[[int], object]
) -> None:
    """Save what is to be saved, and work whenever work falls due, until that moment."""
    while True:
        moments = [moment for moment, _ in waiting[:1]]
        due = StoredFile.objects.exclude(due_at=None).order_by("due_at").values_list("due_at", flat=True)
        moment = min([*moments, *due[:1], end])
        if moment >= end:
            now.shift((end - timezone.now()).total_seconds())
            return
        now.shift(max((moment - timezone.now()).total_seconds(), 0))
        while waiting and waiting[0][0] <= timezone.now():
            save(waiting.pop(0)[1])
        for _ in drain(own_process=False):
            pass


def _bytes_by_tier(storage: TieredStorage) -> dict[str, int]:
    return {
        tier.name: sum(
            path.stat().st_size for path in Path(tier.storage.location).rglob("*") if path.is_file()
        )  # type: ignore[attr-defined]
        for tier in storage.chain
    }


@pytest.fixture
def priced(make_chain: Any, tmp_path: Path, now: clock.Clock) -> TieredStorage:
    """Two disks, of which the second has a price; files go there after a day and from the first after another."""
    tier = {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": str(tmp_path)}}
    price = {"gb_month": 30.4375, "put_1000": 1000.0}  # 1 for a gigabyte and day, 1 for a file
    options = {"after": "P1D", "keep": "P1D"}
    chain: TieredStorage = make_chain(
        {"disk": "disk", "s3": tier | {"PRICE": price}},
        policy={"BACKEND": "transfer-and-delete", "OPTIONS": options},
    )
    return chain


def in_days(storage: TieredStorage, *files: SimulatedFile, days: int = 4) -> Report:
    simulation = Simulation(storage.chain, timezone.now(), days)
    simulation.follow(files)
    return simulation.report(len(files), 0)


def of_gigabytes(count: int, *, saved: float = 0.0, tiers: tuple[str, ...] = ("disk",)) -> SimulatedFile:
    return SimulatedFile("a.bin", count * GB, "", timezone.now() + saved * DAY, tiers)


class TestSums:
    def test_each_day_has_what_lies_there_at_its_end(self, priced: TieredStorage) -> None:
        report = in_days(priced, of_gigabytes(2))
        lies = [[tier.bytes // GB for tier in day.tiers.values()] for day in report.days]
        assert lies == [[2, 0], [2, 2], [0, 2], [0, 2]]  # copied when day 2 begins, released when day 3 does
        assert [day.moves for day in report.days] == [0, 1, 1, 0]
        assert report.days[1].tiers["s3"].copied_bytes == 2 * GB
        assert report.days[2].tiers["disk"].releases == 1

    def test_cost_is_of_the_time_that_bytes_lie_there(self, priced: TieredStorage) -> None:
        report = in_days(priced, of_gigabytes(2, saved=0.25))
        # From day 2, 6 o'clock: 1 for the file, 2 for each day and 3/4 of that for the first.
        assert [day.cost for day in report.days] == pytest.approx([0, 1 + 1.5, 2, 2])

    def test_what_was_there_before_is_no_move(self, priced: TieredStorage) -> None:
        report = in_days(priced, of_gigabytes(2, saved=-9, tiers=("s3",)))
        assert report.before == {"disk": 0, "s3": 2 * GB}
        assert [(day.moves, day.cost) for day in report.days] == [(0, pytest.approx(2))] * 4

    def test_tier_without_price_costs_nothing_that_is_known(self, make_chain: Any) -> None:
        report = in_days(make_chain(), of_gigabytes(1))
        assert [day.cost for day in report.days] == [None] * 4

    def test_egress_and_reads_are_of_the_tier_that_is_copied_from(
        self, make_chain: Any, tmp_path: Path
    ) -> None:
        price = {"egress_gb": 0.5, "get_1000": 250.0}
        tier = {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": str(tmp_path)},
        }
        storage = make_chain({"disk": tier | {"PRICE": price}, "s3": "disk"})
        report = in_days(storage, of_gigabytes(2), days=2)
        assert [day.tiers["disk"].cost for day in report.days] == pytest.approx([2 * 0.5 + 0.25, 0])

    def test_file_that_comes_after_the_end_is_left_out(self, priced: TieredStorage) -> None:
        assert in_days(priced, of_gigabytes(1, saved=4)).days[-1].tiers["disk"].files == 0

    def test_share_stands_for_all(self, priced: TieredStorage) -> None:
        simulation = Simulation(priced.chain, timezone.now(), 2)
        simulation.follow([of_gigabytes(1)], share=0.1)
        report = simulation.report(10, 0)
        assert (report.is_estimate, report.days[0].tiers["disk"].files) == (True, 10)
        assert report.days[1].tiers["s3"].copied_bytes == 10 * GB


class TestPolicies:
    def test_one_that_fails_leaves_the_file_and_is_told(self, make_chain: Any) -> None:
        storage = make_chain(policy="tests.policies.policies.Nowhere")
        report = in_days(storage, of_gigabytes(1), of_gigabytes(1))
        assert list(report.failures.values()) == [2]
        assert "places 'a.bin' on no tier at all" in next(iter(report.failures))
        assert report.days[-1].tiers["disk"].bytes == 2 * GB

    def test_one_that_never_lets_go_of_a_file_ends(
        self, make_chain: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(simulation, "LOOKS", 20)
        report = in_days(make_chain(policy="tests.policies.policies.Restless"), of_gigabytes(1))
        assert report.failures == {"the policy asked to look at a file again more than 20 times": 1}

    def test_files_of_the_catalog_have_their_own(self, make_chain: Any) -> None:
        storage = make_chain(policy="transfer")
        storage.save("a.txt", ContentFile(b"12"))
        storage.with_policy("delayed").save("b.txt", ContentFile(b"345"))
        report = simulation.run(storage.chain, days=1)
        assert [tier.bytes for tier in report.days[0].tiers.values()] == [5, 2]

    def test_another_one_is_tried_on_all(self, make_chain: Any) -> None:
        storage = make_chain(policy="transfer")
        storage.with_policy("delayed").save("b.txt", ContentFile(b"345"))
        report = simulation.run(storage.chain, days=1, policy="transfer-and-delete")
        assert [tier.bytes for tier in report.days[0].tiers.values()] == [0, 3]
        assert report.before == {"disk": 3, "vault": 0}

    def test_unknown_one_is_refused(self, make_chain: Any) -> None:
        with pytest.raises(ConfigurationError, match="there is no policy 'transfr'"):
            simulation.run(make_chain().chain, days=1, policy="transfr")

    def test_chain_without_one_needs_to_be_told_which(self, make_chain: Any) -> None:
        with pytest.raises(ConfigurationError, match="--policy NAME"):
            simulation.run(make_chain(policy=None).chain, days=1)


class TestFiles:
    def test_of_the_catalog_are_those_that_live(self, make_chain: Any) -> None:
        storage = make_chain()
        for name in ("a.txt", "b.txt", "c.txt"):
            storage.save(name, ContentFile(b"1"))
        storage.delete("b.txt")
        assert {file.name for file in simulation.of_catalog("media")} == {"a.txt", "c.txt"}

    def test_of_many_only_some_are_followed(self, make_chain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(simulation, "FOLLOWED", 50)
        storage = make_chain()
        facts = {"chain": "media", "size": 10, "saved_at": timezone.now(), "tiers": ["disk"]}
        StoredFile.objects.bulk_create(
            StoredFile(name=str(i), key=StoredFile.key_of(str(i)), **facts) for i in range(400)
        )
        report = simulation.run(storage.chain, days=1)
        assert (report.is_estimate, report.files) == (True, 400)
        assert report.days[0].tiers["vault"].files == pytest.approx(400, rel=0.5)
        exact = simulation.run(storage.chain, days=1, exact=True)
        assert (exact.is_estimate, exact.days[0].tiers["vault"].files) == (False, 400)

    def test_same_seed_same_load(self, make_chain: Any) -> None:
        chain = make_chain().chain
        loads = [Load(20, 1000, seed) for seed in (1, 1, 2)]
        start = timezone.now()
        one, again, other = (list(simulation.to_come(chain, load, start, 3, 20)) for load in loads)
        assert one == again != other

    def test_mean_size_is_kept(self, make_chain: Any) -> None:
        load = Load(1000, 10**6)
        files = list(simulation.to_come(make_chain().chain, load, timezone.now(), 10, 1000))
        assert sum(file.size or 0 for file in files) / len(files) == pytest.approx(10**6, rel=0.05)

    def test_those_to_come_are_as_the_catalogs(self, make_chain: Any) -> None:
        storage = make_chain()
        storage.save("a.mp4", ContentFile(b"12345"))
        (file,) = simulation.to_come(storage.chain, Load(1), timezone.now(), 1, 1)
        assert (file.name, file.size, file.tiers) == ("a.mp4", 5, ["disk"])

    def test_many_to_come_are_followed_in_part(
        self, make_chain: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(simulation, "FOLLOWED", 20)
        report = simulation.run(make_chain().chain, days=10, load=Load(100, 1000))
        assert (report.is_estimate, report.new_files) == (True, 1000)
        assert report.days[-1].tiers["disk"].files == 1000  # 2 a day, each for 50


class TestCommand:
    def test_prints_what_lies_where(self, priced: TieredStorage) -> None:
        priced.save("a.bin", ContentFile(b"x" * 2048))
        code, printed = tiers("simulate", "--chain", "media", "--days", "4")
        assert code == 0
        assert "media: 4 days of policy (written out in the settings), from 1 files; 0 come" in printed
        row = next(line for line in printed.splitlines() if line.startswith("s3")).split()
        assert row == ["s3", "▁███", "0", "bytes", "2.0", "KB", "2.0", "KB", "1", "(2.0", "KB)", "0", "1.00"]

    def test_changes_nothing(self, priced: TieredStorage) -> None:
        priced.save("a.bin", ContentFile(b"x"))
        before = list(StoredFile.objects.values())
        tiers("simulate", "--chain", "media", "--files-per-day", "5")
        assert list(StoredFile.objects.values()) == before
        assert (priced.tiers("a.bin"), priced.exists("simulated/0-0")) == (["disk"], False)

    def test_json_has_every_day(self, priced: TieredStorage) -> None:
        code, document = tiers_json(
            "simulate", "--chain", "media", "--files-per-day", "3", "--mean-size", "2MB", "--no-catalog"
        )
        assert (code, len(document["days"]), document["new_files"], document["files"]) == (0, 90, 270, 0)
        assert document["days"][0]["tiers"]["disk"]["files"] == 3
        assert document["days"][89]["cost"] > document["days"][9]["cost"] > 0

    def test_plot_is_a_picture(self, priced: TieredStorage, tmp_path: Path) -> None:
        picture = tmp_path / "plot.svg"
        tiers("simulate", "--chain", "media", "--files-per-day", "3", "--plot", str(picture))
        root = ElementTree.parse(picture).getroot()  # noqa: S314 - written by this test
        assert len(root.findall("{http://www.w3.org/2000/svg}polygon")) == 2  # one for each tier
        assert {"disk", "s3"} <= {text.text for text in root.iter("{http://www.w3.org/2000/svg}text")}

    @pytest.mark.parametrize("form", [[], ["--json"]])
    def test_failure_tells_no_secret(self, make_chain: Any, settings: Any, form: list[str]) -> None:
        settings.MY_PASSWORD = "hunter2secret"
        make_chain(policy={"BACKEND": "tests.test_simulation.Telling"})
        code, printed = tiers("simulate", "--days", "2", "--files-per-day", "1", "--no-catalog", *form)
        assert (code, "hunter2secret" in printed) == (2, False)
        assert "ValueError: refused by *** [/tmp/x] :smile:" in printed

    @pytest.mark.parametrize("days", ["36501", "3000000", "99999999999"])
    def test_days_end_somewhere(self, make_chain: Any, days: str) -> None:
        make_chain(policy="transfer")
        with pytest.raises(CommandError, match="--days: write a whole number, 1 to 36,500"):
            tiers("simulate", "--days", days, "--files-per-day", "1")

    def test_failure_is_a_finding(self, make_chain: Any) -> None:
        make_chain(policy="tests.policies.policies.Nowhere")
        code, printed = tiers("simulate", "--chain", "media", "--files-per-day", "1", "--days", "2")
        assert code == 2
        assert "stays where it is" in printed

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            ([], "There is no file to follow. Have some come: --files-per-day"),
            (["--mean-size", "5"], "say how many do, with --files-per-day"),
            (["--policy", "transfr"], "Did you mean 'transfer'?"),
            (["--files-per-day", "1", "--plot", "/nowhere/plot.svg"], "--plot: "),
        ],
    )
    def test_mistake_is_told(self, arguments: list[str], told: str, make_chain: Any) -> None:
        make_chain()
        with pytest.raises(CommandError, match=told.replace("?", r"\?")):
            call_command("tiers", "simulate", "--chain", "media", *arguments)


@pytest.mark.parametrize(
    ("text", "number"),
    [("500", 500), ("500kB", 500_000), ("2MB", 2_000_000), ("1.5 GiB", 3 * 2**29), ("64KiB", 2**16)],
)
def test_size_is_read(text: str, number: int) -> None:
    assert size(text) == number


@pytest.mark.parametrize("text", ["", "0", "2TB", "-1", "i", "5i"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(Exception, match="write a number of bytes above 0"):
        size(text)


@pytest.mark.parametrize(
    ("values", "curve"),
    [([], ""), ([0, 0], "▁▁"), ([0, 50, 100], "▁▅█"), ([1], "█"), (list(range(16)), "▁▂▃▄▅▆▇█")],
)
def test_curve(values: list[float], curve: str) -> None:
    assert plotting.curve(values, width=8) == curve


def test_report_is_json(make_chain: Any) -> None:
    report = in_days(make_chain(), of_gigabytes(1), days=1)
    assert json.loads(json.dumps(report.as_dict(), default=str))["days"][0]["moves"] == 1
