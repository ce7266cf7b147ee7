"""The info byte that every struct of a Yjs update begins with.

The low five bits are the kind of the struct: 0 is a GC, 10 a skip, every other value an item with that kind of content.
The high bits of an item say which fields follow: *origin* (0x80) and *right origin* (0x40).  If neither does, the
item's *parent* follows and, if 0x20 is set, its key in the parent.
"""

from __future__ import annotations

import enum
from typing import Final

ORIGIN: Final = 0x80
RIGHT_ORIGIN: Final = 0x40
KEY: Final = 0x20
KIND: Final = 0x1F


class Kind(enum.IntEnum):
    """The kind of a struct; 1 to 9 are the kinds of an item's content."""

    GC = 0
    DELETED = 1
    JSON = 2
    BINARY = 3
    STRING = 4
    EMBED = 5
    FORMAT = 6
    TYPE = 7
    ANY = 8
    DOC = 9
    SKIP = 10


# Plain integers for the code that runs for every struct received: comparing with a member of an enumeration takes
# several times as long.
GC: Final = 0
DELETED: Final = 1
JSON: Final = 2
BINARY: Final = 3
STRING: Final = 4
EMBED: Final = 5
FORMAT: Final = 6
TYPE: Final = 7
ANY: Final = 8
DOC: Final = 9
SKIP: Final = 10
