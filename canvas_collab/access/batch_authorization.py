"""Authorizing many open connections with one query: their sessions by token, and their roles by diagram and user."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from twisted.internet.task import Cooperator

from canvas_collab.access.access_list import AccessList
from canvas_collab.access.authentication import Credential, Sessions, Unauthenticated, session_of
from canvas_collab.access.authorization import Authorization, Denied, denied_unauthenticated, permit
from canvas_collab.access.roles import diagram_of
from canvas_collab.database.catalogue import Catalogue
from canvas_collab.database.pool import Database, Row
from canvas_collab.protocol.steps import Steps
from canvas_collab.scheduling import run

#: How many connections are handled in one step before and after the query, which is well under a millisecond's work.
CONNECTIONS_PER_STEP = 16

#: A room, and the credential that is to open it.
Claim: TypeAlias = tuple[str, Credential]

Verdict: TypeAlias = Authorization | Denied


class BatchAuthorizer:
    """Decides for many rooms and credentials as an :class:`.Authorizer` does for one."""

    def __init__(
        self,
        database: Database,
        catalogue: Catalogue,
        sessions: Sessions,
        access_list: AccessList,
        room_prefix: str,
        cooperator: Cooperator,
    ) -> None:
        self._database = database
        self._select = catalogue.batch_query
        self._sessions = sessions
        self._access_list = access_list
        self._prefix = room_prefix
        self._cooperator = cooperator

    async def authorize(self, claims: Sequence[Claim]) -> list[Verdict]:
        """Return an authorization or a denial for each claim.

        :raises DatabaseUnavailable: if the database does not answer.
        :raises Exception: if the query fails; it may succeed without the one claim whose values make it fail.
        """
        tokens = await run(self._cooperator, self._read_tokens(claims))
        parameters = {
            "tokens": [token if isinstance(token, str) else None for token in tokens],
            "diagrams": [diagram_of(room, self._prefix) for room, _ in claims],
        }
        rows = await self._database.query(self._select, parameters)
        return await run(self._cooperator, self._decide(claims, tokens, rows))

    def _read_tokens(self, claims: Sequence[Claim]) -> Steps[list[str | Denied]]:
        tokens: list[str | Denied] = []
        for _, credential in claims:
            try:
                tokens.append(self._sessions.token_of(credential))
            except Unauthenticated as error:
                tokens.append(denied_unauthenticated(error))
            if len(tokens) % CONNECTIONS_PER_STEP == 0:
                yield
        return tokens

    def _decide(
        self, claims: Sequence[Claim], tokens: Sequence[str | Denied], rows: Sequence[Row]
    ) -> Steps[list[Verdict]]:
        found = {row[0]: row[1:] for row in rows}
        verdicts: list[Verdict] = []
        for number, ((room, credential), token) in enumerate(zip(claims, tokens, strict=True), 1):
            if isinstance(token, Denied):
                verdicts.append(token)
            else:
                verdicts.append(self._verdict(room, credential, token, found.get(number)))
            if number % CONNECTIONS_PER_STEP == 0:
                yield
        return verdicts

    def _verdict(self, room: str, credential: Credential, token: str, row: Row | None) -> Verdict:
        """:param row: of the query, without the number; None if there is none."""
        try:
            session = session_of(token, [row[:2]] if row is not None else [])
            roles = row[2] if row is not None else []
            access = self._access_list.access_of(room, session.user_id, roles)
            return permit(room, self._prefix, session, access, credential)
        except Unauthenticated as error:
            return denied_unauthenticated(error)
        except Denied as denied:
            return denied
