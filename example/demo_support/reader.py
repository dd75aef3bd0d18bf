"""Someone who looks at the pictures all the time, also while they move."""

import threading
from collections.abc import Callable, Mapping

from .processes import DemoFailure
from .site import Photo, Site


class Reader(threading.Thread):
    """Read picture after picture, and compare each with what was uploaded."""

    def __init__(self, site: Site, photos: Callable[[], list[Photo]], digests: Mapping[str, str]) -> None:
        super().__init__(name="reader")
        self.site = site
        self.photos = photos
        self.digests = digests
        self.count = 0
        self.failure: Exception | None = None
        self._enough = threading.Event()

    def __enter__(self) -> "Reader":
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._enough.set()
        self.join()

    def run(self) -> None:
        try:
            while not self._enough.is_set():
                for photo in self.photos():
                    if self._enough.is_set():
                        return
                    compare(self.site, photo, self.digests)
                    self.count += 1
        except Exception as error:  # noqa: BLE001 - it is the main thread that reports it
            self.failure = error

    def check(self) -> None:
        if self.failure:
            raise DemoFailure(f"A read while the pictures move went wrong: {self.failure}") from self.failure


def compare(site: Site, photo: Photo, digests: Mapping[str, str]) -> None:
    """Read a picture through the site; fail if it is not what was uploaded."""
    if site.digest(photo) != digests[photo["name"]]:
        raise DemoFailure(f"{photo['name']} read back differs from what was uploaded ({photo['image']}).")
