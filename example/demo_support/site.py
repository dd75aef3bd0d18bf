"""The album as a browser sees it: over HTTP, through its forms."""

import hashlib
import re
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

import requests

from .processes import DemoFailure

Photo: TypeAlias = dict[str, Any]  # an entry of places.json


class Site:
    def __init__(self, address: str) -> None:
        self.address = address
        self.session = requests.Session()
        self.session.trust_env = False  # no proxy between here and the loopback

    def answers(self) -> bool:
        try:
            return self.session.get(self.address, timeout=5).ok
        except requests.ConnectionError:
            return False

    def upload(self, paths: Sequence[Path]) -> None:
        """Send several pictures with the upload page's form, as a browser does."""
        page = self._get("upload/")
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)
        if token is None:
            raise DemoFailure("The upload page has no CSRF token.")
        with ExitStack() as stack:
            files = [("pictures", (path.name, stack.enter_context(path.open("rb")))) for path in paths]
            answer = self.session.post(
                f"{self.address}upload/",
                data={"csrfmiddlewaretoken": token[1]},
                files=files,
                timeout=60,
                allow_redirects=False,
            )
        if answer.status_code != 302:
            raise DemoFailure(f"The upload was answered with {answer.status_code}:\n{_readable(answer.text)}")

    def photos(self) -> list[Photo]:
        """Ask where all pictures are."""
        photos: list[Photo] = self._get("places.json").json()["photos"]
        return photos

    def digest(self, photo: Photo) -> str:
        """Read a picture to its end, and answer its SHA-256."""
        digest = hashlib.sha256()
        with self._get(photo["url"].lstrip("/"), stream=True) as answer:
            for chunk in answer.iter_content(1 << 18):
                digest.update(chunk)
        return digest.hexdigest()

    def _get(self, path: str, **options: Any) -> requests.Response:
        answer = self.session.get(self.address + path, timeout=30, **options)
        if not answer.ok:
            raise DemoFailure(f"/{path} was answered with {answer.status_code}:\n{_readable(answer.text)}")
        return answer


def _readable(html: str) -> str:
    text = re.sub(r"<(style|script).*?</\1>|<[^>]+>", " ", html, flags=re.DOTALL)
    return re.sub(r"\s+", " ", text)[:600]
