"""What someone may do in a room: from the room's name to the diagram, from there to the caller's role."""

from __future__ import annotations

import enum

from twisted.logger import Logger

from canvas_collab.database.catalogue import Catalogue
from canvas_collab.database.errors import InvalidValue
from canvas_collab.database.pool import Database

#: Longer names are no rooms; a B-tree of PostgreSQL could not index much longer ones.
MAX_ROOM_NAME_LENGTH = 255


class Access(enum.IntEnum):
    """What a role allows, the larger the more."""

    NONE = 0
    READ = 1
    WRITE = 2


#: The roles that the view ``collab_access`` may name.
ROLES = {
    "owner": Access.WRITE,
    "editor": Access.WRITE,
    "commenter": Access.READ,
    "viewer": Access.READ,
}


#: Stands in a decoded name for bytes that were no text: names that differ in them would be one.
_UNDECODABLE = "\N{REPLACEMENT CHARACTER}"


def room_name_problem(room: str, prefix: str) -> str | None:
    """Why a name stands for no diagram, whichever there are; None if it may stand for one."""
    if not room.startswith(prefix):
        return f"the name of a room begins with {prefix}"
    if room == prefix:
        return f"there is no diagram's id after {prefix}"
    if len(room) > MAX_ROOM_NAME_LENGTH:
        return f"the name of a room has at most {MAX_ROOM_NAME_LENGTH} characters"
    if not room.isprintable() or _UNDECODABLE in room:
        return "the name of a room has only printable characters"
    return None


def diagram_of(room: str, prefix: str) -> str | None:
    """The id of the diagram that a room name stands for, or None if it stands for none."""
    return None if room_name_problem(room, prefix) else room[len(prefix) :]


class AccessList:
    """Looks roles up in the view ``collab_access``."""

    log = Logger()

    def __init__(self, database: Database, catalogue: Catalogue, room_prefix: str) -> None:
        self._database = database
        self._select = catalogue.role_query
        self._prefix = room_prefix

    async def access(self, room: str, user_id: str) -> Access:
        """What the user may do in the room; nothing, too, where there is no such room.

        :raises DatabaseUnavailable: if that cannot be found out.
        """
        diagram_id = diagram_of(room, self._prefix)
        if diagram_id is None:
            return Access.NONE
        try:
            rows = await self._database.query(self._select, {"diagram": diagram_id, "user": user_id})
        except InvalidValue:
            # The id is not of the column's type, a uuid for example: there is no such diagram.
            return Access.NONE
        best = Access.NONE
        for (role,) in rows:
            if role not in ROLES:
                self.log.warn("unknown role", room=room, user=user_id, role=role)
            best = max(best, ROLES.get(role, Access.NONE))
        return best
