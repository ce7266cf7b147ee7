"""Looks up the roles of users in the view ``collab_access``."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.logger import Logger

from canvas_collab.access.roles import ROLES, Access, diagram_of
from canvas_collab.database.catalogue import Catalogue
from canvas_collab.database.errors import InvalidValue
from canvas_collab.database.pool import Database


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
