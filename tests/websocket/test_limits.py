"""Every limit, and what happens at it: the offender hears why, and nobody else notices."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator

import psycopg2
import pytest
from pycrdt import Doc, Text

from canvas_collab.protocol import awareness, sync
from canvas_collab.protocol.awareness import Entry
from canvas_collab.rooms.awareness import AHEAD
from canvas_collab.websocket.receiving import MAX_HANDSHAKE_SIZE
from tests.conftest import StartDaemon
from tests.support import poison_cases
from tests.support.clients import Client, Refused
from tests.support.daemons import Daemon
from tests.support.databases import TestDatabase, User
from tests.support.stalling_proxy import StallingProxy

LIMITS = {
    "MAX_MESSAGE_SIZE": 4096,
    "MAX_AWARENESS_SIZE": 300,
    "MAX_AWARENESS_CLIENTS": 2,
    "MAX_CONNECTIONS": 4,
}


class Stage:
    """A daemon with low limits, somebody who keeps to them, and somebody who may not."""

    def __init__(self, daemon: Daemon, ada: User, bob: User) -> None:
        self.daemon = daemon
        self.ada = ada
        self.bob = bob
        self.bystander = Client(daemon, "one", ada)
        self.offender = Client(daemon, "one", bob)

    def expect_close(self, code: int, reason: str) -> None:
        """The offender is closed so, and the bystander goes on drawing."""
        closed, said = self.offender.wait_for_close()
        assert (closed, reason in said) == (code, True), said
        doc: Doc = Doc()
        doc["text"] = Text("still here")
        self.bystander.edit(doc.get_update())
        with Client(self.daemon, "one", self.bob) as again:
            again.wait_for("still here")

    def expect_shown(self, entries: list[Entry]) -> list[Entry]:
        """The bystander hears this and of nobody else."""
        while awareness.encode(entries) not in self.bystander.awareness:
            self.bystander.receive()
        heard = {entry.client_id for payload in self.bystander.awareness for entry in awareness.decode(payload)}
        assert heard == {entry.client_id for entry in entries}
        return entries

    def expect_edit_of_the_offender(self) -> None:
        """The offender goes on drawing."""
        doc: Doc = Doc()
        doc["text"] = Text("drawn by the offender")
        self.offender.edit(doc.get_update())
        self.bystander.wait_for("drawn by the offender")


@pytest.fixture
def stage(database: TestDatabase, start_daemon: StartDaemon) -> Iterator[Stage]:
    ada, bob = database.add_user("ada"), database.add_user("bob")
    database.add_diagram("one", ada, editor=bob)
    stage = Stage(start_daemon(database, **LIMITS), ada, bob)
    yield stage
    stage.bystander.close()
    stage.offender.close()


def show(*entries: Entry) -> bytes:
    return sync.encode_awareness(awareness.encode(entries))


def test_a_message_over_its_size_closes_its_sender(stage: Stage) -> None:
    stage.offender.send(sync.encode_update(b"x" * LIMITS["MAX_MESSAGE_SIZE"]))
    stage.expect_close(4413, "a message may have 4096 bytes")


def test_an_awareness_message_over_its_size_is_dropped_and_its_sender_stays(stage: Stage) -> None:
    for clock in range(20):
        stage.offender.send(show(Entry(1, clock, f'"{"x" * 300}"')))
    stage.offender.send(show(Entry(2, 0, "{}")))
    stage.expect_shown([Entry(2, AHEAD, "{}")])
    stage.expect_edit_of_the_offender()
    assert len(stage.daemon.events("awareness dropped")) == 1
    assert "300 bytes" in stage.daemon.wait_for_event("awareness dropped", user=stage.bob.id)["reason"]


def test_of_more_awareness_clients_than_one_may_announce_the_others_are_dropped(stage: Stage) -> None:
    stage.offender.send(show(*(Entry(number, 0, "{}") for number in range(3))))
    stage.expect_shown([Entry(0, AHEAD, "{}"), Entry(1, AHEAD, "{}")])
    stage.expect_edit_of_the_offender()
    assert "too many" in stage.daemon.wait_for_event("awareness dropped", user=stage.bob.id)["reason"]


@pytest.mark.parametrize("size", [100, 10_000])
def test_a_state_that_is_not_json_closes_its_sender_however_long_it_is(
    database: TestDatabase, start_daemon: StartDaemon, size: int
) -> None:
    ada = database.add_user("ada")
    database.add_diagram("one", ada)
    with Client(start_daemon(database), "one", ada) as offender:
        offender.send(show(Entry(1, 0, f'"{"x" * size}')))
        assert offender.wait_for_close() == (4400, "malformed message: a value is not JSON")


def test_an_echo_of_what_everybody_shows_is_no_offence_whatever_its_size(stage: Stage) -> None:
    stage.bystander.send(show(Entry(1, 0, f'"{"x" * 200}"'), Entry(2, 0, f'"{"x" * 80}"')))
    [first, second] = stage.expect_shown([Entry(1, AHEAD, f'"{"x" * 200}"'), Entry(2, AHEAD, f'"{"x" * 80}"')])
    # Not word for word, as when only some of it counted for a client.
    stage.offender.send(show(second, first))
    stage.expect_edit_of_the_offender()
    assert stage.daemon.events("awareness dropped") == []


@pytest.mark.parametrize(
    "message",
    [b"", b"\xff", b"\x00\x02\x01\xff", b"\x00\x01\x01\xff", b"\x00\x00\x01\xff", b"\x01\x01\xff", b"\x00\x03\x00"],
    ids=["empty", "type", "update", "step 2", "state vector", "awareness", "sync"],
)
def test_a_malformed_message_closes_its_sender(stage: Stage, message: bytes) -> None:
    stage.offender.send(message)
    stage.expect_close(4400, "malformed")


@pytest.mark.parametrize("encode", [sync.encode_update, sync.encode_step_2])
def test_an_update_that_yjs_would_break_on_closes_its_sender_and_is_not_kept(
    stage: Stage, database: TestDatabase, encode: Callable[[bytes], bytes]
) -> None:
    stage.offender.send(encode(next(poison_cases.guids()).updates[0]))
    stage.expect_close(4400, "guid")
    stage.daemon.wait_until(lambda: stage.daemon.get("/health")[1]["unsaved_updates"] == 0)
    assert {user for (user,) in database.query("SELECT user_id FROM yjs_update_log")} == {stage.ada.id}


def test_one_who_is_closed_is_in_no_room_any_more_long_before_they_hear_of_it(
    database: TestDatabase, start_daemon: StartDaemon
) -> None:
    ada = database.add_user("ada")
    database.add_diagram("one", ada)
    daemon = start_daemon(database, CLOSE_DELAY=2, MAX_CONNECTIONS=2)
    with Client(daemon, "one", ada) as bystander, Client(daemon, "one", ada) as offender:
        offender.send(show(Entry(1, 0, "{}")))
        while not bystander.awareness:
            bystander.receive()
        began = time.monotonic()
        offender.send(b"\x00\x02\x01\xff")
        while awareness.decode(bystander.awareness[-1]) != [Entry(1, AHEAD, "null")]:
            bystander.receive()
        assert time.monotonic() - began < 1
        # It counts among the connections there may be.
        with pytest.raises(Refused) as refused:
            Client(daemon, "one", ada)
        assert refused.value.code == 503
        assert offender.wait_for_close()[0] == 4400
        assert time.monotonic() - began >= 2
    daemon.wait_until(lambda: daemon.get("/health")[1]["connections"] == 0)


def test_messages_of_other_types_are_ignored_and_counted(stage: Stage) -> None:
    for kind in (2, 4, 7, 127):
        stage.offender.send(bytes((kind,)) + b"whatever")
    for _ in range(6):
        stage.offender.send(b"\x66")
    stage.offender.edit(stage.bystander.doc.get_update())
    assert stage.offender.flush() == []
    stage.daemon.wait_for_event("message ignored", count=10)
    ignored = [(event["count"], event["type"], event["room"]) for event in stage.daemon.events("message ignored")]
    assert ignored == [(1, 2, "diagram-one"), (10, 102, "diagram-one")]


def test_text_closes_its_sender(stage: Stage) -> None:
    stage.offender.socket.send("hello")
    stage.expect_close(4400, "text")


def test_a_client_too_many_is_told_to_try_again(stage: Stage) -> None:
    with Client(stage.daemon, "one", stage.bob), Client(stage.daemon, "one", stage.bob):
        with pytest.raises(Refused) as refused:
            Client(stage.daemon, "one", stage.bob)
        assert refused.value.code == 503
    assert stage.daemon.wait_for_event("connection denied")["reason"] == "too many connections"


def test_a_handshake_that_does_not_end_is_cut_off(database: TestDatabase, start_daemon: StartDaemon) -> None:
    daemon = start_daemon(database, HANDSHAKE_TIMEOUT=0.5)
    with socket.create_connection(("127.0.0.1", daemon.ws_port), timeout=10) as half_open:
        half_open.sendall(b"GET /diagram-one HTTP/1.1\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert half_open.recv(1000) == b""


def test_a_handshake_that_is_too_large_is_cut_off(stage: Stage) -> None:
    with socket.create_connection(("127.0.0.1", stage.daemon.ws_port), timeout=10) as flood:
        flood.sendall(b"GET /diagram-one HTTP/1.1\r\nX: " + b"x" * MAX_HANDSHAKE_SIZE)
        with contextlib.suppress(ConnectionResetError):
            assert flood.recv(1000) == b""
    assert stage.daemon.wait_for_event("connection denied")["reason"] == "handshake too large"


def test_when_the_database_cannot_keep_up_writers_are_told_to_try_again_and_lose_nothing(
    database: TestDatabase, start_daemon: StartDaemon
) -> None:
    ada = database.add_user("ada")
    database.add_diagram("one", ada)
    with StallingProxy(database.url) as proxy:
        daemon = start_daemon(database, DATABASE_URL=proxy.url, JOURNAL_QUEUE_MAX=65536)
        with Client(daemon, "one", ada) as writer:
            text = writer.doc.get("text", type=Text)
            writer.doc.observe(lambda event: writer.send(sync.encode_update(event.update)))
            proxy.pause()
            text += "a" * 40_000
            text += "b" * 40_000
            writer.flush()
            text += "c"
            assert writer.wait_for_close()[0] == 4503
            kept = writer.doc.get_update()
        proxy.resume()
        daemon.wait_until(lambda: daemon.get("/health")[1]["unsaved_updates"] == 0)
        with Client(daemon, "one", ada) as again:
            assert again.text == "a" * 40_000 + "b" * 40_000
            again.edit(kept)
            again.flush()
        daemon.wait_until(lambda: len(database.query("SELECT 1 FROM yjs_update_log")) == 3)


def test_one_whose_edits_wait_for_the_database_is_read_on_as_slowly_and_loses_nothing(
    database: TestDatabase, start_daemon: StartDaemon
) -> None:
    ada = database.add_user("ada")
    database.add_diagram("one", ada)
    daemon = start_daemon(database, MAX_UNSAVED=1024)
    doc: Doc = Doc()
    text = doc.get("text", type=Text)
    with Client(daemon, "one", ada) as client:
        with contextlib.closing(psycopg2.connect(database.url)) as connection, connection.cursor() as cursor:
            cursor.execute("LOCK TABLE yjs_update_log IN ACCESS EXCLUSIVE MODE")
            for number in range(60):
                state = doc.get_state()
                text += f"{number} " + "x" * 100
                client.send(sync.encode_update(doc.get_update(state)))
            daemon.wait_until(lambda: daemon.get("/health")[1]["unsaved_updates"] >= 8)
            assert daemon.get("/health")[1]["unsaved_updates"] < 40
        client.flush()
        daemon.wait_until(lambda: daemon.get("/health")[1]["unsaved_updates"] == 0)
    with Client(daemon, "one", ada) as later:
        assert later.text == str(text)
