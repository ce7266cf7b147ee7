"""One room on the bus: what its loading waits for, and for how long."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from canvas_collab.bus.messages import Answer, Envelope, Message
from canvas_collab.relay.room_relay import RoomRelay
from canvas_collab.scheduling import make_cooperator

TIMEOUT = 0.25
OWN, OTHER = b"o" * 16, b"x" * 16


class Publisher:
    """Publishes nothing, and records the Deferreds of what it was given."""

    origin = OWN

    def __init__(self) -> None:
        self.published: list[Deferred[int]] = []

    def publish(self, room: str, number: int, message: Message) -> Deferred[int]:
        self.published.append(Deferred())
        return self.published[-1]

    def closed(self, relay: RoomRelay) -> None:
        pass


class Stage:
    """A relay whose room is being loaded."""

    def __init__(self) -> None:
        self.clock, self.publisher = Clock(), Publisher()
        commits: Any = None
        self.relay = RoomRelay(self.clock, "room", self.publisher, commits, lambda: None, make_cooperator(self.clock))
        room: Any = SimpleNamespace(relay=None)
        self.loaded = Deferred.fromCoroutine(self.relay.attach(room, TIMEOUT))


def test_a_bus_that_does_not_answer_delays_a_room_for_a_moment_only() -> None:
    stage = Stage()
    stage.clock.advance(TIMEOUT / 2)
    assert not stage.loaded.called
    stage.clock.advance(TIMEOUT / 2)
    assert stage.loaded.called


def test_a_room_that_nobody_else_has_waits_for_no_answer() -> None:
    stage = Stage()
    stage.publisher.published[0].callback(1)
    assert stage.loaded.called


def test_a_room_waits_for_the_answers_of_all_others_until_the_time_is_over() -> None:
    answer = Answer(OWN, (), ())
    answered, silent = Stage(), Stage()
    for stage in (answered, silent):
        stage.publisher.published[0].callback(2)
        assert not stage.loaded.called
    answered.relay.received(Envelope(OTHER, 1, answer), 10)
    answered.clock.advance(0)
    assert answered.loaded.called
    silent.clock.advance(TIMEOUT)
    assert silent.loaded.called
