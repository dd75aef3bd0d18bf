"""Hosts with disks of their own as a first tier: signs of life, what each has to clear, and what is told of it."""

from __future__ import annotations

from .clearing import clear_owed
from .life import HostStatus, show, status
from .links import SENT_BY, url

__all__ = ["SENT_BY", "HostStatus", "clear_owed", "show", "status", "url"]
