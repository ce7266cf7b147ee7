"""y-sweet's client syncs, and what it shows as saved is on disk."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from twisted.internet.task import Clock

from canvas_collab.protocol import awareness, sync
from canvas_collab.rooms.prepared_message import PreparedMessage
from canvas_collab.websocket.heartbeats import KEEP_ALIVE_INTERVAL, Heartbeats
from tests.support.diagrams import Diagram
from tests.support.hocuspocus_providers import Providers
from tests.support.stalling_proxy import StallingProxy
from tests.support.y_sweet_clients import join

#: After how many seconds without an answer to a heartbeat the client takes its connection for lost.
CLIENTS_PATIENCE = 3.0

SIGN_OF_LIFE = sync.encode_awareness(awareness.encode([]))


def test_a_y_sweet_client_edits_together_with_others_and_shows_what_is_saved(
    diagram: Diagram, providers: Providers
) -> None:
    ada = join(diagram, providers, "ada")
    bob = diagram.join(providers, "bob")
    carol = diagram.provide(providers, "carol")
    ada.wait_saved()
    assert ada.state["statuses"] == ["connecting", "handshaking", "connected"]

    ada.insert_text("text", 0, "together")
    ada.wait_saved()
    assert len(diagram.log()) == 1
    assert ada.state["localChanges"][-2:] == [True, False]
    bob.insert_text("text", 8, ", all")
    assert providers.wait_converged(ada, bob, carol) == {"text": [{"insert": "together, all"}]}
    for client in (ada, bob, carol):
        client.set_awareness({"name": client.name})
    providers.wait_awareness(ada, bob, carol, states=[{"name": name} for name in ("ada", "bob", "carol")])
    assert ada.state["closes"] == []


def test_an_offline_edit_is_shown_as_saved_only_after_it_was_sent(
    stalling: Diagram, proxy: StallingProxy, providers: Providers
) -> None:
    witness = stalling.join(providers, "witness")
    ada = join(stalling, providers, "ada", offline=True)
    ada.insert_text("text", 0, "offline")
    ada._call("connect")
    ada.wait_saved()
    assert len(stalling.log()) == 1
    witness.wait_content({"text": [{"insert": "offline"}]})

    ada.disconnect()
    ada.wait_disconnected()
    ada.insert_text("text", 7, ", again")
    assert ada.state["hasLocalChanges"] is True
    ada.connect()
    ada.wait_saved()
    assert len(stalling.log()) == 2


def test_an_edit_is_not_shown_as_saved_while_the_database_is_away_and_the_connection_lasts(
    stalling: Diagram, proxy: StallingProxy, providers: Providers
) -> None:
    ada = join(stalling, providers, "ada")
    witness = stalling.join(providers, "witness")
    ada.insert_text("text", 0, "before")
    ada.wait_saved()

    proxy.pause()
    began = time.monotonic()
    ada.insert_text("text", 6, " and after")
    witness.wait_content({"text": [{"insert": "before and after"}]})
    while time.monotonic() < began + CLIENTS_PATIENCE + 1.5:
        # A report of the health takes a while when the database does not answer.
        assert stalling.daemon.get("/health")[0] == 503
        assert ada.state["hasLocalChanges"] is True
    assert ada.state["closes"] == []

    proxy.resume()
    ada.wait_saved()
    assert len(stalling.log()) == 2


def test_a_reader_sees_no_edit_of_its_own_as_saved(diagram: Diagram, providers: Providers) -> None:
    vera = join(diagram, providers, "vera", diagram.viewer)
    vera.wait_saved()
    vera.insert_text("text", 0, "scribble")
    diagram.join(providers, "witness").set_key("map", "key", "written")
    # Everything before it has been answered by now.
    vera.wait_content({"map": {"key": "written"}, "text": [{"insert": "scribble"}]})
    assert vera.state["hasLocalChanges"] is True
    diagram.daemon.wait_until(lambda: bool(diagram.log()))
    assert {user for user, _ in diagram.log()} == {diagram.editor.id}


# The heartbeats of one connection


class Stage:
    """The heartbeats of a connection, and a journal that commits when :meth:`commit` is called."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.sent: list[bytes] = []
        self.reads = True
        self.waiting: list[Callable[[], None]] = []
        self.heartbeats = Heartbeats(self.clock, self, "diagram-x", self._offer)

    def after_commit(self, document_id: str | None, act: Callable[[], None]) -> None:
        assert document_id == "diagram-x"
        self.waiting.append(act)

    def commit(self) -> None:
        waiting, self.waiting = self.waiting, []
        for act in waiting:
            act()

    def take(self) -> list[bytes]:
        sent, self.sent = self.sent, []
        return sent

    def _offer(self, message: PreparedMessage) -> bool:
        if self.reads:
            self.sent.append(message.payload)
        return self.reads


def echo(counter: bytes) -> bytes:
    return b"\x66" + bytes((len(counter),)) + counter


@pytest.fixture
def stage() -> Stage:
    stage = Stage()
    stage.heartbeats.sync_completed()
    return stage


def test_a_heartbeat_is_answered_after_the_commit(stage: Stage) -> None:
    stage.heartbeats.received(b"\x05")
    assert stage.take() == []
    stage.commit()
    assert stage.take() == [echo(b"\x05")]


def test_of_many_heartbeats_two_wait_and_the_last_is_answered_for_all(stage: Stage) -> None:
    for number in range(100):
        stage.heartbeats.received(bytes((number,)))
        assert len(stage.waiting) == 1
    assert stage.take() == [SIGN_OF_LIFE]
    stage.commit()
    assert stage.take() == [echo(b"\x00")]
    stage.commit()
    assert stage.take() == [echo(b"\x63")]
    assert stage.waiting == []


def test_while_a_heartbeat_waits_keep_alive_messages_are_sent(stage: Stage) -> None:
    stage.heartbeats.received(b"\x01")
    heard = 0
    for _ in range(40):
        stage.clock.advance(KEEP_ALIVE_INTERVAL / 4)
        stage.heartbeats.received(b"\x01")
        heard += len(stage.take())
    assert heard == 10


def test_no_heartbeat_is_answered_before_the_first_step_2_or_after_a_refused_update() -> None:
    stage = Stage()
    stage.heartbeats.received(b"\x05")
    assert (stage.take(), stage.waiting) == ([SIGN_OF_LIFE], [])
    stage.heartbeats.sync_completed()
    stage.commit()
    assert stage.take() == [echo(b"\x05")]
    stage.heartbeats.received(b"\x06")
    stage.heartbeats.edit_refused()
    stage.commit()
    stage.clock.advance(KEEP_ALIVE_INTERVAL)
    stage.heartbeats.received(b"\x07")
    stage.commit()
    assert stage.take() == [SIGN_OF_LIFE]


def test_a_heartbeat_is_answered_once_backpressure_ends(stage: Stage) -> None:
    stage.heartbeats.received(b"\x05")
    stage.reads = False
    stage.commit()
    stage.reads = True
    stage.heartbeats.backpressure_ended()
    stage.commit()
    assert stage.take() == [echo(b"\x05")]


@pytest.mark.parametrize(
    ("message", "counter"),
    [
        ("660105", b"\x05"),
        ("6608ffffffffffffff0f", b"\xff" * 7 + b"\x0f"),
        ("6609" + "00" * 9, None),
        ("66", None),
        ("6600", None),
        ("6605aa", None),
    ],
)
def test_a_message_without_a_valid_counter_is_no_heartbeat(message: str, counter: bytes | None) -> None:
    expected = sync.Unknown(102) if counter is None else sync.Heartbeat(counter)
    assert sync.decode(bytes.fromhex(message)) == expected
