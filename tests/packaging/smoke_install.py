"""Install the built wheel in an empty virtual environment and use it from an empty directory.

Usage: python smoke_install.py DIST_DIR
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

PROJECT = Path(__file__).with_name("smoke_project.py")


def main(dist: Path) -> None:
    (wheel,) = dist.resolve().glob("*.whl")
    with tempfile.TemporaryDirectory(prefix="queued-storage-smoke-") as folder:
        python = make_environment(Path(folder) / "venv")
        run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(wheel), cwd=folder)
        empty = Path(folder) / "empty"
        empty.mkdir()
        run(python, "-I", str(PROJECT), cwd=empty)


def make_environment(path: Path) -> str:
    venv.create(path, with_pip=True, symlinks=os.name != "nt")
    return str(path / ("Scripts" if os.name == "nt" else "bin") / "python")


def run(python: str, *args: str, cwd: str | Path) -> None:
    """Run without the caller's Python settings, so that nothing of the checkout leaks in."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "DJANGO"))}
    subprocess.run([python, *args], cwd=cwd, env=environ, check=True, timeout=600)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
