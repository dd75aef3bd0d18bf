"""What can go wrong, told so that the reader knows what to type next."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured


class QueuedStorageError(Exception):
    """Root of this package's errors; never raised itself."""

    def __reduce__(self) -> tuple[Any, ...]:
        # As Exception has it, a class would be called with its message in the place of what made it.
        return _made_again, (type(self), self.args, dict(vars(self)))


def _made_again(kind: type[QueuedStorageError], args: tuple[Any, ...], facts: dict[str, Any]) -> Exception:
    """Return the error that was pickled, without its ``__init__``."""
    error = kind.__new__(kind, *args)
    error.args = args
    vars(error).update(facts)
    return error


class ConfigurationError(QueuedStorageError, ImproperlyConfigured):
    """A setting cannot be used; the message holds one line for each mistake."""


class TierUnavailable(QueuedStorageError, OSError):
    """A tier could not be asked: refused, timed out or denied. It says nothing about the file.

    ``is_permanent`` tells that asking again cannot help before somebody changes something.
    """

    def __init__(self, tier: str, reason: str, *, is_permanent: bool = False) -> None:
        self.tier = tier
        self.reason = reason
        self.is_permanent = is_permanent
        super().__init__(f"Tier {tier!r} is unavailable: {reason}")


class NoPatience(TierUnavailable):
    """Whoever asked could not wait for the tier any longer; it may be well."""


class WrongPlace(TierUnavailable):
    """A tier's identity file is not there, or is another's: its mount or bucket is not the one that was meant.

    Nothing is believed missing there, nothing is copied there or deleted, and what is owed stays pending.
    """

    def __init__(self, chain: str, tier: str, reason: str) -> None:
        self.chain = chain
        super().__init__(
            tier,
            f"{reason} Its mount or bucket is not the right one: look at that first. If it is, type: "
            f"manage.py tiers identify --chain {chain} --tier {tier} --accept",
        )


class NotIdentified(QueuedStorageError):
    """A tier has IDENTITY in the settings, and no identity file was written there yet."""

    def __init__(self, chain: str, tier: str) -> None:
        self.chain = chain
        self.tier = tier
        super().__init__(
            f"Tier {tier!r} has IDENTITY, and nothing is known yet by which to tell that it is the right place. "
            f"Look that it is, and type: manage.py tiers identify --chain {chain}"
        )


class ChainUnavailable(QueuedStorageError, OSError):
    """No tier that may hold the file could be asked; ``reasons`` maps each tier to its cause."""

    def __init__(self, chain: str, name: str, reasons: Mapping[str, str]) -> None:
        self.chain = chain
        self.name = name
        self.reasons = dict(reasons)
        causes = "; ".join(f"tier {tier!r}: {reason}" for tier, reason in self.reasons.items())
        super().__init__(f"{name!r} cannot be read from chain {chain!r}: {causes}")


class OnAnotherHost(ChainUnavailable):
    """The file is there, on another host's own disk, and has not left that ``host`` yet; ask again later, or there."""

    def __init__(self, chain: str, name: str, tier: str, host: str) -> None:
        self.host = host
        super().__init__(chain, name, {tier: f"it has not left host {host!r} yet"})


class IncompleteListing(ChainUnavailable):
    """A tier could not be listed; ``partial`` holds (directories, files) of the tiers that answered."""

    def __init__(
        self, chain: str, name: str, reasons: Mapping[str, str], partial: tuple[list[str], list[str]]
    ) -> None:
        super().__init__(chain, name, reasons)
        self.partial = partial


class TransferFailed(QueuedStorageError, ValueError):
    """The file was not moved, and will not be before somebody acts; the message is the file's reason."""


class CopiesDiffer(QueuedStorageError):
    """Tiers hold different content by a name that the catalog does not know: nobody can say which is right."""

    def __init__(self, chain: str, name: str, tiers: tuple[str, ...]) -> None:
        self.chain = chain
        self.name = name
        self.tiers = tiers
        super().__init__(
            f"Tiers {' and '.join(map(repr, tiers))} of chain {chain!r} hold different content by the name {name!r}. "
            f"Delete or rename one of the two; until then readers get that of {tiers[0]!r}, and nothing is moved."
        )


class TierBusy(QueuedStorageError):
    """As many copies as its CONCURRENCY allows go to or from a tier; the file has its turn later."""

    def __init__(self, *tiers: str) -> None:
        super().__init__(
            f"as many copies as CONCURRENCY allows go on between {' and '.join(map(repr, tiers))}"
        )


class OutsideWindow(QueuedStorageError):
    """A tier's WINDOW is closed; copies to and from it begin when it opens, at ``until``."""

    def __init__(self, tier: str, window: str, until: datetime) -> None:
        self.tier = tier
        self.until = until
        super().__init__(f"tier {tier!r} is outside of its WINDOW, {window}: copies begin when that opens")


class PermanentFailure(QueuedStorageError):
    """Trying again cannot help; the message is kept as the file's reason."""


class UnknownChain(ConfigurationError):
    """No chain of this alias is known here; another process, or this one once it is corrected, may know it."""


class NotCopied(QueuedStorageError):
    """The project's own code says that it did not copy the file; it is called again later."""


class CopyMismatch(QueuedStorageError):
    """What a tier holds after a copy is not what was sent to it."""


class ReadOnlyChain(QueuedStorageError, PermissionError):
    """The first tier of the chain is READ_ONLY, so there is nowhere to save to."""

    def __init__(self, chain: str) -> None:
        super().__init__(
            f"Chain {chain!r} takes no files: its first tier is READ_ONLY. Put a writable tier first."
        )


class NotAcknowledged(QueuedStorageError, OSError):
    """Fewer tiers than the chain's ACK could be made to hold the file, so it was not saved.

    Nothing of it is kept; what lies on a tier that cannot be reached now is cleared later.
    """

    def __init__(self, chain: str, name: str, wanted: int, held: int, reason: str) -> None:
        self.chain = chain
        self.name = name
        self.wanted = wanted
        self.held = held
        self.reason = reason
        super().__init__(
            f"Chain {chain!r} takes a file once {wanted} tiers hold it (ACK), which {held} did: {reason}. "
            "It was not saved."
        )


class NotReplaceable(QueuedStorageError, PermissionError):
    """A chain with ACK cannot replace content: what was there before could not be put back where a copy fails."""

    def __init__(self, chain: str) -> None:
        self.chain = chain
        super().__init__(
            f"Chain {chain!r} has ACK, so content is not replaced: save under another name, and let the first tier "
            "give each save its own (of S3Storage: file_overwrite False)."
        )


class LeaseLost(QueuedStorageError):
    """The row was replaced, deleted or claimed by another worker while this attempt ran."""


class AttemptTooLong(QueuedStorageError):
    """An attempt was not done when its time was over; the file is tried again."""


class CustodyError(QueuedStorageError):
    """A policy asked for what would leave a file without a verified copy."""


class NoPath(QueuedStorageError, FileNotFoundError, NotImplementedError):
    """``path()`` of a missing file; apps ask for that of any name to learn whether a storage has paths at all."""


class NameTaken(QueuedStorageError):
    """Another process took the name between the look for a free one and its use."""


class GoneFromTrash(QueuedStorageError):
    """Somebody else has restored, erased or purged it in the meantime."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name!r} is not in the trash any more: somebody else has restored, erased or purged it meanwhile."
        )


class NotRestored(QueuedStorageError):
    """A deleted file was not brought back; the message says why, and what to type. It is in the trash still."""


class OldContentNotRestored(QueuedStorageError, OSError):
    """A save could not replace the content of a name, nor put the old content back; ``kept`` is a file that has it."""

    def __init__(self, name: str, kept: Path) -> None:
        self.kept = kept
        super().__init__(
            f"{name!r} could not be replaced, and what it held could not be put back. "
            f"It was kept in {str(kept)!r}: save it from there."
        )
