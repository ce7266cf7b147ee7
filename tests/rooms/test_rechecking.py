"""What a recheck does to connections: by the verdict, and by what has happened to them meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import pytest
from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from canvas_collab.access.authentication import Credential, Session, Source
from canvas_collab.access.authorization import Authorization, Authorizer, Denied
from canvas_collab.access.batch_authorization import BatchAuthorizer, Claim, Verdict
from canvas_collab.access.roles import Access
from canvas_collab.config.connections import ConnectionLimits
from canvas_collab.database.errors import DatabaseUnavailable, InvalidValue
from canvas_collab.protocol.close_codes import CloseCode
from canvas_collab.rooms.channel import Channel
from canvas_collab.rooms.commits import JournalState
from canvas_collab.rooms.connection import Connection
from canvas_collab.rooms.rechecking import FIRST_BATCH, MAX_BATCH, MIN_BATCH, Rechecker
from canvas_collab.scheduling import make_cooperator
from tests.support.rooms import make_room

RENEW_BEFORE = 120.0

FORBIDDEN = Denied(403, CloseCode.FORBIDDEN, "forbidden", "no role in this room")
LATER = Denied(503, CloseCode.TRY_AGAIN_LATER, "try again later", "the database did not answer")


class RecordingChannel:
    """A channel that records what it is told; it counts as the socket."""

    client, protocol, acknowledges, is_closing = "127.0.0.1", "staged", True, False

    def __init__(self) -> None:
        self.requester = self
        self.calls: list[object] = []

    def offer(self, message: object) -> bool:
        return True

    def send(self, message: object) -> None:
        pass

    def close(self, denied: Denied) -> None:
        self.calls.append(denied)

    def access_changed(self) -> None:
        self.calls.append("access changed")

    def ask_for_token(self) -> None:
        self.calls.append("asked for token")


class StagedAuthorizers:
    """Gives each token the verdict that a test has set; an authorizer for many, and :attr:`alone` for one."""

    def __init__(self, clock: Clock) -> None:
        self.verdicts: dict[str, Authorization | Exception] = {}
        self.batches: list[int] = []
        self.asked_alone: list[str] = []
        #: What the query of a batch waits for.
        self.answer: Deferred[None] | None = None
        self.seconds = 0.0
        self._clock = clock

    async def authorize(self, claims: Sequence[Claim]) -> list[Verdict]:
        self.batches.append(len(claims))
        self._clock.rightNow += self.seconds
        verdicts = [self.verdicts[credential.text] for _, credential in claims]
        if self.answer is not None:
            await self.answer
        for verdict in verdicts:
            if not isinstance(verdict, (Authorization, Denied)):
                raise verdict
        return cast(list[Verdict], verdicts)


class Alone:
    """An authorizer of one connection."""

    def __init__(self, staged: StagedAuthorizers) -> None:
        self._staged = staged

    async def authorize(self, room: str, credential: Credential, requester: object) -> Authorization:
        self._staged.asked_alone.append(credential.text)
        verdict = self._staged.verdicts[f"{credential.text} alone"]
        if isinstance(verdict, Authorization):
            return verdict
        raise verdict


class Stage:
    def __init__(self) -> None:
        self.clock = Clock()
        self.authorizers = StagedAuthorizers(self.clock)
        self.rechecker = Rechecker(
            self.clock,
            cast(BatchAuthorizer, self.authorizers),
            cast(Authorizer, Alone(self.authorizers)),
            make_cooperator(self.clock),
            RENEW_BEFORE,
        )
        self.room = make_room(self.clock)

    def connect(self, token: str, verdict: Authorization | Exception | None = None) -> tuple[Connection, list[object]]:
        """Return a connection that may write, and what its channel is told; `verdict` is that of the next recheck."""
        channel = RecordingChannel()
        limits, journal = ConnectionLimits(), cast(JournalState, None)
        connection = Connection(cast(Channel, channel), self.room, permitted(token), journal, limits)
        self.authorizers.verdicts[token] = verdict or permitted(token)
        return connection, channel.calls

    def recheck(self, *connections: Connection, asks: bool = False) -> Deferred[list[Connection]]:
        rechecking = Deferred.fromCoroutine(self.rechecker.recheck(dict.fromkeys(connections, asks)))
        self.clock.pump([0.0] * 10)
        return rechecking


def permitted(token: str, access: Access = Access.WRITE, expires_in: float = 3600.0) -> Authorization:
    return Authorization("room", Session("user", token, expires_in), access, Credential(token, Source.QUERY))


def result(deferred: Deferred[list[Connection]]) -> list[Connection]:
    """The result of a Deferred that has fired."""
    results: list[list[Connection]] = []
    deferred.addCallback(results.append)
    assert results, "it has not fired"
    return results[0]


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_a_denied_connection_is_closed_and_a_changed_role_applies(stage: Stage) -> None:
    denied, told_denied = stage.connect("denied", FORBIDDEN)
    reader, told_reader = stage.connect("reader", permitted("reader", Access.READ))
    same, told_same = stage.connect("same")
    assert result(stage.recheck(denied, reader, same)) == []
    assert (told_denied, told_reader, told_same) == ([FORBIDDEN], ["access changed"], [])
    assert not reader.may_write
    assert same.may_write
    assert stage.authorizers.batches == [3]


@pytest.mark.parametrize(
    ("expires_in", "asks", "told"), [(60, True, ["asked for token"]), (60, False, []), (3600, True, [])]
)
def test_a_client_is_asked_for_a_token_if_its_session_ends_soon(
    stage: Stage, expires_in: float, asks: bool, told: list[object]
) -> None:
    connection, calls = stage.connect("token", permitted("token", expires_in=expires_in))
    stage.recheck(connection, asks=asks)
    assert calls == told


def test_a_connection_whose_session_was_given_to_another_user_is_closed(stage: Stage) -> None:
    verdict = permitted("token", Access.READ)
    connection, calls = stage.connect("token", evolve(verdict, session=evolve(verdict.session, user_id="another")))
    stage.recheck(connection, asks=True)
    [denied] = calls
    assert isinstance(denied, Denied)
    assert (denied.code, denied.user_id) == (CloseCode.UNAUTHORIZED, "user")


def test_a_verdict_about_an_older_token_has_no_effect_and_the_connection_is_due_again(stage: Stage) -> None:
    connection, calls = stage.connect("old", FORBIDDEN)
    stage.authorizers.answer = Deferred()
    rechecking = stage.recheck(connection)
    connection.credential = Credential("new", Source.MESSAGE)
    stage.authorizers.answer.callback(None)
    stage.clock.pump([0.0] * 10)
    assert result(rechecking) == [connection]
    assert calls == []


@pytest.mark.parametrize("when", ["before", "during"])
def test_a_connection_that_has_left_is_not_acted_on(stage: Stage, when: str) -> None:
    connection, calls = stage.connect("token", FORBIDDEN)
    connection.join()
    if when == "before":
        connection.leave()
    stage.authorizers.answer = Deferred()
    rechecking = stage.recheck(connection)
    if when == "during":
        connection.leave()
    stage.authorizers.answer.callback(None)
    stage.clock.pump([0.0] * 10)
    assert result(rechecking) == []
    assert calls == []
    assert stage.authorizers.batches == ([] if when == "before" else [1])


def test_while_the_database_is_away_nothing_changes_and_batches_become_smaller(stage: Stage) -> None:
    connection, calls = stage.connect("token", DatabaseUnavailable("away"))
    failures: list[object] = []
    for size in (FIRST_BATCH // 2, FIRST_BATCH // 4):
        stage.recheck(connection).addErrback(lambda failure: failures.append(failure.type))
        assert stage.rechecker.batch_size == size
    assert failures == [DatabaseUnavailable] * 2
    assert calls == []


@pytest.mark.parametrize(("alone", "told"), [(FORBIDDEN, [FORBIDDEN]), (LATER, []), (RuntimeError("a bug"), [])])
def test_a_connection_that_makes_the_query_fail_is_decided_alone(
    stage: Stage, alone: Exception, told: list[object]
) -> None:
    failing, calls = stage.connect("failing", InvalidValue("not a uuid"))
    stage.authorizers.verdicts["failing alone"] = alone
    others = [stage.connect(f"other {number}", FORBIDDEN) for number in range(9)]
    connections = [connection for connection, _ in others]
    assert result(stage.recheck(*connections[:4], failing, *connections[4:])) == []
    assert calls == told
    assert [calls for _, calls in others] == [[FORBIDDEN]] * 9
    assert stage.authorizers.asked_alone == ["failing"]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.0, lambda size: size * 2), (0.02, lambda size: size), (0.2, lambda size: size // 2)],
)
def test_batches_become_larger_or_smaller_by_how_long_queries_take(
    stage: Stage, seconds: float, expected: Callable[[int], int]
) -> None:
    stage.authorizers.seconds = seconds
    connections = [stage.connect(f"{number}")[0] for number in range(FIRST_BATCH)]
    stage.recheck(*connections)
    assert stage.rechecker.batch_size == expected(FIRST_BATCH)
    for _ in range(10):
        stage.recheck(*connections[: stage.rechecker.batch_size])
    assert MIN_BATCH <= stage.rechecker.batch_size <= MAX_BATCH


def test_a_recheck_of_a_session_that_was_extended_changes_nothing(stage: Stage) -> None:
    connection, calls = stage.connect("token")
    verdict = stage.authorizers.verdicts["token"]
    assert isinstance(verdict, Authorization)
    stage.authorizers.verdicts["token"] = evolve(verdict, session=evolve(verdict.session, expires_in=10**6))
    stage.recheck(connection, asks=True)
    assert calls == []
