"""What can be asked of the running daemon: listing connections and rooms, closing connections, draining."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from twisted.logger import Logger

from canvas_collab.access.authorization import Denied
from canvas_collab.control.interface import MAX_DRAIN_TIME
from canvas_collab.protocol.close_codes import CloseCode
from canvas_collab.rooms.connection import Connection
from canvas_collab.rooms.rooms import Rooms
from canvas_collab.websocket.server import ServerFactory
from canvas_collab.websocket.server_protocol import ServerProtocol

#: A line of an answer, as JSON's types.
Item = dict[str, Any]


class InvalidRequest(Exception):
    """A request cannot be answered; the text is a sentence for the operator."""


class Draining(Protocol):
    """Closes all clients, and stops the daemon."""

    def start(self, duration: float) -> int:
        """Start to close the clients, in `duration` seconds; return how many there are.

        :raises RuntimeError: if that was started before.
        """


class RequestHandler:
    """Answers requests: JSON objects with a ``request``, and its arguments."""

    log = Logger()

    def __init__(
        self,
        factory: ServerFactory,
        rooms: Rooms,
        drain: Draining,
        kick_elsewhere: Callable[[str, str], object] = lambda user, room: None,
    ) -> None:
        """:param kick_elsewhere: closes connections to other daemons, of a user in a room; an empty string stands for
        all.
        """
        self._factory = factory
        self._kick_elsewhere = kick_elsewhere
        self._rooms = rooms
        self._drain = drain
        self._answers: Mapping[str, Callable[[Mapping[str, Any]], Iterator[Item]]] = {
            "connections": self._list_connections,
            "rooms": self._list_rooms,
            "kick": self._kick,
            "drain": self._start_draining,
        }

    def answer(self, request: object) -> Iterator[Item]:
        """Return the lines of an answer, each of which is made when it is asked for.

        :param request: decoded JSON of any kind.
        :raises InvalidRequest: also while the lines are made.
        """
        if not isinstance(request, dict) or not isinstance(request.get("request"), str):
            raise InvalidRequest("a request is a JSON object with a string named request")
        answer = self._answers.get(request["request"])
        if answer is None:
            raise InvalidRequest(f"the requests are {', '.join(self._answers)}")
        return answer(request)

    def _connections(self) -> Iterator[Connection]:
        for client in list(self._factory.clients):
            yield from _connections_of(client)

    def _list_connections(self, request: Mapping[str, Any]) -> Iterator[Item]:
        for client in list(self._factory.clients):
            connections = _connections_of(client)
            for connection in connections:
                yield {
                    "client": client.client_address,
                    "protocol": connection.channel.protocol,
                    "room": connection.room.name,
                    "user": connection.user_id,
                    "access": connection.access.name.lower(),
                    "backpressure": client.outbound.has_backpressure,
                }
            if not connections:
                yield {"client": client.client_address, "protocol": None, "room": None, "user": None}

    def _list_rooms(self, request: Mapping[str, Any]) -> Iterator[Item]:
        for room in self._rooms.loaded_rooms():
            yield {
                "room": room.name,
                "connections": len(room.members),
                "users": len({connection.user_id for connection in room.members}),
                "size": room.document.weight,
            }

    def _kick(self, request: Mapping[str, Any]) -> Iterator[Item]:
        user, room = _text(request, "user"), _text(request, "room")
        if user is None and room is None:
            raise InvalidRequest("kick needs a user or a room")
        self._kick_elsewhere(user or "", room or "")
        yield {"connections": self.close_connections(user, room)}

    def close_connections(self, user: str | None, room: str | None) -> int:
        """Close the connections of a user, in a room; None stands for all.  Returns how many there were."""
        reason = "closed by an operator"
        count = 0
        for connection in list(self._connections()):
            if user in (None, connection.user_id) and room in (None, connection.room.name):
                count += 1
                connection.channel.close(Denied(403, CloseCode.FORBIDDEN, reason, reason, connection.user_id))
        self.log.warn("connections kicked", user=user, room=room, connections=count)
        return count

    def _start_draining(self, request: Mapping[str, Any]) -> Iterator[Item]:
        duration = request.get("within")
        if isinstance(duration, bool) or not isinstance(duration, (int, float)) or not 0 <= duration <= MAX_DRAIN_TIME:
            raise InvalidRequest(f"within is a number of seconds up to {MAX_DRAIN_TIME:g}")
        try:
            count = self._drain.start(duration)
        except RuntimeError as error:
            raise InvalidRequest(str(error)) from error
        yield {"connections": count}


def _connections_of(client: ServerProtocol) -> Sequence[Connection]:
    return client.handler.connections if client.handler is not None else []


def _text(request: Mapping[str, Any], name: str) -> str | None:
    value = request.get(name)
    if value is not None and not isinstance(value, str):
        raise InvalidRequest(f"{name} is a string")
    return value
