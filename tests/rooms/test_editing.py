"""Editing through the daemon: updates are sent to the other clients and logged with their user, if that may write."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from pycrdt import Doc, Map, Text, get_state

from canvas_collab.protocol import sync
from tests.conftest import StartDaemon
from tests.support.clients import Client
from tests.support.databases import TestDatabase
from tests.support.diagrams import Diagram
from tests.support.sync_clients import RawConnection, updates_in
from tests.support.yjs_clients import VERSIONS, Version, YjsClients


def wait_until(holds: Callable[[], bool], timeout: float = 5) -> None:
    """Wait for a condition that only the database shows."""
    deadline = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


def text_of(*updates: bytes) -> str:
    doc = Doc[Text]()
    for update in updates:
        doc.apply_update(update)
    return str(doc.get("text", type=Text))


def insertion(content: str) -> bytes:
    """The update of a new document with this text."""
    doc = Doc[Text]()
    doc.get("text", type=Text).insert(0, content)
    return doc.get_update()


def texts_until(connection: RawConnection, last: str) -> list[str]:
    """The texts of the updates that a connection receives, up to and with the last one."""
    texts: list[str] = []

    def is_last(message: bytes) -> bool:
        texts.extend(text_of(update) for update in updates_in([message]))
        return texts[-1:] == [last]

    connection.receive_until(is_last)
    return texts


def test_every_update_is_in_the_log_within_a_second_with_the_user_who_made_it(
    diagram: Diagram, yjs: YjsClients
) -> None:
    owner = diagram.join(yjs, "owner", diagram.owner)
    editor = diagram.join(yjs, "editor", diagram.editor)

    owner.insert_text("text", 0, "by the owner")
    wait_until(lambda: len(diagram.log()) == 1, timeout=1)
    yjs.wait_converged(owner, editor)
    editor.set_key("map", "by", "the editor")
    wait_until(lambda: len(diagram.log()) == 2, timeout=1)

    (first_user, first), (second_user, second) = diagram.log()
    assert (first_user, second_user) == (diagram.owner.id, diagram.editor.id)
    assert text_of(first) == "by the owner"
    assert text_of(second) == ""


@pytest.mark.parametrize("kind", ["step 2", "update"])
def test_an_edit_is_sent_to_the_other_clients_and_not_to_its_only_sender(diagram: Diagram, kind: str) -> None:
    with diagram.connect(diagram.editor) as sender, diagram.connect(diagram.owner) as other:
        for connection in (sender, other):
            connection.sync()
        send = sender.send_update if kind == "update" else sender.send_step_2

        send(insertion("by the sender"))
        assert texts_until(other, "by the sender") == ["by the sender"]
        other.send_update(insertion("by the other"))
        assert texts_until(sender, "by the other") == ["by the other"]


@pytest.mark.parametrize("version", VERSIONS)
def test_what_a_reconnecting_client_sends_is_neither_logged_nor_broadcast_if_it_is_not_new(
    diagram: Diagram, yjs: YjsClients, version: Version
) -> None:
    client = diagram.join(yjs, "client", diagram.editor, version=version)
    client.insert_text("text", 0, "deleted and kept")
    client.delete_text("text", 0, 12)
    wait_until(lambda: len(diagram.log()) == 2)
    with diagram.connect(diagram.owner) as listener:
        listener.sync()

        client.disconnect()
        client.wait_disconnected()
        client.connect()
        client.set_awareness("back")
        received = listener.receive_until(lambda message: b'"back"' in message)
        listener.send_update(insertion("marker"))
        wait_until(lambda: len(diagram.log()) > 2)

        assert updates_in(received) == []
        assert [user for user, _update in diagram.log()] == [
            diagram.editor.id,
            diagram.editor.id,
            diagram.owner.id,
        ]


@pytest.mark.parametrize("role", ["viewer", "commenter"])
def test_the_edits_of_a_reader_are_neither_broadcast_nor_stored(diagram: Diagram, yjs: YjsClients, role: str) -> None:
    diagram.database.grant("sketch", diagram.viewer, role)
    editor = diagram.join(yjs, "editor", diagram.editor)
    editor.insert_text("text", 0, "drawn")
    reader = diagram.join(yjs, "reader", diagram.viewer, offline=True)

    reader.insert_text("text", 0, "sent by step 2 ")
    reader.connect()
    reader.insert_text("text", 0, "sent as an update ")
    reader.set_awareness({"cursor": "of the reader"})
    editor.wait_awareness({}, {"cursor": "of the reader"})
    editor.insert_text("text", 5, " again")
    wait_until(lambda: len(diagram.log()) == 2)

    newcomer = diagram.join(yjs, "newcomer", diagram.owner)
    assert editor.content == newcomer.content == {"text": [{"insert": "drawn again"}]}
    assert "drawn again" in str(reader.content), "a reader receives what the others draw"
    assert [user for user, _update in diagram.log()] == [diagram.editor.id, diagram.editor.id]
    for client in (editor, reader, newcomer):
        client.destroy()
    diagram.daemon.stop()
    diagram.start()
    assert diagram.join(yjs, "after").content == {"text": [{"insert": "drawn again"}]}


def test_updates_of_a_reader_are_ignored_in_either_message_type(diagram: Diagram) -> None:
    with diagram.connect(diagram.viewer) as reader, diagram.connect(diagram.editor) as listener:
        listener.sync()

        reader.send_step_2(insertion("step 2"))
        reader.send_update(insertion("update"))
        assert text_of(reader.sync()) == ""
        listener.send_update(insertion("marker"))

        assert texts_until(reader, "marker") == ["marker"]
        assert get_state(listener.sync()) == get_state(reader.sync())
        assert text_of(listener.sync()) == "marker"
        wait_until(lambda: len(diagram.log()) > 0)
        assert [user for user, _update in diagram.log()] == [diagram.editor.id]


def test_a_reader_is_sent_the_whole_document(diagram: Diagram, yjs: YjsClients) -> None:
    editor = diagram.join(yjs, "editor")
    editor.insert_text("text", 0, "drawn")
    yjs.wait_converged(editor, diagram.join(yjs, "viewer", diagram.viewer))


def test_a_client_that_is_denied_with_a_close_code_gives_up(diagram: Diagram, yjs: YjsClients) -> None:
    diagram.daemon.stop()
    diagram.start(REJECT_WITH="close")
    stranger = diagram.database.add_user("stranger")

    client = diagram.join(yjs, "client", stranger, version="3.1.0", wait=False)

    assert client.wait_given_up()[0] == 4403


def test_a_denied_handshake_has_a_status(diagram: Diagram, yjs: YjsClients) -> None:
    stranger = diagram.database.add_user("stranger")

    for version in VERSIONS:
        client = diagram.join(yjs, version, stranger, version=version, wait=False)
        assert client.wait_refused() == 403
        client.destroy()


def test_a_client_that_joins_a_large_document_is_sent_what_was_added_since_the_cached_full_sync(
    database: TestDatabase, start_daemon: StartDaemon
) -> None:
    ada = database.add_user("ada")
    database.add_diagram("large", ada)
    daemon = start_daemon(database)
    with Client(daemon, "large", ada) as author:
        shapes = author.doc.get("shapes", type=Map)
        updates: list[bytes] = []
        subscription = author.doc.observe(lambda event: updates.append(event.update))
        for number in range(3000):
            shapes[f"shape {number}"] = f"a shape of some size {number}"
            author.send(sync.encode_update(updates[-1]))
        author.flush()
        with Client(daemon, "large", ada) as first:
            assert first.doc.get("shapes", type=Map).to_py() == shapes.to_py()
        shapes["shape 1"] = "changed"
        author.send(sync.encode_update(updates[-1]))
        author.doc.unobserve(subscription)
        author.flush()
        with Client(daemon, "large", ada) as second:
            second.flush()
            assert second.doc.get("shapes", type=Map).to_py() == shapes.to_py()
