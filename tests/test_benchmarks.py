"""What ``make bench`` keeps: every figure of the docs comes from results.json, and says what it was measured with."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks import counting, harness, killed, profiles, results, site
from benchmarks.harness import Measure, Run
from benchmarks.usage import Family
from tests.support import databases
from tests.support.processes import Process, free_ports
from tests.support.projects import CHECKOUT
from tests.support.waiting import wait_until, within

RATE = Measure("files/s", lambda run: 100 / run.seconds, bar=1.0, goal=1.5)
ROUNDS = [
    {"ours": Run(1.0), "peer": Run(2.0)},
    {"ours": Run(4.0), "peer": Run(2.0)},
    {"ours": Run(2.0), "peer": Run(3.0)},
]


def told(row: int) -> harness.Result:
    return harness.tell(row, RATE, ROUNDS, "ours", "peer", conditions={"cpus": 2})


def test_page_of_the_docs_is_made_from_the_results() -> None:
    assert results.PAGE.read_text(encoding="utf-8") == results.page(results.load())


def test_every_kept_result_says_what_it_compares_and_how() -> None:
    wanted = {"row", "metric", "value", "peer", "ratio", "rounds", "conditions"}
    assert [record for record in results.load() if not (wanted <= set(record) and record["conditions"])] == []


def test_ratio_is_the_median_of_the_ratios_of_the_rounds() -> None:
    result = told(1)
    assert (result.ratios, result.ratio, result.is_met) == ([2.0, 0.5, 1.5], 1.5, True)


def test_results_of_rows_that_were_not_run_stay() -> None:
    old = [{"row": 1, "metric": "old"}, {"row": 3, "metric": "old"}]
    assert [(each["row"], each["metric"]) for each in results.merge(old, [told(3)])] == [
        (1, "old"),
        (3, "files/s"),
    ]


def test_each_round_begins_with_another_contender_and_the_first_is_dropped() -> None:
    order: list[str] = []
    contenders = {name: lambda name=name: order.append(name) or Run(1.0) for name in "ab"}
    assert len(harness.interleave(contenders, rounds=2)) == 2
    assert "".join(order) == "abbaab"


def test_cpu_of_a_process_has_that_of_its_children() -> None:
    spin = "import time\nwhile time.process_time() < 0.3: pass"
    child = f"import subprocess, sys, time\nsubprocess.run([sys.executable, '-c', {spin!r}])"
    code = f"{child}\nprint('done')\ntime.sleep(60)"
    process = Process([sys.executable, "-c", code])
    try:
        with Family(process.pid) as family:
            process.wait_for_line("done")
    finally:
        process.kill()
    assert family.cpu >= 0.3
    assert family.memory > 1 << 20


def test_line_with_latency_takes_a_round_trip_longer_and_changes_nothing() -> None:
    (port,) = free_ports(1)
    content = bytes(range(256)) * 100_000
    with socket.create_server(("127.0.0.1", port)) as server:
        line = Process([sys.executable, "-m", "benchmarks.latency", str(port), "100"])
        try:
            slow_port = int(line.wait_for_line(r"^port \d+$").split()[1])
            started = time.monotonic()
            with socket.create_connection(("127.0.0.1", slow_port)) as client:
                client.sendall(b"?")
                accepted, _ = server.accept()
                with accepted:
                    assert accepted.recv(1) == b"?"
                    accepted.sendall(content)
                with client.makefile("rb") as answer:
                    assert answer.read() == content
            assert time.monotonic() - started >= 0.2  # one for the connection, one for question and answer
        finally:
            line.stop()


def test_samples_are_counted_by_the_part_that_they_are_of() -> None:
    drain = "main (program.py:1);drain (queued_storage/batch.py:60);work (queued_storage/batch.py:40)"
    samples = [
        f"{drain};record_copies (queued_storage/catalog.py:570);execute (psycopg/cursor.py:90) 3",
        f"{drain};_wait (queued_storage/batch.py:130);wait (concurrent/futures/_base.py:300) 2",
        "run (threading.py:9);copy_from_any (queued_storage/copies.py:80);copy (queued_storage/copying.py:60) 4",
        "main (program.py:1);saved (benchmarks/moves.py:130) 100",
    ]
    counted = {name: count for name, count in profiles.shares(samples).items() if count}
    assert list(counted.values()) == [3, 2, 4]
    assert list(counted)[:2] == ["catalog: recording copies", "waiting for threads"]


def test_requests_of_a_connection_are_counted_however_they_are_cut() -> None:
    put = b"PUT /bucket/a%20b?x=1 HTTP/1.1\r\nContent-Length: 9\r\n\r\nPUT / HT\n"
    sent = (
        b"HEAD /bucket/a HTTP/1.1\r\nHost: a\r\n\r\n"
        + put * 2
        + b"PUT /bucket HTTP/1.1\r\nHost: a\r\n\r\n"
        + put[:40]
    )
    for size in (1, 7, len(sent)):
        counts = counting.Counts()
        requests = counting.Requests(counts)
        for start in range(0, len(sent), size):
            requests.feed(sent[start : start + size])
        assert counts.puts == {"a b": 2}


def test_long_output_is_shortened_in_the_middle() -> None:
    assert site.shortened(iter("abcdefghi")) == list("abcdefghi")
    assert site.shortened(iter("abcdefghijk")) == [*"abc", "... 2 lines ...", *"fghijk"]


def test_kills_of_a_seed_are_the_same_each_time() -> None:
    drawn = killed.moments(1, 5, 100)
    assert drawn == killed.moments(1, 5, 100) == sorted(set(drawn))
    assert drawn != killed.moments(2, 5, 100)


@pytest.mark.slow
@pytest.mark.servers
@pytest.mark.parametrize("program", ["operations", "killed"])
def test_sigterm_leaves_neither_database_nor_folder(program: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", f"benchmarks.{program}", "--files", "20"]
    process = Process(command, cwd=CHECKOUT, env={"TMPDIR": str(tmp_path)})
    try:
        wait_until(lambda: [*tmp_path.glob("*/took.json")], "a command of the site has run", timeout=90)
        (settings,) = tmp_path.glob("*/project/settings.json")
        database = json.loads(settings.read_text())["DATABASES"]["default"]
        assert process.stop(timeout=60) == 1, process.log
    finally:
        process.kill()
    assert process.lines[-1] == "ended by SIGTERM"
    assert [*tmp_path.iterdir()] == []
    assert not is_on_server(database)


def is_on_server(database: databases.DatabaseSettings) -> bool:
    if not database["ENGINE"].endswith("postgresql"):
        return False
    with closing(databases.connect("postgresql")) as connection:
        found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database["NAME"]])
        return found.fetchone() is not None


def test_command_under_way_ends_with_the_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Site:
        folder, environment = tmp_path, None

        def command(self, *_: str) -> list[str]:
            return [sys.executable, "-c", "import time; time.sleep(600)"]

    move = killed.Move(Site(), counting.Counts(), [1])  # type: ignore[arg-type]
    monkeypatch.setattr(move, "_done", lambda: sys.exit("ended by SIGTERM"))
    with within(30, "the command ends"), pytest.raises(SystemExit):
        move.go()


@pytest.mark.slow
@pytest.mark.servers
@pytest.mark.storages
@pytest.mark.timeout(600)
def test_move_that_is_killed_five_times_sends_nothing_twice() -> None:
    """What ``make killed`` does with 20,000 files, of which docs/explanation has the figures, with a few of them."""
    command = [sys.executable, "-m", "benchmarks.killed", "--files", "300", "--kills", "5", "--seed", "6"]
    told = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
    assert told.stdout.count("[killed after") == 5
    assert int(re.findall(r"^under way at the kills: +(\d+)$", told.stdout, re.MULTILINE)[0]) > 0
    for what in (
        "sent again though it was verified",
        "missing on S3, or not what it was",
        "exit code of verify",
    ):
        assert re.search(rf"^{what}: +0$", told.stdout, re.MULTILINE)
