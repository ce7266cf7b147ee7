"""The messages of y-protocols."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canvas_collab.protocol import sync
from canvas_collab.protocol.lib0 import Malformed


@given(st.binary(max_size=200))
def test_sync_messages_come_back_as_they_were(body: bytes) -> None:
    assert sync.decode(sync.encode_step_1(body)) == sync.SyncStep1(body)
    assert sync.decode(sync.encode_step_2(body)) == sync.SyncStep2(body)
    assert sync.decode(sync.encode_update(body)) == sync.Update(body)
    assert sync.decode(sync.encode_awareness(body)) == sync.AwarenessUpdate(body)
    assert sync.decode(b"\x03") == sync.QueryAwareness()


@pytest.mark.parametrize("message", ["", "00", "0003" + "00", "000005", "0105", "ff", "000002ff"])
def test_other_bytes_are_malformed(message: str) -> None:
    with pytest.raises(Malformed):
        sync.decode(bytes.fromhex(message))


@pytest.mark.parametrize("kind", [2, 4, 0x7F])
def test_a_message_of_another_type_is_decoded_as_unknown(kind: int) -> None:
    assert sync.decode(bytes((kind,)) + b"whatever") == sync.Unknown(kind)


@given(st.binary(max_size=60))
def test_any_bytes_are_either_a_message_or_malformed(data: bytes) -> None:
    try:
        message = sync.decode(data)
    except Malformed:
        return
    known = sync.SyncStep1, sync.SyncStep2, sync.Update, sync.AwarenessUpdate, sync.QueryAwareness, sync.Heartbeat
    assert isinstance(message, (*known, sync.Unknown))


@given(st.binary(min_size=2, max_size=300), st.binary(max_size=5))
def test_an_update_message_is_read_as_it_is_decoded(body: bytes, before: bytes) -> None:
    message = sync.encode_update(body)
    assert sync.read_update_message(before + message + b"ignored", len(before)) == body
    # Bytes are missing.
    assert sync.read_update_message(before + message[:-1], len(before)) is None


@given(st.binary(max_size=60) | st.binary(max_size=60).map(lambda rest: b"\x00\x02" + rest))
def test_what_is_read_as_an_update_message_is_one(data: bytes) -> None:
    update = sync.read_update_message(data, 0)
    assert update is None or sync.decode(data) == sync.Update(update)


@pytest.mark.parametrize("size", [2**14 - 1, 2**14])
def test_an_update_message_is_read_only_if_its_size_has_two_bytes(size: int) -> None:
    assert sync.read_update_message(sync.encode_update(bytes(size)), 0) == (bytes(size) if size < 2**14 else None)
