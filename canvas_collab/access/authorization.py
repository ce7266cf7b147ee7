"""Authorization: whether the user behind a credential may open a room, and with which access."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar
from urllib.parse import unquote_to_bytes

from attrs import field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from canvas_collab.access.access_list import AccessList
from canvas_collab.access.authentication import Credential, Session, Sessions, Source, Unauthenticated, find_credential
from canvas_collab.access.fair_semaphore import FairSemaphore, Requester
from canvas_collab.access.origins import OriginPolicy
from canvas_collab.access.roles import Access, room_name_problem
from canvas_collab.config.application import RoutingSettings
from canvas_collab.database.errors import DatabaseUnavailable
from canvas_collab.protocol.close_codes import CloseCode
from canvas_collab.timeouts import wait_at_most

_T = TypeVar("_T")


class Denied(Exception):
    """Raised when a client may not open a room, or not now.

    The client receives `status` (HTTP) or `code` (WebSocket) with `public_reason`; `reason` is for the event log and
    may say more.
    """

    def __init__(
        self, status: int, code: CloseCode, public_reason: str, reason: str, user_id: str | None = None
    ) -> None:
        super().__init__(reason)
        self.status = status
        self.code = code
        self.public_reason = public_reason
        self.reason = reason
        self.user_id = user_id

    @property
    def detailed_public_reason(self) -> str:
        """`public_reason`, and `reason` where that reveals nothing about the server or about other users' documents."""
        if self.status not in (401, 403) or self.public_reason.endswith(self.reason):
            return self.public_reason
        return f"{self.public_reason}: {self.reason}"


@frozen
class Request:
    """The parts of a handshake that authentication and routing need.

    :ivar path: the URL's path, still percent-encoded.
    :ivar headers: the headers, names in lower case.
    :ivar query: the decoded parameters of the URL.
    """

    path: str
    headers: Mapping[str, str] = field(repr=False)
    query: Mapping[str, Sequence[str]] = field(repr=False)


@frozen
class Authorization:
    """The permission to open a room: for which session, with which access, and for which credential it was granted."""

    room: str
    session: Session
    access: Access
    credential: Credential


class Authorizer:
    """Authorizes credentials for rooms: those of new connections, and again those of open ones."""

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
        """:param cookie_prefix: what the name of the session cookie begins with.
        :param lookups: limits how many lookups run at once.
        :param timeout: how many seconds an authorization may take, including the wait for the semaphore.
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
        """Return the name of the room in a URL's path, or the empty string if there is none."""
        prefix = self._routing.ws_path_prefix + "/"
        name = unquote_to_bytes(path[len(prefix) :].encode("latin-1"))
        return name.decode("utf-8", "replace") if path.startswith(prefix) else ""

    def credential_of(self, request: Request) -> Credential | None:
        """Return the credential that a handshake carries, or None.

        :raises Denied: if it is a cookie that the browser sent for a page of another origin.
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

    async def authorize(self, room: str, credential: Credential | None, requester: Requester) -> Authorization:
        """Return what a credential permits in a room.

        :param requester: the socket that waits for the result.
        :raises Denied: if the credential does not permit to open the room, or the lookup fails.
        """
        try:
            token = self._sessions.token_of(credential)
        except Unauthenticated as error:
            raise denied_unauthenticated(error) from error
        assert credential is not None, "it has a token"
        started = self._reactor.seconds()
        await self._acquire_lookup(requester)
        lookup: Deferred[Authorization | None] = Deferred.fromCoroutine(self._look_up(room, credential, token))
        # After a timeout the query still runs: the semaphore is released only when the database has answered.
        lookup.addBoth(self._release_lookup)
        remaining = self._timeout - (self._reactor.seconds() - started)
        authorization = await wait_at_most(self._reactor, lookup, max(remaining, 0), None)
        if authorization is None:
            raise _unavailable(f"the database did not answer within {self._timeout:g} s")
        return authorization

    async def _acquire_lookup(self, requester: Requester) -> None:
        acquired = self._lookups.acquire(requester)
        if await wait_at_most(self._reactor, acquired, self._timeout, False):
            return
        if not acquired.called:
            acquired.cancel()
            raise _unavailable(f"no lookup within {self._timeout:g} s")
        raise _unavailable("the client did not wait" if requester.is_closing else "too many lookups wait")

    def _release_lookup(self, result: _T) -> _T:
        self._lookups.release()
        return result

    async def _look_up(self, room: str, credential: Credential, token: str) -> Authorization | None:
        try:
            session = await self._sessions.verify(token)
            access = await self._access_list.access(room, session.user_id)
        except Unauthenticated as error:
            raise denied_unauthenticated(error) from error
        except DatabaseUnavailable as error:
            raise _unavailable(str(error)) from error
        return permit(room, self._routing.room_prefix, session, access, credential)


def permit(room: str, room_prefix: str, session: Session, access: Access, credential: Credential) -> Authorization:
    """Return the authorization for a room, after a session and its user's access were looked up.

    :raises Denied: if there is no such room, or no access to it.
    """
    if problem := room_name_problem(room, room_prefix):
        # The client may be told: this depends on the name alone, not on which diagrams exist.
        raise Denied(403, CloseCode.FORBIDDEN, f"forbidden: {problem}", problem, session.user_id)
    if access is Access.NONE:
        # The same response whether or not the diagram exists.
        raise Denied(403, CloseCode.FORBIDDEN, "forbidden", "no role in this room", session.user_id)
    return Authorization(room, session, access, credential)


def denied_unauthenticated(error: Unauthenticated) -> Denied:
    """Return the denial of a credential without a valid session."""
    return Denied(401, CloseCode.UNAUTHORIZED, "unauthorized", error.reason)


def _unavailable(reason: str) -> Denied:
    return Denied(503, CloseCode.TRY_AGAIN_LATER, "try again later", reason)
