"""The envelope of Hocuspocus: which document a message is of, and the messages that only this protocol has.

The format is that of the npm package ``@hocuspocus/provider``, versions 2.4 to 4.8.  One WebSocket carries any number
of documents.  Every message begins with an address: the document's name or, from a provider with session awareness,
the name, a NUL and the id of its session; answers go to the very address that asked.  Then comes a type:

=========================  ===========================================================================
type                       body
=========================  ===========================================================================
0 sync, 1 awareness,       as :mod:`canvas_collab.protocol.sync` has them
3 query awareness
2 auth                     from a client 0, a token and, from version 4 on, the provider's version;
                           from the server 0 (asks for a token), 1 and a reason (permission denied),
                           or 2 and ``read-write`` or ``readonly`` (authenticated)
4 sync reply               a sync message that answers one: a step 1 in it asks for a step 2 alone
5 stateless                a string, passed on to the document's other connections
6 broadcast stateless      between servers only
7 close                    from a client nothing: it leaves this document; from the server a reason
8 sync status              from the server 1 if an edit is on disk, 0 if it was refused
=========================  ===========================================================================

Messages of other types mean nothing.  One of the single byte 9 is a ping, one of the single byte 10 a pong; these have
no address.
"""

from __future__ import annotations

import enum
from typing import TypeAlias

from attrs import field, frozen

from canvas_collab.protocol import sync
from canvas_collab.protocol.lib0 import Decoder, Malformed, encode_var_string

PING = b"\x09"
PONG = b"\x0a"

#: An edit is on disk.
SAVED = b"\x08\x01"

#: An edit was refused: who made it may only read.
REFUSED = b"\x08\x00"

#: Asks for a token again.
TOKEN_REQUEST = b"\x02\x00"


class MessageType(enum.IntEnum):
    """What follows the address; those that are not here are y-protocols' own."""

    SYNC = 0
    AUTH = 2
    SYNC_REPLY = 4
    STATELESS = 5
    BROADCAST_STATELESS = 6
    CLOSE = 7


class AuthType(enum.IntEnum):
    """What the second integer of an auth message says."""

    TOKEN = 0
    PERMISSION_DENIED = 1
    AUTHENTICATED = 2


@frozen
class Authentication:
    """A client says who it is; older providers do not say which version they are."""

    token: str = field(repr=False)
    provider_version: str | None


@frozen
class SyncReply:
    """A sync message that answers one."""

    message: sync.Message


@frozen
class Stateless:
    """Something for the other clients that is no part of the document."""

    payload: str


@frozen
class Close:
    """A client leaves the document."""


Body: TypeAlias = sync.Message | sync.Unknown | Authentication | SyncReply | Stateless | Close


def decode(data: bytes) -> tuple[str, Body]:
    """Decode one message of a client: its address, and what it says.

    :raises Malformed: if it is none, or one that only a server may send.
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


def _decode_authentication(decoder: Decoder) -> Authentication:
    kind = decoder.var_uint()
    if kind != AuthType.TOKEN:
        raise Malformed(f"a client sends no auth message {kind}")
    token = decoder.var_string()
    return Authentication(token, decoder.var_string() if decoder.remaining else None)


def document_of(address: str) -> str:
    """The name of the document that an address belongs to."""
    return address.partition("\0")[0]


def encode_address(address: str) -> bytes:
    """What every message of that address begins with."""
    return encode_var_string(address)


def encode_authenticated(may_write: bool) -> bytes:
    """A document is open, for writing or for reading only."""
    scope = "read-write" if may_write else "readonly"
    return bytes((MessageType.AUTH, AuthType.AUTHENTICATED)) + encode_var_string(scope)


def encode_permission_denied(reason: str) -> bytes:
    """A document stays closed, or is closed."""
    return bytes((MessageType.AUTH, AuthType.PERMISSION_DENIED)) + encode_var_string(reason)


def encode_stateless(payload: str) -> bytes:
    """Pass a stateless message on."""
    return bytes((MessageType.STATELESS,)) + encode_var_string(payload)


def encode_close(reason: str) -> bytes:
    """A document is closed; the socket stays open."""
    return bytes((MessageType.CLOSE,)) + encode_var_string(reason)
