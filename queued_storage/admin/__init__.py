"""The catalog in Django's admin: a list, a page for each file, and a dashboard."""

from .files import StoredFileAdmin

__all__ = ["StoredFileAdmin"]
