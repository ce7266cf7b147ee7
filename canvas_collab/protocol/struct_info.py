"""The info byte, with which every struct of a Yjs update begins.

Its low five bits say what the struct is: 0 a garbage-collected stretch, 10 a stretch that is skipped, anything else an
item with that kind of content.  An item's high bits say which of the fields *origin* (0x80) and *right origin* (0x40)
follow; if neither does, its *parent* follows and, where 0x20 says so, its key there.
"""

from __future__ import annotations

import enum

ORIGIN, RIGHT_ORIGIN, KEY, KIND = 0x80, 0x40, 0x20, 0x1F


class Kind(enum.IntEnum):
    """What a struct is; from 1 to 9 the content of an item."""

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


# The same as plain integers, for what is done with every struct that comes in: a member of an enumeration takes several
# times as long to compare with.
GC, DELETED, JSON, BINARY, STRING, EMBED, FORMAT, TYPE, ANY, DOC, SKIP = map(int, Kind)
