"""The full sync of a document: encoded once, however many clients request it at the same time."""

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
    """A document that takes several steps to encode, and is not small."""
    document = Document([decode_update(update_of_many_clients(5 * RUNS_PER_STEP))])
    document.append(b"\x01\x01\xff\xff\xff\xff\x0f\x00\x04\x01\x01t\x80\x80\x08" + b"x" * 2 * SMALL + b"\x00")
    return document


def in_turn(*requests: Steps[list[PreparedMessage]]) -> list[list[PreparedMessage]]:
    """Complete several requests, one step of each in turn; returns their results."""
    results: dict[int, list[PreparedMessage]] = {}
    while len(results) < len(requests):
        for index, steps in enumerate(requests):
            if index not in results:
                try:
                    next(steps)
                except StopIteration as end:
                    results[index] = end.value
    return [results[index] for index in range(len(requests))]


def merged(messages: list[PreparedMessage]) -> Document:
    """The document with what is in these messages."""
    document = Document()
    for message in messages:
        decoded = sync.decode(message.payload)
        assert isinstance(decoded, (sync.SyncStep2, sync.Update))
        document.append(decoded.update)
    return document


def test_clients_that_request_it_at_the_same_time_are_sent_the_same_message(document: Document) -> None:
    full_sync = FullSync(document, 2**16)
    sent = in_turn(*(full_sync.messages() for _ in range(5)))
    assert {id(message) for messages in sent for message in messages} == {id(sent[0][0])}
    assert merged(sent[0]).encode() == document.encode()


def test_a_client_that_requests_it_while_it_is_encoded_is_sent_what_was_added_meanwhile(document: Document) -> None:
    full_sync = FullSync(document, 2**16)
    first = full_sync.messages()
    next(first)
    document.append(b"\x01\x01\xfe\xff\xff\xff\x0f\x00\x04\x01\x01t\x01x\x00")
    sent = in_turn(full_sync.messages(), first)
    assert sent[0][0] is sent[1][0]
    for messages in sent:
        assert merged(messages).encode() == document.encode()


def test_when_the_client_that_began_the_encoding_leaves_the_others_complete_it(document: Document) -> None:
    full_sync = FullSync(document, 2**16)
    first, second = full_sync.messages(), full_sync.messages()
    next(first)
    next(second)
    first.close()
    assert merged(run_to_completion(second)).encode() == document.encode()


def test_when_encoding_fails_it_fails_for_all_that_wait_and_the_next_request_tries_again(
    document: Document, monkeypatch: pytest.MonkeyPatch
) -> None:
    full_sync = FullSync(document, 2**16)
    first, second = full_sync.messages(), full_sync.messages()
    with monkeypatch.context() as patch:
        patch.setattr(sync, "encode_step_2", lambda update: 1 / 0)
        next(first)
        next(second)
        with pytest.raises(ZeroDivisionError):
            run_to_completion(first)
        with pytest.raises(RuntimeError):
            run_to_completion(second)
    assert merged(run_to_completion(full_sync.messages())).encode() == document.encode()
