"""Send every model to the database under test, so that one test runs on each of them unchanged."""

from __future__ import annotations

from typing import Any, ClassVar


class CatalogRouter:
    """Answers with one alias for all; the fixture ``catalog_db`` sets it."""

    alias: ClassVar[str] = "default"

    def db_for_read(self, model: type, **hints: Any) -> str:
        return self.alias

    def db_for_write(self, model: type, **hints: Any) -> str:
        return self.alias

    def allow_relation(self, left: object, right: object, **hints: Any) -> bool:
        return True
