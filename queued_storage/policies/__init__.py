"""Policies say on which tiers a file should lie; ``queued_storage.reconcile`` brings it there."""

from .base import FileFacts, MovingPolicy, Placement, Policy, PolicyError
from .delayed import Delayed
from .delegated import Delegated
from .mirror import Mirror
from .registry import SHORT_NAMES, bind_policy, get_policy
from .rules import Rule, Rules
from .transfer import Transfer
from .transfer_and_delete import TransferAndDelete

__all__ = [
    "SHORT_NAMES",
    "Delayed",
    "Delegated",
    "FileFacts",
    "Mirror",
    "MovingPolicy",
    "Placement",
    "Policy",
    "PolicyError",
    "Rule",
    "Rules",
    "Transfer",
    "TransferAndDelete",
    "bind_policy",
    "get_policy",
]
