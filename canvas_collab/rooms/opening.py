"""How a client gets to a document, stays with it, and leaves it, whichever protocol carries the connection."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from canvas_collab.access.authentication import Credential, Source
from canvas_collab.access.authorization import Authorization, Authorizer, Denied, Request
from canvas_collab.access.fair_semaphore import FairSemaphore, Requester
from canvas_collab.access.roles import MAX_ROOM_NAME_LENGTH
from canvas_collab.config.connections import ConnectionLimits
from canvas_collab.database.errors import DatabaseUnavailable
from canvas_collab.document.folding import DocumentDamaged
from canvas_collab.logs import LogRateLimiter
from canvas_collab.protocol.close_codes import CloseCode
from canvas_collab.rooms.commits import JournalState
from canvas_collab.rooms.connection import Channel, Connection
from canvas_collab.rooms.room import Room
from canvas_collab.rooms.rooms import Rooms

#: So many documents are loaded at once.
LOADS_AT_ONCE = 4

#: So many denials of one user at one address are logged in an interval, and so many of all.
DENIALS_EACH = 5
DENIALS_MOST = 100


class ConnectionOpener:
    """Opens connections for those who may come in, and looks from time to time whether they still may."""

    log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        authorizer: Authorizer,
        recheck_authorizer: Authorizer,
        rooms: Rooms,
        journal: JournalState,
        limits: ConnectionLimits,
        max_waiting_loads: int,
        renew_before: float,
    ) -> None:
        """:param recheck_authorizer: decides over open connections; its lookups do not wait for those of `authorizer`.
        :param max_waiting_loads: how many documents may wait to be loaded.
        :param renew_before: how many seconds before the end of its session a client is asked for a new token.
        """
        #: The documents that could not be opened because what is stored of them is damaged.
        self.damaged: set[str] = set()
        self._authorizer = authorizer
        self._recheck_authorizer = recheck_authorizer
        self._rooms = rooms
        self._journal = journal
        self._limits = limits
        self._loads = FairSemaphore(LOADS_AT_ONCE, max_waiting_loads)
        self._renew_before = renew_before
        self._denials = LogRateLimiter(
            reactor,
            DENIALS_EACH,
            DENIALS_MOST,
            lambda count: self.log.info("connection denials suppressed", count=count),
        )
        self._damages = LogRateLimiter(reactor, 1, DENIALS_MOST)

    async def open(self, channel: Channel, room: str, handshake: Request, token: str = "") -> Connection:
        """Decide, load the room, and make a connection that has not joined it yet.  :meth:`close` ends it.

        :param token: what counts before anything that the handshake carries.
        :raises Denied: if the answer is no, or cannot be found out.
        """
        try:
            authorization = await self._authorizer.decide(room, self._credential(handshake, token), channel.requester)
            entered = await self._enter(authorization, channel.requester)
        except Denied as denied:
            self.denied(denied, room, channel.client)
            raise
        except Exception as error:
            self.log.failure("handshake failed", room=room[:MAX_ROOM_NAME_LENGTH], client=channel.client)
            unexpected = Denied(500, CloseCode.INTERNAL_ERROR, "internal error", type(error).__name__)
            self.denied(unexpected, room, channel.client)
            raise unexpected from error
        return Connection(channel, entered, authorization, self._journal, self._limits)

    def carries_credential(self, handshake: Request) -> bool:
        """Whether a handshake says who it is of."""
        try:
            return self._credential(handshake, "") is not None
        except Denied:
            return False

    def _credential(self, handshake: Request, token: str) -> Credential | None:
        return Credential(token, Source.MESSAGE) if token else self._authorizer.credential_of(handshake)

    async def _enter(self, authorization: Authorization, requester: Requester) -> Room[Connection]:
        user_id = authorization.session.user_id
        try:
            room = await self._loaded(authorization.room, requester)
            self.damaged.discard(authorization.room)
            return room
        except DatabaseUnavailable as error:
            code = CloseCode.TRY_AGAIN_LATER
            raise Denied(503, code, "try again later", str(error), user_id) from error
        except DocumentDamaged as error:
            if self._damages.admits(authorization.room):
                self.log.critical("document damaged", room=authorization.room, reason=str(error))
            self.damaged.add(authorization.room)
            code = CloseCode.DOCUMENT_DAMAGED
            raise Denied(500, code, "the document is damaged", str(error), user_id) from error

    async def _loaded(self, name: str, requester: Requester) -> Room[Connection]:
        if name in self._rooms:
            return await self._rooms.enter(name)
        if not await self._loads.take(requester):
            reason = "the client did not wait" if requester.gone else "too many documents wait to be loaded"
            raise Denied(503, CloseCode.TRY_AGAIN_LATER, "try again later", reason)
        try:
            return await self._rooms.enter(name)
        finally:
            self._loads.end()

    def room_of(self, path: str) -> str:
        """The room that a URL's path names; the empty string if it names none."""
        return self._authorizer.room_of(path)

    def opened(self, connection: Connection) -> None:
        """The connection joins its room."""
        self.log.info(
            "connection opened",
            room=connection.room.name,
            user=connection.user_id,
            access=connection.access.name.lower(),
            client=connection.channel.client,
            protocol=connection.channel.protocol,
        )
        connection.join()
        if connection.room.is_discarded:
            # That happened after the room was entered, and before the connection was known to be in it.
            connection.reset()

    def close(self, connection: Connection, code: int | None, reason: str | None) -> None:
        """A connection has ended, whichever side ended it; one that never joined, too."""
        self.log.info(
            "connection closed",
            room=connection.room.name,
            user=connection.user_id,
            code=code,
            reason=reason,
            client=connection.channel.client,
        )
        connection.leave()
        if not connection.room.is_discarded:
            self._rooms.leave(connection.room.name)

    def denied(self, denied: Denied, room: str, client: str) -> None:
        """Somebody was not let in."""
        # Without the port, which is another each time.
        address = client.rpartition(":")[0] or client
        if self._denials.admits((address, denied.user_id)):
            room = room[:MAX_ROOM_NAME_LENGTH]
            self.log.info("connection denied", reason=denied.reason, room=room, user=denied.user_id, client=client)

    async def recheck(self, connection: Connection) -> None:
        """Look session and role up again, and act on what has changed."""
        credential = connection.credential
        verdict = await self._verdict(connection)
        if connection.credential is not credential:
            # A newer token was accepted meanwhile, and may have been looked up before this began. One that is accepted
            # after that was looked up later, since tokens of a connection are looked up one after the other.
            credential = connection.credential
            verdict = await self._verdict(connection)
        if verdict is None or connection.credential is not credential:
            return
        if isinstance(verdict, Denied):
            connection.channel.close(verdict)
            return
        self._apply(connection, verdict)
        if verdict.session.lasts < self._renew_before:
            connection.channel.ask_for_token()

    async def _verdict(self, connection: Connection) -> Authorization | Denied | None:
        """What a connection's credential is good for now; None if that cannot be found out."""
        try:
            return await self._recheck_authorizer.decide(
                connection.room.name, connection.credential, connection.channel.requester
            )
        except Denied as denied:
            return None if denied.code is CloseCode.TRY_AGAIN_LATER else denied
        except Exception:
            # One client must not keep the others from being looked at.
            self.log.failure("recheck failed", room=connection.room.name, user=connection.user_id)
            return None

    async def renew(self, connection: Connection, handshake: Request, token: str) -> None:
        """The client has sent another token: from now on the connection rests on that.

        :raises Denied: if it is not as good as the one before; the connection stays as it is.
        """
        credential = self._credential(handshake, token)
        authorization = await self._authorizer.decide(connection.room.name, credential, connection.channel.requester)
        if authorization.session.user_id != connection.user_id:
            raise Denied(401, CloseCode.UNAUTHORIZED, "unauthorized", "another user's token", connection.user_id)
        connection.credential = authorization.credential
        self._apply(connection, authorization)

    def _apply(self, connection: Connection, authorization: Authorization) -> None:
        if authorization.access is not connection.access:
            self.log.info(
                "access changed",
                room=connection.room.name,
                user=connection.user_id,
                access=authorization.access.name.lower(),
            )
            connection.access = authorization.access
            connection.channel.access_changed()
