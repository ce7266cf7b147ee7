-- What is kept of a document: its snapshot, and every update with the user who made it.
--
-- An update whose merged_at is NULL is not in the snapshot yet; the others are history.

CREATE TABLE IF NOT EXISTS yjs_document (
    id TEXT PRIMARY KEY,
    data BYTEA NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- The SHA-256 of data; NULL where something else than canvas-collab wrote the row.
ALTER TABLE yjs_document ADD COLUMN IF NOT EXISTS checksum BYTEA;

-- Reading a large snapshot is on the way of opening a document, and decompressing it there costs more than the space.
ALTER TABLE yjs_document ALTER COLUMN data SET STORAGE EXTERNAL;

-- The table of users and the type of its id are the application's choice.
DO $$
DECLARE
    users regclass := coalesce(to_regclass('"user"'), to_regclass('users'));
    user_id_type text;
BEGIN
    SELECT format_type(atttypid, atttypmod) INTO user_id_type
      FROM pg_attribute WHERE attrelid = users AND attname = 'id' AND NOT attisdropped;
    EXECUTE format(
        'CREATE TABLE IF NOT EXISTS yjs_update_log (
            id BIGSERIAL PRIMARY KEY,
            document_id TEXT NOT NULL REFERENCES yjs_document (id) ON DELETE CASCADE,
            update BYTEA NOT NULL,
            user_id %s REFERENCES %s (id) ON DELETE SET NULL,
            created_at TIMESTAMPTZ NOT NULL DEFAULT now()
        )',
        user_id_type, users
    );
END
$$;

ALTER TABLE yjs_update_log ADD COLUMN IF NOT EXISTS merged_at TIMESTAMPTZ;

CREATE INDEX IF NOT EXISTS yjs_update_log_unmerged ON yjs_update_log (document_id, id) WHERE merged_at IS NULL;
CREATE INDEX IF NOT EXISTS yjs_update_log_history ON yjs_update_log (document_id, created_at);
CREATE INDEX IF NOT EXISTS yjs_update_log_user ON yjs_update_log (user_id);
