"""Renewing connections, while access changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from canvas_collab.access.authentication import Credential, Session, Source
from canvas_collab.access.authorization import Authorization, Authorizer, Request
from canvas_collab.access.roles import Access
from canvas_collab.config.connections import ConnectionLimits
from canvas_collab.config.limits import UserLimits
from canvas_collab.counters import Counters
from canvas_collab.limits.users import UserConnections
from canvas_collab.rooms.channel import Channel
from canvas_collab.rooms.commits import JournalState
from canvas_collab.rooms.connection import Connection
from canvas_collab.rooms.opening import ConnectionOpener
from canvas_collab.rooms.rechecking import Rechecker
from canvas_collab.rooms.rechecks import Rechecks
from canvas_collab.rooms.rooms import Rooms
from canvas_collab.scheduling import make_cooperator
from tests.support.rooms import make_room


class RecordingRechecker:
    """Records whom it is to recheck."""

    batch_size = 10

    def __init__(self) -> None:
        self.rechecked: list[Connection] = []

    async def recheck(self, batch: dict[Connection, bool]) -> list[Connection]:
        self.rechecked += batch
        return []


class NoRooms:
    """A notification of changed access finds nobody."""

    def loaded_rooms(self) -> Sequence[object]:
        return ()


class SlowAuthorizer:
    """Answers when a test says so."""

    def __init__(self) -> None:
        self.answer: Deferred[Authorization] = Deferred()

    async def authorize(self, room: str, credential: Credential, requester: object) -> Authorization:
        return await self.answer


class SilentChannel:
    client, requester = "127.0.0.1", None

    def offer(self, message: object) -> bool:
        return True

    def access_changed(self) -> None:
        pass


def permitted(token: str, access: Access) -> Authorization:
    return Authorization("room", Session("ada", token, 3600.0), access, Credential(token, Source.MESSAGE))


@pytest.mark.parametrize("changed", [True, False])
def test_a_renewed_connection_is_rechecked_if_access_was_changed_while_its_token_was_looked_up(changed: bool) -> None:
    clock, rechecker, authorizer, counters = Clock(), RecordingRechecker(), SlowAuthorizer(), Counters()
    cooperator, rooms = make_cooperator(clock), cast(Rooms, NoRooms())
    rechecks = Rechecks(clock, rooms, cast(Rechecker, rechecker), cooperator, 60.0, "")
    rechecks.startService()
    journal, limits = cast(JournalState, None), ConnectionLimits()
    opener = ConnectionOpener(
        clock,
        cast(Authorizer, authorizer),
        rechecks,
        rooms,
        journal,
        limits,
        counters,
        1,
        UserConnections(UserLimits(), counters.limits),
    )
    channel, room = cast(Channel, SilentChannel()), make_room(clock)
    connection = Connection(channel, room, permitted("old", Access.READ), journal, limits)
    renewing = Deferred.fromCoroutine(opener.renew(connection, cast(Request, None), "new"))
    if changed:
        # Its statement may have been committed after the lookup had read the role.
        rechecks.access_changed("user:ada")
    authorizer.answer.callback(permitted("new", Access.WRITE))
    clock.pump([0.01] * 50)
    assert renewing.called
    assert (connection.credential.text, connection.may_write) == ("new", True)
    assert rechecker.rechecked == ([connection] if changed else [])
