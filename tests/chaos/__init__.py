"""Thousands of files through three tiers while workers, brokers, caches and lines are killed: ``make chaos``."""

from __future__ import annotations

#: As a Django URL configuration: there is nothing to visit.
urlpatterns: list[object] = []
