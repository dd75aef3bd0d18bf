"""Install the built wheel with each extra alone in an empty virtual environment, and have a project use it there.

Usage: python extras.py DIST_DIR [EXTRA …]; without names all of them. First none is installed, and what a backend needs
is told by the name of its extra.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from extra_names import BACKENDS, MODULES, TOLD

PROJECT = Path(__file__).with_name("extra_project.py")


def main(dist: Path, extras: list[str]) -> None:
    (wheel,) = dist.resolve().glob("*.whl")
    with tempfile.TemporaryDirectory(prefix="queued-storage-extras-") as folder:
        bare = environment(Path(folder), "bare", str(wheel))
        for extra in (extra for extra in TOLD if extra in extras):
            use(bare, Path(folder), extra, "missing")
        for extra in extras:
            python = environment(Path(folder), extra, f"{wheel}[{extra}]")
            use(python, Path(folder), extra)
    print(f"{len(extras)} passed, 0 failed")


def environment(folder: Path, name: str, requirement: str) -> str:
    path = folder / name / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", str(path))
    python = str(path / ("Scripts" if os.name == "nt" else "bin") / "python")
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", requirement)
    return python


def use(python: str, folder: Path, *arguments: str) -> None:
    empty = Path(tempfile.mkdtemp(dir=folder))
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "DJANGO"))}
    subprocess.run(
        [python, "-E", "-s", str(PROJECT), *arguments], cwd=empty, env=environ, check=True, timeout=120
    )


def run(*arguments: str) -> None:
    subprocess.run(arguments, check=True, timeout=900)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or [*BACKENDS, *MODULES])
