"""The rights that the daemon's role needs on the daemon's own tables."""

from __future__ import annotations

from psycopg2 import sql
from psycopg2.extensions import connection as Connection

#: The rights by table or sequence.
NEEDED = {
    "collab_migration": ("SELECT",),
    "yjs_document": ("SELECT", "INSERT", "UPDATE"),
    "yjs_update_log": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "yjs_update_log_id_seq": ("USAGE",),
}

# By object ids: the functions that take a name raise an error for a schema that the role may not use.
_MISSING = """
    SELECT relname, relkind, string_agg(privilege, ', ' ORDER BY position)
      FROM unnest(%(names)s::text[], %(privileges)s::text[]) WITH ORDINALITY AS needed (name, privilege, position)
      JOIN pg_class ON relname = name
      JOIN pg_namespace ON pg_namespace.oid = relnamespace AND nspname = %(schema)s
     WHERE NOT CASE relkind
               WHEN 'S' THEN has_sequence_privilege(pg_class.oid, privilege)
               ELSE has_table_privilege(pg_class.oid, privilege)
           END
     GROUP BY relname, relkind
     ORDER BY relname
"""


def find_missing_rights(connection: Connection, schema: str) -> list[str]:
    """Return a sentence with the ``GRANT`` statements for the rights that the role lacks, if it lacks any.

    :param schema: the schema of the tables.  Those that do not exist yet are skipped.
    """
    needed = [(name, privilege) for name, privileges in NEEDED.items() for privilege in privileges]
    names, privileges = zip(*needed, strict=True)
    role = sql.Identifier(connection.info.user)
    grants = []
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT FROM pg_namespace WHERE nspname = %s AND NOT has_schema_privilege(oid, 'USAGE')", (schema,)
        )
        if cursor.fetchall():
            grants.append(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(sql.Identifier(schema), role))
        cursor.execute(_MISSING, {"names": list(names), "privileges": list(privileges), "schema": schema})
        for name, kind, missing in cursor.fetchall():
            target = sql.SQL("SEQUENCE {}" if kind == "S" else "{}").format(sql.Identifier(schema, name))
            grants.append(sql.SQL("GRANT {} ON {} TO {}").format(sql.SQL(missing), target, role))
    if not grants:
        return []
    statements = sql.SQL("; ").join(grants).as_string(connection)
    return [f"The role {connection.info.user} lacks rights. Let the owner of the tables run: {statements}"]
