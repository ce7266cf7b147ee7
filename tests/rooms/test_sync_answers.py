"""Large answers to a sync step 1: what a client is sent, in which order, and what is shared."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pycrdt import Doc, Map
from twisted.internet.task import Clock

from canvas_collab.document.document import Document
from canvas_collab.protocol import sync
from canvas_collab.protocol.state_vector import encode_state_vector
from canvas_collab.protocol.steps import Steps, run_to_completion
from canvas_collab.protocol.update import EMPTY_UPDATE, decode_update
from canvas_collab.rooms.channel import Messages, Pacable
from canvas_collab.rooms.connection import Connection
from canvas_collab.rooms.download import PARTS_AT_ONCE
from canvas_collab.rooms.prepared_message import PreparedMessage
from canvas_collab.rooms.room import Room
from canvas_collab.rooms.sync_answers import SyncAnswers
from tests.support.rooms import make_room, update_of

PART_SIZE = 32 * 2**10


class Client:
    """A connection, whose large answers are sent when the test calls :meth:`receive`."""

    def __init__(self, room: Room[Connection]) -> None:
        self.room = room
        self.channel = SimpleNamespace(
            send=self.send, offer=self.take, send_paced=self.send_paced, download_ended=self.download_ended
        )
        self.sent: list[bytes] = []
        self.ended_downloads = 0
        self.offer: Callable[[PreparedMessage], bool] = self.take
        self.answers = SyncAnswers(cast(Any, room), cast(Any, self.channel))
        self.answer: Pacable | None = None
        self._messages: Messages | None = None

    def send(self, message: PreparedMessage) -> None:
        self.sent.append(message.payload)

    def take(self, message: PreparedMessage) -> bool:
        self.sent.append(message.payload)
        return True

    def send_paced(self, answer: Pacable) -> None:
        self.answer = answer
        self._messages = answer.messages()

    def download_ended(self) -> None:
        self.ended_downloads += 1

    def request(self, state_vector: bytes = b"\x00") -> None:
        """Send a sync step 1."""
        run_to_completion(self.answers.answer(self, state_vector))

    def receive(self, count: int = 10**6, rate: float | None = 1.0) -> None:
        """Receive so many messages of a large answer, on a line of `rate` bytes per second."""
        assert self._messages is not None
        assert self.answer is not None
        while count:
            self.answer.rate = rate
            try:
                message = next(self._messages)
            except StopIteration:
                return
            if message is not None:
                self.sent.append(message.payload)
                count -= 1

    @property
    def kinds(self) -> list[int]:
        """The kinds of the sync messages that were sent."""
        return [message[1] for message in self.sent if message[0] == 0]

    @property
    def document(self) -> Document:
        """What the client has."""
        updates = [sync.decode(message) for message in self.sent if message[:2] in (b"\x00\x01", b"\x00\x02")]
        return Document(decode_update(cast(sync.Update, message).update) for message in updates)


def drawing(shapes: int, client_id: int = 1) -> bytes:
    doc = Doc[Any](client_id=client_id)
    drawn = doc.get("map", type=Map)
    with doc.transaction():
        for number in range(shapes):
            drawn[f"shape {client_id} {number}"] = "a shape of some size " * 5
    return bytes(doc.get_update())


@pytest.fixture
def room() -> Room[Connection]:
    """A room with a document of about 10 parts."""
    room: Room[Connection] = make_room(Clock())
    room.part_size = PART_SIZE
    room.full_sync._part_size = PART_SIZE
    room.document.append(drawing(2500))
    return room


def has_all(client: Client) -> bool:
    return client.document.encode() == client.room.document.encode()


def test_a_small_document_is_one_sync_step_2() -> None:
    client = Client(make_room(Clock()))
    client.room.document.append(update_of("small"))
    client.request()
    assert client.kinds == [sync.SyncType.STEP_2]
    assert client.answer is None


def test_a_large_document_is_sent_in_updates_and_the_sync_step_2_is_last(room: Room[Connection]) -> None:
    client = Client(room)
    client.request()
    client.receive()
    *parts, closing = client.kinds
    assert len(parts) > PARTS_AT_ONCE
    assert set(parts) == {sync.SyncType.UPDATE}
    assert closing == sync.SyncType.STEP_2
    assert max(map(len, client.sent)) < PART_SIZE + 100
    assert has_all(client)
    assert client.ended_downloads == 1
    assert room.counters.syncs_in_parts == 1


def test_on_a_fast_line_the_rest_is_one_message_that_is_shared(room: Room[Connection]) -> None:
    clients = [Client(room), Client(room)]
    for client in clients:
        client.request()
        client.receive(rate=1e9)
        assert client.kinds == [sync.SyncType.UPDATE, sync.SyncType.STEP_2]
        assert has_all(client)
    assert clients[0].sent[1] is clients[1].sent[1]
    assert room.counters.syncs_in_parts == 0


def test_clients_at_different_places_share_the_parts(room: Room[Connection]) -> None:
    parts = run_to_completion(room.full_sync.parts())
    clients = [Client(room), Client(room)]
    for client in clients:
        client.request()
    clients[0].receive(3)
    clients[1].receive(1)
    assert run_to_completion(room.full_sync.parts()) is parts
    first = run_to_completion(parts.part(0))
    assert run_to_completion(parts.part(0)) is first
    for client in clients:
        client.receive()
        assert has_all(client)


def test_updates_of_others_come_with_the_end_and_awareness_at_once(room: Room[Connection]) -> None:
    client = Client(room)
    client.request()
    client.receive(2)
    update = update_of("meanwhile")
    room.document.append(update)
    assert client.offer(PreparedMessage(sync.encode_update(update)))
    assert client.offer(PreparedMessage(b"\x01awareness"))
    assert client.sent[2:] == [b"\x01awareness"]
    client.receive()
    assert has_all(client)
    assert client.offer(PreparedMessage(sync.encode_update(update)))
    assert client.sent[-1] == sync.encode_update(update)


def test_much_that_was_added_meanwhile_is_sent_in_parts_too(room: Room[Connection]) -> None:
    client = Client(room)
    client.request()
    client.receive(2)
    room.document.append(drawing(2500, client_id=2))
    client.receive()
    assert client.kinds.count(sync.SyncType.STEP_2) == 1
    assert max(map(len, client.sent)) < PARTS_AT_ONCE * PART_SIZE
    assert has_all(client)


def test_a_client_that_has_some_of_it_is_sent_the_rest_in_parts(room: Room[Connection]) -> None:
    client = Client(room)
    client.request(encode_state_vector({1: 300}))
    client.receive()
    assert len(client.kinds) > PARTS_AT_ONCE
    structs = next(iter(client.document.as_update().runs.values()))
    assert structs[0].clock == 300
    assert structs[-1].end == room.document.clocks[1]


def test_each_further_sync_step_1_is_answered_after_the_first_and_what_waits_for_it_runs_then(
    room: Room[Connection],
) -> None:
    client = Client(room)

    def then(number: int) -> Steps[None]:
        client.sent.append(b"\x00\x00%d" % number)
        return
        yield

    for number in range(2):
        client.request(encode_state_vector({1: 10 * number}))
        run_to_completion(client.answers.when_answered(lambda number=number: then(number)))  # type: ignore[misc]
    client.receive(4)
    assert client.answers.is_downloading
    client.receive()
    assert not client.answers.is_downloading
    assert client.sent[-4][:2] == b"\x00\x01"
    assert client.sent[-3:] == [b"\x00\x000", sync.encode_step_2(EMPTY_UPDATE), b"\x00\x001"]
    assert has_all(client)


def test_a_sync_step_1_with_less_begins_anew(room: Room[Connection]) -> None:
    client = Client(room)
    client.request(encode_state_vector({1: 300}))
    client.receive(2)
    client.sent.clear()
    client.request()
    client.receive()
    assert client.kinds.count(sync.SyncType.STEP_2) == 2
    assert has_all(client)


def test_a_client_that_leaves_is_sent_no_more(room: Room[Connection]) -> None:
    client = Client(room)
    client.request()
    client.receive(2)
    client.answers.cancel()
    client.receive()
    assert len(client.sent) == 2


def test_a_large_delete_set_is_sent_in_parts(room: Room[Connection]) -> None:
    for clock in range(0, 2400, 2):
        room.document.deletions.add(1, clock, clock + 1)
    room.part_size = 1024
    client = Client(room)
    client.request()
    client.receive()
    assert has_all(client)
    assert len(client.sent[-1]) < 2048
    assert client.kinds[-1] == sync.SyncType.STEP_2
    assert set(client.kinds[:-1]) == {sync.SyncType.UPDATE}
