"""The conformance kit: what a storage should do as a tier, and a chain with it, as tests for any project's storage.

    from queued_storage.testing.conformance import ChainConformance, TierConformance

    class TestVault(TierConformance):
        def make_storage(self):
            return VaultStorage(location="/tmp/vault")

This package imports pytest, and nothing else of queued_storage imports this package.
"""

from __future__ import annotations

from .behaviour import Behaviour, Behaviours, Misbehaviour, Role
from .subject import Candidate, Subject
from .suite import CHAIN, TIER, ChainConformance, TierConformance

__all__ = [
    "CHAIN",
    "TIER",
    "Behaviour",
    "Behaviours",
    "Candidate",
    "ChainConformance",
    "Misbehaviour",
    "Role",
    "Subject",
    "TierConformance",
]
