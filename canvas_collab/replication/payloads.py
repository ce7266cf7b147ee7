"""The payload of a notification of appends: ``ORIGIN FIRST LAST``, or ``ORIGIN,DOCUMENT,… FIRST LAST``.

Daemons that do not know of documents take them for a part of the origin, which they only compare with their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from attrs import frozen

#: The documents of an append are named in so many characters, and otherwise left out.  PostgreSQL allows 7,999 bytes.
MAX_DOCUMENTS_LENGTH = 2000

#: A document's name that can be in a payload as it is.
_PLAIN = re.compile(r"[!-+\--~]+")


@frozen
class AppendNotification:
    """A notification that `origin` has appended entries to the log, with ids from `first` to `last`.

    Ids in between may belong to entries of others.  `documents` are the documents of these entries, or None if that is
    not known.
    """

    origin: str
    first: int
    last: int
    documents: frozenset[str] | None = None

    def payload(self) -> str:
        """Return the payload that says this."""
        names = None if self.documents is None else _join(self.documents)
        origin = self.origin if names is None else f"{self.origin},{names}"
        return f"{origin} {self.first} {self.last}"


def parse_append_notification(payload: str) -> AppendNotification | None:
    """Parse a notification's payload; return None if it has another form."""
    try:
        sender, first, last = payload.split(" ")
        origin, separator, names = sender.partition(",")
        documents = frozenset(names.split(",")) if separator else None
        return AppendNotification(origin, int(first), int(last), documents)
    except ValueError:
        return None


def _join(documents: Iterable[str]) -> str | None:
    """Join names for a payload; return None if they are too many, or one has characters that it may not have."""
    names = sorted(documents)
    if not names or sum(map(len, names)) + len(names) > MAX_DOCUMENTS_LENGTH or not all(map(_PLAIN.fullmatch, names)):
        return None
    return ",".join(names)
