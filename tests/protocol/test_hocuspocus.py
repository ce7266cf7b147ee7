"""The messages of the Hocuspocus protocol."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canvas_collab.protocol import hocuspocus, sync
from canvas_collab.protocol.hocuspocus import Authentication, Close, Stateless, SyncReply
from canvas_collab.protocol.lib0 import Decoder, Malformed, encode_var_string

addresses = st.text(max_size=40)


def message(address: str, body: bytes) -> bytes:
    return hocuspocus.encode_address(address) + body


@given(addresses, st.binary(max_size=100))
def test_messages_of_y_protocols_come_back_with_their_address(address: str, body: bytes) -> None:
    for encoded in (
        sync.encode_step_1(body),
        sync.encode_step_2(body),
        sync.encode_update(body),
        sync.encode_awareness(body),
        b"\x03",
    ):
        assert hocuspocus.decode(message(address, encoded)) == (address, sync.decode(encoded))


@given(addresses, st.text(max_size=40), st.text(max_size=10))
def test_an_authentication_has_a_token_and_from_newer_providers_a_version(
    address: str, token: str, version: str
) -> None:
    old = message(address, b"\x02\x00" + encode_var_string(token))
    assert hocuspocus.decode(old) == (address, Authentication(token, None))
    assert hocuspocus.decode(old + encode_var_string(version)) == (address, Authentication(token, version))


def test_a_token_is_not_in_the_repr() -> None:
    assert "secret" not in repr(Authentication("secret", "4.8.0"))


@given(addresses, st.binary(max_size=100))
def test_a_sync_reply_contains_a_sync_message(address: str, body: bytes) -> None:
    reply = b"\x04" + sync.encode_step_1(body)[1:]
    assert hocuspocus.decode(message(address, reply)) == (address, SyncReply(sync.SyncStep1(body)))


@given(addresses, st.text(max_size=100))
def test_stateless_messages_come_back_as_they_were(address: str, payload: str) -> None:
    encoded = message(address, hocuspocus.encode_stateless(payload))
    assert hocuspocus.decode(encoded) == (address, Stateless(payload))


def test_a_close_message_has_only_an_address() -> None:
    assert hocuspocus.decode(message("one\0session", b"\x07")) == ("one\0session", Close())


@pytest.mark.parametrize(
    "body",
    [
        "",
        "02",
        "020100",
        "020005",
        "05",
        "0501ff",
        "06",
        "0600",
        "0003",
        "040300",
    ],
)
def test_messages_that_no_client_may_send_are_malformed(body: str) -> None:
    with pytest.raises(Malformed):
        hocuspocus.decode(message("one", bytes.fromhex(body)))


@pytest.mark.parametrize("kind", [8, 9, 11, 102])
def test_a_message_of_another_type_is_decoded_as_unknown(kind: int) -> None:
    assert hocuspocus.decode(message("one", bytes((kind,)) + b"whatever")) == ("one", sync.Unknown(kind))


@pytest.mark.parametrize("data", ["", "05", "01ff00", "ffffffffffffffff0f"])
def test_a_message_without_an_address_is_malformed(data: str) -> None:
    with pytest.raises(Malformed):
        hocuspocus.decode(bytes.fromhex(data))


@given(st.binary(max_size=80))
def test_any_bytes_are_either_a_message_or_malformed(data: bytes) -> None:
    try:
        address, _ = hocuspocus.decode(data)
    except Malformed:
        return
    assert isinstance(address, str)


@pytest.mark.parametrize(
    ("address", "document"), [("one", "one"), ("one\0session", "one"), ("one\0a\0b", "one"), ("", ""), ("\0", "")]
)
def test_an_address_is_a_document_and_perhaps_a_session(address: str, document: str) -> None:
    assert hocuspocus.document_of(address) == document


@given(st.text(max_size=40))
def test_messages_of_the_server_are_encoded_as_providers_decode_them(reason: str) -> None:
    for encoded, numbers in (
        (hocuspocus.encode_permission_denied(reason), [2, 1]),
        (hocuspocus.encode_close(reason), [7]),
    ):
        decoder = Decoder(encoded)
        assert [decoder.var_uint() for _ in numbers] == numbers
        assert decoder.var_string() == reason
        decoder.finish()


@pytest.mark.parametrize(("may_write", "scope"), [(True, "read-write"), (False, "readonly")])
def test_the_authenticated_message_has_the_scope(may_write: bool, scope: str) -> None:
    decoder = Decoder(hocuspocus.encode_authenticated(may_write))
    assert (decoder.var_uint(), decoder.var_uint(), decoder.var_string()) == (2, 2, scope)


@given(addresses, st.binary(min_size=2, max_size=300))
def test_an_update_message_is_read_as_it_is_decoded(address: str, body: bytes) -> None:
    encoded = message(address, sync.encode_update(body))
    is_short = len(address.encode()) < 128
    assert hocuspocus.read_update_message(encoded) == ((address, body) if is_short else None)
    assert hocuspocus.read_update_message(encoded[:-1]) is None


@given(st.binary(max_size=60) | st.binary(max_size=60).map(lambda rest: b"\x02\xc3\xa9\x00\x02" + rest))
def test_what_is_read_as_an_update_message_is_one(data: bytes) -> None:
    read = hocuspocus.read_update_message(data)
    assert read is None or hocuspocus.decode(data) == (read[0], sync.Update(read[1]))


def test_an_address_that_is_no_text_is_no_update_message() -> None:
    assert hocuspocus.read_update_message(b"\x01\xff" + sync.encode_update(b"\x00\x00")) is None
