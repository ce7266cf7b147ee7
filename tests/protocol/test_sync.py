"""The messages of y-protocols: sync, awareness, query awareness, and state vectors."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canvas_collab.protocol import awareness, state_vector, sync
from canvas_collab.protocol.json_text import check_json
from canvas_collab.protocol.lib0 import MAX_SAFE_INTEGER, Malformed
from canvas_collab.protocol.structs import MAX_CLOCK

integers = st.integers(0, MAX_SAFE_INTEGER)


@given(st.binary(max_size=200))
def test_sync_messages_come_back_as_they_were(body: bytes) -> None:
    assert sync.decode(sync.encode_step_1(body)) == sync.SyncStep1(body)
    assert sync.decode(sync.encode_step_2(body)) == sync.SyncStep2(body)
    assert sync.decode(sync.encode_update(body)) == sync.Update(body)
    assert sync.decode(sync.encode_awareness(body)) == sync.AwarenessUpdate(body)
    assert sync.decode(b"\x03") == sync.QueryAwareness()


@pytest.mark.parametrize("message", ["", "00", "0003" + "00", "000005", "0105", "ff", "000002ff"])
def test_what_is_no_message_of_a_client_is_malformed(message: str) -> None:
    with pytest.raises(Malformed):
        sync.decode(bytes.fromhex(message))


@pytest.mark.parametrize("kind", [2, 4, 0x7F])
def test_a_message_of_another_type_is_known_to_be_one(kind: int) -> None:
    assert sync.decode(bytes((kind,)) + b"whatever") == sync.Unknown(kind)


@given(st.binary(max_size=60))
def test_any_bytes_are_either_a_message_or_malformed(data: bytes) -> None:
    try:
        message = sync.decode(data)
    except Malformed:
        return
    known = sync.SyncStep1, sync.SyncStep2, sync.Update, sync.AwarenessUpdate, sync.QueryAwareness, sync.Heartbeat
    assert isinstance(message, (*known, sync.Unknown))


@given(st.dictionaries(integers, integers, max_size=20))
def test_state_vectors_come_back_as_they_were(clocks: dict[int, int]) -> None:
    assert state_vector.decode_state_vector(state_vector.encode_state_vector(clocks)) == clocks


@pytest.mark.parametrize("data", ["", "01", "0101", "0000", "ffffffff0f"])
def test_what_is_no_state_vector_is_malformed(data: str) -> None:
    with pytest.raises(Malformed):
        state_vector.decode_state_vector(bytes.fromhex(data))


entries = st.builds(awareness.Entry, integers, st.integers(0, MAX_CLOCK - 1), st.text(max_size=40))


@given(st.lists(entries, max_size=10))
def test_awareness_updates_come_back_as_they_were(update: list[awareness.Entry]) -> None:
    assert awareness.decode(awareness.encode(update)) == update


@given(st.binary(max_size=60))
def test_any_bytes_are_either_an_awareness_update_or_malformed(data: bytes) -> None:
    try:
        awareness.decode(data)
    except Malformed:
        return


@pytest.mark.parametrize("state", ['{"user":{"name":"Ada"}}', "null", "[]", '"\\ud800"', "1e999"])
def test_what_a_browser_parses_is_json(state: str) -> None:
    check_json(state)


@pytest.mark.parametrize("state", ["", "{", "NaN", "[Infinity]", "-Infinity", "undefined", "[" * 100_000, "'a'"])
def test_what_a_browser_could_not_parse_is_not(state: str) -> None:
    with pytest.raises(Malformed):
        check_json(state)
