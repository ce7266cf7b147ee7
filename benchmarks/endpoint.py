"""The address, rooms and tokens with which clients connect to a server."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen


@frozen
class Endpoint:
    """Where and how clients connect.

    :ivar rooms: the names of the rooms.
    :ivar tokens: session tokens; the first member of each room uses the first one, the second member the second one,
        and so on, starting over at the end.
    :ivar hocuspocus: whether clients speak Hocuspocus's protocol instead of y-websocket's.
    """

    host: str
    port: int
    rooms: Sequence[str]
    tokens: Sequence[str]
    hocuspocus: bool = False
