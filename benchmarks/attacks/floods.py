"""The floods: which messages attackers send without end, by whom, and over which connections."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from benchmarks.attacks import payloads
from benchmarks.attacks.payloads import ADDRESS, CLOSE, QUERY, STATELESS, Pieces, awareness, edits, repeated
from canvas_collab.protocol import sync
from tests.support.attacks.deletions import descending
from tests.support.attacks.encoding import BINARY, PING, PONG, TEXT, frame, string, update
from tests.support.attacks.queries import awareness_clients, awareness_state, state_vector
from tests.support.attacks.shape import WireProtocol
from tests.support.attacks.values import json_numbers


@frozen
class Flood:
    """One kind of flood.

    :ivar pieces: what a connection sends once it is open, or from the beginning if `upgrades` is not set.
    :ivar role: the attackers' role; "nobody" for attackers without a session.
    :ivar reads: whether attackers read what the server sends.
    :ivar upgrades: whether connections start with a WebSocket handshake before the pieces.
    :ivar ends: whether a connection is closed after its last piece, and opened again.
    :ivar times: the number of connections for each one that is asked for.
    """

    name: str
    title: str
    pieces: Pieces
    role: str = "editor"
    protocol: WireProtocol = WireProtocol.Y_WEBSOCKET
    reads: bool = True
    upgrades: bool = True
    ends: bool = False
    times: int = 1


_STEP_1 = sync.encode_step_1(b"\0")
_LARGE_STEP_1 = sync.encode_step_1(state_vector(1_000_000)[0])
_SMALL_STEP_1 = sync.encode_step_1(state_vector(50_000)[0])
_QUERY = bytes((QUERY,))
_EMPTY = sync.encode_update(update())
_AWARENESS_TOO_LARGE = sync.encode_awareness(awareness_state(3_000_000, json_numbers)[0])
_AWARENESS_OF_MANY = sync.encode_awareness(awareness_clients(60_000)[0])
_FIRST_FRAGMENT = frame(b"\0", BINARY & 0x7F)
_FRAGMENT = frame(b"", 0)

_H, _S = WireProtocol.HOCUSPOCUS, WireProtocol.UNAUTHENTICATED

FLOODS: Mapping[str, Flood] = {
    flood.name: flood
    for flood in (
        Flood("pings", "pings", repeated(b"", PING)),
        Flood("pings-full", "pings of 125 bytes", repeated(b"x" * 125, PING)),
        Flood("pings-unread", "pings of 125 bytes; pongs are not read", repeated(b"x" * 125, PING), reads=False),
        Flood("pongs", "pongs", repeated(b"", PONG)),
        Flood("steps-1", "empty state vectors", repeated(_STEP_1)),
        Flood("steps-1-unread", "empty state vectors; answers are not read", repeated(_STEP_1), reads=False),
        Flood("steps-1-small", "state vectors of 50 kB", repeated(_SMALL_STEP_1)),
        Flood("steps-1-large", "state vectors of 1 MB", repeated(_LARGE_STEP_1)),
        Flood("steps-1-viewer", "state vectors of 1 MB", repeated(_LARGE_STEP_1), "viewer"),
        Flood("queries", "awareness queries", repeated(_QUERY)),
        Flood("queries-unread", "awareness queries; answers are not read", repeated(_QUERY), reads=False),
        Flood("updates-empty", "empty updates", repeated(_EMPTY)),
        Flood("edits", "tiny edits", edits()),
        Flood("edits-kilobyte", "edits of a kilobyte", edits(text=b"x" * 1000)),
        Flood("edits-viewer", "tiny edits of a viewer", edits(), "viewer"),
        Flood(
            "deletions", "delete sets of 60 kB, last range first", repeated(sync.encode_update(descending(60_000)[0]))
        ),
        Flood("awareness-new", "awareness of new clients", awareness(payloads.new_client), "viewer"),
        Flood(
            "awareness-passing",
            "awareness of new clients that leave at once",
            awareness(payloads.passing_client),
            "viewer",
        ),
        Flood("awareness-moving", "a cursor that moves", awareness(payloads.moving_cursor), "viewer"),
        Flood("awareness-many", "awareness of 7,000 clients at once", repeated(_AWARENESS_OF_MANY), "viewer"),
        Flood("awareness-too-large", "awareness messages of 3 MB", repeated(_AWARENESS_TOO_LARGE), "viewer"),
        Flood("types-unknown", "messages of an unknown type", repeated(b"\x63")),
        Flood("malformed", "messages that are none; the connection comes back", repeated(b"\0\x02\x05")),
        Flood("texts", "text messages; the connection comes back", repeated(b"x", TEXT)),
        Flood("fragments", "empty fragments", payloads.repeated_bytes(_FRAGMENT, _FIRST_FRAGMENT)),
        Flood("hocuspocus-pings", "Hocuspocus's pings", repeated(b"\x09"), protocol=_H),
        Flood("hocuspocus-pings-unread", "the same; pongs are not read", repeated(b"\x09"), protocol=_H, reads=False),
        Flood("hocuspocus-steps-1", "empty state vectors", repeated(ADDRESS + _STEP_1), protocol=_H),
        Flood("hocuspocus-queries", "awareness queries", repeated(ADDRESS + _QUERY), protocol=_H),
        Flood("hocuspocus-updates-empty", "empty updates", repeated(ADDRESS + _EMPTY), protocol=_H),
        Flood("hocuspocus-edits", "tiny edits", edits(ADDRESS), protocol=_H),
        Flood("hocuspocus-edits-viewer", "tiny edits of a viewer", edits(ADDRESS), "viewer", _H),
        Flood("tokens", "random tokens for an open document", payloads.random_tokens, protocol=_H),
        Flood("tokens-own", "the own token for an open document", payloads.own_token, protocol=_H),
        Flood("opened", "a document is opened and left", payloads.opened_and_closed, protocol=_H),
        Flood("sessions", "a document in ever more sessions", payloads.sessions, protocol=_H),
        Flood(
            "stateless",
            "stateless messages of 1 kB",
            repeated(ADDRESS + bytes((STATELESS,)) + string(b"x" * 1000)),
            protocol=_H,
        ),
        Flood(
            "stateless-large",
            "stateless messages of 1 MB",
            repeated(ADDRESS + bytes((STATELESS,)) + string(b"x" * 10**6)),
            protocol=_H,
        ),
        Flood("hocuspocus-types-unknown", "messages of an unknown type", repeated(ADDRESS + b"\x63"), protocol=_H),
        Flood("stranger-pings", "pings", repeated(b"", PING), "nobody", _S),
        Flood(
            "stranger-pings-unread", "pings; pongs are not read", repeated(b"x" * 125, PING), "nobody", _S, reads=False
        ),
        Flood("stranger-hocuspocus-pings", "Hocuspocus's pings", repeated(b"\x09"), "nobody", _S),
        Flood(
            "stranger-fragments", "empty fragments", payloads.repeated_bytes(_FRAGMENT, _FIRST_FRAGMENT), "nobody", _S
        ),
        Flood("stranger-tokens", "random tokens for one document", payloads.random_tokens, "nobody", _S),
        Flood("stranger-documents", "random tokens for many documents", payloads.random_tokens_for_many, "nobody", _S),
        Flood("stranger-waiting", "messages of a document that is not open", repeated(ADDRESS + _EMPTY), "nobody", _S),
        Flood("stranger-awareness", "awareness of it", repeated(ADDRESS + b"\x01\x01\0"), "nobody", _S),
        Flood("stranger-closings", "it is closed", repeated(ADDRESS + bytes((CLOSE,))), "nobody", _S),
        Flood("stranger-types-unknown", "messages of an unknown type", repeated(ADDRESS + b"\x63"), "nobody", _S),
        Flood(
            "connections",
            "connections that say nothing",
            payloads.no_bytes,
            "nobody",
            upgrades=False,
            ends=True,
        ),
        Flood(
            "handshakes-denied",
            "handshakes with a random token",
            payloads.denied_handshake,
            "nobody",
            upgrades=False,
            ends=True,
        ),
        Flood(
            "handshakes",
            "handshakes of a user, and the connection ends at once",
            payloads.handshake,
            upgrades=False,
            ends=True,
        ),
        Flood(
            "handshakes-endless",
            "handshakes that do not end",
            payloads.repeated_bytes(b"X: y\r\n", b"GET / HTTP/1.1\r\n"),
            "nobody",
            upgrades=False,
        ),
        Flood(
            "handshakes-slow",
            "handshakes that take for ever",
            payloads.slow_handshake,
            "nobody",
            upgrades=False,
            times=20,
        ),
        Flood("joining", "a user who opens the document and goes", payloads.once(_STEP_1), ends=True),
    )
}
