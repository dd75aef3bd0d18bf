"""Use the example in Chromium as people do, and photograph it: python -m tests.visit [FOLDER].

Ends with 1 if a page said an error in the console, is wider than its screen, or breaks a rule of axe-core, or if a film
cannot be sought, a document is shown to the wrong person, or the page of placements does not follow by itself.
"""

from __future__ import annotations

import os
import secrets
import signal
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urljoin

from playwright.sync_api import Browser, BrowserContext, Page, Response, expect

from tests.visit.browser import Camera, chromium

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "example"))

from demo_support.album import manage, prepare_environment, start_site, start_worker  # noqa: E402
from demo_support.processes import Children  # noqa: E402
from demo_support.s3 import create_bucket, start_s3  # noqa: E402

PDF = (
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj 2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
)
PDF += b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 200]>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
SEEK = """(video, second) => new Promise((done, failed) => {
    video.onseeked = () => done(video.currentTime);
    video.onerror = () => failed(video.error.message);
    video.currentTime = second;
})"""
WAIT = 60_000  # milliseconds: this machine may be busy


def main() -> int:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    camera = Camera(folder)
    expect.set_options(timeout=WAIT)
    with tempfile.TemporaryDirectory(prefix="album-") as data, Children(Path(data)) as children:
        server = start_s3(children)
        prepare_environment(Path(data), server)
        films = Path(data) / "nightfall.webm"
        painting = children.start("film", [sys.executable, "-m", "pictures.film", films], ends=True)
        painter = children.start("pictures", [sys.executable, "-m", "pictures", Path(data) / "p"], ends=True)
        site = start_site(children)
        create_bucket(children, server)
        for child in (painter, painting):
            children.wait_for(
                f"What is painted ({child.name})", lambda child=child: child.process.poll() is not None, 180
            )
        pictures = [Path(line) for line in painter.log.read_text().splitlines()]
        with chromium() as browser:
            visit = Visit(browser, camera, site.address, children)
            visit.run(pictures, films)
    say(f"{camera.taken} screenshots in {folder}")
    for problem in camera.problems:
        say(f"PROBLEM {problem}")
    return 1 if camera.problems else 0


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class Visit:
    def __init__(self, browser: Browser, camera: Camera, address: str, children: Children) -> None:
        self.browser = browser
        self.camera = camera
        self.address = address
        self.children = children
        self.page = self.person().new_page()

    def person(self, *, scripts: bool = True) -> BrowserContext:
        context = self.browser.new_context(
            java_script_enabled=scripts, viewport={"width": 1280, "height": 860}
        )
        context.set_default_timeout(WAIT)
        return self.camera.watch(context) if scripts else context

    def run(self, pictures: list[Path], film: Path) -> None:
        self.before_anything()
        self.upload(pictures[:16], film)
        self.begin_the_film()
        self.watch_it_move(pictures[16:24])
        self.half_way(pictures[25:29])
        self.look_at_everything()
        self.go_on_with_the_film()
        self.strangers()
        self.without_scripts(pictures[24])
        self.admin()

    def go(self, path: str, page: Page | None = None) -> Page:
        page = page or self.page
        page.goto(urljoin(self.address, path))
        return page

    # ---- the visit, in order ----

    def before_anything(self) -> None:
        self.camera.take(self.go(""), "empty-album")
        self.camera.take(self.go("accounts/login/"), "login")
        self.sign_up(self.page, "ada", before=lambda: self.camera.take(self.page, "sign-up"))

    def sign_up(self, page: Page, name: str, before=lambda: None) -> None:  # type: ignore[no-untyped-def]
        self.go("accounts/sign-up/", page)
        before()
        page.get_by_label("Username").fill(name)
        password = secrets.token_urlsafe(12)
        page.get_by_label("Password", exact=True).fill(password)
        page.get_by_label("Password confirmation").fill(password)
        page.get_by_role("button", name="Make it").click()
        page.wait_for_url("**/documents/")

    def upload(self, pictures: list[Path], film: Path) -> None:
        page = self.go("upload/")
        page.locator("input[type=file]").set_input_files(pictures)
        expect(page.locator("[data-chosen] li")).to_have_count(len(pictures))
        self.camera.take(page, "upload")
        page.get_by_role("button", name="Upload").click()
        expect(page.get_by_role("status").first).to_contain_text("uploaded")
        page = self.go("upload/")
        page.locator("input[type=file]").set_input_files(
            {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no picture"}
        )
        page.get_by_role("button", name="Upload").click()
        expect(page.get_by_role("alert")).to_contain_text("not a picture")
        self.camera.take(page, "upload-refused")
        page = self.go("films/")
        page.locator("input[type=file]").set_input_files(film)
        page.get_by_label("Description").fill("A day ends behind the mountains. No sound.")
        page.get_by_role("button", name="Upload").click()
        expect(page.locator("video.player")).to_have_count(1)
        page = self.go("documents/")
        for name, title in (("lease.pdf", "Lease of the flat"), ("Birth certificate.pdf", "")):
            page.locator("input[type=file]").set_input_files(
                {"name": name, "mimeType": "application/pdf", "buffer": PDF}
            )
            page.get_by_label("Title").fill(title)
            page.get_by_role("button", name="Upload").click()
            expect(page.get_by_role("status").first).to_contain_text("uploaded")
        expect(page.locator(".rows li")).to_have_count(2)
        say("uploaded 16 pictures, a film and two documents through the browser; no worker runs")

    def watch_it_move(self, more: list[Path]) -> None:
        for path, name in (("", "album"), ("placement/", "placement"), ("films/1/", "film")):
            self.camera.take(self.go(path), f"{name}-pending")
        page = self.go("placement/")
        verdict = page.locator("#verdict")
        expect(verdict).to_contain_text("owed work")
        say(f"placement says: {verdict.inner_text()}")
        start_worker(self.children)
        started, seen = time.monotonic(), [verdict.inner_text()]
        other = self.page.context.new_page()
        self.send_pictures(other, more)
        other.close()
        while (now := verdict.inner_text()) != "Nothing is owed.":
            if now != seen[-1]:
                seen.append(now)
            if time.monotonic() - started > WAIT / 1000:
                self.camera.problems.append(f"placement: not settled within {WAIT / 1000:g} s: {now}")
                return
            page.wait_for_timeout(100)
        say(f"placement, never reloaded, went on to: {' → '.join([*seen[1:], now])}")

    def half_way(self, more: list[Path]) -> None:
        """Some files settled, some pending: as with a worker that has much to do."""
        (worker,) = (child.process for child in self.children.running if child.name == "worker")
        worker.send_signal(signal.SIGSTOP)
        try:
            self.send_pictures(self.page, more)
            self.camera.take(self.go("placement/"), "placement-half-way")
        finally:
            worker.send_signal(signal.SIGCONT)
        expect(self.page.locator("#verdict")).to_have_text("Nothing is owed.")

    def send_pictures(self, page: Page, pictures: list[Path]) -> None:
        self.go("upload/", page)
        page.locator("input[type=file]").set_input_files(pictures)
        page.get_by_role("button", name="Upload").click()
        expect(page.get_by_role("status").first).to_contain_text("uploaded")

    def look_at_everything(self) -> None:
        pages = {
            "album": "",
            "photo": "photo/1/",
            "films": "films/",
            "film": "films/1/",
            "documents": "documents/",
            "document": "documents/1/",
            "placement": "placement/",
        }
        for name, path in pages.items():
            page = self.go(path)
            page.wait_for_load_state("networkidle")
            self.camera.take(page, name)
        self.go("documents/1/")
        self.page.get_by_label("The link lasts").select_option("day")
        self.page.get_by_role("button", name="Make a link").click()
        self.link = self.page.get_by_label("The link, until").input_value()
        self.camera.take(self.page, "document-link")

    def begin_the_film(self) -> None:
        """Seek while the film lies on the disk, in a page that stays open."""
        self.viewer = self.page.context.new_page()
        self.viewer.on("response", self._note_part)
        self.parts: list[tuple[int, str]] = []
        self.go("films/1/", self.viewer)
        self.viewer.wait_for_function("document.querySelector('video').readyState >= 1")
        expect(self.viewer.locator(".badge")).to_have_text("disk · pending")
        self.seek(3)
        say(f"film, on the disk: sought second 3; answers {self.parts}")

    def _note_part(self, answer: Response) -> None:
        if "/files/films/" in answer.url:
            self.parts.append((answer.status, answer.headers.get("content-range", "")))

    def seek(self, second: int) -> None:
        found = self.viewer.locator("video").evaluate(SEEK, second)
        if found != second:
            self.camera.problems.append(f"the film was sought at {second} s, and is at {found}")

    def go_on_with_the_film(self) -> None:
        """Seek in the same player, once the file is gone from the disk."""
        expect(self.viewer.locator(".badge")).to_have_text("s3 · settled")
        before = len(self.parts)
        for second in (28, 17, 9):
            self.seek(second)
        if {status for status, _ in self.parts} != {206} or len(self.parts) == before:
            self.camera.problems.append(f"the film's parts: {self.parts}")
        say(f"the same player, from S3: sought seconds 28, 17, 9; answers {self.parts[before:]}")
        self.viewer.close()

    def strangers(self) -> None:
        stranger = self.person()
        page = stranger.new_page()
        got = {
            "shared link": self.status(page, self.link),
            "tampered link": self.status(page, self.link[:-1] + ("A" if self.link[-1] != "A" else "B")),
            "no signature": self.status(page, self.link.partition("?")[0]),
        }
        self.sign_up(page, "mallory")
        got["another's document"] = self.status(page, urljoin(self.address, "documents/1/"))
        got["another's document, opened"] = self.status(page, urljoin(self.address, "documents/1/open/"))
        self.go("placement/", page)
        got["names of another's on the placement page"] = page.content().count("lease.pdf")
        expected = [200, 403, 403, 404, 404, 0]
        if list(got.values()) != expected:
            self.camera.problems.append(f"strangers got {got}")
        say(f"strangers: {got}")
        stranger.close()

    def status(self, page: Page, url: str) -> int:
        return page.request.get(url, max_redirects=0).status

    def without_scripts(self, picture: Path) -> None:
        context = self.person(scripts=False)
        page = context.new_page()
        self.go("upload/", page)
        page.locator("input[type=file]").set_input_files(picture)
        page.get_by_role("button", name="Upload").click()
        page.wait_for_url(self.address)
        for name, path in (("upload", "upload/"), ("placement", "placement/"), ("film", "films/1/")):
            self.go(path, page)
            page.screenshot(path=self.camera.folder / f"no-script-{name}.png")
        loads: list[str] = []
        page.on("load", lambda loaded: loads.append(loaded.url))
        self.go("placement/", page)
        page.wait_for_timeout(5_000)
        if len(loads) < 2:
            self.camera.problems.append("without scripts the page of placements does not reload itself")
        say(f"without scripts: uploaded; the page of placements loaded {len(loads)} times in 5 s")
        context.close()

    def admin(self) -> None:
        os.environ["DJANGO_SUPERUSER_PASSWORD"] = password = secrets.token_urlsafe(12)
        manage("createsuperuser", "--noinput", "--username", "root", "--email", "root@example.invalid")
        context = self.person()
        page = context.new_page()
        self.go("accounts/login/?next=/admin/queued_storage/storedfile/", page)
        page.get_by_label("Username").fill("root")
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url("**/storedfile/")
        self.camera.take(page, "admin-catalog")
        context.close()


if __name__ == "__main__":
    sys.exit(main())
