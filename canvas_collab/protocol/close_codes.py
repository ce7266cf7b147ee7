"""The codes with which connections are closed, and what the clients make of them.

y-websocket 3.1 never comes back after a code from 4400 to 4499 and tries again after every other; older ones always
try again.
"""

from __future__ import annotations

import enum


class CloseCode(enum.IntEnum):
    """Why a connection is closed."""

    #: The daemon stops; it will be back.
    SERVICE_RESTART = 1012
    #: A message over the limit, said to Hocuspocus's providers: of those that stop at all some stop at this alone.
    MESSAGE_TOO_BIG = 1009
    #: The daemon failed; its log says how.
    INTERNAL_ERROR = 1011
    #: A message that is not of the protocol.
    MALFORMED = 4400
    #: No session that is good.
    UNAUTHORIZED = 4401
    #: No role in this room, or none that suffices any more.
    FORBIDDEN = 4403
    #: The client did not say in time who it is.
    TIMEOUT = 4408
    #: The document was made anew without some of what was in it: what the client has of it must go.
    DOCUMENT_RESET = 4409
    #: A message, or what it would add up to, is over a limit.
    TOO_LARGE = 4413
    #: The document cannot be opened.
    DOCUMENT_DAMAGED = 4500
    #: The database is away, or cannot keep up.
    TRY_AGAIN_LATER = 4503
    #: The client does not read what it is sent.
    TOO_SLOW = 4508


class ProtocolViolation(Exception):
    """A client did what ends its connection: `code` and `reason` are what it is told."""

    def __init__(self, code: CloseCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
