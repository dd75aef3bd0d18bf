"""SymlinkOrCopyStorage: links inside the allowed folders, copies the rest, and never touches what it links to."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile, File
from django.core.files.uploadedfile import TemporaryUploadedFile

from queued_storage import catalog
from queued_storage.catalog import Saved
from queued_storage.contrib.storages.symlink import SymlinkOrCopyStorage
from queued_storage.testing import run_owed_work

BACKEND = "queued_storage.contrib.storages.symlink.SymlinkOrCopyStorage"


@pytest.fixture
def originals(tmp_path: Path) -> Path:
    folder = tmp_path / "originals"
    folder.mkdir()
    (folder / "film.mp4").write_bytes(b"film")
    return folder


@pytest.fixture
def storage(tmp_path: Path, originals: Path) -> SymlinkOrCopyStorage:
    return SymlinkOrCopyStorage(tmp_path / "media", "/media/", symlink_within=[originals])


def save(storage: Any, path: Path, name: str = "in/film.mp4", **options: Any) -> str:
    with path.open("rb") as file:
        saved: str = storage.save(name, File(file), **options)
    return saved


def is_link(storage: SymlinkOrCopyStorage, name: str) -> bool:
    return os.path.islink(storage.path(name))


def read(storage: Any, name: str) -> bytes:
    with storage.open(name) as file:
        content: bytes = file.read()
    return content


def test_file_inside_an_allowed_folder_is_linked(storage: SymlinkOrCopyStorage, originals: Path) -> None:
    name = save(storage, originals / "film.mp4")
    assert name == "in/film.mp4"
    assert os.readlink(storage.path(name)) == str(originals / "film.mp4")
    assert (storage.exists(name), storage.size(name), read(storage, name)) == (True, 4, b"film")
    assert storage.listdir("in") == ([], ["film.mp4"])
    assert storage.url(name) == "/media/in/film.mp4"


def test_name_of_the_content_will_do(storage: SymlinkOrCopyStorage, originals: Path) -> None:
    with (originals / "film.mp4").open("rb") as file:
        assert storage.save(None, File(file, name="film.mp4")) == "film.mp4"
    assert is_link(storage, "film.mp4")


def test_delete_removes_the_link_alone(storage: SymlinkOrCopyStorage, originals: Path) -> None:
    name = save(storage, originals / "film.mp4")
    storage.delete(name)
    assert not storage.exists(name)
    assert (originals / "film.mp4").read_bytes() == b"film"


def test_taken_name_becomes_another(storage: SymlinkOrCopyStorage, originals: Path) -> None:
    names = [save(storage, originals / "film.mp4") for _ in range(2)]
    assert len(set(names)) == 2
    assert all(is_link(storage, name) for name in names)


def test_file_outside_is_copied(storage: SymlinkOrCopyStorage, tmp_path: Path) -> None:
    (tmp_path / "originals-not").mkdir()
    outside = tmp_path / "originals-not" / "a.mp4"
    outside.write_bytes(b"outside")
    name = save(storage, outside)
    assert not is_link(storage, name)
    outside.unlink()
    assert read(storage, name) == b"outside"


def test_link_that_leads_out_of_the_folder_is_copied(
    storage: SymlinkOrCopyStorage, originals: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_bytes(b"outside")
    (originals / "trap.mp4").symlink_to(tmp_path / "secret")
    assert not is_link(storage, save(storage, originals / "trap.mp4"))
    assert not is_link(storage, save(storage, originals / ".." / "secret"))


def test_name_that_somebody_wrote_is_not_believed(storage: SymlinkOrCopyStorage, originals: Path) -> None:
    (originals / "other.mp4").write_bytes(b"other")
    with (originals / "other.mp4").open("rb") as file:
        inner = File(file, name=str(originals / "film.mp4"))
        assert os.readlink(storage.path(storage.save("a.mp4", inner))) == str(originals / "other.mp4")
    content = ContentFile(b"bytes", name=str(originals / "film.mp4"))
    assert read(storage, storage.save("b.mp4", content)) == b"bytes"


def test_replaced_original_that_is_still_open_is_copied(
    storage: SymlinkOrCopyStorage, originals: Path
) -> None:
    with (originals / "film.mp4").open("rb") as file:
        (originals / "new").write_bytes(b"new")
        (originals / "new").replace(originals / "film.mp4")
        name = storage.save("a.mp4", File(file))
    assert (is_link(storage, name), read(storage, name)) == (False, b"film")


def test_uploads_are_not_linked(tmp_path: Path) -> None:
    storage = SymlinkOrCopyStorage(tmp_path, symlink_within=[tempfile.gettempdir()])
    with TemporaryUploadedFile("a.txt", "text/plain", 7, None) as upload:
        upload.write(b"content")
        upload.seek(0)
        name = storage.save("a.txt", upload)
    assert (is_link(storage, name), read(storage, name)) == (False, b"content")


@pytest.mark.parametrize("mode", ["wb", "ab", "r+b"])
def test_writing_leaves_the_original_alone(storage: SymlinkOrCopyStorage, originals: Path, mode: str) -> None:
    name = save(storage, originals / "film.mp4")
    with storage.open(name, mode) as file:
        file.write(b"!")
    assert read(storage, name) == {"wb": b"!", "ab": b"film!", "r+b": b"!ilm"}[mode]
    assert (originals / "film.mp4").read_bytes() == b"film"
    assert storage.listdir("in") == ([], ["film.mp4"])


def test_overwriting_leaves_the_original_alone(tmp_path: Path, originals: Path) -> None:
    storage = SymlinkOrCopyStorage(tmp_path / "media", symlink_within=[originals], allow_overwrite=True)
    for _ in range(2):
        assert save(storage, originals / "film.mp4") == "in/film.mp4"
        assert is_link(storage, "in/film.mp4")
    assert storage.save("in/film.mp4", ContentFile(b"copy")) == "in/film.mp4"
    assert (is_link(storage, "in/film.mp4"), read(storage, "in/film.mp4")) == (False, b"copy")
    assert (originals / "film.mp4").read_bytes() == b"film"
    assert storage.listdir("in") == ([], ["film.mp4"])


def test_name_outside_is_refused(storage: SymlinkOrCopyStorage, originals: Path) -> None:
    with pytest.raises(Exception, match="traversal"):
        save(storage, originals / "film.mp4", "../a.mp4")


def test_folders_get_their_mode(tmp_path: Path, originals: Path) -> None:
    storage = SymlinkOrCopyStorage(
        tmp_path / "m", symlink_within=[originals], directory_permissions_mode=0o750
    )
    save(storage, originals / "film.mp4", "a/b/film.mp4")
    assert [(tmp_path / "m" / folder).stat().st_mode & 0o777 for folder in ("a", "a/b")] == [0o750] * 2


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("first", [True, False])
def test_chain_copies(make_chain: Any, tmp_path: Path, originals: Path, first: bool) -> None:
    options = {"location": str(tmp_path / "links"), "symlink_within": [str(originals)]}
    links = {"links": {"BACKEND": BACKEND, "OPTIONS": options}}
    chain = make_chain(links | {"disk": "disk"} if first else {"disk": "disk"} | links)
    name = save(chain, originals / "film.mp4")
    run_owed_work()
    assert chain.state(name) == "settled"
    assert not is_link(chain.chain["links"].storage, name)
    (originals / "film.mp4").unlink()
    assert read(chain, name) == read(chain.chain["links"].storage, name) == b"film"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("catalogued", [False, True])
def test_g2_link_into_the_first_tier_is_no_copy_that_would_do(
    make_chain: Any, tmp_path: Path, catalogued: bool
) -> None:
    """As 0.8 left them: each file on its local, and a link to it on its remote."""
    location = str(tmp_path / "links")
    far = {"BACKEND": BACKEND, "OPTIONS": {"location": location, "symlink_within": [str(tmp_path / "near")]}}
    chain = make_chain({"near": "disk", "links": far}, policy="transfer-and-delete")
    near = chain.chain["near"].storage
    links = SymlinkOrCopyStorage(location, symlink_within=[tmp_path / "near"])
    name = near.save("a.txt", ContentFile(b"the only copy"))
    assert save(links, Path(near.path(name)), name) == name
    assert is_link(links, name)
    if catalogued:  # by somebody who took the link for a copy
        catalog.record(chain.chain, Saved(name, "", size=13, tiers=("near", "links"), requested=True))
    chain.transfer(name)
    for _ in range(3):
        run_owed_work()
    assert chain.state(name) == "settled"
    assert (chain.tiers(name), near.exists(name), is_link(links, name)) == (["links"], False, False)
    assert read(chain, name) == b"the only copy"


@pytest.mark.django_db(transaction=True)
def test_chain_takes_in_the_links_that_lie_in_its_folder(
    make_chain: Any, tmp_path: Path, originals: Path
) -> None:
    chain = make_chain(["near", "vault"], policy="transfer-and-delete")
    links = SymlinkOrCopyStorage(tmp_path / "near", symlink_within=[originals])
    name = save(links, originals / "film.mp4")
    chain.transfer(name)
    run_owed_work()
    assert (chain.tiers(name), read(chain, name)) == (["vault"], b"film")
    assert (links.exists(name), (originals / "film.mp4").read_bytes()) == (False, b"film")
