"""Edits are confirmed, after the commit, to clients that show which have arrived; this changes no document."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import y_py
from pycrdt import Doc, Text
from y_py import YDoc

from canvas_collab.document.document import Document
from canvas_collab.protocol import awareness, sync
from canvas_collab.protocol.awareness import Entry
from canvas_collab.protocol.delete_set import DeleteSet
from canvas_collab.protocol.lib0 import Decoder, encode_var_uint
from canvas_collab.protocol.state_vector import encode_state_vector
from canvas_collab.protocol.update import decode_update
from canvas_collab.rooms.prepared_message import PreparedMessage
from canvas_collab.websocket.confirmations import MAX_RANGES, Confirmations, encode_ids
from tests.support.clients import Client
from tests.support.diagrams import Diagram
from tests.support.hocuspocus_providers import Providers
from tests.support.next_clients import join
from tests.support.stalling_proxy import StallingProxy
from tests.support.yjs_clients import VERSIONS, Version

#: Client ids of Yjs 14 are as large as this.
WIDE = 2**40


def test_an_edit_of_the_next_y_websocket_is_confirmed_after_the_commit_and_changes_nothing(
    stalling: Diagram, proxy: StallingProxy, providers: Providers
) -> None:
    ada = join(stalling, providers, "ada")
    witness = stalling.join(providers, "witness")
    ada.type(0, "written")
    ada.wait_state(unconfirmed=0)
    assert len(stalling.log()) == 1

    proxy.pause()
    ada.type(7, " and more")
    witness.wait_content({"text": [{"insert": "written and more"}]})
    assert stalling.daemon.get("/health")[0] == 503
    assert ada.state["unconfirmed"] == 1
    proxy.resume()
    ada.wait_state(unconfirmed=0)
    assert len(stalling.log()) == 2

    ada.erase(0, 8)
    ada.wait_state(unconfirmed=0)
    state = ada.state
    assert (state["text"], state["changesReceived"], state["closes"]) == ("and more", 0, [])
    # The first step 2, and then a confirmation for each edit.
    assert state["updatesReceived"] == 4
    assert max(state["sizes"]) < 25


def test_deleting_what_another_client_inserted_is_confirmed(diagram: Diagram, providers: Providers) -> None:
    diagram.join(providers, "bob").insert_text("text", 0, "of Yjs 13")
    ada = join(diagram, providers, "ada")
    ada.wait_state(text="of Yjs 13")
    ada.erase(0, 3)
    ada.wait_state(unconfirmed=0, text="Yjs 13")


def test_offline_edits_are_confirmed_and_so_are_edits_that_were_committed_while_disconnected(
    stalling: Diagram, proxy: StallingProxy, providers: Providers
) -> None:
    ada = join(stalling, providers, "ada", offline=True)
    ada.type(0, "offline")
    ada._call("connect")
    ada.wait_state(unconfirmed=0, synced=True)
    assert len(stalling.log()) == 1

    witness = stalling.join(providers, "witness")
    proxy.pause()
    ada.type(7, " and on")
    witness.wait_content({"text": [{"insert": "offline and on"}]})
    ada.disconnect()
    ada.wait_disconnected()
    proxy.resume()
    witness.insert_text("text", 0, ">")
    stalling.daemon.wait_until(lambda: len(stalling.log()) == 3)
    assert ada.state["unconfirmed"] == 1
    ada.connect()
    ada.wait_state(unconfirmed=0, text=">offline and on")


def test_a_readers_edit_is_not_confirmed(diagram: Diagram, providers: Providers) -> None:
    vera = join(diagram, providers, "vera", diagram.viewer)
    vera.type(0, "scribble")
    diagram.join(providers, "writer").insert_text("text", 0, "written")
    providers.wait("heardUpdates", vera, count=2)
    diagram.daemon.wait_until(lambda: len(diagram.log()) == 1)
    assert vera.state["unconfirmed"] == 1


# Messages


def typed(text: str, author: int) -> Doc[Any]:
    doc: Doc[Any] = Doc(client_id=author)
    content = doc.get("text", type=Text)
    for character in text:
        content += character
    return doc


def show(author: int) -> bytes:
    return sync.encode_awareness(awareness.encode([Entry(author, 1, "{}")]))


def ids_of(message: bytes) -> dict[int, tuple[int, int]]:
    """Return the first clock and the end of each author that an update message confirms; it must have no content."""
    decoder = Decoder(message)
    assert (decoder.var_uint(), decoder.var_uint()) == (0, 2)
    update = decode_update(decoder.var_bytes())
    assert all(run.data[0] == 0 for runs in update.runs.values() for run in runs)
    return {author: (runs[0].clock, runs[-1].end) for author, runs in update.runs.items()}


def test_each_edit_of_a_yjs_14_client_is_confirmed_in_a_few_bytes(diagram: Diagram) -> None:
    with Client(diagram.daemon, "sketch", diagram.editor) as client:
        client.send(show(WIDE + 1))
        client.edit(typed("a long text to begin with", WIDE + 1).get_update())
        message = client.wait_for_update()
        assert ids_of(message) == {WIDE + 1: (0, 25)}
        assert len(message) <= 15


@pytest.mark.parametrize("author", [1, 2**32 - 1])
def test_edits_of_yjs_13_clients_are_not_confirmed(diagram: Diagram, author: int) -> None:
    with Client(diagram.daemon, "sketch", diagram.editor) as client:
        client.send(show(author))
        client.edit(typed("text", author).get_update())
        diagram.daemon.wait_until(lambda: len(diagram.log()) == 1)
        # A client echoes the awareness of others, so an entry does not show that the id is its own.
        client.send(show(WIDE))
        client.edit(typed("other text", author - 1).get_update())
        diagram.daemon.wait_until(lambda: len(diagram.log()) == 2)
        assert [message for message in client.flush() if message[:1] == b"\x00"] == []


def test_edits_of_clients_without_awareness_such_as_pycrdts_are_not_confirmed(diagram: Diagram) -> None:
    with Client(diagram.daemon, "sketch", diagram.editor) as client:
        client.edit(typed("text", WIDE).get_update())
        diagram.daemon.wait_until(lambda: len(diagram.log()) == 1)
        assert client.flush() == []


def test_pending_structs_of_a_client_are_not_confirmed(diagram: Diagram) -> None:
    doc = typed("text", WIDE)
    with Client(diagram.daemon, "sketch", diagram.editor) as client:
        # The client has integrated two of the characters of its step 2; the others are pending.
        client.send(sync.encode_step_1(b"\x01" + encode_var_uint(WIDE) + b"\x02"))
        client.send(show(WIDE))
        client.send(sync.encode_step_2(doc.get_update()))
        assert ids_of(client.wait_for_update()) == {WIDE: (0, 2)}


def test_a_step_2_of_a_reader_or_without_a_step_1_confirms_nothing(diagram: Diagram) -> None:
    for user, step_1 in ((diagram.viewer, b"\x01" + encode_var_uint(WIDE) + b"\x04"), (diagram.editor, None)):
        with Client(diagram.daemon, "sketch", user) as client:
            client.send(show(WIDE))
            if step_1 is not None:
                client.send(sync.encode_step_1(step_1))
            client.send(sync.encode_step_2(typed("text", WIDE).get_update()))
            client.flush()
            if step_1 is None:
                diagram.daemon.wait_until(lambda: len(diagram.log()) == 1)
            assert [message for message in client.flush() if message[:2] == b"\x00\x02"] == []


# Confirmations change no document


@pytest.mark.parametrize("version", VERSIONS)
def test_a_confirmation_changes_nothing_in_yjs_13_whatever_is_pending(
    diagram: Diagram, providers: Providers, version: Version
) -> None:
    ada = diagram.join(providers, "ada", version=version)
    ada.insert_text("text", 0, "hello world")
    ada.delete_text("text", 0, 2)
    one, two = Document(), typed("one two", 7)
    one.append(two.get_update())
    lacking_the_first = one.encode_diff(encode_state_vector({7: 1}))
    ada.apply(lacking_the_first)
    before = ada.report()
    for start, end in ((0, 11), (5, 9), (10, 11)):
        ada.apply(confirmation(ada.client_id, start, end, deleted=(0, 2)))
    assert ada.report() == before
    ada.apply(two.get_update())
    assert sorted(ada.content["text"][0]["insert"]) == sorted("llo worldone two")
    ada.insert_text("text", 0, "!")
    newcomer = diagram.join(providers, "newcomer", version=version)
    diagram.daemon.wait_until(lambda: len(diagram.log()) >= 3)
    ada.disconnect()
    ada.connect()
    providers.wait_converged(ada, newcomer)


def test_a_confirmation_changes_nothing_in_yjs_14(diagram: Diagram, providers: Providers) -> None:
    ada = join(diagram, providers, "ada")
    ada.type(0, "hello world")
    ada.erase(0, 2)
    ada.wait_state(unconfirmed=0)
    before = ada.state
    for start, end in ((0, 11), (5, 9), (10, 11)):
        ada.apply(confirmation(ada.client_id, start, end, deleted=(0, 2)))
    assert ada.state == before


def test_a_confirmation_changes_nothing_in_pycrdt_whatever_is_pending() -> None:
    doc = typed("hello world", 9)
    del doc.get("text", type=Text)[0:2]
    one, two = Document(), typed("one two", 7)
    one.append(two.get_update())
    doc.apply_update(one.encode_diff(encode_state_vector({7: 1})))
    before = doc.get_update()
    heard: list[bytes] = []
    doc.observe(lambda event: heard.append(event.update))
    for start, end in ((0, 11), (5, 9), (10, 11)):
        doc.apply_update(confirmation(9, start, end, deleted=(0, 2)))
    assert (doc.get_update(), heard) == (before, [])
    doc.apply_update(two.get_update())
    assert sorted(str(doc.get("text", type=Text))) == sorted("llo worldone two")


def test_a_confirmation_changes_nothing_in_y_py() -> None:
    doc = YDoc(client_id=9)
    text = doc.get_text("text")
    with doc.begin_transaction() as transaction:  # type: ignore[misc, call-arg]
        text.extend(transaction, "hello world")
        text.delete_range(transaction, 0, 2)
    before = y_py.encode_state_as_update(doc)
    for start, end in ((0, 11), (5, 9), (10, 11)):
        y_py.apply_update(doc, confirmation(9, start, end, deleted=(0, 2)))
    assert (y_py.encode_state_as_update(doc), str(text)) == (before, "llo world")


def confirmation(author: int, start: int, end: int, deleted: tuple[int, int]) -> bytes:
    insertions, deletions = DeleteSet(), DeleteSet()
    insertions.add(author, start, end)
    deletions.add(author, *deleted)
    return encode_ids(insertions, deletions)


# The confirmations of one connection


class Stage:
    """The confirmations of a connection, and a journal that commits when :meth:`commit` is called."""

    def __init__(self) -> None:
        self.sent: list[dict[int, tuple[int, int]]] = []
        self.reads = True
        self.waiting: list[Callable[[], None]] = []
        self.confirmations = Confirmations(self, "diagram-x", self._offer)

    def after_commit(self, document_id: str | None, act: Callable[[], None]) -> None:
        assert document_id == "diagram-x"
        self.waiting.append(act)

    def commit(self) -> None:
        waiting, self.waiting = self.waiting, []
        for act in waiting:
            act()

    def edit(self, author: int, start: int, end: int) -> None:
        insertions = DeleteSet()
        insertions.add(author, start, end)
        self.confirmations.add(decode_update(encode_ids(insertions, DeleteSet())))

    def take(self) -> list[dict[int, tuple[int, int]]]:
        sent, self.sent = self.sent, []
        return sent

    def _offer(self, message: PreparedMessage) -> bool:
        if self.reads:
            self.sent.append(ids_of(message.payload))
        return self.reads


def test_all_edits_of_a_commit_are_confirmed_in_one_message() -> None:
    stage = Stage()
    for number in range(100):
        stage.edit(WIDE, number, number + 1)
    assert (stage.sent, len(stage.waiting)) == ([], 1)
    stage.commit()
    assert stage.take() == [{WIDE: (0, 1)}]
    stage.commit()
    assert stage.take() == [{WIDE: (1, 100)}]
    assert stage.waiting == []


def test_the_size_of_a_waiting_confirmation_is_bounded() -> None:
    stage = Stage()
    for number in range(MAX_RANGES + 2):
        stage.edit(number + 1, 0, 1)
    for _ in range(3):
        stage.commit()
    assert [len(ids) for ids in stage.take()] == [1, MAX_RANGES]
    stage.edit(WIDE, 0, 1)
    stage.commit()
    assert stage.take() == [{WIDE: (0, 1)}]


def test_everything_is_confirmed_once_backpressure_ends() -> None:
    stage = Stage()
    stage.reads = False
    for number in range(3):
        stage.edit(WIDE, number, number + 1)
        stage.commit()
    assert stage.waiting == []
    stage.reads = True
    stage.confirmations.backpressure_ended()
    stage.commit()
    assert stage.take() == [{WIDE: (0, 1)}, {WIDE: (1, 3)}]


def test_of_a_sync_the_clocks_that_both_have_are_confirmed() -> None:
    stage = Stage()
    stage.confirmations.add_common({1: 5, 2: 3, 3: 4, 4: 1}, {1: 2, 2: 9, 4: 0})
    stage.commit()
    assert stage.take() == [{1: (0, 2), 2: (0, 3)}]
