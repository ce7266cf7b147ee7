"""WebSocket frames, compared with those of WebSocket libraries."""

from __future__ import annotations

from autobahn.websocket.protocol import PreparedMessage
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Opcode

from canvas_collab.protocol.frames import encode_frame, read_frame
from tests.support.frames import client_frame

#: Payloads of all sizes at which the length of the header changes.
PAYLOADS = st.builds(lambda size, beginning: beginning + bytes(size), st.integers(0, 70_000), st.binary(max_size=9))
SMALL = st.binary(max_size=300) | st.builds(bytes, st.integers(120, 2**16 - 1))


@given(PAYLOADS)
def test_a_frame_is_encoded_as_the_library_does(payload: bytes) -> None:
    assert encode_frame(payload) == PreparedMessage(payload, True, False, True).payloadHybi


@given(st.lists(SMALL, min_size=1, max_size=4), st.binary(max_size=5))
def test_whole_messages_of_clients_are_read_wherever_they_begin(messages: list[bytes], before: bytes) -> None:
    data = before + b"".join(map(client_frame, messages))
    position = len(before)
    for message in messages:
        read = read_frame(data, position)
        assert read is not None
        assert read[0] == message
        position = read[1]
    assert position == len(data)
    assert read_frame(data, position) is None


@given(SMALL, st.data())
def test_an_incomplete_frame_is_not_read(message: bytes, data: st.DataObject) -> None:
    frame = client_frame(message)
    assert read_frame(frame[: data.draw(st.integers(0, len(frame) - 1))], 0) is None


@given(
    st.binary(max_size=125),
    st.tuples(st.sampled_from([Opcode.TEXT, Opcode.CONT, Opcode.PING, Opcode.PONG, Opcode.CLOSE]), st.just(True))
    | st.tuples(st.sampled_from([Opcode.BINARY, Opcode.TEXT, Opcode.CONT]), st.just(False)),
)
def test_other_frames_are_left_to_the_library(payload: bytes, kind: tuple[Opcode, bool]) -> None:
    assert read_frame(client_frame(payload, *kind), 0) is None


@given(st.binary(max_size=40), st.sampled_from([0x40, 0x20, 0x10]))
def test_frames_with_extension_bits_are_left_to_the_library(payload: bytes, reserved: int) -> None:
    frame = client_frame(payload)
    assert read_frame(bytes((frame[0] | reserved,)) + frame[1:], 0) is None


def test_invalid_frames_are_left_to_the_library() -> None:
    unmasked = encode_frame(b"hello, world")
    assert read_frame(unmasked, 0) is None
    longer_than_need_be = b"\x82\xfe\x00\x05\x00\x00\x00\x00hello"
    assert read_frame(longer_than_need_be, 0) is None


def test_large_frames_are_left_to_the_library() -> None:
    assert read_frame(client_frame(bytes(2**16)), 0) is None


@given(st.binary(max_size=60))
def test_no_bytes_raise_an_error(data: bytes) -> None:
    read_frame(b"\x82" + data, 0)
