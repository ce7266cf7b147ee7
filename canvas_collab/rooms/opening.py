"""Opening connections: authorizing the client, and loading the room; and renewing and closing open connections."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from canvas_collab.access.authentication import Credential, Source
from canvas_collab.access.authorization import Authorization, Authorizer, Denied, Request
from canvas_collab.access.fair_semaphore import FairSemaphore, Requester
from canvas_collab.access.roles import MAX_ROOM_NAME_LENGTH
from canvas_collab.config.connections import ConnectionLimits
from canvas_collab.counters import Counters
from canvas_collab.database.errors import DatabaseUnavailable
from canvas_collab.document.folding import DocumentDamaged
from canvas_collab.limits.addresses import network_of
from canvas_collab.limits.users import UserConnections
from canvas_collab.logs import LogRateLimiter
from canvas_collab.protocol.close_codes import CloseCode
from canvas_collab.rooms.channel import Channel
from canvas_collab.rooms.commits import JournalState
from canvas_collab.rooms.connection import Connection
from canvas_collab.rooms.rechecks import Rechecks
from canvas_collab.rooms.room import Room
from canvas_collab.rooms.rooms import Rooms

#: How many documents are loaded at the same time.
LOADS_AT_ONCE = 4

#: How many denials are logged per interval, for one user of one network and altogether.
MAX_LOGGED_DENIALS_EACH = 5
MAX_LOGGED_DENIALS = 100

#: What a client is told when its user exceeds a limit, by the name of the setting.
_PROBLEMS = {
    "MAX_CONNECTIONS_PER_USER": "this user has too many connections",
    "MAX_ROOMS_PER_USER": "this user has too many documents open",
}


class ConnectionOpener:
    """Opens connections for authorized clients, and lets them be renewed with other tokens."""

    log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        authorizer: Authorizer,
        rechecks: Rechecks,
        rooms: Rooms,
        journal: JournalState,
        limits: ConnectionLimits,
        counters: Counters,
        max_waiting_loads: int,
        user_connections: UserConnections,
    ) -> None:
        """:param max_waiting_loads: how many documents may wait to be loaded.
        :param user_connections: limits the connections of each user.
        """
        #: The documents that could not be loaded because their snapshot is damaged.
        self.damaged: set[str] = set()
        self._authorizer = authorizer
        self._rechecks = rechecks
        self._rooms = rooms
        self._journal = journal
        self._limits = limits
        self._counters = counters
        self._loads = FairSemaphore(LOADS_AT_ONCE, max_waiting_loads)
        self._user_connections = user_connections
        self._denial_log_limiter = LogRateLimiter(
            reactor,
            MAX_LOGGED_DENIALS_EACH,
            MAX_LOGGED_DENIALS,
            lambda count: self.log.info("connection denials suppressed", count=count),
        )
        self._damage_log_limiter = LogRateLimiter(reactor, 1, MAX_LOGGED_DENIALS)

    async def open(self, channel: Channel, room: str, handshake: Request, token: str = "") -> Connection:
        """Authorize a client, load the room, and create a connection; :meth:`close` ends it.

        The connection has not joined the room yet: :meth:`join` does that.

        :param token: takes precedence over the credential that the handshake carries, unless it is empty.
        :raises Denied: if the client is not authorized, its user has too many connections, or the room cannot be
            loaded.
        """
        change_count = self._rechecks.change_count
        try:
            authorization = await self._authorizer.authorize(
                room, self._credential(handshake, token), channel.requester
            )
            entered = await self._enter_as_user(authorization, channel.requester)
        except Denied as denied:
            self.log_denial(denied, room, channel.client)
            raise
        except Exception as error:
            self.log.failure("handshake failed", room=room[:MAX_ROOM_NAME_LENGTH], client=channel.client)
            unexpected = Denied(500, CloseCode.INTERNAL_ERROR, "internal error", type(error).__name__)
            self.log_denial(unexpected, room, channel.client)
            raise unexpected from error
        return Connection(channel, entered, authorization, self._journal, self._limits, change_count)

    def carries_credential(self, handshake: Request) -> bool:
        """Return whether a handshake carries a credential."""
        try:
            return self._credential(handshake, "") is not None
        except Denied:
            return False

    def _credential(self, handshake: Request, token: str) -> Credential | None:
        return Credential(token, Source.MESSAGE) if token else self._authorizer.credential_of(handshake)

    async def _enter_as_user(self, authorization: Authorization, requester: Requester) -> Room[Connection]:
        """Count the connection for its user, and enter the room."""
        user_id, room = authorization.session.user_id, authorization.room
        if (setting := self._user_connections.add(user_id, room)) is not None:
            problem = _PROBLEMS[setting]
            public_reason, reason = f"{problem}, try again later", f"{problem} ({setting})"
            raise Denied(429, CloseCode.TRY_AGAIN_LATER, public_reason, reason, user_id)
        try:
            return await self._enter_room(authorization, requester)
        except BaseException:
            self._user_connections.remove(user_id, room)
            raise

    async def _enter_room(self, authorization: Authorization, requester: Requester) -> Room[Connection]:
        user_id = authorization.session.user_id
        try:
            room = await self._load(authorization.room, requester)
            self.damaged.discard(authorization.room)
            return room
        except DatabaseUnavailable as error:
            code = CloseCode.TRY_AGAIN_LATER
            raise Denied(503, code, "try again later", str(error), user_id) from error
        except DocumentDamaged as error:
            if self._damage_log_limiter.admits(authorization.room):
                self.log.critical("document damaged", room=authorization.room, reason=str(error))
            self.damaged.add(authorization.room)
            code = CloseCode.DOCUMENT_DAMAGED
            raise Denied(500, code, "the document is damaged", str(error), user_id) from error

    async def _load(self, name: str, requester: Requester) -> Room[Connection]:
        if name in self._rooms:
            return await self._rooms.enter(name)
        if not await self._loads.acquire(requester):
            reason = "the client did not wait" if requester.is_closing else "too many document loads wait"
            raise Denied(503, CloseCode.TRY_AGAIN_LATER, "try again later", reason)
        try:
            return await self._rooms.enter(name)
        finally:
            self._loads.release()

    def room_of(self, path: str) -> str:
        """Return the name of the room in a URL's path, or the empty string if there is none."""
        return self._authorizer.room_of(path)

    def join(self, connection: Connection) -> None:
        """Let a connection join its room."""
        self.log.info(
            "connection opened",
            room=connection.room.name,
            user=connection.user_id,
            access=connection.access.name.lower(),
            client=connection.channel.client,
            protocol=connection.channel.protocol,
        )
        connection.join()
        self._rechecks.authorized(connection, connection.change_count)
        if connection.room.is_discarded:
            # The room was discarded after the connection was created, and before it was among the room's members.
            connection.reset()

    def close(self, connection: Connection, code: int | None, reason: str | None) -> None:
        """Called when a connection has ended, by either side, whether or not it has joined its room."""
        self.log.info(
            "connection closed",
            reason=reason,
            room=connection.room.name,
            user=connection.user_id,
            client=connection.channel.client,
            code=code,
        )
        connection.leave()
        self._user_connections.remove(connection.user_id, connection.room.name)
        if not connection.room.is_discarded:
            self._rooms.leave(connection.room.name)

    def log_denial(self, denied: Denied, room: str, client: str) -> None:
        """Log that a client was denied, unless too many denials were logged lately."""
        self._counters.denials[denied.status] += 1
        if self._denial_log_limiter.admits((network_of(client), denied.user_id)):
            room = room[:MAX_ROOM_NAME_LENGTH]
            self.log.info(
                "connection denied",
                reason=denied.reason,
                room=room,
                user=denied.user_id,
                client=client,
                code=int(denied.code),
                status=denied.status,
            )

    async def renew(self, connection: Connection, handshake: Request, token: str) -> None:
        """Base a connection's access on another token, which its client has sent.

        :raises Denied: if the token does not permit to open the room, or is another user's.  The connection stays as it
            is then.
        """
        credential = self._credential(handshake, token)
        change_count = self._rechecks.change_count
        authorization = await self._authorizer.authorize(connection.room.name, credential, connection.channel.requester)
        if authorization.session.user_id != connection.user_id:
            raise Denied(401, CloseCode.UNAUTHORIZED, "unauthorized", "another user's token", connection.user_id)
        connection.credential = authorization.credential
        connection.set_access(authorization.access)
        self._rechecks.authorized(connection, change_count)
