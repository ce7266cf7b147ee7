"""Roles: which diagram a room belongs to, and what a user's role on that diagram permits."""

from __future__ import annotations

import enum

#: The maximum length of a room's name, in characters; PostgreSQL's B-tree could not index much longer ones.
MAX_ROOM_NAME_LENGTH = 255


class Access(enum.IntEnum):
    """What a user may do in a room; each level includes those below it."""

    NONE = 0
    READ = 1
    WRITE = 2


#: The values of the column ``role`` in the view ``collab_access``.
ROLES = {
    "owner": Access.WRITE,
    "editor": Access.WRITE,
    "commenter": Access.READ,
    "viewer": Access.READ,
}


#: Decoding replaces invalid UTF-8 by this character, which would make different names equal.
_UNDECODABLE = "\N{REPLACEMENT CHARACTER}"


def room_name_problem(room: str, prefix: str) -> str | None:
    """Return why a name cannot be a room's, whichever diagrams exist; None if it can."""
    if not room.startswith(prefix):
        return f"the name of a room begins with {prefix}"
    if room == prefix:
        return f"there is no diagram's id after {prefix}" if prefix else "the name of a room is not empty"
    if len(room) > MAX_ROOM_NAME_LENGTH:
        return f"the name of a room has at most {MAX_ROOM_NAME_LENGTH} characters"
    if not room.isprintable() or _UNDECODABLE in room:
        return "the name of a room has only printable characters"
    return None


def diagram_of(room: str, prefix: str) -> str | None:
    """Return the id of the diagram of a room, or None if the room's name is invalid."""
    return None if room_name_problem(room, prefix) else room[len(prefix) :]
