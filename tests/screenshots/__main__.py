"""Take the pictures: ``python -m tests.screenshots [FOLDER]`` (by default docs/_static/admin).

The pages are loaded in a real Chromium, without JavaScript too, with a policy that forbids scripts and styles inside of
them. It fails where the browser complains of anything, or text has too little contrast to be read. Chromium is the one
of the system (``CHROMIUM=/path/to/it``), or playwright's own.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
FOLDER = HERE.parents[2] / "docs" / "_static" / "admin"
THEMES = ("light", "dark")
WIDE, NARROW = {"width": 1360, "height": 860}, {"width": 420, "height": 900}

#: Texts of the page with less contrast than WCAG's AA asks for (4.5:1; 3:1 where they are large), by what they say.
CONTRAST = """
() => {
  const channel = c => { c /= 255; return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4 };
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const colour = text => { const n = text.match(/[\\d.]+/g).map(Number); return n.length > 3 && !n[3] ? null : n };
  const behind = element => {
    const box = element.closest('g.tier')?.querySelector('.box');
    if (box && element.tagName === 'text') return colour(getComputedStyle(box).fill);
    for (let each = element; each; each = each.parentElement) {
      const found = colour(getComputedStyle(each).backgroundColor);
      if (found) return found;
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const element of document.querySelectorAll('.queued-storage *')) {
    const own = [...element.childNodes].some(n => n.nodeType === 3 && n.data.trim());
    if (!own || !element.checkVisibility() || element.tagName === 'title') continue;
    const style = getComputedStyle(element);
    const front = colour(element.ownerSVGElement ? style.fill : style.color);
    const [a, b] = [light(front), light(behind(element))].sort((x, y) => y - x);
    const least = parseFloat(style.fontSize) >= 24 ? 3 : 4.5;
    if ((a + 0.05) / (b + 0.05) < least)
      poor.push(`${element.textContent.trim().slice(0, 40)}: ${((a + 0.05) / (b + 0.05)).toFixed(2)}`);
  }
  return poor;
}
"""


def main(folder: Path) -> int:
    with tempfile.TemporaryDirectory(prefix="queued-storage-screenshots-") as root:
        os.environ["QUEUED_STORAGE_SCREENSHOTS"] = root
        os.environ["DJANGO_SETTINGS_MODULE"] = "tests.screenshots.site"
        import django

        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        cookie, pages = _prepare()
        with _served() as address:
            problems = _picture(folder, address, cookie, pages)
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def _prepare() -> tuple[str, dict[str, str]]:
    """Fill the catalog; return the session of somebody who may see it, and the paths of the pages."""
    from django.contrib.auth.models import User
    from django.test import Client
    from django.urls import reverse

    from tests.screenshots import rows

    file = rows.fill()
    client = Client()
    client.force_login(User.objects.create_superuser("operator"))
    name = "admin:queued_storage_storedfile_"
    paths = {
        "list": reverse(f"{name}changelist"),
        "detail": reverse(f"{name}change", args=[file.pk]),
        "dashboard": f"{reverse(f'{name}dashboard')}?chain=media",
    }
    return client.cookies["sessionid"].value, paths


@contextmanager
def _served() -> Iterator[str]:
    from django.contrib.staticfiles.handlers import StaticFilesHandler
    from django.core.handlers.wsgi import WSGIHandler
    from django.core.servers.basehttp import ThreadedWSGIServer
    from django.test.testcases import QuietWSGIRequestHandler

    server = ThreadedWSGIServer(("127.0.0.1", 0), QuietWSGIRequestHandler, allow_reuse_address=False)
    server.set_app(StaticFilesHandler(WSGIHandler()))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _picture(folder: Path, address: str, cookie: str, pages: dict[str, str]) -> list[str]:
    from playwright.sync_api import sync_playwright

    problems: list[str] = []
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            for theme in THEMES:
                for name, page in pages.items():
                    shot = folder / f"{name}-{theme}.png"
                    problems += _shoot(browser, theme, address, cookie, page, shot)
                problems += _shoot(
                    browser, theme, address, cookie, pages["dashboard"], None, NARROW, js=False
                )
        finally:
            browser.close()
    return problems


def _shoot(
    browser: Any,
    theme: str,
    address: str,
    cookie: str,
    path: str,
    shot: Path | None,
    size: dict[str, int] = WIDE,
    *,
    js: bool = True,
) -> list[str]:
    """Load the page and keep a picture of it; return what is wrong with it."""
    problems: list[str] = []
    where = f"{path} ({theme}, {size['width']} wide{'' if js else ', no JavaScript'})"
    context = browser.new_context(color_scheme=theme, viewport=size, java_script_enabled=js, locale="en-GB")
    context.add_cookies([{"name": "sessionid", "value": cookie, "url": address}])
    page = context.new_page()
    page.route("**/favicon.ico", lambda route: route.fulfill(status=204))
    page.on("console", lambda told: problems.append(f"{where}: {told.type}: {told.text}"))
    page.on("pageerror", lambda error: problems.append(f"{where}: {error}"))
    try:
        response = page.goto(address + path, wait_until="load")
        if response is None or not response.ok:
            problems.append(f"{where}: {response and response.status}")
        if js:
            problems += [f"{where}: too little contrast: {each}" for each in page.evaluate(CONTRAST)]
            wider = page.evaluate("document.documentElement.scrollWidth > innerWidth")
            problems += [f"{where}: wider than its window"] if wider else []
        if shot is not None:
            page.screenshot(path=shot, full_page=shot.name.startswith("dashboard"))
            _lessen(shot)
            print(shot)
    finally:
        context.close()
    return problems


def _lessen(shot: Path) -> None:
    """Keep the picture with so few colours that it weighs little in a repository."""
    from PIL import Image

    with Image.open(shot) as picture:
        picture.convert("RGB").quantize(96, dither=Image.Dither.NONE).save(shot, optimize=True)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER))
