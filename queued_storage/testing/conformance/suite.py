"""The behaviours as classes of test methods, and as one function of many parameters."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import pytest
from django.core.files.storage import Storage

from queued_storage.schema import did_you_mean

from . import arranging
from .behaviour import ROLES, Behaviour, Behaviours, Cannot, Misbehaviour, NotAsked, Role
from .building import BUILDING
from .deleting import DELETING
from .facts import FACTS
from .missing import MISSING
from .moving import MOVING
from .reading import READING
from .saving import SAVING
from .subject import PATIENCE, Candidate, Subject
from .threads import THREADS
from .whole import WHOLE

#: What a storage should do as a tier, and what a chain should do with it.
TIER = Behaviours(SAVING, WHOLE, READING, FACTS, MISSING, DELETING, THREADS, BUILDING)
CHAIN = MOVING

#: What a test tells the report of itself, as one of pytest's user properties.
PROPERTY = "conformance"


@dataclass(frozen=True)
class Suite:
    """Behaviours, and the chains in which they are looked at."""

    name: str
    behaviours: Behaviours
    arrange: Callable[[Candidate, Role], AbstractContextManager[Subject]]

    def look(self, behaviour: Behaviour, role: Role, candidate: Candidate, node: pytest.Item) -> None:
        """Find out whether the candidate has the behaviour; fail in words, or skip where it is said not to have it."""
        fact = {"suite": self.name, "storage": candidate.kind, "role": role, "behaviour": behaviour.id}
        node.user_properties.append((PROPERTY, fact))
        if role not in candidate.roles:
            pytest.skip(_noted(fact, "not asked", f"it is not used as a {role} tier"))
        if wrong := _unknown(candidate.cannot):
            pytest.fail(_noted(fact, "fails", wrong), pytrace=False)
        declared = candidate.cannot.get(f"{behaviour.id}[{role}]", candidate.cannot.get(behaviour.id))
        try:
            refused, misbehaviour = self._try(behaviour, role, candidate)
        except NotAsked as reason:
            pytest.skip(_noted(fact, "not asked", str(reason)))
        if refused or (misbehaviour and declared):
            pytest.skip(f"cannot: {_noted(fact, 'cannot', declared or refused)}")
        if misbehaviour:
            pytest.fail(_noted(fact, "fails", str(misbehaviour)) + _behind(misbehaviour), pytrace=False)
        if declared:
            why = (
                f"This works: {behaviour.says} Take {behaviour.id!r} out of `cannot`, which says: {declared}"
            )
            pytest.fail(_noted(fact, "fails", why), pytrace=False)
        _noted(fact, "passes", "")

    def run(self, behaviour: Behaviour, role: Role, candidate: Candidate) -> None:
        """Find out; raise Misbehaviour, Cannot or NotAsked."""
        with self.arrange(candidate, role) as subject:
            subject.has_free_names()
            behaviour.look(subject)

    def _try(self, behaviour: Behaviour, role: Role, candidate: Candidate) -> tuple[str, Misbehaviour | None]:
        """Return why the storage does not do it: it says so itself, or misbehaves."""
        try:
            self.run(behaviour, role, candidate)
        except Cannot as refusal:
            return str(refusal), None
        except Misbehaviour as misbehaviour:
            return "", misbehaviour
        return "", None


def _unknown(cannot: Mapping[str, str]) -> str:
    """Return what is wrong with the ids that a storage is declared not to have; nothing where all are known."""
    known = TIER.ids | CHAIN.ids
    unknown = [each for each in cannot if each not in known]
    return (
        f"cannot: no behaviour is called {unknown[0]!r}. {did_you_mean(unknown[0], known)}" if unknown else ""
    )


def _noted(fact: dict[str, str], outcome: str, why: str) -> str:
    fact["outcome"], fact["why"] = outcome, why
    return why


def _behind(misbehaviour: Misbehaviour) -> str:
    """Return where the storage raised the error that the misbehaviour is; the error's text is in the message."""
    error = misbehaviour.__cause__
    if error is None:
        return ""
    return f"\n\nRaised here:\n{''.join(traceback.format_tb(error.__traceback__))}"


TIER_SUITE = Suite("tier", TIER, arranging.as_tier)
CHAIN_SUITE = Suite("chain", CHAIN, arranging.in_chain)


class Conformance:
    """Behaviours as test methods; a subclass says which storage is looked at.

    Override ``make_storage()``, or give a fixture ``storage``: a storage, the settings of a tier, or a Candidate.
    """

    suite: ClassVar[Suite]
    #: What reports call the storage; its class, by default.
    kind: str = ""
    #: Which behaviours the storage cannot have, by id, and why. One that works all the same is a failure.
    cannot: Mapping[str, str] = {}
    #: In which roles the storage is looked at: as a tier below the one that takes the saves, and as that one.
    roles: Sequence[Role] = ROLES
    #: Seconds for what six threads do at once.
    patience: float = PATIENCE
    #: Asks the backend, past the storage, for the content type that it keeps of the file of a name.
    content_type: Callable[[str], str | None] | None = None

    def make_storage(self) -> Storage | Mapping[str, Any] | Candidate:
        """Return the storage, over a place that may be written to."""
        raise NotImplementedError

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # Only then, or it would take the place of a fixture of this name in the module, or in conftest.py.
        if "make_storage" in vars(cls) and "storage" not in vars(cls):
            cls.storage = _storage_fixture()  # type: ignore[attr-defined]

    @pytest.fixture
    def conformance_candidate(self, storage: Storage | Mapping[str, Any] | Candidate) -> Candidate:
        return as_candidate(
            storage,
            kind=self.kind,
            cannot=self.cannot,
            roles=tuple(self.roles),
            patience=self.patience,
            content_type=self.content_type,
        )

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        behaviour = getattr(metafunc.function, "behaviour", None)
        if behaviour is not None:
            metafunc.parametrize("conformance_role", [role for role in ROLES if role in behaviour.roles])


class TierConformance(Conformance):
    """What a storage should do as a tier. It needs no database."""

    suite = TIER_SUITE


class ChainConformance(Conformance):
    """What a chain should do with the storage: with a disk above it, and above a disk."""

    suite = CHAIN_SUITE

    @pytest.fixture(autouse=True)
    def conformance_database(self, request: pytest.FixtureRequest) -> None:
        # Not a marker of this class: it would count for more than one of a subclass, or of its module.
        if request.node.get_closest_marker("django_db") is None:
            request.getfixturevalue("db")


def as_candidate(storage: Storage | Mapping[str, Any] | Candidate, **said: Any) -> Candidate:
    """Return the candidate; of one that is given as such, only what it leaves open is said."""
    if not isinstance(storage, Candidate):
        storage = Candidate(storage)
    unsaid = {name: value for name, value in said.items() if getattr(storage, name) == _DEFAULTS[name]}
    candidate = replace(storage, **unsaid)
    return candidate if candidate.kind else replace(candidate, kind=candidate.class_name)


_DEFAULTS = {each.name: getattr(Candidate({}), each.name) for each in fields(Candidate)}


def _storage_fixture() -> Any:
    def storage(self: Conformance) -> Any:
        return self.make_storage()

    return pytest.fixture(storage)


def _add_methods(conformance: type[Conformance]) -> None:
    for behaviour in conformance.suite.behaviours:
        setattr(conformance, behaviour.method, _method(behaviour))


def _method(behaviour: Behaviour) -> Callable[..., None]:
    def test(
        self: Conformance,
        request: pytest.FixtureRequest,
        conformance_candidate: Candidate,
        conformance_role: Role,
    ) -> None:
        self.suite.look(behaviour, conformance_role, conformance_candidate, request.node)

    test.__name__ = behaviour.method
    test.__doc__ = behaviour.says
    test.behaviour = behaviour  # type: ignore[attr-defined]
    return test


_add_methods(TierConformance)
_add_methods(ChainConformance)
