"""Rechecking open connections: authorizing them again, many with one query, and acting on what has changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Cooperator
from twisted.logger import Logger

from canvas_collab.access.authorization import Authorization, Authorizer, Denied
from canvas_collab.access.batch_authorization import BatchAuthorizer
from canvas_collab.database.errors import DatabaseUnavailable
from canvas_collab.protocol.close_codes import CloseCode
from canvas_collab.protocol.steps import Steps
from canvas_collab.rooms.connection import Connection
from canvas_collab.scheduling import run

#: How many connections are rechecked with one query: at first, at most, and at least while the database answers.
FIRST_BATCH = 50
MAX_BATCH = 200
MIN_BATCH = 10

#: Batches become smaller when a query takes more seconds than the first, and larger when it takes less than the second:
#: other work waits for the same database connection if the pool is small.
SLOW_QUERY = 0.05
FAST_QUERY = 0.0125


class Rechecker:
    """Rechecks batches of connections."""

    log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        batch_authorizer: BatchAuthorizer,
        authorizer: Authorizer,
        cooperator: Cooperator,
        renew_before: float,
    ) -> None:
        """:param authorizer: authorizes a connection alone whose values make the query of a batch fail.
        :param renew_before: how many seconds before its session expires a client is asked for a new token.
        """
        #: How many connections the next batch should have.
        self.batch_size = FIRST_BATCH
        self._reactor = reactor
        self._batch_authorizer = batch_authorizer
        self._authorizer = authorizer
        self._cooperator = cooperator
        self._renew_before = renew_before

    async def recheck(self, batch: Mapping[Connection, bool]) -> list[Connection]:
        """Authorize connections again; close those that are denied, and change the access of the others.

        Returns those that have to be rechecked once more, since a newer token was accepted meanwhile: that may have
        been looked up before this recheck.

        :param batch: the connections, and whether to ask each for a new token if its session expires soon.
        :raises DatabaseUnavailable: if the database does not answer; then nothing has changed.
        """
        connections = [connection for connection in batch if not connection.has_left]
        credentials = [connection.credential for connection in connections]
        started = self._reactor.seconds()
        try:
            verdicts = await self._authorize(connections)
        except DatabaseUnavailable:
            # It may be the query that takes too long.
            self.batch_size = max(1, self.batch_size // 2)
            raise
        seconds = self._reactor.seconds() - started
        self._adapt(len(connections), seconds)
        self.log.debug("connections rechecked", connections=len(connections), seconds=round(seconds, 4))
        outdated: list[Connection] = []

        def act() -> Steps[None]:
            for connection, credential, verdict in zip(connections, credentials, verdicts, strict=True):
                if connection.credential is not credential:
                    outdated.append(connection)
                elif verdict is not None and not connection.has_left:
                    self._act(connection, verdict, batch[connection])
                yield

        await run(self._cooperator, act())
        return outdated

    def _adapt(self, count: int, seconds: float) -> None:
        if seconds > SLOW_QUERY:
            self.batch_size = max(MIN_BATCH, count // 2)
        elif seconds < FAST_QUERY:
            self.batch_size = min(MAX_BATCH, self.batch_size * 2)

    def _act(self, connection: Connection, verdict: Authorization | Denied, asks_for_token: bool) -> None:
        if isinstance(verdict, Denied):
            connection.channel.close(verdict)
            return
        if verdict.session.user_id != connection.user_id:
            # Edits are recorded, and changes of access are notified, with the user that the connection was opened for.
            reason = "the session is another user's now"
            denied = Denied(401, CloseCode.UNAUTHORIZED, "unauthorized", reason, connection.user_id)
            connection.channel.close(denied)
            return
        connection.set_access(verdict.access)
        if asks_for_token and verdict.session.expires_in < self._renew_before:
            connection.channel.ask_for_token()

    async def _authorize(self, connections: Sequence[Connection]) -> list[Authorization | Denied | None]:
        """Return what the credential of each connection permits; None if that cannot be found out."""
        if not connections:
            return []
        try:
            return [
                *await self._batch_authorizer.authorize(
                    [(connection.room.name, connection.credential) for connection in connections]
                )
            ]
        except DatabaseUnavailable:
            raise
        except Exception:
            # The values of one connection can make the query fail, an id that is no longer of the column's type for
            # example.  The rechecks of the other connections must go on.
            if len(connections) == 1:
                return [await self._authorize_alone(connections[0])]
            middle = len(connections) // 2
            first = await self._authorize(connections[:middle])
            return first + await self._authorize(connections[middle:])

    async def _authorize_alone(self, connection: Connection) -> Authorization | Denied | None:
        try:
            return await self._authorizer.authorize(
                connection.room.name, connection.credential, connection.channel.requester
            )
        except Denied as denied:
            return None if denied.code is CloseCode.TRY_AGAIN_LATER else denied
        except Exception:
            self.log.failure("recheck failed", room=connection.room.name, user=connection.user_id)
            return None
