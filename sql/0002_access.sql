-- Who may do what: the view collab_access(diagram_id, user_id, role).
--
-- An application that has roles already defines the view over its own tables, before the first start.  Where there is
-- no such view, two simple tables and the view over them are made.

DO $$
DECLARE
    users regclass := coalesce(to_regclass('"user"'), to_regclass('users'));
    user_id_type text;
BEGIN
    IF to_regclass('collab_access') IS NOT NULL THEN
        RETURN;
    END IF;
    IF to_regclass('diagram') IS NOT NULL OR to_regclass('diagram_member') IS NOT NULL THEN
        RAISE EXCEPTION 'there is a table diagram or diagram_member, and no view collab_access'
            USING HINT = 'Define the view collab_access(diagram_id, user_id, role) over the application''s tables.';
    END IF;
    SELECT format_type(atttypid, atttypmod) INTO user_id_type
      FROM pg_attribute WHERE attrelid = users AND attname = 'id' AND NOT attisdropped;
    EXECUTE format(
        'CREATE TABLE diagram (
            id TEXT PRIMARY KEY,
            owner_id %s NOT NULL REFERENCES %s (id) ON DELETE CASCADE,
            name TEXT NOT NULL,
            created_at TIMESTAMPTZ NOT NULL DEFAULT now()
        )',
        user_id_type, users
    );
    EXECUTE format(
        'CREATE TABLE diagram_member (
            diagram_id TEXT NOT NULL REFERENCES diagram (id) ON DELETE CASCADE,
            user_id %s NOT NULL REFERENCES %s (id) ON DELETE CASCADE,
            role TEXT NOT NULL CHECK (role IN (''owner'', ''editor'', ''commenter'', ''viewer'')),
            PRIMARY KEY (diagram_id, user_id)
        )',
        user_id_type, users
    );
    CREATE INDEX diagram_owner ON diagram (owner_id);
    CREATE INDEX diagram_member_user ON diagram_member (user_id);
    CREATE VIEW collab_access (diagram_id, user_id, role) AS
        SELECT id, owner_id, 'owner' FROM diagram
        UNION ALL
        SELECT diagram_id, user_id, role FROM diagram_member;
END
$$;
