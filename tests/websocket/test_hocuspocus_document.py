"""Open documents of a Hocuspocus client: sync, acknowledgements and stateless messages."""

from __future__ import annotations

from canvas_collab.protocol import hocuspocus, sync
from tests.conftest import StartDaemon
from tests.support.clients import typed
from tests.support.databases import TestDatabase, User
from tests.support.hocuspocus_client import UPDATE, RawHocuspocus
from tests.websocket.conftest import HocuspocusServer

ONE, TWO = "diagram-one", "diagram-two"


def test_each_step_1_is_answered_with_a_step_2_and_one_step_1_unless_it_is_a_reply(server: HocuspocusServer) -> None:
    with server.connect() as socket:
        socket.open(ONE, server.editor.token)
        socket.send(ONE, sync.encode_step_1(b"\x00"))
        socket.ping()
        assert [message[:2] for message in socket.heard(ONE, b"\x00")] == [b"\x00\x01", b"\x00\x00"]
        socket.send(ONE, b"\x04" + sync.encode_step_1(b"\x00")[1:])
        socket.ping()
        assert [message[:2] for message in socket.heard(ONE, b"\x00")][2:] == [b"\x00\x01"]


def test_every_edit_and_step_2_is_acknowledged_once(server: HocuspocusServer) -> None:
    with server.connect() as socket:
        socket.open(ONE, server.editor.token)
        for number in range(30):
            socket.edit(ONE, typed(f"edit {number}"))
        socket.send(ONE, sync.encode_step_2(typed("step 2")))
        socket.send(ONE, sync.encode_step_2(b"\x00\x00"))
        for _ in range(32):
            socket.wait_for(ONE, hocuspocus.SAVED)
        socket.ping()
        assert socket.heard(ONE, b"\x08") == []
    rows = server.daemon.get("/health")[1]["unsaved_updates"]
    assert rows == 0


def test_a_reader_is_told_that_an_edit_was_refused_and_that_nothing_new_was_nothing(server: HocuspocusServer) -> None:
    server.bystander.edit(update := typed("known"))
    server.bystander.flush()
    with server.connect() as socket:
        assert socket.open(ONE, server.viewer.token) == "readonly"
        socket.edit(ONE, typed("mine"))
        socket.wait_for(ONE, hocuspocus.REFUSED)
        socket.send(ONE, sync.encode_step_2(typed("mine too")))
        socket.wait_for(ONE, hocuspocus.REFUSED)
        socket.send(ONE, sync.encode_step_2(update))
        socket.wait_for(ONE, hocuspocus.SAVED)
        socket.ping()
        assert socket.heard(ONE, b"\x08") == []
    server.bystander.flush()
    assert server.bystander.text == "known"


def test_a_stateless_message_of_a_writer_reaches_the_other_providers_after_what_was_edited_before_it(
    server: HocuspocusServer,
) -> None:
    with server.connect() as writer, server.connect() as reader:
        writer.open(ONE, server.editor.token)
        reader.open(ONE, server.viewer.token)
        reader.open(TWO, server.viewer.token)
        writer.edit(ONE, typed("before"))
        writer.send(ONE, hocuspocus.encode_stateless("look"))
        assert reader.wait_for(ONE, b"\x05") == hocuspocus.encode_stateless("look")
        assert len(reader.heard(ONE, UPDATE)) == 1
        reader.send(ONE, hocuspocus.encode_stateless("I may not"))
        reader.ping()
        writer.ping()
        assert writer.heard(ONE, b"\x05") == []
        assert reader.heard(TWO) == []
    server.expect_bystander_unaffected()


def test_stateless_messages_can_be_turned_off(
    database: TestDatabase, start_daemon: StartDaemon, editor_and_viewer: tuple[User, User]
) -> None:
    editor, viewer = editor_and_viewer
    daemon = start_daemon(database, STATELESS="off")
    with RawHocuspocus(daemon) as writer, RawHocuspocus(daemon) as reader:
        writer.open(ONE, editor.token)
        reader.open(ONE, viewer.token)
        writer.send(ONE, hocuspocus.encode_stateless("look"))
        writer.edit(ONE, typed("an edit"))
        reader.wait_for(ONE, UPDATE)
        assert reader.heard(ONE, b"\x05") == []


def test_a_stateless_message_over_its_size_is_dropped_and_its_sender_stays(server: HocuspocusServer) -> None:
    with server.connect() as socket, server.connect() as other:
        socket.open(ONE, server.editor.token)
        other.open(ONE, server.editor.token)
        for _ in range(3):
            socket.send(ONE, hocuspocus.encode_stateless("é" * 51))
        socket.send(ONE, hocuspocus.encode_stateless("small"))
        assert other.wait_for(ONE, b"\x05") == hocuspocus.encode_stateless("small")
        socket.edit(ONE, typed("still here"))
        socket.wait_for(ONE, hocuspocus.SAVED)
    [event] = server.daemon.events("stateless message dropped")
    assert "100 bytes" in event["reason"]
    server.expect_bystander_unaffected()
