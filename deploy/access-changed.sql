-- Triggers that notify Canvas Collab when the access of users may have changed, so that it rechecks them at once.
--
-- Run it as the owner of the tables, as often as you like: psql "$DATABASE_URL" --file deploy/access-changed.sql
--
-- It adds triggers to Better Auth's tables "user" and session (or users and sessions, with columns in camelCase or
-- snake_case), and to the tables diagram and diagram_member that Canvas Collab's migrations create, if they exist in
-- the search path or in the schema "collab".  For those tables in another DATABASE_SCHEMA, and for tables of your own
-- that the view collab_access reads, call collab_watch_access() yourself, as at the end of this file.
-- collab_watch_access() can be called again with other columns; collab_unwatch_access() removes the triggers of a table.
--
-- A notification has the channel collab_access_changed, and an empty payload, which means everybody, or "user:ID" or
-- "diagram:ID".  Every role of the database can listen to it, so never put a session's token into one.

BEGIN;

-- Called by the triggers, with the kind of the ids ("user", "diagram", or "everybody"), the column that has the ids, and
-- the columns whose changes count.
CREATE OR REPLACE FUNCTION collab_notify_access() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    kind CONSTANT text := TG_ARGV[0];
    -- More ids than that in one statement mean everybody.
    most CONSTANT integer := 100;
    id CONSTANT text := format('%I::text', TG_ARGV[1]);
    watched CONSTANT text := format(
        'ROW(%s)::text', (SELECT string_agg(format('%I', name), ', ') FROM unnest(TG_ARGV[1:]) AS name)
    );
    changed text;
    ids text[];
BEGIN
    changed := CASE TG_OP
        WHEN 'INSERT' THEN format('SELECT %s FROM new_rows', id)
        WHEN 'DELETE' THEN format('SELECT %s FROM old_rows', id)
        WHEN 'UPDATE' THEN format(
            'SELECT id FROM (
                (SELECT %1$s AS id, %2$s AS watched FROM old_rows EXCEPT SELECT %1$s, %2$s FROM new_rows)
                UNION ALL
                (SELECT %1$s, %2$s FROM new_rows EXCEPT SELECT %1$s, %2$s FROM old_rows)
            ) AS difference',
            id, watched
        )
    END;
    IF changed IS NOT NULL THEN
        EXECUTE format('SELECT array_agg(id) FROM (SELECT DISTINCT id FROM (%s) AS changed (id) LIMIT %s) AS few',
                       changed, most + 1) INTO ids;
        IF ids IS NULL THEN
            RETURN NULL;
        END IF;
    END IF;
    -- A payload has less than 8000 bytes.
    IF kind = 'everybody' OR ids IS NULL OR cardinality(ids) > most
       OR EXISTS (SELECT FROM unnest(ids) AS one WHERE one IS NULL OR octet_length(one) > 4000) THEN
        PERFORM pg_notify('collab_access_changed', '');
    ELSE
        PERFORM pg_notify('collab_access_changed', kind || ':' || one) FROM unnest(ids) AS one;
    END IF;
    RETURN NULL;
EXCEPTION WHEN OTHERS THEN
    -- The application's statement must not fail because a column was renamed, for example.
    RAISE WARNING 'collab_notify_access on %: %', TG_RELID::regclass, SQLERRM;
    PERFORM pg_notify('collab_access_changed', '');
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION collab_unwatch_access(watched_table regclass) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    trigger_name text;
BEGIN
    FOR trigger_name IN
        SELECT tgname FROM pg_trigger
         WHERE tgrelid = watched_table AND tgname ~ '^collab_access_(insert|update|delete|truncate)$'
    LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', trigger_name, watched_table);
    END LOOP;
END
$$;

-- Watches a table.
--
-- kind: whom a changed row is about: 'user', 'diagram', or 'everybody' where neither can be said.
-- id_column: the column with the id of that user or diagram.
-- watched_columns: the other columns that access depends on.  An update of none of them notifies nobody.
-- inserts: whether a new row can change the access of somebody who is connected already.
CREATE OR REPLACE FUNCTION collab_watch_access(
    watched_table regclass, kind text, id_column text, watched_columns text[] DEFAULT '{}', inserts boolean DEFAULT true
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    unknown text;
    arguments text;
BEGIN
    IF kind NOT IN ('user', 'diagram', 'everybody') THEN
        RAISE EXCEPTION 'the kind is user, diagram or everybody, not %', kind;
    END IF;
    SELECT string_agg(name, ', ') INTO unknown
      FROM unnest(id_column || watched_columns) AS name
     WHERE NOT EXISTS (
        SELECT FROM pg_attribute WHERE attrelid = watched_table AND attname = name AND attnum > 0 AND NOT attisdropped
     );
    IF unknown IS NOT NULL THEN
        RAISE EXCEPTION 'the table % has no column %', watched_table, unknown;
    END IF;
    SELECT string_agg(quote_literal(argument), ', ') INTO arguments
      FROM unnest(kind || (id_column || watched_columns)) AS argument;
    PERFORM collab_unwatch_access(watched_table);
    IF inserts THEN
        EXECUTE format('CREATE TRIGGER collab_access_insert AFTER INSERT ON %s REFERENCING NEW TABLE AS new_rows '
                       'FOR EACH STATEMENT EXECUTE FUNCTION collab_notify_access(%s)', watched_table, arguments);
    END IF;
    EXECUTE format('CREATE TRIGGER collab_access_update AFTER UPDATE ON %s '
                   'REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows '
                   'FOR EACH STATEMENT EXECUTE FUNCTION collab_notify_access(%s)', watched_table, arguments);
    EXECUTE format('CREATE TRIGGER collab_access_delete AFTER DELETE ON %s REFERENCING OLD TABLE AS old_rows '
                   'FOR EACH STATEMENT EXECUTE FUNCTION collab_notify_access(%s)', watched_table, arguments);
    EXECUTE format('CREATE TRIGGER collab_access_truncate AFTER TRUNCATE ON %s '
                   'FOR EACH STATEMENT EXECUTE FUNCTION collab_notify_access(%s)', watched_table, arguments);
END
$$;

DO $$
DECLARE
    users CONSTANT regclass := coalesce(to_regclass('"user"'), to_regclass('users'));
    sessions CONSTANT regclass := coalesce(to_regclass('session'), to_regclass('sessions'));
    owner text;
    expiry text;
    prefix text;
    diagrams regclass;
    members regclass;
BEGIN
    IF users IS NULL OR sessions IS NULL THEN
        RAISE EXCEPTION 'there are no tables "user" and session of Better Auth';
    END IF;
    SELECT attname INTO owner FROM pg_attribute WHERE attrelid = sessions AND attname IN ('userId', 'user_id');
    SELECT attname INTO expiry FROM pg_attribute WHERE attrelid = sessions AND attname IN ('expiresAt', 'expires_at');
    -- A new session or user has nothing open.
    PERFORM collab_watch_access(sessions, 'user', owner, ARRAY['token', expiry], inserts => false);
    PERFORM collab_watch_access(users, 'user', 'id', inserts => false);
    -- Only the tables that Canvas Collab's migrations create, in a schema of the search path or in their own.
    FOREACH prefix IN ARRAY ARRAY['', 'collab.'] LOOP
        diagrams := to_regclass(prefix || 'diagram');
        members := to_regclass(prefix || 'diagram_member');
        IF 2 = (SELECT count(*) FROM pg_attribute WHERE attrelid = diagrams AND attname IN ('id', 'owner_id'))
           AND 3 = (SELECT count(*) FROM pg_attribute
                     WHERE attrelid = members AND attname IN ('diagram_id', 'user_id', 'role')) THEN
            PERFORM collab_watch_access(diagrams, 'diagram', 'id', ARRAY['owner_id']);
            PERFORM collab_watch_access(members, 'user', 'user_id', ARRAY['diagram_id', 'role']);
        END IF;
    END LOOP;
END
$$;

-- For tables of your own, such as these, and each column that the view collab_access depends on:
--
-- SELECT collab_watch_access('project', 'user', 'owner_id', ARRAY['id']);
-- SELECT collab_watch_access('project_member', 'user', 'user_id', ARRAY['project_id', 'permission']);
-- SELECT collab_watch_access('drawing', 'diagram', 'id', ARRAY['project_id', 'archived']);
--
-- For the tables of the migrations in another DATABASE_SCHEMA:
--
-- SELECT collab_watch_access('another.diagram', 'diagram', 'id', ARRAY['owner_id']);
-- SELECT collab_watch_access('another.diagram_member', 'user', 'user_id', ARRAY['diagram_id', 'role']);

COMMIT;
