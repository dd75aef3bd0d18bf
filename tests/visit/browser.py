"""Chromium by Playwright: pages in two schemes and two widths, and what axe-core and the console say of them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
#: The browser is to speak to the site alone.
OPTIONS = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
SCHEMES = ("light", "dark")
WIDTHS = {360: 740, 1280: 860}
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@contextmanager
def chromium() -> Iterator[Browser]:
    program = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        raise SystemExit(
            "No Chromium was found. Install it (Debian: apt install chromium), or say CHROMIUM=/path/to/it."
        )
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=[*OPTIONS, *(["--no-sandbox"] if is_root else [])]
        )
        yield browser
        browser.close()


@dataclass
class Camera:
    """Takes pictures of pages, has axe-core look at each, and remembers what was wrong."""

    folder: Path
    problems: list[str] = field(default_factory=list)
    taken: int = 0

    def watch(self, context: BrowserContext) -> BrowserContext:
        context.on("console", self._heard)
        context.on("weberror", lambda error: self.problems.append(f"script: {error.error}"))
        return context

    def _heard(self, said: ConsoleMessage) -> None:
        if said.type not in ("error", "warning"):
            return
        is_refusal = "400 (Bad Request)" in said.text  # the form's answer to what it does not take; asked for
        is_icon = said.location["url"].endswith("/favicon.ico")  # of the admin, which has none
        if not is_refusal and not is_icon:
            self.problems.append(f"console of {said.page.url if said.page else '?'}: {said.text}")

    def take(self, page: Page, name: str) -> None:
        """Photograph the page as it is, in both schemes and widths, and have it checked in each."""
        for scheme in SCHEMES:
            for width, height in WIDTHS.items():
                page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
                page.set_viewport_size({"width": width, "height": height})
                self._check(page, f"{name}, {scheme}, {width} px")
                page.screenshot(path=self.folder / f"{name}-{scheme}-{width}.png", full_page=width == 360)
                self.taken += 1
        page.set_viewport_size({"width": 1280, "height": 860})

    def _check(self, page: Page, what: str) -> None:
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if wide > 0:
            self.problems.append(f"{what}: {wide} px wider than the screen")
        if "/admin/" in page.url:
            return  # Django's own pages
        answer = Axe().run(page, options={"runOnly": {"type": "tag", "values": RULES}})
        for violation in answer.response["violations"]:
            nodes = "; ".join(node["html"][:160] for node in violation["nodes"][:3])
            self.problems.append(f"{what}: axe {violation['id']} ({violation['impact']}): {nodes}")
