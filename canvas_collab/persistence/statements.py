"""SQL statements about stored documents and their log.

They are templates: :meth:`.Tables.fill` replaces ``{documents}`` and ``{log}`` with the names of the tables.
"""

from __future__ import annotations

#: The ``NOTIFY`` channel for appends: whoever has appended to the log notifies it, with the payload
#: ``ORIGIN FIRST_ID LAST_ID``; :mod:`canvas_collab.replication.payloads` has the other form.
LOG_CHANNEL = "canvas_collab_log"

#: The channel for resets: whoever replaces a stored document by one with less content notifies it in the same
#: transaction, with the document's name.
RESET_CHANNEL = "canvas_collab_reset"

# One statement, so that it sees one state of the database: with two, an entry that is folded in between them would be
# in the result of neither.
LOAD = """
    SELECT 0 AS id, data, layout, checksum FROM {documents} WHERE id = %(id)s
    UNION ALL
    SELECT id, update, NULL, NULL FROM {log} WHERE document_id = %(id)s AND merged_at IS NULL
    ORDER BY id
"""

#: How long a commit of the journal waits for a lock, in milliseconds: every document's entries wait with it.  No
#: statement of the daemon takes a lock that it would have to wait for.
LOCK_TIMEOUT_MS = 100

SET_LOCK_TIMEOUT = f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS};"

#: Waits for as long as the database's settings say.
RESET_LOCK_TIMEOUT = "SET LOCAL lock_timeout = DEFAULT;"

# The join replaces the id of a user whose account was deleted in the meantime by NULL; the edit is kept.
APPEND = """
    WITH batch AS (
        SELECT * FROM unnest(%s::text[], %s::text[]::{user_id_type}[], %s::bytea[])
            WITH ORDINALITY AS entry (document_id, user_id, update, position)
    ), created AS (
        INSERT INTO {documents} (id, data)
        SELECT DISTINCT document_id, '\\x0000'::bytea FROM batch ORDER BY document_id
        ON CONFLICT (id) DO NOTHING
    ), added AS (
        INSERT INTO {log} (document_id, user_id, update)
        SELECT batch.document_id, author.id, batch.update
          FROM batch LEFT JOIN {user_table} AS author ON author.id = batch.user_id
         ORDER BY batch.position
        RETURNING id
    )
    SELECT min(id), max(id), count(id) FROM added
"""

#: The types of its parameters.
APPEND_TYPES = ("text[]", "text[]", "bytea[]")

LOCKED_DOCUMENTS = """
    WITH free AS (SELECT id FROM {documents} WHERE id = ANY(%(ids)s) FOR KEY SHARE SKIP LOCKED)
    SELECT id FROM {documents} WHERE id = ANY(%(ids)s) AND id NOT IN (SELECT id FROM free)
"""

COMPACTION_STATE = """
    SELECT octet_length(data) + (
               SELECT coalesce(sum(octet_length(update)), 0) FROM {log}
                WHERE document_id = document.id AND merged_at IS NULL
           ), compacted_size, deletions, deletions_at <= now() - %s * interval '1 second', reset_at
      FROM {documents} AS document WHERE id = %s
"""

# This lock does not block appending: a foreign key needs no more than FOR KEY SHARE of the document's row.
LOCK_SNAPSHOT = "SELECT data, layout, checksum FROM {documents} WHERE id = %s FOR NO KEY UPDATE"

#: How long folding waits for another transaction that has locked the document, in milliseconds: the folding of other
#: documents waits with it.
FOLD_LOCK_TIMEOUT_MS = 1000

LOCK_DOCUMENT = f"""
    SET LOCAL lock_timeout = {FOLD_LOCK_TIMEOUT_MS};
    SELECT octet_length(data), layout, checksum FROM {{documents}} WHERE id = %s FOR NO KEY UPDATE
"""

RESET_AT = "SELECT reset_at FROM {documents} WHERE id = %s"

WRITE_SNAPSHOT = """
    UPDATE {documents} SET data = %s, layout = %s, checksum = %s, updated_at = now() WHERE id = %s
"""

WRITE_COMPACTED_SIZE = """
    UPDATE {documents} SET compacted_size = octet_length(data) WHERE id = %s
"""

WRITE_DELETIONS = "UPDATE {documents} SET deletions = %s, deletions_at = now() WHERE id = %s"

# By id, and not every entry up to some id: ids become visible out of order, so that would mark entries that were not
# read.
MARK_MERGED = "UPDATE {log} SET merged_at = now() WHERE id = ANY(%s)"

# SKIP LOCKED leaves the entries that another daemon is deleting to that daemon.
PRUNE = """
    DELETE FROM {log} WHERE id IN (
        SELECT id FROM {log} WHERE merged_at < now() - greatest(%s, %s) * interval '1 second'
         ORDER BY merged_at LIMIT %s FOR UPDATE SKIP LOCKED
    )
    RETURNING id
"""
