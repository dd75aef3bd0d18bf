"""What is MogileFS's own: trackers and nodes that stand in for each other, and the words of its protocol."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile, File

from queued_storage import traits
from queued_storage.contrib.storages import mogilefs as module
from queued_storage.contrib.storages.mogilefs import MogileFSStorage, TrackerError
from queued_storage.exceptions import CopyMismatch

from tests.contrib.wire.conftest import Remote
from tests.support.processes import free_ports
from tests.support.relay import Relay, relay_to
from tests.support.restartable import running
from tests.support.servers import temporary_folder
from tests.support.wire_servers import HOST, MogileFS

pytestmark = pytest.mark.servers

MEGABYTE = 1 << 20


@pytest.fixture
def nodes() -> Iterator[tuple[Remote, list[Relay]]]:
    """A MogileFS of the test's own, whose nodes are reached through relays too."""
    with ExitStack() as stack:
        folder = stack.enter_context(temporary_folder("mogilefs"))
        port, *ports = free_ports(3)
        relays = [stack.enter_context(relay_to(each)) for each in ports]
        told = [relay.port for relay in relays]
        server = stack.enter_context(running(lambda: MogileFS(port, folder, ports, told)))
        relay = stack.enter_context(relay_to(port))
        yield Remote(server, server.new_place(), relay), relays


class TestTrackers:
    @pytest.mark.parametrize("fail", [Relay.refuse, Relay.be_silent])
    def test_another_tracker_answers_for_one_that_does_not(
        self, mogilefs: Remote, fail: Callable[[Relay], None]
    ) -> None:
        with relay_to(mogilefs.server.port) as dead:
            fail(dead)
            trackers = [f"{HOST}:{dead.port}", f"{HOST}:{mogilefs.relay.port}"]
            storage = mogilefs.make(trackers=trackers, timeout=0.5)
            assert storage.save("a.txt", ContentFile(b"content")) == "a.txt"
            before = dead.accepted
            assert storage.size("a.txt") == 7
            assert dead.accepted == before  # it is asked last from then on

    def test_none_that_answers_is_an_outage(self) -> None:
        ports = free_ports(2)
        storage = MogileFSStorage([f"{HOST}:{port}" for port in ports], "any")
        with pytest.raises(ConnectionRefusedError) as caught:
            storage.exists("a.txt")
        assert traits.is_outage(caught.value)

    def test_command_whose_answer_is_lost_is_not_given_twice(self, mogilefs: Remote) -> None:
        """A tracker that closed the file would say of the second time that there is no such upload."""
        trackers = [f"{HOST}:{mogilefs.relay.port}", f"{HOST}:{mogilefs.server.port}"]
        storage = mogilefs.make(trackers=trackers, timeout=0.5, allow_overwrite=True)
        put_at = storage._put_at

        def put_at_and_lose_answers(path: str, body: Any) -> None:
            put_at(path, body)
            mogilefs.relay.swallow()

        storage._put_at = put_at_and_lose_answers
        with pytest.raises(TimeoutError):
            storage.save("a.txt", ContentFile(b"content"))
        assert mogilefs.read("a.txt") == b"content"

    def test_question_whose_answer_is_lost_is_asked_again(self, mogilefs: Remote) -> None:
        trackers = [f"{HOST}:{mogilefs.relay.port}", f"{HOST}:{mogilefs.server.port}"]
        mogilefs.put("a.txt", b"content")
        mogilefs.relay.swallow()
        assert mogilefs.make(trackers=trackers, timeout=0.5).size("a.txt") == 7

    @pytest.mark.parametrize(
        ("options", "reason"),
        [({"domain": "no-such-domain"}, "unreg_domain"), ({"storage_class": "no-such-class"}, "unreg_class")],
        ids=["domain", "class"],
    )
    def test_wrong_setting_is_told_and_not_tried_again(
        self, mogilefs: Remote, options: dict[str, str], reason: str
    ) -> None:
        with pytest.raises(TrackerError, match=reason) as caught:
            mogilefs.make(**options).save("a.txt", ContentFile(b"x"))
        assert traits.is_permanent(caught.value)
        assert not traits.is_outage(caught.value)

    def test_files_get_their_storage_class(self, mogilefs: Remote) -> None:
        assert mogilefs.server.ask(
            f"CREATE_CLASS domain={mogilefs.place}&class=photos&mindevcount=2"
        ).startswith("OK")
        storage = mogilefs.make(storage_class="photos")
        storage.save("a.jpg", ContentFile(b"x"))
        assert storage._info("a.jpg")["class"] == "photos"

    def test_default_port_is_the_protocols(self) -> None:
        assert module._address("tracker.example") == ("tracker.example", 7001)
        assert module._address("tracker.example:7002") == ("tracker.example", 7002)
        assert module._address("[::1]:7002") == ("::1", 7002)


class TestNodes:
    @pytest.mark.parametrize("fail", [Relay.refuse, Relay.be_silent])
    def test_another_node_takes_the_file(
        self, nodes: tuple[Remote, list[Relay]], fail: Callable[[Relay], None]
    ) -> None:
        remote, relays = nodes
        fail(relays[0])
        storage = remote.make(timeout=0.5)
        content = os.urandom(MEGABYTE)
        storage.save("a.bin", ContentFile(content))
        assert remote.read("a.bin") == content

    @pytest.mark.parametrize("fail", [Relay.refuse, Relay.be_silent])
    def test_another_node_gives_the_file(
        self, nodes: tuple[Remote, list[Relay]], fail: Callable[[Relay], None]
    ) -> None:
        remote, relays = nodes
        content = os.urandom(MEGABYTE)
        storage = remote.make(timeout=0.5)
        storage.save("a.bin", ContentFile(content))
        fail(relays[0])
        with storage.open("a.bin") as file:
            assert file.read() == content
        assert storage.get_modified_time("a.bin")

    def test_another_node_gives_the_rest_of_the_file(self, nodes: tuple[Remote, list[Relay]]) -> None:
        remote, relays = nodes
        content = os.urandom(16 * MEGABYTE)
        storage = remote.make(timeout=2)
        storage.save("a.bin", ContentFile(content))
        with storage.open("a.bin") as file:
            head = file.read(MEGABYTE)
            relays[0].refuse()  # cuts the response off, wherever it is
            assert head + file.read() == content

    @pytest.mark.parametrize("left", [0, 1, MEGABYTE - 1, MEGABYTE + 1])
    def test_damaged_replica_is_never_served(self, mogilefs: Remote, left: int) -> None:
        content = os.urandom(MEGABYTE)
        mogilefs.put("a.bin", content)
        damage(mogilefs, "a.bin", 1, left)
        with mogilefs.make().open("a.bin") as file:
            assert file.size == MEGABYTE
            assert file.read() == content
        damage(mogilefs, "a.bin", 2, left)
        with pytest.raises(OSError, match="damaged") as caught:
            mogilefs.make().open("a.bin")
        assert not traits.is_missing(caught.value)

    def test_lost_replica_is_no_missing_file(self, mogilefs: Remote) -> None:
        mogilefs.put("a.txt", b"content")
        storage = mogilefs.make()
        paths = storage._paths("a.txt")
        storage._paths = lambda name: paths  # as a tracker tells them that has not noticed yet
        replica(mogilefs, "a.txt", 1).unlink()
        assert storage.open("a.txt").read() == b"content"
        replica(mogilefs, "a.txt", 2).unlink()
        with pytest.raises(OSError, match="damaged") as caught:
            storage.open("a.txt")
        assert not traits.is_missing(caught.value)

    @pytest.mark.parametrize("new", [b"new", b"same long", None], ids=["shorter", "as long", "deleted"])
    def test_file_that_is_replaced_while_it_is_opened(self, mogilefs: Remote, new: bytes | None) -> None:
        mogilefs.put("a.txt", b"content 1")
        storage = mogilefs.make()
        ask = storage._paths
        replaced = threading.Event()

        def replace_first(name: str) -> Any:
            paths = ask(name)
            if not replaced.is_set():
                replaced.set()
                mogilefs.put("a.txt", new) if new is not None else mogilefs.make().delete("a.txt")
            return paths

        storage._paths = replace_first
        if new is None:
            with pytest.raises(FileNotFoundError):
                storage.open("a.txt")
        else:
            assert storage.open("a.txt").read() == new

    def test_no_node_is_an_outage(self, nodes: tuple[Remote, list[Relay]]) -> None:
        remote, relays = nodes
        storage = remote.make(timeout=0.5)
        storage.save("a.txt", ContentFile(b"x"))
        for relay in relays:
            relay.refuse()
        for call in (
            lambda: storage.open("a.txt"),
            lambda: storage.get_modified_time("a.txt"),
            lambda: storage.save("b.txt", ContentFile(b"x")),
        ):
            with pytest.raises(ConnectionError) as caught:
                call()
            assert traits.is_outage(caught.value)
        assert remote.names == ["a.txt"]

    def test_url_without_base_url_is_a_nodes(self, mogilefs: Remote) -> None:
        import requests

        mogilefs.put("a.txt", b"content")
        url = mogilefs.make(base_url=None).url("a.txt")
        assert requests.get(url, timeout=5).content == b"content"


def replica(remote: Remote, name: str, device: int) -> Path:
    fid = int(remote.make()._info(name)["fid"])
    path: Path = remote.server.folder / f"dev{device}" / f"{fid:010}.fid"
    return path


def damage(remote: Remote, name: str, device: int, left: int) -> None:
    """Leave that many bytes of the replica on the device; more than there were are zeros, as after a power cut."""
    os.truncate(replica(remote, name, device), left)


class TestPublishing:
    def test_bytes_that_did_not_arrive_are_noticed(self, mogilefs: Remote) -> None:
        storage = mogilefs.make()
        put_at = storage._put_at

        def put_less(path: str, body: Any) -> None:
            put_at(path, body.read()[:-1])

        storage._put_at = put_less
        with pytest.raises(TrackerError, match="size_mismatch"):
            storage.save("a.txt", ContentFile(b"content"))
        assert mogilefs.names == []

    def test_two_savers_of_one_name_do_not_overwrite_each_other(self, mogilefs: Remote) -> None:
        contents = [b"one", b"two", b"three"]
        saved: dict[str, bytes] = {}
        start = threading.Barrier(len(contents))

        def save(content: bytes) -> None:
            storage = mogilefs.make()
            start.wait(10)
            saved[storage._save("a.txt", ContentFile(content))] = content

        threads = [threading.Thread(target=save, args=[content]) for content in contents]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(saved) == 3
        assert {name: mogilefs.read(name) for name in mogilefs.names} == saved

    def test_what_cannot_be_renamed_leaves_nothing(self, mogilefs: Remote) -> None:
        storage = mogilefs.make()

        def rename(name: str, to: str) -> None:
            raise CopyMismatch("no")

        storage.rename = rename
        with pytest.raises(CopyMismatch):
            storage.save("a.txt", ContentFile(b"x"))
        assert mogilefs.names == []

    def test_name_that_some_trackers_would_cut_off_is_refused(self, mogilefs: Remote) -> None:
        storage = mogilefs.make(allow_overwrite=True)
        storage.save("ä" * 127, ContentFile(b"x"))
        with pytest.raises(OSError, match="255 bytes") as caught:
            storage.save("ä" * 128, ContentFile(b"x"))
        assert traits.is_permanent(caught.value)

    def test_unclosed_source_may_be_read_again_for_another_node(
        self, nodes: tuple[Remote, list[Relay]]
    ) -> None:
        remote, relays = nodes
        relays[0].refuse()

        class Once(File):  # type: ignore[type-arg]
            def seekable(self) -> bool:
                return False

        with pytest.raises(ConnectionError):
            remote.make().save("a.txt", Once(ContentFile(b"content"), name="a.txt"))
        assert remote.names == []


class TestListing:
    @pytest.mark.parametrize("folder", ["a", "a+b (c)", "[x", "per%cent_", "Grüße"])
    def test_pages_are_joined(self, mogilefs: Remote, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Real trackers take the prefix for a pattern in every page but the first; so does the stub."""
        monkeypatch.setattr(module, "PAGE", 3)
        names = [f"{folder}/{letter}.txt" for letter in "abcdefgh"]
        for name in [*names, f"{folder}/sub/x.txt", "a.txt", "zz.txt", f"{folder}x/y.txt"]:
            mogilefs.put(name, b"x")
        folders, files = mogilefs.make().listdir(folder)
        assert folders == ["sub"]
        assert sorted(files) == [f"{letter}.txt" for letter in "abcdefgh"]

    def test_empty_domain_has_an_empty_listing(self, mogilefs: Remote) -> None:
        assert mogilefs.make().listdir("") == ([], [])
