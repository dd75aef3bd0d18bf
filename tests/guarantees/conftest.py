from __future__ import annotations

from tests.ancestors.conftest import _no_fault_left, by_hand, clock, relayed, slow_disk, trust_broker

__all__ = ["_no_fault_left", "by_hand", "clock", "relayed", "slow_disk", "trust_broker"]
