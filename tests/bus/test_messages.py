"""The messages on the bus: each kind comes back as it was sent, and nothing else gets through."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canvas_collab.bus.messages import (
    ORIGIN_SIZE,
    VERSION,
    Answer,
    AwarenessStates,
    Codec,
    Committed,
    Edit,
    Envelope,
    ForeignMessage,
    Goodbye,
    Heartbeat,
    Kick,
    Query,
    Stateless,
)

SECRET = "0123456789abcdef0123456789abcdef"
CODEC = Codec(SECRET)

NUMBERS = st.integers(0, 2**53 - 1)
ORIGINS = st.binary(min_size=ORIGIN_SIZE, max_size=ORIGIN_SIZE)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
PAIRS = st.lists(st.tuples(TEXTS, st.binary()), max_size=3).map(tuple)
EDITS = st.builds(Edit, TEXTS, st.binary())
ENVELOPES = st.builds(
    Envelope,
    ORIGINS,
    NUMBERS,
    st.one_of(
        EDITS,
        st.builds(Committed, NUMBERS),
        st.builds(AwarenessStates, PAIRS),
        st.builds(Stateless, st.binary()),
        st.just(Query()),
        st.builds(Answer, ORIGINS, st.lists(st.tuples(NUMBERS, EDITS), max_size=3).map(tuple), PAIRS),
        st.builds(Heartbeat, st.booleans()),
        st.just(Goodbye()),
        st.builds(Kick, TEXTS, TEXTS),
    ),
)


@given(TEXTS, ENVELOPES)
def test_every_message_is_decoded_to_what_was_encoded(channel: str, envelope: Envelope) -> None:
    assert CODEC.decode(channel, CODEC.encode(channel, envelope)) == envelope


@given(ENVELOPES, st.data())
def test_a_message_that_was_changed_anywhere_is_refused(envelope: Envelope, data: st.DataObject) -> None:
    encoded = bytearray(CODEC.encode("channel", envelope))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ForeignMessage):
        CODEC.decode("channel", bytes(encoded))


@given(st.binary())
def test_garbage_is_refused(garbage: bytes) -> None:
    for data in (garbage, bytes([VERSION]) + garbage):
        with pytest.raises(ForeignMessage):
            CODEC.decode("channel", data)


@given(st.binary())
def test_a_malformed_message_of_a_daemon_with_the_secret_is_refused(body: bytes) -> None:
    data = bytes([VERSION]) + CODEC._mac("channel", body) + body
    try:
        envelope = CODEC.decode("channel", data)
    except ForeignMessage:
        return
    assert CODEC.decode("channel", CODEC.encode("channel", envelope)) == envelope


def test_a_message_of_another_version_channel_or_secret_is_refused_with_the_reason() -> None:
    encoded = CODEC.encode("one", Envelope(bytes(ORIGIN_SIZE), 1, Query()))
    with pytest.raises(ForeignMessage, match="another version"):
        CODEC.decode("one", bytes([VERSION + 1]) + encoded[1:])
    with pytest.raises(ForeignMessage, match="BETTER_AUTH_SECRET"):
        CODEC.decode("two", encoded)
    with pytest.raises(ForeignMessage, match="BETTER_AUTH_SECRET"):
        Codec(SECRET[::-1]).decode("one", encoded)


def test_channels_of_rooms_differ_and_do_not_show_their_names() -> None:
    channels = {CODEC.channel("collab", room) for room in ("", "a", "b")}
    assert len(channels) == 3
    assert all(channel.startswith("collab:") and len(channel) == 39 for channel in channels)
    assert CODEC.channel("collab", "a") != Codec(SECRET[::-1]).channel("collab", "a")
