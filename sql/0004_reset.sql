-- When what is stored of a document was made anew without some of it: who has opened it before that has to start afresh.
ALTER TABLE yjs_document ADD COLUMN IF NOT EXISTS reset_at TIMESTAMPTZ;
