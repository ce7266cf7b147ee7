"""Counting the denials on a Hocuspocus socket."""

from __future__ import annotations

from twisted.internet.task import Clock

from canvas_collab.config.connections import HocuspocusSettings
from canvas_collab.websocket.hocuspocus_denials import INTERVAL, DenialCounter


def test_denials_of_one_document_are_too_many_within_an_interval_and_not_over_several() -> None:
    clock = Clock()
    counter = DenialCounter(clock, HocuspocusSettings(max_denials=3))
    assert [counter.add("one") for _ in range(3)] == [False, False, True]
    clock.advance(INTERVAL * 1.1)
    assert [counter.add("one") for _ in range(3)] == [False, False, True]


def test_each_document_of_a_socket_may_be_denied_once_and_no_more_documents_than_it_may_open() -> None:
    counter = DenialCounter(Clock(), HocuspocusSettings(max_denials=2, max_documents=4))
    assert [counter.add(f"room {number}") for number in range(5)] == [False, False, False, False, True]
