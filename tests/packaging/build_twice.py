"""Build sdist and wheel twice, from two copies of the checkout, and compare them to the bit.

Usage: python build_twice.py DIR. The date of what is in them is SOURCE_DATE_EPOCH, by default that of the last commit.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]


def main(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    epoch = os.environ.get("SOURCE_DATE_EPOCH") or date_of_commit()
    first, second = (build(folder / name, epoch) for name in ("one", "two"))
    assert [*first] == [*second]
    assert len(first) == 2
    differ = [name for name in first if first[name] != second[name]]
    assert not differ, f"{differ} are not the same when they are built again"
    print("the same when built again:", *(f"{name} {digest[:12]}" for name, digest in first.items()))


def date_of_commit() -> str:
    told = subprocess.run(
        ["git", "log", "-1", "--format=%ct"], cwd=CHECKOUT, check=True, capture_output=True, text=True
    )
    return told.stdout.strip()


def build(folder: Path, epoch: str) -> dict[str, str]:
    """Build from a fresh copy of what is in Git; return the digests of the files by name."""
    source, dist = folder / "source", folder / "dist"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=CHECKOUT, check=True, capture_output=True).stdout
    for name in filter(None, listed.decode().split("\0")):
        if (CHECKOUT / name).exists():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(CHECKOUT / name, source / name)
    environ = {**os.environ, "SOURCE_DATE_EPOCH": epoch}
    command = [sys.executable, "-m", "build", "--outdir", str(dist), str(source)]
    subprocess.run(command, env=environ, check=True, timeout=600, stdout=subprocess.DEVNULL)
    (sdist,) = dist.glob("*.tar.gz")
    pack_anew(sdist, int(epoch))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(dist.iterdir())}


def pack_anew(sdist: Path, epoch: int) -> None:
    """Give the archive, and all that is in it, one date and owner: setuptools keeps those of the disk."""
    plain = sdist.with_suffix("")
    with tarfile.open(sdist) as packed, tarfile.open(plain, "w", format=tarfile.PAX_FORMAT) as anew:
        for member in sorted(packed.getmembers(), key=lambda member: member.name):
            member.mtime, member.uid, member.gid, member.uname, member.gname = epoch, 0, 0, "", ""
            member.pax_headers = {}
            anew.addfile(member, packed.extractfile(member) if member.isfile() else None)
    with (
        plain.open("rb") as content,
        sdist.open("wb") as target,
        gzip.GzipFile("", "wb", mtime=epoch, fileobj=target) as packing,
    ):
        shutil.copyfileobj(content, packing)
    plain.unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
