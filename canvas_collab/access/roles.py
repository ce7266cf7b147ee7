"""Roles: which diagram a room belongs to, and what a user's role on that diagram permits."""

from __future__ import annotations

import enum
from collections.abc import Iterable

from twisted.logger import Logger

from canvas_collab.database.catalogue import Catalogue
from canvas_collab.database.errors import InvalidValue
from canvas_collab.database.pool import Database

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


class AccessList:
    """Looks up roles in the view ``collab_access``."""

    log = Logger()

    def __init__(self, database: Database, catalogue: Catalogue, room_prefix: str) -> None:
        self._database = database
        self._select = catalogue.role_query
        self._prefix = room_prefix

    async def access(self, room: str, user_id: str) -> Access:
        """Return what the user may do in the room; :attr:`Access.NONE` also if there is no such diagram.

        :raises DatabaseUnavailable: if the database does not answer.
        """
        diagram_id = diagram_of(room, self._prefix)
        if diagram_id is None:
            return Access.NONE
        try:
            rows = await self._database.query(self._select, {"diagram": diagram_id, "user": user_id})
        except InvalidValue:
            # The id cannot be converted to the column's type, for example uuid: there is no such diagram.
            return Access.NONE
        return self.access_of(room, user_id, [role for (role,) in rows])

    def access_of(self, room: str, user_id: str, roles: Iterable[str]) -> Access:
        """Return what these roles permit: as much as the one that permits most."""
        access = Access.NONE
        for role in roles:
            if role not in ROLES:
                self.log.warn("unknown role", room=room, user=user_id, role=role)
            access = max(access, ROLES.get(role, Access.NONE))
        return access
