"""Notifications that the access of users may have changed: which connections they are about.

The payload of a notification is empty, which means everybody, or ``user:ID`` or ``diagram:ID`` with the id as
PostgreSQL writes it.  There is no form for a session: every role of the database can listen to notifications, so none
may have a token, and the connections of the session's user are few.
"""

from __future__ import annotations

from collections.abc import Iterable

from attrs import Factory, define

from canvas_collab.protocol.steps import Steps
from canvas_collab.rooms.connection import Connection
from canvas_collab.rooms.room import Room

#: How many users and diagrams are kept apart; more of them mean everybody.
MAX_NAMES = 1000


@define
class AccessChanges:
    """Whom notifications were about; the same notification twice is one."""

    everybody: bool = False
    users: set[str] = Factory(set)
    rooms: set[str] = Factory(set)

    def __bool__(self) -> bool:
        """Return whether they were about anybody."""
        return self.everybody or bool(self.users or self.rooms)

    def add(self, payload: str, room_prefix: str) -> bool:
        """Add a notification; return False if its payload has none of the forms."""
        kind, _, name = payload.partition(":")
        if not payload:
            self.everybody = True
        elif not name or kind not in ("user", "diagram"):
            return False
        elif len(self.users) + len(self.rooms) >= MAX_NAMES:
            self.everybody = True
        elif kind == "user":
            self.users.add(name)
        else:
            self.rooms.add(room_prefix + name)
        return True

    def find(self, rooms: Iterable[Room[Connection]]) -> Steps[list[Connection]]:
        """Return the connections that are concerned, in steps of one room each."""
        found: list[Connection] = []
        for room in rooms:
            if self.everybody or room.name in self.rooms:
                found += room.members
            elif self.users:
                found += [member for member in room.members if member.user_id in self.users]
            yield
        return found
