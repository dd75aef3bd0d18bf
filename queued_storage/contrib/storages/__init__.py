"""Storages that Django and django-storages do not have, each for itself; a chain takes them as tiers.

DatabaseStorage has models: it needs ``"queued_storage.contrib.storages"`` in INSTALLED_APPS. The others do not.
"""
