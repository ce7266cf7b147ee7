"""Who may come in: the decision over a handshake, from the room, the credential and the origin to a role."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar
from urllib.parse import unquote_to_bytes

from attrs import field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from canvas_collab.access.authentication import Credential, Session, Sessions, Source, Unauthenticated, find_credential
from canvas_collab.access.fair_semaphore import FairSemaphore, Requester
from canvas_collab.access.origins import OriginPolicy
from canvas_collab.access.roles import Access, AccessList, room_name_problem
from canvas_collab.config.application import RoutingSettings
from canvas_collab.database.errors import DatabaseUnavailable
from canvas_collab.protocol.close_codes import CloseCode
from canvas_collab.timeouts import wait_at_most

_T = TypeVar("_T")


class Denied(Exception):
    """Somebody may not come in, or not now.

    `status` and `code` are what the client is told, by HTTP or by a close code, with `public_reason`; `reason` is for
    the log and may say more.
    """

    @property
    def advice(self) -> str:
        """The public reason and, where that tells nothing of the server or of other people's documents, the other."""
        if self.status not in (401, 403) or self.public_reason.endswith(self.reason):
            return self.public_reason
        return f"{self.public_reason}: {self.reason}"

    def __init__(
        self, status: int, code: CloseCode, public_reason: str, reason: str, user_id: str | None = None
    ) -> None:
        super().__init__(reason)
        self.status = status
        self.code = code
        self.public_reason = public_reason
        self.reason = reason
        self.user_id = user_id


@frozen
class Request:
    """What of a handshake matters here.

    :ivar path: the URL's path, still encoded.
    :ivar headers: names in lower case.
    :ivar query: the URL's parameters, decoded.
    """

    path: str
    headers: Mapping[str, str] = field(repr=False)
    query: Mapping[str, Sequence[str]] = field(repr=False)


@frozen
class Authorization:
    """Somebody may come in: into which room, as whom, to do what, on the strength of what."""

    room: str
    session: Session
    access: Access
    credential: Credential


class Authorizer:
    """Decides over handshakes, or whether a decision still holds."""

    def __init__(
        self,
        reactor: IReactorTime,
        routing: RoutingSettings,
        cookie_prefix: str,
        origins: OriginPolicy,
        sessions: Sessions,
        access_list: AccessList,
        lookups: FairSemaphore,
        timeout: float,
    ) -> None:
        """:param cookie_prefix: what the session cookie's name begins with.
        :param lookups: limits how many lookups run at once.
        :param timeout: how many seconds a decision may take, the wait for a lookup included.
        """
        self._reactor = reactor
        self._routing = routing
        self._cookie_prefix = cookie_prefix
        self._origins = origins
        self._sessions = sessions
        self._access_list = access_list
        self._lookups = lookups
        self._timeout = timeout

    def room_of(self, path: str) -> str:
        """The room that a URL's path names; the empty string if it names none."""
        prefix = self._routing.ws_path_prefix + "/"
        name = unquote_to_bytes(path[len(prefix) :].encode("latin-1"))
        return name.decode("utf-8", "replace") if path.startswith(prefix) else ""

    def credential_of(self, request: Request) -> Credential | None:
        """The credential that a handshake carries, if any.

        :raises Denied: if it is a cookie that the browser added on behalf of a foreign page.
        """
        credential = find_credential(request.headers, request.query, self._cookie_prefix)
        origin = request.headers.get("origin")
        if (
            credential is not None
            and credential.source is Source.COOKIE
            and origin is not None
            and not self._origins.allows(origin)
        ):
            raise Denied(403, CloseCode.FORBIDDEN, "forbidden origin", f"foreign origin {origin[:200]}")
        return credential

    async def decide(self, room: str, credential: Credential | None, requester: Requester) -> Authorization:
        """Decide over a room and a credential, wherever they came from.

        :param asker: who waits for the answer.
        :raises Denied: if the answer is no, or cannot be found out.
        """
        try:
            token = self._sessions.token_of(credential)
        except Unauthenticated as error:
            raise _unauthenticated(error) from error
        assert credential is not None, "it has a token"
        began = self._reactor.seconds()
        await self._take_turn(requester)
        undecided: Deferred[Authorization | None] = Deferred.fromCoroutine(self._look_up(room, credential, token))
        # Not before the database has answered, however long somebody waits for it here.
        undecided.addBoth(self._end_turn)
        left = self._timeout - (self._reactor.seconds() - began)
        authorization = await wait_at_most(self._reactor, undecided, max(left, 0), None)
        if authorization is None:
            raise _unavailable(f"the database did not answer within {self._timeout:g} s")
        return authorization

    async def _take_turn(self, requester: Requester) -> None:
        turn = self._lookups.take(requester)
        if await wait_at_most(self._reactor, turn, self._timeout, False):
            return
        if not turn.called:
            turn.cancel()
            raise _unavailable(f"no turn to be looked up within {self._timeout:g} s")
        raise _unavailable("the client did not wait" if requester.gone else "too many wait to be looked up")

    def _end_turn(self, result: _T) -> _T:
        self._lookups.end()
        return result

    async def _look_up(self, room: str, credential: Credential, token: str) -> Authorization | None:
        try:
            session = await self._sessions.verify(token)
            access = await self._access_list.access(room, session.user_id)
        except Unauthenticated as error:
            raise _unauthenticated(error) from error
        except DatabaseUnavailable as error:
            raise _unavailable(str(error)) from error
        if why_not := room_name_problem(room, self._routing.room_prefix):
            # This follows from the name alone.
            public = f"forbidden: {why_not}"
            raise Denied(403, CloseCode.FORBIDDEN, public, why_not, session.user_id)
        if access is Access.NONE:
            # The same answer whether the diagram exists or not.
            raise Denied(403, CloseCode.FORBIDDEN, "forbidden", "no role in this room", session.user_id)
        return Authorization(room, session, access, credential)


def _unauthenticated(error: Unauthenticated) -> Denied:
    return Denied(401, CloseCode.UNAUTHORIZED, "unauthorized", error.reason)


def _unavailable(reason: str) -> Denied:
    return Denied(503, CloseCode.TRY_AGAIN_LATER, "try again later", reason)
