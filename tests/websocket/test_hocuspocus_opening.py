"""Opening Hocuspocus documents: tokens, their lookups, denials, and floods of tokens."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from canvas_collab.protocol import hocuspocus, sync
from canvas_collab.protocol.close_codes import CloseCode
from canvas_collab.protocol.lib0 import Decoder
from tests.conftest import StartDaemon
from tests.support.clients import Client, Refused, typed
from tests.support.daemons import Daemon
from tests.support.databases import TestDatabase, User
from tests.support.floods import Flood
from tests.support.hocuspocus_client import AUTHENTICATED, RawHocuspocus, authentication
from tests.websocket.conftest import HocuspocusServer

ONE, TWO = "diagram-one", "diagram-two"

#: How long an edit may take to be acknowledged during a flood, in seconds.
SAVED_WITHIN = 0.5

#: How many bytes of memory a flood may take.
GROWTH_MAX = 50 * 2**20

#: How many edits are made during a flood, and how often: a flood would delay some each time, a busy machine does not.
EDITS, ATTEMPTS = 50, 3

RECHECK = 1


class Diagrams:
    """Two diagrams that Ada owns; Eve is an editor of the first."""

    def __init__(self, database: TestDatabase, start_daemon: StartDaemon) -> None:
        self.database = database
        self._start_daemon = start_daemon
        self.ada, self.eve = database.add_user("ada"), database.add_user("eve")
        database.add_diagram("one", self.ada, editor=self.eve)
        database.add_diagram("two", self.ada)

    def start(self, **settings: object) -> Daemon:
        return self._start_daemon(self.database, **settings)

    def second_session(self, user: User) -> str:
        """The token of one more session of the user."""
        token = secrets.token_hex(16)
        self.database.query(
            'INSERT INTO session (id, token, "userId", "expiresAt", "updatedAt") '
            "VALUES (%s, %s, %s, now() + interval '1 day', now())",
            (token, token, user.id),
        )
        return token

    def count_blocked_lookups(self) -> int:
        """How many lookups of sessions wait in the database."""
        [[count]] = self.database.query(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return int(count)

    @contextmanager
    def blocked_lookups(self) -> Iterator[None]:
        """Block all lookups of sessions until the end."""
        connection = self.database.connect()
        with connection.cursor() as cursor:
            cursor.execute("BEGIN; LOCK TABLE session IN ACCESS EXCLUSIVE MODE")
        try:
            yield
        finally:
            connection.close()


@pytest.fixture
def diagrams(database: TestDatabase, start_daemon: StartDaemon) -> Diagrams:
    return Diagrams(database, start_daemon)


def auth_messages(address: str, *tokens: str) -> list[bytes]:
    return [hocuspocus.encode_address(address) + authentication(token) for token in tokens]


def test_a_denial_has_a_reason_and_a_valid_token_opens_the_document_on_the_same_socket(
    server: HocuspocusServer,
) -> None:
    with server.connect() as socket:
        for token, reason in (
            ("", "unauthorized: no token"),
            ("nonsense", "unauthorized: unknown session"),
            (server.editor.token + ".AAAA", "unauthorized: bad signature"),
        ):
            socket.send(ONE, authentication(token))
            assert socket.denied(ONE) == reason
        socket.send("diagram-nowhere", authentication(server.editor.token))
        assert socket.denied("diagram-nowhere") == "forbidden: no role in this room"
        assert socket.open(ONE, server.editor.signed_token) == "read-write"


def test_a_newer_token_replaces_one_that_is_being_looked_up(server: HocuspocusServer) -> None:
    with server.connect() as socket:
        socket.send(ONE, authentication("nonsense"))
        assert socket.open(ONE, server.editor.token) == "read-write"


def test_the_cookie_of_the_handshake_is_used_for_an_empty_token_and_without_an_auth_message(
    server: HocuspocusServer,
) -> None:
    cookie = {"Cookie": server.editor.cookie}
    with RawHocuspocus(server.daemon, additional_headers=cookie) as socket:
        assert socket.open(ONE, "") == "read-write"
        socket.send(TWO, sync.encode_step_1(b"\x00"))
        assert Decoder(socket.wait_for(TWO, b"\x02\x02")[2:]).var_string() == "read-write"
        socket.wait_for(TWO, b"\x00\x01")


def test_a_foreign_page_cannot_use_the_cookie_but_its_own_token(server: HocuspocusServer) -> None:
    headers = {"Cookie": server.editor.cookie, "Origin": "https://evil.example"}
    with RawHocuspocus(server.daemon, additional_headers=headers) as socket:
        socket.send(ONE, authentication(""))
        assert "forbidden origin" in socket.denied(ONE)
        assert socket.open(ONE, server.editor.token) == "read-write"


def longest_of_edits(socket: RawHocuspocus) -> float:
    """Return how long the slowest of some edits takes until it is saved, in seconds."""
    longest = 0.0
    for number in range(EDITS):
        began = time.monotonic()
        socket.edit(TWO, typed(f"edit {number}"))
        socket.wait_for(TWO, hocuspocus.SAVED)
        longest = max(longest, time.monotonic() - began)
    return longest


@pytest.mark.parametrize("kind", ["own", "several good ones", "random", "random, without a limit of denials"])
def test_a_flood_of_tokens_on_an_open_document_delays_no_other_client_and_does_not_delay_a_revocation(
    diagrams: Diagrams, kind: str
) -> None:
    max_denials = 10 if kind == "random" else 10**6
    daemon = diagrams.start(SESSION_RECHECK=RECHECK, MAX_DENIALS=max_denials, MAX_MESSAGES_PER_SECOND=0)
    several = {
        "own": [diagrams.eve.token],
        "several good ones": [diagrams.eve.token, diagrams.second_session(diagrams.eve)],
    }.get(kind, [secrets.token_hex(16) for _ in range(200)])
    [first] = auth_messages(ONE, diagrams.eve.token)
    with ExitStack() as opened:
        bystander = opened.enter_context(RawHocuspocus(daemon))
        bystander.open(TWO, diagrams.ada.token)
        before = daemon.memory
        flood = opened.enter_context(Flood(daemon, auth_messages(ONE, *several) * 10, first, b"read-write"))
        assert any(longest_of_edits(bystander) < SAVED_WITHIN for _ in range(ATTEMPTS))
        if kind != "random":
            assert not flood.over.is_set()
        diagrams.database.revoke("one", diagrams.eve)
        closed = daemon.wait_for_event("connection closed", timeout=RECHECK + 1, user=diagrams.eve.id)
        # One random token a second is denied, which may have been too many before.
        denied = [CloseCode.UNAUTHORIZED] if kind == "random" else []
        assert closed["code"] in [CloseCode.FORBIDDEN, *denied]
        assert len(daemon.events("connection opened")) == 2
        after = daemon.memory
    if before is not None and after is not None:
        assert after - before < GROWTH_MAX


def test_of_many_tokens_on_an_open_document_the_first_and_the_newest_are_looked_up(diagrams: Diagrams) -> None:
    daemon = diagrams.start()
    with RawHocuspocus(daemon) as socket:
        socket.open(ONE, diagrams.eve.token)
        with diagrams.blocked_lookups():
            for token in [diagrams.eve.token, *("nonsense" for _ in range(50)), diagrams.eve.token]:
                socket.send(ONE, authentication(token))
            socket.ping()
        socket.wait_for(ONE, AUTHENTICATED)
        socket.edit(ONE, typed("still here"))
        socket.wait_for(ONE, hocuspocus.SAVED)
        assert socket.heard(ONE) == []
    assert daemon.events("connection denied") == []


def test_a_document_that_is_closed_and_reopened_repeatedly_has_one_lookup_at_a_time(diagrams: Diagrams) -> None:
    daemon = diagrams.start(MAX_WAITING_LOOKUPS=3)
    with RawHocuspocus(daemon) as socket, RawHocuspocus(daemon) as other:
        with diagrams.blocked_lookups():
            for _ in range(50):
                socket.send(ONE, authentication(diagrams.eve.token))
                socket.send(ONE, b"\x07")
            socket.send(ONE, authentication(diagrams.eve.token))
            socket.ping()
            assert diagrams.count_blocked_lookups() == 1
            other.send(TWO, authentication(diagrams.ada.token))
            other.ping()
        other.wait_for(TWO, AUTHENTICATED)
        socket.wait_for(ONE, AUTHENTICATED)
        socket.ping()
        assert socket.heard(ONE, AUTHENTICATED) == []
    assert len(daemon.events("connection opened")) == 2


def test_documents_that_are_closed_during_their_lookup_count_as_pending(diagrams: Diagrams) -> None:
    daemon = diagrams.start(MAX_PENDING_DOCUMENTS=3)
    with RawHocuspocus(daemon) as socket, diagrams.blocked_lookups():
        for number in range(4):
            socket.send(f"{ONE}{number}", authentication(diagrams.eve.token))
            socket.send(f"{ONE}{number}", b"\x07")
        assert socket.wait_closed().code == 4413


def test_when_too_many_lookups_wait_the_next_client_is_told_to_try_again_and_the_others_get_in(
    diagrams: Diagrams,
) -> None:
    # Two of the four database connections are for lookups of new clients.
    daemon = diagrams.start(MAX_WAITING_LOOKUPS=3)
    with ExitStack() as opened:
        with diagrams.blocked_lookups():
            sockets = [opened.enter_context(RawHocuspocus(daemon)) for _ in range(5)]
            for socket in sockets:
                socket.send(ONE, authentication(diagrams.eve.token))
                socket.ping()
            with RawHocuspocus(daemon) as late:
                late.send(ONE, authentication(diagrams.eve.token))
                assert late.wait_closed().code == 4503
            with pytest.raises(Refused) as refused:
                Client(daemon, "one", diagrams.eve)
            assert refused.value.code == 503
        for socket in sockets:
            socket.wait_for(ONE, AUTHENTICATED)


def test_many_lookups_of_one_socket_do_not_exclude_those_of_another(diagrams: Diagrams) -> None:
    daemon = diagrams.start(MAX_WAITING_LOOKUPS=3)
    with RawHocuspocus(daemon) as greedy, RawHocuspocus(daemon) as modest:
        greedy.open(ONE, diagrams.eve.token)
        with diagrams.blocked_lookups():
            for number in range(20):
                greedy.send(f"{ONE}\0{number}", authentication(diagrams.eve.token))
            greedy.ping()
            modest.send(TWO, authentication(diagrams.ada.token))
            modest.ping()
        modest.wait_for(TWO, AUTHENTICATED)
        assert [greedy.denied(f"{ONE}\0{number}") for number in range(5, 20)] == ["try again later"] * 15


def test_blocked_lookups_do_not_delay_saving_and_the_health_is_ok(diagrams: Diagrams) -> None:
    daemon = diagrams.start(HANDSHAKE_TIMEOUT=20)
    with ExitStack() as opened:
        writer = opened.enter_context(RawHocuspocus(daemon))
        writer.open(ONE, diagrams.eve.token)
        with diagrams.blocked_lookups():
            for _ in range(20):
                socket = opened.enter_context(RawHocuspocus(daemon))
                socket.send(TWO, authentication(diagrams.ada.token))
                socket.ping()
            began = time.monotonic()
            writer.edit(ONE, typed("an edit"))
            writer.wait_for(ONE, hocuspocus.SAVED)
            assert time.monotonic() - began < SAVED_WITHIN
            assert daemon.get("/health")[1]["status"] == "ok"


@pytest.mark.parametrize("is_open", [False, True], ids=["opening", "renewing"])
def test_a_client_that_is_denied_repeatedly_is_closed_and_its_denials_are_not_all_logged(
    diagrams: Diagrams, is_open: bool
) -> None:
    daemon = diagrams.start(MAX_DENIALS=8)
    with RawHocuspocus(daemon) as socket:
        for _ in range(7):
            if is_open:
                socket.open(ONE, diagrams.eve.token)
            socket.send(ONE, authentication("nonsense"))
            assert socket.denied(ONE) == "unauthorized: unknown session"
        assert socket.open(ONE, diagrams.eve.token) == "read-write"
        socket.send(ONE, authentication("nonsense"))
        closed = socket.wait_closed()
    assert (closed.code, closed.reason) == (4401, "unauthorized: unknown session")
    assert len(daemon.events("connection denied")) == (0 if is_open else 5)


def test_denials_of_several_documents_do_not_close_a_socket_with_many_documents(diagrams: Diagrams) -> None:
    daemon = diagrams.start(MAX_DENIALS=2)
    with RawHocuspocus(daemon) as socket:
        socket.open(ONE, diagrams.eve.token)
        for number in range(50):
            socket.send(f"diagram-{number}", authentication(diagrams.eve.token))
            assert socket.denied(f"diagram-{number}").startswith("forbidden")
        socket.send(ONE, sync.encode_step_1(b"\x00"))
        socket.wait_for(ONE, b"\x00\x01")


def test_a_damaged_document_is_logged_once_however_often_it_is_opened(diagrams: Diagrams) -> None:
    diagrams.database.query("INSERT INTO yjs_document (id, data, checksum) VALUES (%s, '\\x0000', '\\xbad0')", (ONE,))
    daemon = diagrams.start()
    for _ in range(3):
        with pytest.raises(Refused) as refused:
            Client(daemon, "one", diagrams.eve)
        assert refused.value.code == 500
    assert len(daemon.events("document damaged")) == 1
