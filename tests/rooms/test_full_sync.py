"""A document's whole content for those who come with nothing: made once, however many want it at the same time."""

from __future__ import annotations

import pytest

from canvas_collab.document.document import Document
from canvas_collab.protocol import sync
from canvas_collab.protocol.steps import RUNS_PER_STEP, Steps, run_to_completion
from canvas_collab.protocol.update import decode_update
from canvas_collab.rooms.full_sync import SMALL, FullSync
from canvas_collab.rooms.prepared_message import PreparedMessage
from tests.support.updates import update_of_many_clients


@pytest.fixture
def document() -> Document:
    """One that takes several steps to encode, and is not small."""
    document = Document([decode_update(update_of_many_clients(5 * RUNS_PER_STEP))])
    document.append(b"\x01\x01\xff\xff\xff\xff\x0f\x00\x04\x01\x01t\x80\x80\x08" + b"x" * 2 * SMALL + b"\x00")
    return document


def in_turn(*wanted: Steps[list[PreparedMessage]]) -> list[list[PreparedMessage]]:
    results: dict[int, list[PreparedMessage]] = {}
    while len(results) < len(wanted):
        for index, steps in enumerate(wanted):
            if index not in results:
                try:
                    next(steps)
                except StopIteration as end:
                    results[index] = end.value
    return [results[index] for index in range(len(wanted))]


def merged(messages: list[PreparedMessage]) -> Document:
    document = Document()
    for message in messages:
        decoded = sync.decode(message.payload)
        assert isinstance(decoded, (sync.SyncStep2, sync.Update))
        document.append(decoded.update)
    return document


def test_many_who_want_it_at_the_same_time_are_sent_the_same_message(document: Document) -> None:
    whole = FullSync(document)
    sent = in_turn(*(whole.messages() for _ in range(5)))
    assert {id(message) for messages in sent for message in messages} == {id(sent[0][0])}
    assert merged(sent[0]).encode() == document.encode()


def test_who_wants_it_while_it_is_made_misses_nothing_that_came_in_meanwhile(document: Document) -> None:
    whole = FullSync(document)
    first = whole.messages()
    next(first)
    document.append(b"\x01\x01\xfe\xff\xff\xff\x0f\x00\x04\x01\x01t\x01x\x00")
    sent = in_turn(whole.messages(), first)
    assert sent[0][0] is sent[1][0]
    for messages in sent:
        assert merged(messages).encode() == document.encode()


def test_when_one_gives_up_the_others_have_it_made(document: Document) -> None:
    whole = FullSync(document)
    first, second = whole.messages(), whole.messages()
    next(first)
    next(second)
    first.close()
    assert merged(run_to_completion(second)).encode() == document.encode()


def test_when_it_cannot_be_made_nobody_waits_for_ever_and_the_next_tries_again(
    document: Document, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = FullSync(document)
    first, second = whole.messages(), whole.messages()
    with monkeypatch.context() as patch:
        patch.setattr(sync, "encode_step_2", lambda update: 1 / 0)
        next(first)
        next(second)
        with pytest.raises(ZeroDivisionError):
            run_to_completion(first)
        with pytest.raises(RuntimeError):
            run_to_completion(second)
    assert merged(run_to_completion(whole.messages())).encode() == document.encode()
