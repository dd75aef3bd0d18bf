"""What lies on which tier: counted on the tiers themselves, and as the catalog tells it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.filesize import decimal
from rich.table import Table

from .processes import DemoFailure
from .s3 import S3Server
from .site import Photo

KINDS = {"pictures": ("originals/", "image"), "thumbnails": ("thumbnails/", "thumbnail")}


@dataclass(frozen=True)
class Census:
    disk: dict[str, int]  # name to size
    s3: dict[str, int]
    photos: Sequence[Photo]

    @classmethod
    def take(cls, media: Path, server: S3Server, photos: Sequence[Photo]) -> "Census":
        return cls(_files(media), server.files(), photos)

    def row(self, kind: str) -> list[str]:
        prefix, file = KINDS[kind]
        told = Counter(photo[file]["label"] for photo in self.photos)
        catalog = "\n".join(f"{count} {label}" for label, count in told.items())
        return [_amount(self.disk, prefix), _amount(self.s3, prefix), catalog]

    def names(self, tier: str, kind: str) -> set[str]:
        files = self.disk if tier == "disk" else self.s3
        return {name for name in files if name.startswith(KINDS[kind][0])}


def as_table(moments: dict[str, Census]) -> Table:
    table = Table(title="What lies where", title_justify="left", title_style="bold")
    for heading in ("", "", "On disk", "In S3", "In the catalog"):
        table.add_column(heading)
    for moment, census in moments.items():
        for number, kind in enumerate(KINDS):
            table.add_row(
                "" if number else moment, kind, *census.row(kind), end_section=number == len(KINDS) - 1
            )
    return table


def check_tiers(census: Census, digests: Mapping[str, str]) -> None:
    """Compare the tiers themselves with what the two policies promise."""
    if census.names("s3", "pictures") != set(digests):
        raise DemoFailure("The bucket does not hold the pictures under their own names.")
    if left := census.names("disk", "pictures"):
        raise DemoFailure(f"transfer-and-delete has left pictures on the disk: {sorted(left)}")
    thumbnails = census.names("disk", "thumbnails")
    if len(thumbnails) != len(digests) or thumbnails != census.names("s3", "thumbnails"):
        raise DemoFailure("The thumbnails are not on both tiers.")
    for photo in census.photos:
        if photo["image"]["digest"] != digests[photo["name"]]:
            raise DemoFailure(f"The catalog's digest of {photo['name']} is not that of the upload.")


def _files(folder: Path) -> dict[str, int]:
    return {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file()
    }


def _amount(files: dict[str, int], prefix: str) -> str:
    sizes = [size for name, size in files.items() if name.startswith(prefix)]
    return f"{len(sizes)}, {decimal(sum(sizes))}" if sizes else "none"
