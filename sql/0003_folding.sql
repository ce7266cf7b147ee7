-- What makes a large snapshot quick to read, and what of it may be dropped one day.

-- Where in data the runs of structs lie; NULL where something else than canvas-collab wrote the row. The checksum covers
-- data and layout.
ALTER TABLE yjs_document ADD COLUMN IF NOT EXISTS layout BYTEA;

-- How large data was when it was compacted last.
ALTER TABLE yjs_document ADD COLUMN IF NOT EXISTS compacted_size BIGINT;

-- The deletions that were known at some time. When that time has been history for long enough, their content may go.
ALTER TABLE yjs_document ADD COLUMN IF NOT EXISTS deletions BYTEA;
ALTER TABLE yjs_document ADD COLUMN IF NOT EXISTS deletions_at TIMESTAMPTZ;

-- History is pruned from its old end.
CREATE INDEX IF NOT EXISTS yjs_update_log_merged ON yjs_update_log (merged_at) WHERE merged_at IS NOT NULL;
