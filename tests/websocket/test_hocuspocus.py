"""The Hocuspocus protocol: several documents on one socket, their limits, and messages of the socket itself."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from websockets.exceptions import InvalidStatus

from canvas_collab.protocol import awareness, hocuspocus, sync
from canvas_collab.protocol.awareness import Entry
from canvas_collab.rooms.awareness import CLOCK_OFFSET
from tests.conftest import StartDaemon
from tests.support.clients import Client, Refused, typed
from tests.support.databases import TestDatabase, User
from tests.support.hocuspocus_client import STEP_1, UPDATE, Closed, RawHocuspocus, authentication
from tests.websocket.conftest import HOCUSPOCUS_LIMITS, HocuspocusServer

ONE, TWO = "diagram-one", "diagram-two"


def test_the_versions_of_providers_are_logged(server: HocuspocusServer) -> None:
    with server.connect() as socket:
        socket.send(ONE, authentication(server.editor.token, "4.8.0"))
        socket.send(TWO, authentication(server.editor.token, None))
        server.daemon.wait_for_event("connection opened", room=ONE, protocol="hocuspocus 4.8.0")
        server.daemon.wait_for_event("connection opened", room=TWO, protocol="hocuspocus before 4")


@pytest.mark.parametrize("path", ["/live", "/live/", "/live?x=1"])
def test_the_path_is_configurable(
    database: TestDatabase, start_daemon: StartDaemon, editor_and_viewer: tuple[User, User], path: str
) -> None:
    editor, _ = editor_and_viewer
    daemon = start_daemon(database, HOCUSPOCUS_PATH="/live")
    with RawHocuspocus(daemon, path) as socket:
        assert socket.open(ONE, editor.token) == "read-write"
    with pytest.raises(InvalidStatus):
        RawHocuspocus(daemon, "/").__enter__()


def test_the_path_is_below_the_prefix_of_a_proxy(
    database: TestDatabase, start_daemon: StartDaemon, editor_and_viewer: tuple[User, User]
) -> None:
    editor, _ = editor_and_viewer
    daemon = start_daemon(database, WS_PATH_PREFIX="/collab")
    for path in ("/collab", "/collab/"):
        with RawHocuspocus(daemon, path) as socket:
            assert socket.open(ONE, editor.token) == "read-write"
    with Client(daemon, "one", editor, prefix="/collab"):
        pass


def test_documents_of_one_socket_are_independent(server: HocuspocusServer) -> None:
    with server.connect() as socket:
        socket.open(ONE, server.editor.token)
        socket.open(TWO, server.viewer.token)
        socket.edit(ONE, typed("first"))
        assert socket.content(ONE) == "first"
        assert socket.content(TWO) == ""
        socket.send(ONE, b"\x07")
        server.daemon.wait_for_event("connection closed", room=ONE, reason="the client left the document")
        assert socket.content(TWO) == ""
        assert socket.open(ONE, server.editor.token) == "read-write"
        assert socket.content(ONE) == "first"


def test_a_document_that_was_closed_does_not_stay_in_memory_while_its_socket_is_open(server: HocuspocusServer) -> None:
    daemon, size, times = server.daemon, 10 * 2**20, 10
    memory = daemon.memory
    if memory is None:
        pytest.skip("the memory of a process is not known here")

    def is_unloaded() -> bool:
        return bool(daemon.get("/health")[1]["documents"] == 1)

    with Client(daemon, "two", server.editor) as writer:
        writer.edit(typed("x" * size))
        writer.flush()
    daemon.wait_until(is_unloaded)
    with ExitStack() as sockets:
        for _ in range(times):
            socket = sockets.enter_context(server.connect())
            socket.open(TWO, server.viewer.token)
            socket.send(TWO, b"\x07")
            # It is loaded anew each time.
            daemon.wait_until(is_unloaded)
        # A large document's memory is given back some seconds later.
        daemon.wait_until(lambda: (daemon.memory or 0) - memory < times * size / 2)


def test_two_sessions_of_a_document_are_two_connections_each_answered_at_its_own_address(
    server: HocuspocusServer,
) -> None:
    left, right = ONE + "\0left", ONE + "\0right"
    with server.connect() as socket:
        for address in (left, right):
            assert socket.open(address, server.editor.token) == "read-write"
        update = typed("from the left")
        socket.edit(left, update)
        assert socket.wait_for(right, UPDATE) == sync.encode_update(update)
        socket.wait_for(left, hocuspocus.SAVED)
        socket.ping()
        assert socket.heard(left, UPDATE) == []
        assert socket.heard(right, b"\x08") == []
        assert socket.heard(ONE) == []
        socket.send(left, b"\x07")
        socket.edit(right, typed("alone"))
        socket.wait_for(right, hocuspocus.SAVED)


def test_closing_a_document_removes_its_awareness_state(server: HocuspocusServer) -> None:
    with server.connect() as socket:
        socket.open(ONE, server.editor.token)
        socket.send(ONE, sync.encode_awareness(awareness.encode([Entry(7, 1, '{"x":1}')])))
        server.wait_for_awareness(Entry(7, 1 + CLOCK_OFFSET, '{"x":1}'))
        socket.send(ONE, b"\x07")
        server.wait_for_awareness(Entry(7, 1 + CLOCK_OFFSET, "null"))


def test_a_socket_that_has_authenticated_may_send_larger_messages(server: HocuspocusServer) -> None:
    with server.connect() as socket:
        socket.open(ONE, server.editor.token)
        socket.edit(ONE, typed("x" * 5000))
        socket.wait_for(ONE, hocuspocus.SAVED)


def test_the_documents_of_a_socket_are_bounded(server: HocuspocusServer, database: TestDatabase) -> None:
    with server.connect() as socket:
        for number in range(HOCUSPOCUS_LIMITS["MAX_DOCUMENTS"] // 2):
            socket.open(f"{ONE}\0{number}", server.editor.token)
            socket.open(f"{TWO}\0{number}", server.editor.token)
        socket.send(TWO, authentication(server.editor.token))
        closed = socket.wait_closed()
    assert (closed.code, "6 documents" in closed.reason) == (4413, True)
    server.expect_bystander_unaffected()


def test_the_sessions_of_one_document_on_a_socket_are_bounded_and_those_that_ended_do_not_count(
    server: HocuspocusServer,
) -> None:
    most = HOCUSPOCUS_LIMITS["MAX_SESSIONS_PER_DOCUMENT"]
    with server.connect() as socket:
        for number in range(2 * most):
            socket.open(f"{ONE}\0{number}", server.editor.token)
            socket.send(f"{ONE}\0{number}", b"\x07")
            socket.send(f"{TWO}\0{number}", b"\x03")
            socket.send(f"{TWO}\0{number}", b"\x07")
        for number in range(most):
            socket.open(f"{ONE}\0{number}", server.editor.token)
        socket.open(TWO, server.editor.token)
        socket.send(f"{ONE}\0more", b"\x03")
        closed = socket.wait_closed()
    assert (closed.code, f"{most} times" in closed.reason) == (4413, True)
    server.expect_bystander_unaffected()


@pytest.mark.parametrize(
    "message",
    [b"\x00\x02\x01\xff", b"\x00\x01\x01\xff", b"\x00\x00\x01\xff", b"\x01\x01\xff", b"\x05\x01\xff", b"\x02\x01\x00"],
    ids=["update", "step 2", "state vector", "awareness", "stateless", "auth"],
)
def test_a_malformed_message_closes_its_socket(server: HocuspocusServer, message: bytes) -> None:
    with server.connect() as socket:
        socket.open(ONE, server.editor.token)
        socket.send(ONE, message)
        assert socket.wait_closed().code == 4400
    server.expect_bystander_unaffected()


def test_messages_of_other_types_are_ignored_and_counted_whether_their_document_is_open_or_not(
    server: HocuspocusServer,
) -> None:
    with server.connect() as socket:
        for kind in (8, 9, 11, 102):
            socket.send(ONE, bytes((kind,)) + b"whatever")
        socket.ping()
        socket.open(ONE, server.editor.token)
        for _ in range(96):
            socket.send(ONE, b"\x7f")
        socket.edit(ONE, typed("an edit"))
        socket.wait_for(ONE, hocuspocus.SAVED)
    counts = [(event["count"], event["type"], event["room"]) for event in server.daemon.events("message ignored")]
    assert counts == [(1, 8, None), (10, 127, ONE), (100, 127, ONE)]


@pytest.mark.parametrize("busy", [False, True], ids=["silent", "pinging"])
def test_a_socket_that_opens_no_document_in_time_is_closed_whatever_it_sends(
    database: TestDatabase, start_daemon: StartDaemon, editor_and_viewer: tuple[User, User], busy: bool
) -> None:
    daemon = start_daemon(database, AUTH_TIMEOUT=0.5)
    with RawHocuspocus(daemon) as socket:
        if busy:
            with pytest.raises(Closed) as closed:
                socket.ping_for_ever()
            assert closed.value.code == 4408
        else:
            assert socket.wait_closed().code == 4408
    daemon.wait_for_event("connection ended", code=4408)


def test_sockets_without_documents_do_not_block_other_clients_for_long(
    database: TestDatabase, start_daemon: StartDaemon, editor_and_viewer: tuple[User, User]
) -> None:
    editor, _ = editor_and_viewer
    daemon = start_daemon(database, AUTH_TIMEOUT=0.5, MAX_CONNECTIONS=5)
    with ExitStack() as flood:
        sockets = [flood.enter_context(RawHocuspocus(daemon)) for _ in range(5)]
        with pytest.raises(Refused) as refused:
            Client(daemon, "one", editor)
        assert refused.value.code == 503
        assert {socket.wait_closed().code for socket in sockets} == {4408}
    daemon.wait_until(lambda: daemon.get("/health")[1]["connections"] == 0)
    with Client(daemon, "one", editor):
        pass


def test_a_pong_and_a_close_of_an_unknown_document_are_ignored(server: HocuspocusServer) -> None:
    with server.connect() as socket:
        socket.send_raw(hocuspocus.PONG)
        socket.send(ONE, b"\x07")
        socket.open(ONE, server.editor.token)
        assert socket.heard(ONE, STEP_1) == []


def test_a_ping_is_distinguished_from_a_message_of_a_document_with_a_nine_letter_name(server: HocuspocusServer) -> None:
    with server.connect() as socket:
        socket.send("diagramme", authentication(server.editor.token))
        assert socket.denied("diagramme").startswith("forbidden")
