"""The messages of the Hocuspocus protocol.

The format is that of the npm package ``@hocuspocus/provider``, versions 2.4 to 4.8.  One WebSocket carries any number
of documents.  Every message begins with an address: the document's name or, from a provider with session awareness,
the name, a NUL and the id of its session.  Answers must carry the address of the request.  Then follow a type and a
body:

=========================  ===========================================================================
type                       body
=========================  ===========================================================================
0 sync, 1 awareness,       as :mod:`canvas_collab.protocol.sync` has them
3 query awareness
2 auth                     from a client 0, a token and, since version 4, the provider's version;
                           from the server 0 (requests a token), 1 and a reason (permission denied),
                           or 2 and ``read-write`` or ``readonly`` (authenticated)
4 sync reply               a sync message that answers one: a step 1 in it requests a step 2 only
5 stateless                a string for the document's other connections
6 broadcast stateless      between servers only
7 close                    from a client nothing: it leaves the document; from the server a reason
8 sync status              from the server 1 if an update was saved, 0 if it was rejected
=========================  ===========================================================================

Messages of other types are ignored.  A message of the single byte 9 is a ping, one of the single byte 10 a pong; these
have no address.
"""

from __future__ import annotations

import enum
from typing import TypeAlias

from attrs import field, frozen

from canvas_collab.protocol import sync
from canvas_collab.protocol.lib0 import Decoder, Malformed, encode_var_string

PING = b"\x09"
PONG = b"\x0a"

#: Sync status: the update was saved.
SAVED = b"\x08\x01"

#: Sync status: the update was rejected, since the user may only read.
REFUSED = b"\x08\x00"

#: The longest address whose size lib0 encodes in one byte.
_LONGEST_SHORT_ADDRESS = 0x7F

#: Requests a token.
TOKEN_REQUEST = b"\x02\x00"


class MessageType(enum.IntEnum):
    """The message types of Hocuspocus; for the others see :class:`canvas_collab.protocol.sync.MessageType`."""

    SYNC = 0
    AUTH = 2
    SYNC_REPLY = 4
    STATELESS = 5
    BROADCAST_STATELESS = 6
    CLOSE = 7


class AuthType(enum.IntEnum):
    """The second integer of an auth message."""

    TOKEN = 0
    PERMISSION_DENIED = 1
    AUTHENTICATED = 2


@frozen
class Authentication:
    """A client authenticates; `provider_version` is None for providers before version 4."""

    token: str = field(repr=False)
    provider_version: str | None


@frozen
class SyncReply:
    """A sync message that answers one; a step 1 in it is answered with a step 2 only."""

    message: sync.Message


@frozen
class Stateless:
    """A message for the document's other clients that is not part of the document."""

    payload: str


@frozen
class Close:
    """A client leaves the document."""


Body: TypeAlias = sync.Message | sync.Unknown | Authentication | SyncReply | Stateless | Close


def decode(data: bytes) -> tuple[str, Body]:
    """Decode one message of a client to its address and its body.

    :raises Malformed: if the bytes are not a message, or one that only a server may send.
    """
    decoder = Decoder(data)
    address = decoder.var_string()
    kind = decoder.var_uint()
    if kind == MessageType.AUTH:
        return address, _decode_authentication(decoder)
    if kind == MessageType.SYNC_REPLY:
        return address, SyncReply(sync.decode_sync(decoder))
    if kind == MessageType.STATELESS:
        return address, Stateless(decoder.var_string())
    if kind == MessageType.CLOSE:
        return address, Close()
    if kind == MessageType.BROADCAST_STATELESS:
        raise Malformed("only servers broadcast stateless messages")
    return address, sync.decode_body(kind, decoder)


def read_update_message(data: bytes) -> tuple[str, bytes] | None:
    """Return the address and the update of an update message of less than 16 KiB, with an address of up to 127 bytes.

    For the most frequent message, without the objects that :func:`decode` makes.  Returns None if it is another
    message, or malformed.
    """
    if not data or data[0] > _LONGEST_SHORT_ADDRESS:
        return None
    position = 1 + data[0]
    update = sync.read_update_message(data, position)
    if update is None:
        return None
    try:
        return data[1:position].decode(), update
    except UnicodeDecodeError:
        return None


def _decode_authentication(decoder: Decoder) -> Authentication:
    kind = decoder.var_uint()
    if kind != AuthType.TOKEN:
        raise Malformed(f"a client sends no auth message {kind}")
    token = decoder.var_string()
    return Authentication(token, decoder.var_string() if decoder.remaining else None)


def document_of(address: str) -> str:
    """Return the document's name in an address."""
    return address.partition("\0")[0]


def encode_address(address: str) -> bytes:
    """Encode the address that a message begins with."""
    return encode_var_string(address)


def encode_authenticated(may_write: bool) -> bytes:
    """Encode the message that opens a document, for writing or for reading only."""
    scope = "read-write" if may_write else "readonly"
    return bytes((MessageType.AUTH, AuthType.AUTHENTICATED)) + encode_var_string(scope)


def encode_permission_denied(reason: str) -> bytes:
    """Encode the message that denies access to a document, when it is opened or later."""
    return bytes((MessageType.AUTH, AuthType.PERMISSION_DENIED)) + encode_var_string(reason)


def encode_stateless(payload: str) -> bytes:
    """Encode a stateless message."""
    return bytes((MessageType.STATELESS,)) + encode_var_string(payload)


def encode_close(reason: str) -> bytes:
    """Encode the message that closes one document of a socket that stays open."""
    return bytes((MessageType.CLOSE,)) + encode_var_string(reason)
