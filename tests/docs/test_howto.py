"""What the how-to guides show works: their settings make chains, and their files go where the text says."""

from __future__ import annotations

import json
import shlex
import sys
from datetime import UTC, datetime, timedelta
from io import BytesIO, StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import time_machine
from django.core.checks import run_checks
from django.core.files.base import ContentFile
from django.core.management import call_command
from PIL import Image

from queued_storage.chain import chains
from queued_storage.storage import tiered_storages
from queued_storage.testing import run_owed_work

from tests.docs.pages import DOCS, blocks, captioned, shown_by_mistake
from tests.testapp.models import Document, Picture

PAGES = sorted(DOCS.rglob("*.rst"))
HOWTO = DOCS / "howto"
WITH_SETTINGS = [
    page
    for page in sorted(HOWTO.glob("*.rst"))
    if any(block.caption == "settings.py" for block in blocks(page))
]
DISK = "django.core.files.storage.FileSystemStorage"


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Write a page's policies where the settings of the page look for them."""

    def write(page: Path) -> None:
        for block in blocks(page):
            if block.caption == "shop/policies.py":
                (tmp_path / "shop").mkdir()
                (tmp_path / "shop" / "policies.py").write_text(block.code)
        for name in ("shop", "shop.policies"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.syspath_prepend(str(tmp_path))

    return write


@pytest.fixture
def follow(settings: Any, shop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Set what a page's block of settings sets; tiers that are named here are folders."""

    def set_up(page: str, caption: str = "settings.py", *folders: str) -> None:
        shop(HOWTO / page)
        # azure-identity is in no extra: its users choose it, and nothing here asks it for a token.
        identity = SimpleNamespace(DefaultAzureCredential=SimpleNamespace)
        monkeypatch.setitem(sys.modules, "azure.identity", identity)
        scope: dict[str, Any] = {
            "INSTALLED_APPS": [],
            "MEDIA_ROOT": tmp_path / "media",
            "MEDIA_URL": "/media/",
            "STORAGES": {"default": {}, "staticfiles": {}},
        }
        exec(captioned(f"howto/{page}", caption), scope)  # noqa: S102 - the page is ours
        tiers = scope.get("QUEUED_STORAGE_TIERS", settings.QUEUED_STORAGE_TIERS)
        for tier in folders:
            options = {"location": str(tmp_path / tier), "base_url": f"/{tier}/"}
            tiers["media"]["TIERS"][tier] = {"BACKEND": DISK, "OPTIONS": options, "EXCLUSIVE": True}
        if "disk" in tiers.get("media", {}).get("TIERS", {}):
            tiers["media"]["TIERS"]["disk"]["OPTIONS"]["location"] = str(tmp_path / "media")
        settings.QUEUED_STORAGE_TIERS = tiers
        settings.QUEUED_STORAGE_POLICIES = scope.get(
            "QUEUED_STORAGE_POLICIES", getattr(settings, "QUEUED_STORAGE_POLICIES", {})
        )

    return set_up


@pytest.mark.parametrize("page", WITH_SETTINGS, ids=lambda page: page.stem)
def test_settings_of_the_page_pass_the_checks(page: Path, follow: Any, settings: Any) -> None:
    settings.QUEUED_STORAGE_TIERS = {}
    if page.stem == "write-a-policy":  # it shows no chain
        tiers = {tier: {"BACKEND": DISK, "OPTIONS": {"location": f"/{tier}"}} for tier in ("disk", "s3")}
        settings.QUEUED_STORAGE_TIERS = {"media": {"TIERS": tiers, "POLICY": "large"}}
    follow(page.name)
    told = [message for message in run_checks(tags=["queued_storage"]) if "media" in str(message)]
    assert not told
    for tier in chains["media"]:
        _ = tier.storage


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_code_of_the_page_can_be_read(page: Path) -> None:
    for block in blocks(page):
        if block.language == "python" and block.caption:  # others may be parts of something
            compile(block.code, str(page), "exec")
        elif block.language == "json":
            json.loads(block.code)


def transfer() -> str:
    output = StringIO()
    call_command("tiers", "transfer", "--chain", "media", "--all", stdout=output)
    run_owed_work()
    return output.getvalue()


@pytest.mark.django_db
def test_media_move_and_come_back(follow: Any, tmp_path: Path) -> None:
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "old.png").write_bytes(b"old")
    page = "move-media-to-s3.rst"
    follow(page, "settings.py", "s3")
    media = tiered_storages["media"]
    assert (media.tier("old.png"), media.state("old.png")) == ("disk", None)
    new = media.save("new.png", ContentFile(b"new"))
    transfer()
    assert {name: media.tiers(name) for name in ("old.png", new)} == {
        "old.png": ["disk", "s3"],
        new: ["disk", "s3"],
    }
    for caption, tier in (("settings.py, later", "s3"), ("settings.py, back again", "disk")):
        with time_machine.travel(datetime.now(UTC) + timedelta(hours=2)):  # "keep" is over
            follow(page, caption)
            transfer()
        assert [media.tiers(name) for name in ("old.png", new)] == [[tier], [tier]]
        with media.open("old.png") as file:
            assert file.read() == b"old"


@pytest.mark.django_db
def test_files_cool_down(follow: Any) -> None:
    follow("add-a-cold-tier.rst", "settings.py", "s3", "vault")
    media = tiered_storages["media"]
    name = media.save("report.pdf", ContentFile(b"%PDF"))
    run_owed_work()
    assert (media.tiers(name), media.state(name)) == (["s3"], "settled")
    with time_machine.travel(datetime.now(UTC) + timedelta(days=29)):
        run_owed_work()
        assert media.tiers(name) == ["s3"]
    with time_machine.travel(datetime.now(UTC) + timedelta(days=31)):
        run_owed_work()
        assert (media.tiers(name), media.state(name)) == (["vault"], "settled")


@pytest.mark.django_db
def test_thumbnail_is_made_before_the_move(make_chain: Any) -> None:
    make_chain(["near", "far"], policy="transfer-and-delete")
    scope: dict[str, Any] = {}
    exec(captioned("howto/thumbnails-before-the-move.rst", "thumbnails.py"), scope)  # noqa: S102 - the page is ours
    content = BytesIO()
    Image.new("RGBA", (1000, 500)).save(content, "PNG")
    picture = Picture.objects.create(image=ContentFile(content.getvalue(), "cat.png"))
    photo = SimpleNamespace(image=picture.image, thumbnail=Document().file)
    scope["make_thumbnail"](photo)
    assert (picture.image.tier, picture.image.state) == ("near", "settled")
    with photo.thumbnail.open() as file, Image.open(file) as thumbnail:
        assert thumbnail.size == (400, 200)
    picture.image.transfer()
    run_owed_work()
    assert "far" in picture.image.tiers


@pytest.mark.django_db
def test_simulation_comes_to_what_the_page_shows(
    follow: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    follow("simulate.rst")
    page = blocks(HOWTO / "simulate.rst")
    typed = next(block.code for block in page if block.language == "console")
    output, plot = StringIO(), tmp_path / "cold.svg"
    command = shlex.split(typed.partition("manage.py ")[2].replace(plot.name, str(plot)))
    call_command(*command, stdout=output)
    lines = output.getvalue().splitlines()
    shown = next(block.code for block in page if block.language == "text").strip().splitlines()
    assert [line.split() for line in lines[: len(shown)]] == [line.split() for line in shown]
    assert plot.read_text() == (DOCS / "_static" / "simulate.svg").read_text()


def test_table_of_the_policy_holds(shop: Any) -> None:
    shop(HOWTO / "write-a-policy.rst")
    scope: dict[str, Any] = {}
    exec(captioned("howto/write-a-policy.rst", "shop/tests.py"), scope)  # noqa: S102 - the page is ours
    scope["test_large_files_leave_the_disk"]()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_no_comment_or_directive_is_shown_as_text(page: Path) -> None:
    assert shown_by_mistake(page) == []
