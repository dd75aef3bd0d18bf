"""The admin's dashboard: what it tells is what the catalog says, and what it costs does not grow with the files."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from django.contrib.auth.models import Permission
from django.core.files.base import ContentFile
from django.db import connections
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone, translation

from queued_storage import applied, catalog, census, operations, outage, sampling
from queued_storage.admin import dashboard, drawing, history
from queued_storage.chain import chains
from queued_storage.models import Host, Sample, StoredFile
from queued_storage.testing import faulty

pytestmark = pytest.mark.django_db

DASHBOARD = "admin:queued_storage_storedfile_dashboard"
LIST = "admin:queued_storage_storedfile_changelist"
MINUTE = timedelta(minutes=1)
NOON = datetime(2026, 3, 1, 12, 7, 31, tzinfo=UTC)


def rows(count: int, state: str = "settled", chain: str = "media", **facts: Any) -> None:
    common = {
        "chain": chain,
        "state": state,
        "saved_at": timezone.now(),
        "size": 10,
        "tiers": ["vault"],
    } | facts
    begin = catalog.newest()
    named = [f"{state}-{begin + number}.jpg" for number in range(count)]
    files = [StoredFile(name=name, key=StoredFile.key_of(name), **common) for name in named]
    catalog.files().bulk_create(files, batch_size=500)


def sample(taken_at: datetime, chain: str = "media", **facts: int) -> Sample:
    known = {
        "pending": 0,
        "pending_bytes": 0,
        "failed": 0,
        "seconds": 60,
        "copied": 0,
        "copied_bytes": 0,
        "newest": 0,
    }
    return Sample(chain=chain, taken_at=taken_at, **(known | facts))


def svgs(page: str) -> list[ET.Element]:
    return [
        ET.fromstring(each)  # noqa: S314
        for each in re.findall(r'<svg class="(?:flow|plot).*?</svg>', page, re.DOTALL)
    ]


def test_it_tells_what_status_tells(admin_client: Any, make_chain: Any) -> None:
    make_chain()
    rows(7)
    rows(3, "pending", tiers=["disk"], due_at=timezone.now() - timedelta(hours=2))
    rows(2, "failed", tiers=["disk"], last_error="tier 'vault' is full")
    response = admin_client.get(reverse(DASHBOARD))
    (part,) = response.context["parts"]
    status = operations.status("media")
    assert part.status == status
    told = {figure.name: (figure.value, figure.more) for figure in part.figures}
    assert told == {
        "Files": ("12", "120\xa0bytes"), "Pending": ("3", "0 in hand"), "Failed": ("2", ""),
        "Longest owed": ("2\xa0hours", ""), "On disk alone": ("5", "50\xa0bytes"),
        "Copied in 5 minutes": ("0", "0\xa0bytes"),
    }  # fmt: skip
    page = response.content.decode()
    assert "tier &#x27;vault&#x27; is full" in page
    for figure in part.figures:
        if figure.link:
            assert admin_client.get(figure.link).context["cl"].result_count == int(figure.value)


def test_list_leads_to_it(admin_client: Any, make_chain: Any) -> None:
    make_chain()
    assert f'href="{reverse(DASHBOARD)}"' in admin_client.get(reverse(LIST)).content.decode()


def test_it_is_seen_by_permission(client: Any, django_user_model: Any, make_chain: Any) -> None:
    make_chain()
    assert client.get(reverse(DASHBOARD)).status_code == 302
    user = django_user_model.objects.create_user("reader", is_staff=True)
    client.force_login(user)
    assert client.get(reverse(DASHBOARD)).status_code == 403
    user.user_permissions.add(Permission.objects.get(codename="view_storedfile"))
    assert client.get(reverse(DASHBOARD)).status_code == 200


def test_one_chain_and_another_time_can_be_chosen(admin_client: Any, make_chain: Any) -> None:
    make_chain()
    make_chain(alias="other")
    shown = admin_client.get(reverse(DASHBOARD), {"chain": "other", "period": "hour"})
    assert [part.status.chain for part in shown.context["parts"]] == ["other"]
    assert len(shown.context["parts"][0].steps) == 60
    unknown = admin_client.get(reverse(DASHBOARD), {"chain": "nowhere", "period": "aeon"})
    assert {part.status.chain for part in unknown.context["parts"]} >= {"media", "other"}
    assert unknown.context["period"] == dashboard.PERIODS["day"]


def test_it_is_loaded_again_unless_that_is_not_wanted(admin_client: Any, make_chain: Any) -> None:
    make_chain()
    assert '<meta http-equiv="refresh" content="' in admin_client.get(reverse(DASHBOARD)).content.decode()
    still = admin_client.get(reverse(DASHBOARD), {"refresh": "off"}).content.decode()
    assert "http-equiv" not in still


def test_page_that_takes_long_is_loaded_less_often(
    admin_client: Any, make_chain: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_chain()
    times = iter([100.0, 104.0])
    monkeypatch.setattr(dashboard, "monotonic", lambda: next(times))
    assert admin_client.get(reverse(DASHBOARD)).context["refresh"] == 80


def test_tier_that_is_down_stands_out(admin_client: Any, make_chain: Any) -> None:
    make_chain(
        {"disk": "disk", "far": faulty.tier("far", TIMEOUT=5), "old": faulty.tier("old", READ_ONLY=True)}
    )
    outage.mark_down(chains["media"]["far"])
    response = admin_client.get(reverse(DASHBOARD))
    (part,) = response.context["parts"]
    assert part.silent == ["far"]
    assert [(tier.is_first, tier.is_read_only, tier.is_down) for tier in part.tiers] == [
        (True, False, None), (False, False, True), (False, True, None)
    ]  # fmt: skip
    assert "does not answer" in part.flow.told
    assert [way.is_used for way in part.flow.ways] == [True, False]
    faulty.forget_all()


def test_chain_that_only_the_catalog_knows_is_shown(admin_client: Any, make_chain: Any) -> None:
    make_chain()
    rows(4, chain="of-another-project")
    page = admin_client.get(reverse(DASHBOARD), {"chain": "of-another-project"})
    assert [figure.value for figure in page.context["parts"][0].figures][:1] == ["4"]
    assert "does not know the chain" in page.content.decode()


def test_changed_settings_are_told(admin_client: Any, make_chain: Any) -> None:
    make_chain(policy="transfer").save("a.txt", ContentFile(b"1"))
    applied.record(chains["media"])
    assert admin_client.get(reverse(DASHBOARD)).context["parts"][0].status.changes == []
    make_chain(policy="transfer-and-delete")
    response = admin_client.get(reverse(DASHBOARD))
    assert response.context["parts"][0].status.changes == applied.pending(chains["media"]) != []
    assert "tiers plan --chain media" in response.content.decode()


def test_host_that_is_silent_stands_out(
    admin_client: Any, make_chain: Any, settings: Any, tmp_path: Path
) -> None:
    settings.QUEUED_STORAGE_HOST = "web-1"
    make_chain()
    assert admin_client.get(reverse(DASHBOARD)).context["hosts"] == []
    disk = {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": str(tmp_path / "own")},
    }
    make_chain({"disk": {**disk, "SHARED": False}, "vault": "disk"}, alias="own")
    since = timezone.now() - timedelta(days=1)
    rows(3, "pending", "own", tiers=["disk"], host="web-2", for_host="web-2", due_at=since)
    response = admin_client.get(reverse(DASHBOARD))
    told = {host.host: (host.owed, host.is_silent) for host in response.context["hosts"]}
    assert told["web-2"] == (3, True)
    assert "Host web-2 gives no sign of life, and 3 wait for it." in response.content.decode()
    catalog.files().filter(host="web-2").update(state="failed", due_at=None)
    Host.objects.create(name="web-2", given_up_at=timezone.now())
    page = admin_client.get(reverse(DASHBOARD)).content.decode()
    assert "gives no sign of life" not in page
    assert "<td>given up</td>" in page


def test_pictures_are_whole_and_say_what_they_show(admin_client: Any, make_chain: Any) -> None:
    make_chain()
    rows(3, "pending", tiers=["disk"], due_at=timezone.now())
    sampling.take()
    flow, backlog, throughput = svgs(admin_client.get(reverse(DASHBOARD)).content.decode())
    assert flow.get("aria-label") == (
        "media: disk, 3 files, 30\xa0bytes; vault, 0 files, 0\xa0bytes. 3 pending, 0 in hand."
    )
    assert str(backlog.get("aria-label")).startswith("Files owed work. pending: 3 at the end")
    assert throughput.get("aria-label") == "Files copied a minute. No samples yet."
    ids = re.findall(r' id="([^"]+)"', admin_client.get(reverse(DASHBOARD)).content.decode())
    assert len(ids) == len(set(ids))


def test_page_has_neither_script_nor_style_inside(admin_client: Any, make_chain: Any) -> None:
    """A policy of content that allows only the site's own files breaks nothing."""
    make_chain()
    rows(1, "pending", tiers=["disk"], due_at=timezone.now())
    page = admin_client.get(reverse(DASHBOARD)).content.decode()
    content = page[page.index('id="content-main"') : page.index('id="footer"')]
    assert not re.search(r"<script|<style|\sstyle=|\son\w+=|https?://", content.replace("http-equiv", ""))


@pytest.mark.parametrize("language", ["de", "fr"])
def test_pictures_are_drawn_in_any_language(
    admin_client: Any, make_chain: Any, language: str, settings: Any
) -> None:
    """A decimal comma, or a thousand's separator, would break them."""
    settings.USE_THOUSAND_SEPARATOR = True
    settings.LANGUAGE_CODE = language
    make_chain()
    catalog.add_samples(
        [sample(timezone.now() - number * MINUTE, pending=12_345, copied=7) for number in range(3)]
    )
    with translation.override(language):
        pictures = svgs(admin_client.get(reverse(DASHBOARD)).content.decode())
    assert len(pictures) == 3
    for picture in pictures:
        for element in picture.iter():
            numbers = [element.get(key) for key in ("x", "y", "d", "width", "height", "viewBox", "transform")]
            assert not [each for each in numbers if each and re.search(r"[^-0-9. MHLCZtranslate()]", each)], (
                numbers
            )


class TestCost:
    """The same queries however many files there are; each of those goes by an index (tests/test_scale.py)."""

    @pytest.mark.parametrize("path", [DASHBOARD, LIST])
    def test_queries_do_not_grow(
        self, admin_client: Any, make_chain: Any, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(census, "COUNTED", 100)
        make_chain()
        counts = []
        for count in (120, 240):
            rows(count)
            rows(count // 10, "pending", tiers=["disk"], due_at=timezone.now())
            rows(count // 10, "failed", last_error="no room")
            catalog.add_samples([sample(NOON - number * MINUTE) for number in range(count)])
            with CaptureQueriesContext(connections["default"]) as asked:
                assert admin_client.get(reverse(path)).status_code == 200
            counts.append(len(asked))
        assert counts[0] == counts[1] <= 16

    def test_samples_go_by_an_index(self, catalog_db: str, make_chain: Any) -> None:
        make_chain()
        now = timezone.now().replace(second=0, microsecond=0)
        many = [sample(now - number * MINUTE, chain) for chain in ("media", "other") for number in range(800)]
        catalog.add_samples(many)
        connection = connections[catalog_db]
        with connection.cursor() as cursor:
            table = connection.ops.quote_name(Sample._meta.db_table)
            cursor.execute({"mysql": f"ANALYZE TABLE {table}"}.get(connection.vendor, f"ANALYZE {table}"))
        asked = (
            catalog.samples("media").filter(taken_at__gte=now - 30 * MINUTE),
            catalog.samples("media").reverse()[:1],
        )
        for query in asked:
            plan = query.explain().replace("sqlite_autoindex_queued_storage_sample", "one_sample_a_minute")
            assert "one_sample_a_minute" in plan, plan


class TestSteps:
    """Samples put together to the steps of a plot."""

    def steps(self, *samples: Sample, length: int = 10, step: int = 1) -> list[history.Step]:
        catalog.add_samples(samples)
        return history.steps("media", NOON, length * MINUTE, step * MINUTE)

    def test_last_step_has_now_in_it(self) -> None:
        steps = self.steps(length=60, step=15)
        assert [step.begin.strftime("%H:%M") for step in steps] == ["11:15", "11:30", "11:45", "12:00"]

    def test_most_of_a_step_is_told_of_what_is_owed(self) -> None:
        minutes = [sample(NOON.replace(second=0) - number * MINUTE, pending=number) for number in range(7)]
        steps = self.steps(*minutes, length=30, step=5)
        assert [step.pending for step in steps] == [None, None, None, None, 6, 2]

    def test_copied_is_shared_out_over_the_time_in_which_it_was(self) -> None:
        """No sweep ran for four minutes: what was copied meanwhile was so at some time of them."""
        last = sample(NOON.replace(minute=5, second=0), seconds=240, copied=8, copied_bytes=80)
        steps = self.steps(last, length=8)
        assert [step.a_minute for step in steps] == [None, 2, 2, 2, 2, None, None, None]
        assert [step.bytes_a_minute for step in steps][1] == 20
        assert [step.pending for step in steps] == [None] * 5 + [0, None, None]

    def test_sum_of_the_steps_is_what_the_samples_say(self) -> None:
        begin = NOON.replace(second=0)
        samples = [sample(begin - 7 * number * MINUTE, seconds=420, copied=number + 1) for number in range(5)]
        steps = self.steps(*samples, length=60, step=3)
        assert sum(step.copied for step in steps) == pytest.approx(15)

    def test_other_chains_and_other_times_are_left_out(self) -> None:
        others = sample(NOON - MINUTE, "other", pending=9), sample(NOON - 99 * MINUTE, pending=9)
        assert not [step for step in self.steps(*others) if step.is_known]


class TestDrawing:
    def plot(self, *values: float | None) -> drawing.Plot:
        times = [NOON + number * MINUTE for number in range(len(values))]
        return drawing.plot("Files", times, [drawing.Series("pending", "pending", values, is_area=True)])

    def test_greatest_value_is_at_the_top_and_nothing_at_the_bottom(self) -> None:
        (line,) = self.plot(0, 8).lines
        assert line.path == "M56 182L448 14"
        assert line.area == "M56 182L56 182L448 14L448 182Z"

    def test_gap_is_one(self) -> None:
        (line,) = self.plot(8, 8, None, 8).lines
        assert line.path.count("M") == 2

    def test_nothing_known_is_told(self) -> None:
        assert self.plot(None, None).is_empty
        assert self.plot(None, None).lines[0].path == ""

    @pytest.mark.parametrize(
        ("most", "top"), [(0, 4), (3, 4), (5, 6), (101, 120), (950, 1000), (1_000_000, 1_000_000), (7.2, 8)]
    )
    def test_axis_ends_at_a_round_number(self, most: float, top: float) -> None:
        assert drawing.nice_top(most) == top

    @pytest.mark.parametrize(
        ("value", "text"),
        [(0, "0"), (2.5, "2.5"), (999, "999"), (1_200, "1.2k"), (3e6, "3M"), (4.2e9, "4.2G")],
    )
    def test_numbers_are_written_short(self, value: float, text: str) -> None:
        assert drawing.short(value) == text

    def test_names_are_escaped(self, admin_client: Any, make_chain: Any) -> None:
        make_chain()
        rows(1, chain="<b>x")
        page = admin_client.get(reverse(DASHBOARD)).content.decode()
        assert "<b>x" not in page
        assert "&lt;b&gt;x" in page

    @pytest.mark.parametrize("tiers", [1, 2, 5])
    def test_boxes_lie_inside_and_apart(self, tiers: int) -> None:
        flow = drawing.flow("media", [drawing.Tier(f"t{n}", n, n, 0.5) for n in range(tiers)], 1, 0)
        places = [(float(box.x), float(box.y)) for box in flow.boxes]
        assert all(
            0 <= x <= flow.width - drawing.BOX and 0 <= y <= flow.height - drawing.HIGH for x, y in places
        )
        below = sorted(y for _, y in places[1:])
        assert all(b - a > drawing.HIGH for a, b in pairwise(below))


def test_file_saved_is_seen_at_once(admin_client: Any, make_chain: Any) -> None:
    storage = make_chain()
    storage.save("a.txt", ContentFile(b"1234"))
    (part,) = admin_client.get(reverse(DASHBOARD)).context["parts"]
    assert (part.status.pending, part.flow.is_owed) == (1, True)
