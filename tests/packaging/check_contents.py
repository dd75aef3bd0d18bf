"""Check that the built sdist and wheel hold what users need and nothing of the workshop.

Usage: python check_contents.py DIST_DIR
"""

from __future__ import annotations

import sys
import tarfile
import zipfile
from pathlib import Path

NEEDED = (
    "queued_storage/__init__.py",
    "queued_storage/py.typed",
    "queued_storage/storage.py",
    "queued_storage/policies/__init__.py",
    "queued_storage/migrations/__init__.py",
    "queued_storage/migrations/0001_initial.py",
    "queued_storage/management/__init__.py",
    "queued_storage/management/commands/__init__.py",
    "queued_storage/management/commands/tiers.py",
)
UNWANTED = ("tests/", "example/", ".ci/", ".venv", ".tox/")


def main(dist: Path) -> int:
    wheel, sdist = one(dist, "*.whl"), one(dist, "*.tar.gz")
    problems = [
        *problems_of(wheel.name, names_in_wheel(wheel)),
        *problems_of(sdist.name, names_in_sdist(sdist)),
    ]
    for problem in problems:
        print(problem)
    return 1 if problems else 0


def one(dist: Path, pattern: str) -> Path:
    (found,) = dist.glob(pattern)
    return found


def names_in_wheel(path: Path) -> set[str]:
    with zipfile.ZipFile(path) as archive:
        return set(archive.namelist())


def names_in_sdist(path: Path) -> set[str]:
    """The names without the leading folder, which is the release's own name."""
    with tarfile.open(path) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


def problems_of(archive: str, names: set[str]) -> list[str]:
    missing = [f"{archive}: {name} is missing" for name in sorted(wanted() - names)]
    unwanted = [
        f"{archive}: {name} does not belong there" for name in sorted(names) if name.startswith(UNWANTED)
    ]
    return missing + unwanted


def wanted() -> set[str]:
    """What is named above, and every file of the package that is kept in the checkout."""
    package = Path(__file__).resolve().parents[2] / "queued_storage"
    files = (path for path in package.rglob("*") if path.is_file() and path.suffix not in {".pyc", ".po"})
    return {*NEEDED, *(path.relative_to(package.parent).as_posix() for path in files)}


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
