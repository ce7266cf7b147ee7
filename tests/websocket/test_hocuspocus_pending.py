"""Messages that a Hocuspocus client sends of documents that are not open yet: queueing, limits and timeouts."""

from __future__ import annotations

import cProfile
from collections import deque
from contextlib import ExitStack

import pytest
from twisted.internet.task import Clock

from canvas_collab.access.authorization import Request
from canvas_collab.config.connections import HocuspocusSettings
from canvas_collab.protocol import hocuspocus, sync
from canvas_collab.protocol.close_codes import CloseCode
from canvas_collab.websocket.hocuspocus import Hocuspocus
from canvas_collab.websocket.shared_limit import SharedLimit
from tests.conftest import StartDaemon
from tests.support.clients import Client, typed
from tests.support.daemons import Daemon
from tests.support.databases import TestDatabase, User
from tests.support.hocuspocus_client import Closed, RawHocuspocus, authentication
from tests.websocket.conftest import HocuspocusServer

ONE, TWO = "diagram-one", "diagram-two"


class RecordingSocket:
    """A socket for a Hocuspocus handler; `closed_with` has the codes and reasons that it was closed with."""

    client_address = "192.0.2.1:1234"
    is_closing = False

    def __init__(self) -> None:
        self.closed_with: list[tuple[int, str]] = []

    def close(self, code: CloseCode, reason: str) -> None:
        self.closed_with.append((int(code), reason))


class OpenerWithoutCredentials:
    """A connection opener that finds no credential in a handshake."""

    def carries_credential(self, handshake: Request) -> bool:
        return False


def test_messages_sent_before_a_document_is_open_are_handled_when_it_is(server: HocuspocusServer) -> None:
    with server.connect() as socket:
        socket.send(ONE, sync.encode_step_1(b"\x00"))
        socket.edit(ONE, typed("early"))
        socket.send(ONE, authentication(server.editor.token))
        socket.wait_for(ONE, b"\x00\x01")
        socket.wait_for(ONE, hocuspocus.SAVED)
    server.bystander.wait_for("early")


def test_nothing_of_a_document_is_sent_before_it_is_open(server: HocuspocusServer) -> None:
    server.bystander.edit(typed("secret"))
    server.bystander.flush()
    with server.connect() as socket:
        socket.send(ONE, sync.encode_step_1(b"\x00"))
        socket.send(ONE, b"\x03")
        socket.ping()
        assert socket.heard(ONE) == []


def test_a_malformed_message_that_was_queued_closes_the_socket_when_it_is_handled(server: HocuspocusServer) -> None:
    with server.connect() as socket:
        socket.send(ONE, b"\x00\x02\x01\xff")
        socket.send(ONE, authentication(server.editor.token))
        assert socket.wait_closed().code == 4400
    server.daemon.wait_for_event("connection ended", room=ONE, user=server.editor.id, code=4400)
    server.expect_bystander_unaffected()


@pytest.mark.parametrize(
    ("messages", "code", "reason"),
    [
        ([(f"diagram-{number}", b"\x03") for number in range(4)], 4413, "3 documents"),
        ([(ONE, b"\x03")] * 6, 4413, "5 messages"),
        ([(ONE, sync.encode_update(b"x" * 900))] * 3, 4413, "2000 bytes"),
        ([("d" * 600, b"\x03")], 4413, "255 characters"),
        ([(ONE, b"\x06\x00")], 4400, "malformed"),
        ([(ONE, sync.encode_update(b"x" * 2500))], 4413, "2000 bytes before a document is open"),
    ],
    ids=["documents", "messages", "bytes", "address", "broadcast", "one large message"],
)
def test_what_a_socket_may_send_before_it_has_authenticated_is_bounded(
    server: HocuspocusServer, messages: list[tuple[str, bytes]], code: int, reason: str
) -> None:
    with server.connect() as socket:
        try:
            for address, message in messages:
                socket.send(address, message)
        except Closed as closed:
            ended = closed
        else:
            ended = socket.wait_closed()
    assert (ended.code, reason in ended.reason) == (code, True), ended
    server.expect_bystander_unaffected()


def test_what_is_queued_for_all_sockets_is_bounded_and_the_socket_with_the_most_is_closed(
    database: TestDatabase, start_daemon: StartDaemon, editor_and_viewer: tuple[User, User]
) -> None:
    editor, _ = editor_and_viewer
    daemon = start_daemon(database, MAX_PENDING_SIZE=10_000, MAX_PENDING_TOTAL=20_000)
    with ExitStack() as opened:
        modest, *greedy = (opened.enter_context(RawHocuspocus(daemon)) for _ in range(4))
        modest.edit(ONE, typed("early"))
        modest.ping()
        for socket in greedy:
            socket.edit(TWO, b"x" * 8_000)
        closed = daemon.wait_for_event("connection ended", code=4503)
        assert "try again later" in closed["reason"]
        assert modest.open(ONE, editor.token) == "read-write"
        modest.wait_for(ONE, hocuspocus.SAVED)
    assert len(daemon.events("connection ended")) == 1


def test_queueing_messages_takes_work_in_proportion_to_their_number() -> None:
    def calls(count: int) -> int:
        socket, clock = RecordingSocket(), Clock()
        settings = HocuspocusSettings(max_pending_messages=10**6, max_pending_documents=10**6, max_documents=10**6)
        limit = SharedLimit(settings.max_pending_total)
        handler = Hocuspocus(clock, socket, OpenerWithoutCredentials(), None, settings, limit)  # type: ignore[arg-type]
        handler.handshake = Request("/", {}, {})
        messages = [hocuspocus.encode_address(f"diagram-{number}") + b"\x03" for number in range(count)]
        work = cProfile.Profile()
        # The first message of each document starts a timer, which is expensive with the clock of tests.
        for measured in (False, True):
            if measured:
                work.enable()
            for message in messages:
                deque(handler.received(message), maxlen=0)
        work.disable()
        assert socket.closed_with == []
        return sum(entry.callcount for entry in work.getstats())

    assert calls(1000) < 2.2 * calls(500)


def test_a_document_whose_token_does_not_arrive_in_time_is_removed_and_others_stay_open(
    database: TestDatabase, start_daemon: StartDaemon, editor_and_viewer: tuple[User, User]
) -> None:
    editor, _ = editor_and_viewer
    daemon = start_daemon(database, AUTH_TIMEOUT=0.3, MAX_PENDING_DOCUMENTS=1)
    with RawHocuspocus(daemon) as socket:
        socket.open(ONE, editor.token)
        socket.send(TWO, sync.encode_update(typed("forgotten")))
        daemon.wait_until(lambda: _has_expired(daemon, socket))
        assert socket.content(ONE) == ""
        assert socket.open(TWO, editor.token) == "read-write"
        assert socket.content(TWO) == ""


def _has_expired(daemon: Daemon, socket: RawHocuspocus) -> bool:
    """Whether the daemon has logged that a pending document expired."""
    socket.ping()
    return bool(daemon.events("document not opened"))


SOCKETS = 150
ROUNDS = 8

#: How many bytes of memory the daemon may gain from the fourth flood to the last; each sends some twenty megabytes.
GROWTH_MAX = 8 * 2**20

#: Settings of glibc with which it returns free memory immediately, so that it does not count as the daemon's.
MALLOC_SETTINGS = {"MALLOC_ARENA_MAX": 1, "MALLOC_TRIM_THRESHOLD_": 65536, "MALLOC_MMAP_THRESHOLD_": 65536}


def test_floods_before_authentication_use_no_lasting_memory_and_do_not_affect_others(
    database: TestDatabase, start_daemon: StartDaemon, editor_and_viewer: tuple[User, User]
) -> None:
    editor, _ = editor_and_viewer
    daemon = start_daemon(database, AUTH_TIMEOUT=1, **MALLOC_SETTINGS)
    memories = []
    with Client(daemon, "one", editor) as bystander:
        for _ in range(ROUNDS):
            with ExitStack() as flood:
                sockets = [flood.enter_context(RawHocuspocus(daemon)) for _ in range(SOCKETS)]
                for number, socket in enumerate(sockets):
                    if number % 3 == 0:
                        # A third sends large messages of one document, a third small ones of many, and a third nothing.
                        for _ in range(4):
                            socket.send(ONE, sync.encode_update(b"x" * 100_000))
                    elif number % 3 == 1:
                        for document in range(90):
                            socket.send(f"diagram-{document}", b"\x03")
                bystander.edit(typed("still here "))
                bystander.flush()
                assert {socket.wait_closed().code for socket in sockets} == {4408}
            daemon.wait_until(lambda: daemon.get("/health")[1]["connections"] == 1)
            memories.append(daemon.memory or 0)
        assert bystander.text == "still here " * ROUNDS
    print([f"{memory / 2**20:.1f}" for memory in memories])
    assert min(memories[-2:]) - memories[3] < GROWTH_MAX, memories
