"""The WebSocket close codes that the server uses.

y-websocket 3.1 does not reconnect after a code from 4400 to 4499, and reconnects after every other; older versions
always reconnect.
"""

from __future__ import annotations

import enum


class CloseCode(enum.IntEnum):
    """Why a connection is closed."""

    #: The daemon is stopping or restarting.
    SERVICE_RESTART = 1012
    #: A message is over the size limit; for Hocuspocus providers, some of which stop reconnecting at this code only.
    MESSAGE_TOO_BIG = 1009
    #: An unexpected error; the event log has the details.
    INTERNAL_ERROR = 1011
    #: A message does not conform to the protocol.
    MALFORMED = 4400
    #: There is no valid session.
    UNAUTHORIZED = 4401
    #: The user has no role in the room, or no longer one that permits what the client did.
    FORBIDDEN = 4403
    #: The client did not authenticate in time.
    TIMEOUT = 4408
    #: The document was reset to one with less content; the client must discard its copy.
    DOCUMENT_RESET = 4409
    #: A message, or the document with it, is over a size limit.
    TOO_LARGE = 4413
    #: The stored document cannot be read.
    DOCUMENT_DAMAGED = 4500
    #: The database is unavailable or overloaded.
    TRY_AGAIN_LATER = 4503
    #: The client reads more slowly than it is sent to.
    TOO_SLOW = 4508


class ProtocolViolation(Exception):
    """A client violated the protocol; its connection is closed with `code` and `reason`."""

    def __init__(self, code: CloseCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
