from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Self

from pydantic import PrivateAttr

from .base import Duration, FileFacts, Placement, Policy, PolicyError, TierNames, Verify, where_it_is
from .registry import binding, get_policy


class Delayed(Policy):
    """Leave the file where it is until ``transfer()`` is asked for; then do what another policy says."""

    #: The policy that takes over.
    then: str = "transfer"
    #: Options of that policy to set otherwise than its name does; None leaves them.
    to: TierNames | None = None
    after: Duration | None = None
    keep: Duration | None = None
    verify: Verify = "size"

    _bound: Policy | None = PrivateAttr(default=None)

    def place(self, file: FileFacts, tiers: Sequence[str], now: datetime) -> Placement:
        if not file.requested:
            return where_it_is(file, tiers)
        return (self._bound or self._next()).place(file, tiers, now)

    @property
    def copier(self) -> str | None:
        return (self._bound or self._next()).copier

    def for_file(self, file: FileFacts) -> Policy:
        return (self._bound or self._next()).for_file(file)

    def bind(self, tiers: Sequence[str], writable: Sequence[str]) -> Self:
        with binding(self.then):
            then = self._next().bind(tiers, writable)
        bound = self.model_copy(
            update={"verify": then.verify}
        )  # the engine asks the policy that it was given
        bound._bound = then
        return bound

    def _next(self) -> Policy:
        policy = get_policy(self.then)
        if isinstance(policy, Delayed):
            raise PolicyError(
                f"'then' of a delayed policy names a delayed one, {self.then!r}.", "Name another."
            )
        given = self.model_dump(include={"to", "after", "keep", "verify"}, exclude_unset=True)
        unknown = given.keys() - type(policy).model_fields
        if unknown:
            options = ", ".join(map(repr, sorted(unknown)))
            raise PolicyError(
                f"policy {self.then!r} has no option {options}.", "Remove it, or change 'then'."
            )
        return policy.model_copy(update=given)
