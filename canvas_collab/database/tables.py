"""The names of the daemon's tables in SQL statements.

Statements name a table with its schema: a connection pooler need not pass a ``search_path`` on.
"""

from __future__ import annotations

from attrs import frozen

#: The schema of the tables, unless they exist elsewhere already.
DEFAULT_SCHEMA = "collab"


@frozen
class Tables:
    """The tables in a schema, whose name is not quoted."""

    schema: str

    def name(self, table: str) -> str:
        """Return a table's name with its schema, as SQL."""
        quoted = (part.replace('"', '""') for part in (self.schema, table))
        return ".".join(f'"{part}"' for part in quoted)

    def fill(self, statement: str, **parts: str) -> str:
        """Return a statement with the names of the tables for ``{documents}`` and ``{log}``, and with other parts."""
        return statement.format(documents=self.name("yjs_document"), log=self.name("yjs_update_log"), **parts)
