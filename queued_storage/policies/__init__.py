"""Policies say on which tiers a file should lie; ``queued_storage.reconcile`` brings it there."""

from .base import FileFacts, MovingPolicy, Placement, Policy, PolicyError
from .delayed import Delayed
from .delegated import Delegated
from .registry import SHORT_NAMES, get_policy
from .transfer import Transfer
from .transfer_and_delete import TransferAndDelete

__all__ = [
    "SHORT_NAMES",
    "Delayed",
    "Delegated",
    "FileFacts",
    "MovingPolicy",
    "Placement",
    "Policy",
    "PolicyError",
    "Transfer",
    "TransferAndDelete",
    "get_policy",
]
