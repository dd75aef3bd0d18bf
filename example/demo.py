"""Show the whole of it: upload pictures to the album, watch a worker move them to S3, read them back.

Starts an S3 server, the site and a Celery worker on the loopback, uses the site over HTTP, compares every
picture with what was uploaded, and ends what it started. SERVE=1 leaves the site running until Ctrl-C.
"""

import hashlib
import os
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from demo_support.album import manage, prepare_environment, start_site, start_worker
from demo_support.census import Census, as_table, check_tiers
from demo_support.processes import Children, DemoFailure
from demo_support.progress import moving
from demo_support.reader import Reader, compare
from demo_support.s3 import BUCKET, S3Server, create_bucket, start_s3
from demo_support.site import Photo, Site
from rich.console import Console
from rich.filesize import decimal
from rich.text import Text

PER_REQUEST = 8
SETTLE_WITHIN = 90.0

console = Console(highlight=False, soft_wrap=True)
T = TypeVar("T")


def main() -> int:
    # A polite kill is to end the servers too, as Ctrl-C does; also where a shell has us ignore Ctrl-C.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="album-") as name, Children(Path(name)) as children:
        try:
            run(Path(name), children)
        except DemoFailure as failure:
            report_failure(failure, children)
            return 1
        except KeyboardInterrupt:
            console.print("\nInterrupted; ending the servers.")
            return 130
    return 0


def run(data: Path, children: Children) -> None:
    started = time.monotonic()
    server = start_s3(children)
    prepare_environment(data, server)
    painter = children.start("pictures", [sys.executable, "-m", "pictures", data / "pictures"], ends=True)
    site = start_site(children)
    create_bucket(children, server)
    children.wait_for("The album's pictures", lambda: painter.process.poll() is not None, timeout=120)
    pictures = [Path(line) for line in painter.log.read_text().splitlines()]
    console.print(f"[bold]S3[/]        {server.name} at {server.endpoint}, bucket “{BUCKET}”")
    console.print(f"[bold]Site[/]      {site.address}")
    console.print(f"[bold]Pictures[/]  {amount(pictures)}")
    console.print(f"all ready after {time.monotonic() - started:.1f} s")
    show(data, children, server, site, pictures)
    if os.environ.get("SERVE", "") not in {"", "0"}:
        serve(children, site)


def show(data: Path, children: Children, server: S3Server, site: Site, pictures: Sequence[Path]) -> None:
    """Upload, move, read back, report."""
    digests = {f"originals/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest() for path in pictures}
    early, late = pictures[: -2 * PER_REQUEST], pictures[-2 * PER_REQUEST :]
    media = data / "media" / "pictures"

    step("Upload", "through the form. No worker runs yet: the disk alone acknowledges.")
    report_upload(early, upload(site, early))
    before = Census.take(media, server, site.photos())

    step("Move", "The worker starts; meanwhile more is uploaded, and all is read over and over.")
    console.print(f"  worker ready after {start_worker(children):.1f} s")
    started = time.monotonic()
    with Reader(site, site.photos, digests) as reader:
        report_upload(late, upload(site, late))
        photos = wait_until_settled(children, site, reader)
    reader.check()
    console.print(
        f"  all {len(photos)} settled {time.monotonic() - started:.1f} s after the worker was ready"
    )
    console.print(f"  {reader.count} reads meanwhile, each equal to what was uploaded")

    step("Read back", "through the site, from wherever each picture is now.")
    _, seconds = timed(lambda: [compare(site, photo, digests) for photo in photos])
    console.print(f"  {len(photos)} pictures in {seconds:.1f} s, SHA-256 equal for every one")
    after = Census.take(media, server, photos)
    check_tiers(after, digests)

    console.print()
    console.print(as_table({"before": before, "after": after}))


def upload(site: Site, pictures: Sequence[Path]) -> float:
    """Upload several pictures in each request; answer the seconds."""
    started = time.monotonic()
    for first in range(0, len(pictures), PER_REQUEST):
        site.upload(pictures[first : first + PER_REQUEST])
    return time.monotonic() - started


def wait_until_settled(children: Children, site: Site, reader: Reader) -> list[Photo]:
    """Ask the site until each file lies where its policy wants it."""
    deadline = time.monotonic() + SETTLE_WITHIN
    with moving(console) as progress:
        while True:
            children.check()
            reader.check()
            photos = site.photos()
            waiting = [photo for photo in photos if unsettled(photo)]
            progress.update(len(photos) - len(waiting), len(photos))
            if not waiting:
                return photos
            if time.monotonic() > deadline or any("failed" in unsettled(photo) for photo in waiting):
                raise DemoFailure(not_settled(waiting))
            time.sleep(0.25)


def unsettled(photo: Photo) -> list[str]:
    return [photo[file]["state"] for file in ("image", "thumbnail") if photo[file]["state"] != "settled"]


def not_settled(photos: Sequence[Photo], shown: int = 8) -> str:
    """Say which files are stuck, and why; the first of many will do."""
    lines = [
        f"  {file} of {photo['name']}: {place['label']}, {place['attempts']} attempts. {place['error']}"
        for photo in photos
        for file, place in (("image", photo["image"]), ("thumbnail", photo["thumbnail"]))
        if place["state"] != "settled"
    ]
    more = [f"  and {len(lines) - shown} more"] if len(lines) > shown else []
    return "\n".join([f"{len(lines)} files are not settled:", *lines[:shown], *more])


def serve(children: Children, site: Site) -> None:
    """Leave the site running until Ctrl-C."""
    os.environ["DJANGO_SUPERUSER_PASSWORD"] = password = secrets.token_urlsafe(9)
    manage("createsuperuser", "--noinput", "--username", "demo", "--email", "demo@example.invalid")
    manage("paint_film")
    console.print(f"\nThe album goes on at [bold]{site.address}[/]  user demo, password {password}")
    console.print(f"A film, on its way: [bold]{site.address}films/[/]")
    console.print(f"Where everything lies: [bold]{site.address}placement/[/]")
    console.print(f"Admin, with the catalog: [bold]{site.address}admin/[/]")
    console.print("Ctrl-C ends it.")
    try:
        while True:
            children.check()
            time.sleep(1)
    except KeyboardInterrupt:
        console.print("\nEnding the servers.")


def timed(action: Callable[[], T]) -> tuple[T, float]:
    started = time.monotonic()
    result = action()
    return result, time.monotonic() - started


def amount(pictures: Sequence[Path]) -> str:
    return f"{len(pictures)}, {decimal(sum(path.stat().st_size for path in pictures))}"


def step(title: str, text: str) -> None:
    console.print(f"\n[bold]{title}[/] {text}")


def report_upload(pictures: Sequence[Path], seconds: float) -> None:
    requests = -(-len(pictures) // PER_REQUEST)
    console.print(f"  {amount(pictures)} uploaded in {requests} requests, {seconds:.1f} s")


def report_failure(failure: DemoFailure, children: Children) -> None:
    console.print("\n[bold red]The demo failed.[/]", Text(str(failure)), soft_wrap=True)
    for child in children.running:
        console.print(f"\n[bold]The end of {child.name}'s log[/]")
        console.print(Text(child.tail()), soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
