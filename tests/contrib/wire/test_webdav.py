"""What is WebDAV's own: folders, logins, moves, and the many ways in which servers list."""

from __future__ import annotations

import itertools
import re
import threading
import traceback
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from django.core.files.base import ContentFile

from queued_storage import names, renaming, traits
from queued_storage.contrib.storages import webdav as module
from queued_storage.contrib.storages.objects import ATTEMPTS
from queued_storage.contrib.storages.remote import HTTPFailure
from queued_storage.contrib.storages.webdav import NoSuchFolder, WebDAVStorage
from queued_storage.exceptions import NameTaken

from tests.contrib.wire.conftest import Remote

pytestmark = pytest.mark.servers

SECRET = "hunter2-secret"


class TestFolders:
    def test_folders_are_made_as_they_are_needed(self, webdav: Remote) -> None:
        webdav.make().save("a/b/c/d.txt", ContentFile(b"x"))
        assert webdav.names == ["a/b/c/d.txt"]

    def test_folder_is_never_deleted_with_what_is_in_it(self, webdav: Remote) -> None:
        webdav.put("a/b.txt", b"x")
        storage = webdav.make()
        for name in ("a", "a/"):
            with pytest.raises(IsADirectoryError):
                storage.delete(name)
        for name in ("", ".", "/"):
            with pytest.raises(ValueError, match="empty"):
                storage.delete(name)
        assert webdav.names == ["a/b.txt"]

    def test_folder_is_no_file(self, webdav: Remote) -> None:
        webdav.put("a/b.txt", b"x")
        storage = webdav.make()
        assert storage.exists("a")
        for call in (storage.open, storage.size, storage.get_modified_time):
            with pytest.raises(IsADirectoryError):
                call("a")

    def test_file_is_no_folder(self, webdav: Remote) -> None:
        webdav.put("a.txt", b"x")
        with pytest.raises((NotADirectoryError, FileNotFoundError)):
            webdav.make().listdir("a.txt")

    @pytest.mark.parametrize("name", ["a.txt", "in/a.txt"])
    def test_folder_of_the_url_must_be_there(self, webdav: Remote, name: str) -> None:
        url = webdav.server.tier("no-such-folder", webdav.relay.port)["OPTIONS"]["url"]
        storage = webdav.make(url=url)
        for call in (
            lambda: storage.exists(name),
            lambda: storage.open(name),
            lambda: storage.delete(name),
            lambda: storage.upload(name, ContentFile(b"x")),
        ):
            with pytest.raises(NoSuchFolder) as caught:
                call()
            assert traits.is_permanent(caught.value)
            assert not traits.is_missing(caught.value)

    def test_folder_of_the_url_that_goes_away_is_no_missing_file(self, webdav: Remote) -> None:
        storage = webdav.make()
        webdav.put("in/a.txt", b"x")
        assert storage.exists("in/a.txt")
        assert not storage.exists("in/b.txt")
        lose_root(webdav)
        for call in (storage.exists, storage.open, storage.size, storage.delete, storage.listdir):
            for name in ("in/a.txt", "in/b.txt", "in"):
                with pytest.raises(NoSuchFolder):
                    call(name)
        with pytest.raises(NoSuchFolder):
            storage.listdir("")
        with pytest.raises(NoSuchFolder):
            storage.save("in/a.txt", ContentFile(b"x"))

    def test_folder_of_the_url_that_goes_between_look_and_delete(self, webdav: Remote) -> None:
        storage = webdav.make()
        webdav.put("a.txt", b"x")
        send = storage._send

        def lose_first(method: str, *arguments: Any, **options: Any) -> Any:
            if method == "DELETE":
                lose_root(webdav)
            return send(method, *arguments, **options)

        storage._send = lose_first
        with pytest.raises(NoSuchFolder):
            storage.delete("a.txt")

    def test_root_is_looked_at_for_misses_alone(self, webdav: Remote) -> None:
        storage = webdav.make()
        webdav.put("a.txt", b"x")
        storage._require_root = None
        assert storage.exists("a.txt")
        assert storage.open("a.txt").read() == b"x"
        storage.delete("a.txt")


def lose_root(webdav: Remote) -> None:
    webdav.server._ask("DELETE", webdav.place).raise_for_status()


class TestLogin:
    def test_wrong_password_is_permanent_and_told_nowhere(self, webdav: Remote) -> None:
        storage = webdav.make(password=SECRET)
        for call in (
            lambda: storage.exists("a.txt"),
            lambda: storage.open("a.txt"),
            lambda: storage.upload("a.txt", ContentFile(b"x")),
        ):
            with pytest.raises(HTTPFailure, match="401") as caught:
                call()
            assert traits.is_permanent(caught.value)
            assert SECRET not in "".join(traceback.format_exception(caught.value))
        assert SECRET not in repr(storage)

    def test_login_in_the_url_is_taken_out_of_it(self, webdav: Remote) -> None:
        options = webdav.server.tier(webdav.place, webdav.relay.port)["OPTIONS"]
        login = f"{options['username']}:{options['password']}"
        url = options["url"].replace("://", f"://{login}@")
        storage = WebDAVStorage(url)
        webdav.put("a.txt", b"x")
        assert storage.size("a.txt") == 1
        webdav.relay.refuse()
        with pytest.raises(ConnectionError) as caught:
            storage.size("a.txt")
        assert options["password"] not in "".join(traceback.format_exception(caught.value))

    def test_token_is_sent_as_such(self) -> None:
        storage = WebDAVStorage("http://dav.example/files", token=SECRET)
        assert storage._sessions.session.headers["Authorization"] == f"Bearer {SECRET}"
        assert storage._sessions.session.auth is None


class TestPublishing:
    def publish(self, remote: Remote, name: str, content: bytes, *, overwrite: bool) -> None:
        upload = ContentFile(content, name=name)
        with renaming.stage(remote.make(), name, upload, names.staging_name()) as staged:
            assert staged.size == len(content)
            staged.publish(name, overwrite=overwrite)

    def test_engine_stages_and_moves(self, webdav: Remote) -> None:
        assert renaming.can_stage(webdav.make())
        self.publish(webdav, "in/a b.txt", b"old and longer", overwrite=False)
        with pytest.raises(NameTaken):
            self.publish(webdav, "in/a b.txt", b"another's", overwrite=False)
        assert webdav.read("in/a b.txt") == b"old and longer"
        self.publish(webdav, "in/a b.txt", b"new", overwrite=True)
        assert webdav.names == ["in/a b.txt"]
        assert webdav.read("in/a b.txt") == b"new"

    def test_own_way_of_saving_is_respected(self) -> None:
        class Own(WebDAVStorage):
            def _save(self, name: str, content: Any) -> str:
                raise NotImplementedError

        assert not renaming.can_stage(Own("http://dav.example/files"))

    def test_kept_content_is_published_later(self, webdav: Remote) -> None:
        storage = webdav.make()
        webdav.put("a.txt", b"old")
        with renaming.stage(storage, "a.txt", ContentFile(b"new"), names.staging_name()) as staged:
            staged.kept = True
        assert webdav.read("a.txt") == b"old"
        for _ in range(2):  # the second time it is there already
            renaming.publish_kept(storage, "a.txt", staged.base_name, 3)
        assert webdav.names == ["a.txt"]
        assert webdav.read("a.txt") == b"new"

    def test_move_of_nothing_destroys_nothing(self, webdav: Remote) -> None:
        """This server deletes what is to be replaced before it looks whether there is something to move."""
        webdav.put("a.txt", b"old")
        storage = webdav.make()
        for overwrite in (False, True):
            with pytest.raises((FileNotFoundError, FileExistsError)):
                storage.rename("no-such.txt", "a.txt", overwrite=overwrite)
        with pytest.raises(FileNotFoundError):
            storage.rename("no-such.txt", "b.txt")
        assert webdav.read("a.txt") == b"old"

    def test_name_that_is_taken_by_what_nobody_sees_becomes_another(
        self, webdav: Remote, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """So it is with a lock on a name that has no file, or with a file that the login must not see."""
        storage = webdav.make()
        webdav.put("in/a.txt", b"hidden")
        find = storage._find
        monkeypatch.setattr(storage, "_find", lambda name: None if name == "in/a.txt" else find(name))
        name = storage.save("in/a.txt", ContentFile(b"x"))
        assert re.fullmatch(r"in/a_\w{7}\.txt", name)
        assert webdav.names == sorted(["in/a.txt", name])
        assert webdav.read("in/a.txt") == b"hidden"

    @pytest.mark.parametrize("kind", ["webdav", "mogilefs"])
    def test_save_ends_where_every_name_is_taken(self, request: pytest.FixtureRequest, kind: str) -> None:
        remote: Remote = request.getfixturevalue(kind)
        storage = remote.make()
        tried: list[str] = []

        def refuse(name: str, to: str, **options: Any) -> None:
            tried.append(to)
            raise FileExistsError(to)

        storage.rename = refuse
        with pytest.raises(FileExistsError, match="taken"):
            storage.save("a.txt", ContentFile(b"x"))
        assert len(set(tried)) == len(tried) == ATTEMPTS
        assert remote.names == []

    def test_replacing_save_keeps_its_name_or_fails(self, webdav: Remote) -> None:
        storage = webdav.make(allow_overwrite=True)
        webdav.put("a.txt", b"old")
        send = storage._send

        def refuse_moves(method: str, name: str, expected: Any, **options: Any) -> Any:
            if method == "MOVE":
                options["headers"]["Overwrite"] = "F"  # has this server say 412, as others do of locks
            return send(method, name, expected, **options)

        storage._send = refuse_moves
        with pytest.raises(HTTPFailure, match="412"):
            storage.save("a.txt", ContentFile(b"new"))
        assert webdav.names == ["a.txt"]
        assert webdav.read("a.txt") == b"old"

    def test_left_over_content_is_discarded(self, webdav: Remote) -> None:
        staging = names.staging_name()
        webdav.put(f"in/{staging}", b"half of new")
        for _ in range(2):
            renaming.discard(webdav.make(), "in/a.txt", staging)
        renaming.discard(webdav.make(), "no/such/folder/a.txt", staging)
        assert webdav.names == []


class Scripted(BaseHTTPRequestHandler):
    """Answers every request with the status of the server."""

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(self.server.status)  # type: ignore[attr-defined]
        self.send_header("Content-Length", "0")
        self.send_header("Location", "http://elsewhere.example/")
        self.end_headers()

    do_GET = do_PUT = do_PROPFIND = do_MKCOL = do_MOVE = do_DELETE = answer  # noqa: N815

    def log_message(self, format: str, *arguments: Any) -> None:
        """Keep quiet."""


@pytest.fixture
def scripted() -> Iterator[HTTPServer]:
    server = HTTPServer(("127.0.0.1", 0), Scripted)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


class TestStatus:
    @pytest.mark.parametrize(
        ("status", "meaning"),
        [
            (301, "permanent"),
            (401, "permanent"),
            (403, "transient"),
            (413, "permanent"),
            (423, "transient"),
            (500, "transient"),
            (502, "outage"),
            (503, "outage"),
            (507, "capacity"),
        ],
    )
    def test_answers_are_understood(self, scripted: HTTPServer, status: int, meaning: str) -> None:
        scripted.status = status  # type: ignore[attr-defined]
        storage = WebDAVStorage(f"http://127.0.0.1:{scripted.server_port}/files")
        for call in (
            lambda: storage.exists("a.txt"),
            lambda: storage.open("a.txt"),
            lambda: storage.upload("a.txt", ContentFile(b"x")),
            lambda: storage.rename("a.txt", "b.txt"),
        ):
            with pytest.raises(HTTPFailure) as caught:
                call()
            assert caught.value.status_code == status
            judges = {
                "permanent": traits.is_permanent, "outage": traits.is_outage, "capacity": traits.is_capacity,
            }  # fmt: skip
            found = [name for name, judge in judges.items() if judge(caught.value)]
            assert found == ([] if meaning == "transient" else [meaning])
            assert not traits.is_missing(caught.value)


#: How servers tell of a file of 5 bytes: hrefs with and without their address, properties that are not there, prefixes.
LISTINGS = {
    "path": "<D:href>/dav/in/a%20b.txt</D:href>",
    "address": "<D:href>http://dav.example:8080/dav/in/a%20b.txt</D:href>",
}
OTHERS = {
    "alone": "",
    "with missing ones": (
        "<D:propstat><D:prop><D:getlastmodified/></D:prop><D:status>HTTP/1.1 404 Not Found</D:status></D:propstat>"
    ),
}
STATUSES = ("HTTP/1.1 200 OK", "HTTP/1.1 200")


class TestListing:
    @pytest.mark.parametrize(
        ("href", "other", "status"), list(itertools.product(LISTINGS, OTHERS, STATUSES)), ids=str
    )
    def test_file_is_understood(self, href: str, other: str, status: str) -> None:
        text = (
            f'<D:response xmlns:D="DAV:">{LISTINGS[href]}{OTHERS[other]}<D:propstat><D:prop>'
            "<D:resourcetype/><D:getcontentlength>5</D:getcontentlength>"
            f"</D:prop><D:status>{status}</D:status></D:propstat></D:response>"
        )
        entry = module._entry(ET.fromstring(text))  # noqa: S314 - it is ours
        assert (entry.name, entry.depth, entry.is_folder, entry.size) == ("a b.txt", 3, False, 5)
        assert entry.modified == ""

    @pytest.mark.parametrize("href", ["/dav/in/sub/", "/dav/in/sub"])
    def test_folder_is_understood(self, href: str) -> None:
        text = (
            f'<response xmlns="DAV:"><href>{href}</href><propstat><prop><resourcetype><collection/></resourcetype>'
            "</prop><status>HTTP/1.1 200 OK</status></propstat></response>"
        )
        entry = module._entry(ET.fromstring(text))  # noqa: S314 - it is ours
        assert (entry.name, entry.depth, entry.is_folder, entry.size) == ("sub", 3, True, None)

    def test_many_files_are_listed(self, webdav: Remote) -> None:
        for number in range(200):
            webdav.put(f"many/{number:03}.txt", b"x")
        direct = webdav.server.tier(webdav.place)["OPTIONS"]  # a relay delays small pieces
        folders, files = WebDAVStorage(**direct).listdir("many")
        assert folders == []
        assert sorted(files) == [f"{number:03}.txt" for number in range(200)]

    def test_file_without_base_url_has_no_url(self, webdav: Remote) -> None:
        with pytest.raises(ValueError, match="not accessible"):
            webdav.make(base_url=None).url("a.txt")
