"""Policies say on which tiers a file should lie; ``queued_storage.reconcile`` brings it there."""

from .base import FileFacts, Limit, MovingPolicy, Placement, Policy, PolicyError
from .delayed import Delayed
from .delegated import Delegated
from .mirror import Mirror
from .registry import SHORT_NAMES, bind_policy, get_policy
from .rules import Rule, Rules
from .transfer import Transfer
from .transfer_and_delete import TransferAndDelete
from .watermark import Watermark

__all__ = [
    "SHORT_NAMES",
    "Delayed",
    "Delegated",
    "FileFacts",
    "Limit",
    "Mirror",
    "MovingPolicy",
    "Placement",
    "Policy",
    "PolicyError",
    "Rule",
    "Rules",
    "Transfer",
    "TransferAndDelete",
    "Watermark",
    "bind_policy",
    "get_policy",
]
