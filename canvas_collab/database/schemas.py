"""Finds the schemas of the application's tables and of the daemon's own."""

from __future__ import annotations

from attrs import frozen
from psycopg2.extensions import connection as Connection

from canvas_collab.config.database_url import application_schema
from canvas_collab.database.errors import UnsuitableDatabase

# The tables in any schema that this database has, whichever role can use it.
_SCHEMAS_WITH_TABLES = """
    SELECT nspname, bool_or(relname = 'yjs_document') AND bool_or(relname = 'collab_migration')
      FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
     WHERE relname IN ('yjs_document', 'collab_migration') AND relkind IN ('r', 'p') AND relpersistence <> 't'
     GROUP BY nspname
     ORDER BY nspname
"""


@frozen
class Schemas:
    """The schemas in which tables are looked for, in order.

    :ivar application: those of Better Auth's tables, and of an application's view with the roles.
    :ivar own: the schema of the daemon's tables; it need not exist yet.
    """

    application: tuple[str, ...]
    own: str

    @property
    def with_view(self) -> tuple[str, ...]:
        """Where the view with the roles is looked for: an application's own takes precedence over the daemon's."""
        return (*(name for name in self.application if name != self.own), self.own)

    @property
    def for_migrations(self) -> tuple[str, ...]:
        """The search path of the migrations: they create tables in the first of these schemas."""
        return (self.own, *(name for name in self.application if name != self.own))


def find_schemas(connection: Connection, url: str, preferred: str) -> Schemas:
    """Return where the tables are.

    The daemon's tables are in the preferred schema.  If they are not there, and exist elsewhere, they are used where
    they are: earlier versions created them in the first schema of the search path.

    :param url: the URL that the connection was made with.  Prisma's parameter ``schema`` takes the place of the search
        path.
    :raises UnsuitableDatabase: if the tables are in several other schemas, none of which is in the search path.
    """
    given = application_schema(url)
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_schemas(false)::text[]")
        [(search_path,)] = cursor.fetchall()
        cursor.execute(_SCHEMAS_WITH_TABLES)
        found = dict(cursor.fetchall())
    path = tuple([given] if given else search_path)
    return Schemas(path, _own_schema(found, path, preferred))


def _own_schema(found: dict[str, bool], path: tuple[str, ...], preferred: str) -> str:
    """Choose the schema of the daemon's tables.

    :param found: the schemas that have one of the tables, and whether each has all of them.
    """
    for name in (preferred, *path):
        if name in found:
            return name
    # Outside the search path a single table may be somebody's copy.
    elsewhere = [name for name, is_complete in found.items() if is_complete]
    if len(elsewhere) > 1:
        raise UnsuitableDatabase(
            [f"The tables are in several schemas: {', '.join(elsewhere)}. Set DATABASE_SCHEMA to the right one."]
        )
    return elsewhere[0] if elsewhere else preferred
