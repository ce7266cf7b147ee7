"""Counting the connections of each user, and the rooms that they are in."""

from __future__ import annotations

from collections import Counter

from canvas_collab.config.limits import UserLimits


class UserConnections:
    """The open connections of all users, by user and room."""

    def __init__(self, limits: UserLimits, exceeded: Counter[str]) -> None:
        """:param exceeded: counts how often limits are exceeded, by the names of their settings."""
        self._max_connections = limits.max_connections
        self._max_rooms = limits.max_rooms
        self._exceeded = exceeded
        self._connections: dict[str, int] = {}
        # How many connections each user has to each room.
        self._rooms: dict[str, dict[str, int]] = {}

    def __len__(self) -> int:
        """Return how many users have connections."""
        return len(self._rooms)

    def add(self, user_id: str, room: str) -> str | None:
        """Count a connection; if the user may not have it, return the name of the setting and count nothing."""
        connections = self._connections.get(user_id, 0)
        if 0 < self._max_connections <= connections:
            return self._refuse("MAX_CONNECTIONS_PER_USER")
        rooms = self._rooms.get(user_id, {})
        if room not in rooms and 0 < self._max_rooms <= len(rooms):
            return self._refuse("MAX_ROOMS_PER_USER")
        self._rooms[user_id] = rooms
        rooms[room] = rooms.get(room, 0) + 1
        self._connections[user_id] = connections + 1
        return None

    def _refuse(self, setting: str) -> str:
        self._exceeded[setting] += 1
        return setting

    def remove(self, user_id: str, room: str) -> None:
        """Count a connection as closed."""
        rooms = self._rooms[user_id]
        rooms[room] -= 1
        self._connections[user_id] -= 1
        if not rooms[room]:
            del rooms[room]
        if not rooms:
            del self._rooms[user_id], self._connections[user_id]
