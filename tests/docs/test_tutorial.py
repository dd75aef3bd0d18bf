"""The tutorial, followed to the letter: every command is run, every file written, every output compared."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests
from PIL import Image

from tests.support.processes import Process, free_ports
from tests.support.waiting import wait_until

CHECKOUT = Path(__file__).resolve().parents[2]
PAGE = CHECKOUT / "docs" / "tutorial" / "index.rst"
PIECE = re.compile(
    r"^\.\. code-block:: (?P<language>\S+)\n(?:   :caption: (?P<caption>.+)\n)?\n(?P<code>(?:   .*\n|\n)+)"
    r"|^\.\. test: (?P<action>.+)\n",
    re.MULTILINE,
)
#: What the page says of the newcomer's surroundings, and a test run's are different.
PORTS = ("5555", "8000")

pytestmark = [pytest.mark.storages, pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(900)]


@dataclass
class Newcomer:
    """Somebody in an empty folder who does what the page says and thinks nothing."""

    folder: Path
    environment: dict[str, str]
    site: str
    running: dict[str, Process] = field(default_factory=dict)

    def follow(self, text: str) -> None:
        for piece in PIECE.finditer(text):
            caption, code = piece["caption"] or "", textwrap.dedent(piece["code"] or "")
            if piece["action"]:
                verb, _, what = piece["action"].partition(" ")
                getattr(self, verb)(what)
            elif piece["language"] == "console":
                self.type(code, in_the_background="terminal" in caption)
            elif caption:
                self.edit(caption, code)

    def edit(self, caption: str, code: str) -> None:
        name, _, where = caption.partition(", ")
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        before = path.read_text() if where else ""
        path.write_text(f"{before}\n{code}" if where else code)

    def type(self, block: str, *, in_the_background: bool) -> None:
        for typed in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = typed.partition("\n")
            if in_the_background:
                self.start(command)
            else:
                self.run(command, output.strip())

    def start(self, command: str) -> None:
        name = re.findall(r"moto_server|runserver|celery", command)[0]
        process = Process(["bash", "-c", f"exec {command}"], cwd=self.folder, env=self.environment)
        self.running[name] = process
        if name == "celery":
            process.wait_for_line("ready", timeout=60)
        else:
            port = self.environment[f"PORT_{name}"]
            wait_until(lambda: answers(f"http://127.0.0.1:{port}/"), f"{name} answers", timeout=60)

    def run(self, command: str, expected: str) -> None:
        result = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        assert result.returncode == 0, f"{command}:\n{result.stdout}{result.stderr}"
        if command.startswith(("ls", "python manage.py")) and not command.endswith("startapp pictures"):
            assert fits(expected, result.stdout.replace("\xa0", " ")), f"{command}:\n{result.stdout}"

    # ---- what the page has the reader do in the browser ----

    def upload(self, name: str) -> None:
        session = requests.Session()
        session.get(self.site, timeout=30)
        token = session.cookies["csrftoken"]
        session.cookies.clear_session_cookies()
        answer = session.post(
            self.site,
            data={"csrfmiddlewaretoken": token},
            files={"photo": (name, picture(), "image/png")},
            headers={"Cookie": f"csrftoken={token}"},
            timeout=30,
        )
        assert answer.status_code == 200, answer.text

    def page(self, what: str) -> None:
        said = what.removeprefix("says ")
        seen = wait_until(lambda: said in (page := get(self.site)) and page, f"page {what}", timeout=60)
        for source in re.findall(r'<img src="(.+?)"', seen):
            picture_seen = requests.get(
                requests.compat.urljoin(self.site, source.replace("&amp;", "&")), timeout=30
            )
            assert picture_seen.content == picture()

    def log(self, what: str) -> None:
        name, _, line = what.partition(": ")
        self.running[name].wait_for_line(re.escape(line), timeout=60)

    def stop(self, name: str) -> None:
        self.running.pop(name).stop()


def fits(pattern: str, output: str) -> bool:
    """Compare as doctest does: "…" stands for anything; on a line of its own, for any number of lines."""
    parts = [re.escape(part) for part in re.sub(r"^…\n|\n?^…$", "…", pattern, flags=re.MULTILINE).split("…")]
    return re.fullmatch("(?s:.*)".join(parts), output.strip("\n").replace(" \n", "\n").rstrip()) is not None


def picture() -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (40, 30), "teal").save(content, "PNG")
    return content.getvalue()


def get(url: str) -> str:
    return requests.get(url, timeout=30).text


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).status_code < 500
    except requests.ConnectionError:
        return False


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """The package as pip would get it, built from a copy: a build leaves things behind where it runs."""
    copy = tmp_path / "source"
    copy.mkdir()
    for name in ("setup.cfg", "pyproject.toml", "README.rst", "LICENSE", "MANIFEST.in"):
        shutil.copy(CHECKOUT / name, copy)
    shutil.copytree(
        CHECKOUT / "queued_storage", copy / "queued_storage", ignore=shutil.ignore_patterns("__pycache__")
    )
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--wheel-dir",
        "wheels",
        "./source",
    ]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=300)
    (built,) = (tmp_path / "wheels").glob("*.whl")
    return built


@pytest.fixture
def newcomer(tmp_path: Path, wheel: Path) -> Iterator[Newcomer]:
    folder = tmp_path / "tutorial"
    folder.mkdir()
    # Nothing but a pin makes pip take this version, as it is no release.
    (folder.parent / "constraints.txt").write_text(f"django-queued-storage=={wheel.name.split('-')[1]}\n")
    s3, site = map(str, free_ports(2))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").symlink_to(sys.executable)
    environment = {
        "PATH": f"{folder}/.venv/bin:{tmp_path}/bin:{os.environ['PATH']}",
        "PIP_CONSTRAINT": str(folder.parent / "constraints.txt"),
        "PIP_FIND_LINKS": str(wheel.parent),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PYTHONPATH": "",
        "PORT_moto_server": s3,
        "PORT_runserver": site,
    }
    newcomer = Newcomer(folder, environment, f"http://127.0.0.1:{site}/")
    yield newcomer
    for process in newcomer.running.values():
        process.kill()


def test_tutorial(newcomer: Newcomer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DJANGO_SETTINGS_MODULE", raising=False)
    s3, site = newcomer.environment["PORT_moto_server"], newcomer.environment["PORT_runserver"]
    text = PAGE.read_text(encoding="utf-8").replace("5555", s3)
    newcomer.follow(text.replace("manage.py runserver\n", f"manage.py runserver {site}\n"))
    assert sorted(newcomer.running) == ["moto_server", "runserver"]  # the page stopped the worker
    assert len(PIECE.findall(text)) == text.count(".. code-block::") + text.count(".. test:")
