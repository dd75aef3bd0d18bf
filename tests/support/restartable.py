"""A server of the tests that can be killed and started again, on the same port and with the same data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from tests.support.processes import Process, ProcessFailed
from tests.support.waiting import wait_until

#: A port that was free may be taken before the server listens on it; then it is tried on others.
ATTEMPTS = 3
READY_WITHIN = 40


class Running:
    """Base of a server's face: ``kill()`` and ``start()`` again, as often as a test likes.

    A subclass says how to ``launch()`` its processes, on ports and a folder that it was made with, and whether it
    ``answers()``.
    """

    #: Why what the server acknowledged may be gone after SIGKILL; empty if it is all there.
    forgets = ""

    _processes: tuple[Process, ...] = ()

    def launch(self) -> list[Process]:
        """Start the programs and return at once."""
        raise NotImplementedError

    def answers(self) -> bool:
        raise NotImplementedError

    def environment(self, port: int | None = None) -> dict[str, str]:
        """What a client must find in its environment, where a tier's OPTIONS are not enough to find the server."""
        return {}

    def version(self) -> str:
        """The program and its version, for the matrix: "OpenSSH 9.2p1"."""
        raise NotImplementedError

    @property
    def running(self) -> bool:
        return bool(self._processes) and all(process.running for process in self._processes)

    def start(self) -> None:
        """Start the programs and return when they answer; ProcessFailed, with the log, if one ends before that."""
        self._processes = tuple(self.launch())
        answer = f"an answer of {type(self).__name__}"
        try:
            wait_until(lambda: not self.running or self.answers(), answer, timeout=READY_WITHIN)
        except AssertionError as error:
            self.kill()
            raise self._processes[-1].failure(str(error)) from error
        if not self.running:
            ended = next(process for process in self._processes if not process.running)
            self.kill()
            raise ended.failure("it ended before it answered")

    def kill(self) -> None:
        """End the programs at once (SIGKILL), as a crash of their machine would."""
        for process in self._processes:
            process.kill()


S = TypeVar("S", bound=Running)


@contextmanager
def running(make: Callable[[], S]) -> Iterator[S]:
    """Start the server that ``make`` returns, a new one on other ports if that fails; kill it afterwards.

    What it holds goes with it, so nothing is gained by the seconds of an orderly end.
    """
    server = _started(make, ATTEMPTS)
    try:
        yield server
    finally:
        server.kill()


def _started(make: Callable[[], S], attempts: int) -> S:
    server = make()
    try:
        server.start()
    except ProcessFailed:
        if attempts == 1:
            raise
        return _started(make, attempts - 1)
    return server
