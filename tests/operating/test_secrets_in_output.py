"""Nothing that the daemon writes has a token, a cookie, a signature, a secret or a password, whatever happens."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from psycopg2.extensions import make_dsn, parse_dsn
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from canvas_collab.access.authentication import sign
from tests.conftest import StartDaemon
from tests.support.clients import Client, Refused, typed
from tests.support.daemons import PATIENCE, ROOT, Daemon, daemon_environment
from tests.support.databases import SECRET, TestDatabase, User
from tests.support.diagrams import Diagram
from tests.support.handshakes import OPEN, open_connection, try_handshake
from tests.support.hocuspocus_client import Closed, RawHocuspocus, authentication
from tests.support.hocuspocus_providers import Providers
from tests.support.stalling_proxy import StallingProxy

PASSWORD = "the-database-s-own-password"

#: A signature that is wrong, and a token that belongs to nobody.
FOREIGN_SECRET = "the secret of another application altogether"
UNKNOWN_TOKEN = "f00dfacef00dfacef00dfacef00dface"


class Scene:
    """A diagram whose daemon reaches the database with a password and through a proxy; and all secrets it was given."""

    def __init__(self, diagram: Diagram, proxy: StallingProxy) -> None:
        self.diagram = diagram
        self.proxy = proxy
        self.secrets = {SECRET, PASSWORD, FOREIGN_SECRET, UNKNOWN_TOKEN}
        for user in (diagram.owner, diagram.editor, diagram.viewer):
            self.add(user)

    @property
    def daemon(self) -> Daemon:
        return self.diagram.daemon

    def add(self, user: User) -> User:
        """Watch for the secrets of a user."""
        signature = sign(user.token, SECRET)
        foreign = sign(user.token, FOREIGN_SECRET)
        self.secrets |= {user.token, signature, quote(signature, safe=""), foreign, quote(foreign, safe="")}
        return user

    def expect_no_secret(self) -> None:
        """Fail if anything that the daemon has written has a secret, or a part of one that is long enough to matter."""
        output = self.daemon.output
        for secret in self.secrets:
            for part in (secret, secret[:16], secret[-16:]):
                found = output.find(part)
                assert found < 0, f"{part!r} in: {output[max(found - 300, 0) : found + 100]}"


@pytest.fixture(params=["json", "text"])
def scene(request: pytest.FixtureRequest, database: TestDatabase, start_daemon: StartDaemon) -> Iterator[Scene]:
    with StallingProxy(database.url) as proxy:
        # The embedded database takes any password.
        url = make_dsn(proxy.url, password=PASSWORD)
        parsed = parse_dsn(url)
        address = f"postgresql://{parsed['user']}:{PASSWORD}@{parsed['host']}:{parsed['port']}/{parsed['dbname']}"
        diagram = Diagram(
            database,
            start_daemon,
            DATABASE_URL=address,
            LOG_FORMAT=request.param,
            LOG_LEVEL="debug",
            SESSION_RECHECK=1,
            HANDSHAKE_TIMEOUT=2,
            TOKEN_RENEWAL=0,
        )
        scene = Scene(diagram, proxy)
        yield scene
        scene.daemon.stop()
        scene.expect_no_secret()


def ways_in(user: User) -> list[tuple[str, dict[str, str]]]:
    """Return the query and the headers of every way to present a token in a handshake."""
    signed = user.signed_token
    urlsafe = signed.replace("+", "-").replace("/", "_").rstrip("=")
    return [
        ("", {"cookie": user.cookie}),
        ("", {"authorization": f"Bearer {user.token}"}),
        ("", {"authorization": f"Bearer {signed}"}),
        (f"?token={user.token}", {}),
        (f"?token={quote(signed, safe='')}", {}),
        ("", {"sec-websocket-protocol": f"token.{user.token}"}),
        ("", {"sec-websocket-protocol": f"yauth-{urlsafe}"}),
    ]


def test_clients_of_both_protocols_that_get_in(scene: Scene, providers: Providers) -> None:
    diagram = scene.diagram
    for query, headers in ways_in(diagram.editor):
        if subprotocol := headers.get("sec-websocket-protocol"):
            with connect(diagram.url, subprotocols=[Subprotocol(subprotocol)], proxy=None):
                pass
        else:
            assert try_handshake(scene.daemon, f"/{diagram.room}{query}", **headers).status == OPEN
    client = diagram.join(providers, "cookie")
    by_token = diagram.join(providers, "token", params={"token": diagram.viewer.token})
    provider = diagram.provide(providers, "provider")
    provider.insert_text("text", 0, "written by a provider")
    provider.wait_saved()
    client.wait_content({"text": [{"insert": "written by a provider"}]})
    by_token.wait_content({"text": [{"insert": "written by a provider"}]})
    # Renewal with the token of another session of the same user, and with one that is not.
    provider.set_token(diagram.editor.signed_token)
    provider.send_token()
    provider.set_token(diagram.viewer.token)
    provider.send_token()
    provider.wait_denied()


def test_clients_that_are_denied(scene: Scene) -> None:
    diagram = scene.diagram
    stranger = scene.add(diagram.database.add_user("stranger"))
    expired = scene.add(diagram.database.add_user("expired", "-1 hour"))
    foreign = f"{diagram.editor.token}.{sign(diagram.editor.token, FOREIGN_SECRET)}"
    for query, headers in [
        *ways_in(stranger),
        *ways_in(expired),
        ("", {"cookie": f"better-auth.session_token={quote(foreign, safe='')}"}),
        ("", {"cookie": f"better-auth.session_token={diagram.editor.token}"}),
        ("", {"authorization": f"Bearer {foreign}"}),
        (f"?token={UNKNOWN_TOKEN}", {}),
        (f"?token={quote(foreign, safe='')}", {}),
        ("", {"sec-websocket-protocol": f"token.{UNKNOWN_TOKEN}"}),
    ]:
        assert try_handshake(scene.daemon, f"/{diagram.room}{query}", **headers).status in (401, 403)
    assert try_handshake(scene.daemon, origin="http://evil.test", cookie=diagram.editor.cookie).status == 403
    for token in (UNKNOWN_TOKEN, foreign, stranger.token, expired.token):
        with RawHocuspocus(scene.daemon) as socket:
            socket.send(diagram.room, authentication(token))
            assert socket.denied(diagram.room)


def test_malformed_input(scene: Scene) -> None:
    diagram = scene.diagram
    token = diagram.editor.token
    for path in (f"/%ff?token={token}", f"/%00?token={token}", f"/diagram-sketch?token={token}&{'x' * 9000}"):
        with (
            contextlib.suppress(InvalidStatus, InvalidMessage, ConnectionClosed, OSError),
            open_connection(scene.daemon, path),
        ):
            pass
    for message in (b"\x00\x02\x05", b"\x02\x00\xff", token.encode(), b"\x01\x03abc"):
        with open_connection(scene.daemon, cookie=diagram.editor.cookie) as connection:
            connection.send(message)
            with contextlib.suppress(ConnectionClosed, TimeoutError):
                while True:
                    connection.recv(timeout=1)
        with RawHocuspocus(scene.daemon) as socket, contextlib.suppress(Closed):
            socket.send(diagram.room, authentication(diagram.viewer.token) + message)
            socket.ping()


def test_sessions_that_end_and_roles_that_change(scene: Scene) -> None:
    diagram = scene.diagram
    with Client(scene.daemon, "sketch", diagram.viewer) as leaving, Client(scene.daemon, "sketch", diagram.editor):
        diagram.database.query("DELETE FROM session WHERE token = %s", (diagram.viewer.token,))
        diagram.database.grant("sketch", diagram.editor, "viewer")
        with pytest.raises(Refused):
            leaving.wait_for("never")
        scene.daemon.wait_until(lambda: "access changed" in scene.daemon.output)


def test_an_outage_and_errors_of_the_database(scene: Scene) -> None:
    diagram = scene.diagram
    with Client(scene.daemon, "sketch", diagram.editor) as client:
        scene.proxy.cut()
        client.edit(typed("during the outage"))
        scene.daemon.wait_until(lambda: "database connection lost" in scene.daemon.output)
    diagram.database.query("ALTER TABLE session RENAME COLUMN token TO hidden")
    try:
        # PostgreSQL quotes the statement in its message, and psycopg2 puts parameters into statements.
        for query, headers in ways_in(diagram.viewer):
            # 503 until every connection to the database has been made again.
            while (status := try_handshake(scene.daemon, f"/{diagram.room}{query}", **headers).status) == 503:
                scene.daemon.wait_until_ready()
            assert status == 500
        assert "Traceback" in scene.daemon.output
    finally:
        diagram.database.query("ALTER TABLE session RENAME COLUMN hidden TO token")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://collab:{}@127.0.0.1:1/app",
        "postgresql://collab:{}@no-such-host.invalid/app",
        "postgresql://collab:{}:x@127.0.0.1/app",
        "postgresql://collab:{}#x@127.0.0.1/app",
        "postgresql://collab:{}@x@127.0.0.1/app",
        "mysql://collab:{}@127.0.0.1/app",
        "collab:{}@127.0.0.1",
    ],
)
def test_a_start_that_fails_because_of_the_url_does_not_show_the_password(url: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tests.support.twistd", "--nodaemon", "--pidfile=", "canvas-collab"],
        cwd=ROOT,
        env=daemon_environment(None, DATABASE_URL=url.format(PASSWORD)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ended.returncode == 1
    assert PASSWORD not in ended.stdout
    assert "canvas-collab cannot start" in ended.stdout
