"""Look in the built pages for links that lead nowhere: files that are not there, anchors that their page does not have.

Usage: python check_links.py HTML_DIR. Links to other sites are not looked at.
"""

from __future__ import annotations

import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The links and the anchors of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.anchors |= {value for key in ("id", "name") if (value := given.get(key))}
        if (link := given.get("href") or given.get("src")) is not None:
            self.links.append(link)


@cache
def read(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def problem(path: Path, link: str) -> str:
    """Return what is wrong with the link on the page, or nothing."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc or (link.startswith("#") and len(link) == 1):
        return ""
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if target.is_dir():
        target /= "index.html"
    if not target.is_file():
        return f"{link}: no such file"
    if parts.fragment and target.suffix == ".html" and unquote(parts.fragment) not in read(target).anchors:
        return f"{link}: no such place on that page"
    return ""


def main(folder: Path) -> int:
    pages = sorted(path for path in folder.rglob("*.html") if "_static" not in path.parts)
    problems = [
        f"{path.relative_to(folder)}: {told}"
        for path in pages
        for link in read(path).links
        if (told := problem(path, link))
    ]
    print(*problems, f"{sum(len(read(path).links) for path in pages)} links on {len(pages)} pages", sep="\n")
    return 1 if problems or not pages else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
