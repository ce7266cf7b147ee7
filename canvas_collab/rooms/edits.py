"""The results of clients' edits, and what a document and the journal can take."""

from __future__ import annotations

import enum

from canvas_collab.config.connections import ConnectionLimits
from canvas_collab.document.document import Document
from canvas_collab.protocol.close_codes import CloseCode, ProtocolViolation
from canvas_collab.protocol.lib0 import Malformed, TooLarge
from canvas_collab.protocol.update import Update
from canvas_collab.rooms.commits import JournalState

#: Updates with deletions alone may exceed the size limit of a document by this share, as they make it smaller later.
DELETION_ALLOWANCE = 0.25


class EditResult(enum.Enum):
    """The result of a message for the document."""

    #: The message was not an edit, or the client has left.
    NONE = enum.auto()
    #: The update is part of the document, and in the journal.
    ACCEPTED = enum.auto()
    #: The connection is read-only.
    REFUSED = enum.auto()


def check_capacity(
    document: Document, journal: JournalState, limits: ConnectionLimits, update: Update, size: int
) -> None:
    """Check that a document and the journal can take an update.

    :param size: how much the document grows by it, in bytes.
    :raises ProtocolViolation: if they cannot.
    """
    limit = limits.max_document_size
    if document.weight + size > (limit if update.runs else limit * (1 + DELETION_ALLOWANCE)):
        raise ProtocolViolation(CloseCode.TOO_LARGE, f"the document is full: it may have {limit} bytes")
    if journal.full:
        raise ProtocolViolation(CloseCode.TRY_AGAIN_LATER, "the database cannot keep up, try again later")


def violation_of(error: Malformed) -> ProtocolViolation:
    """Return the violation for a message that cannot be decoded."""
    if isinstance(error, TooLarge):
        return ProtocolViolation(CloseCode.TOO_LARGE, f"too large: {error}")
    return ProtocolViolation(CloseCode.MALFORMED, f"malformed message: {error}")
