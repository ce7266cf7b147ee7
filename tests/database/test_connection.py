"""Connections reconnect themselves, give up attempts that are not answered, and detect an unreachable server."""

from __future__ import annotations

import socket

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread

from canvas_collab.database import connection
from canvas_collab.database.connection import FIRST_RECONNECT_DELAY, LONGEST_RECONNECT_DELAY, reconnect_delays
from canvas_collab.database.errors import DatabaseUnavailable
from canvas_collab.database.pool import Database

#: The server sees the next attempt to connect within so many seconds.
SOON = 10.0


def test_the_first_attempt_to_reconnect_is_made_at_once_and_delays_grow_at_random() -> None:
    delays, others = reconnect_delays(), reconnect_delays()
    assert next(delays) == next(others) == 0
    longest = FIRST_RECONNECT_DELAY
    first = [next(delays) for _ in range(10)]
    for delay in first:
        assert longest / 2 <= delay <= longest
        longest = min(2 * longest, LONGEST_RECONNECT_DELAY)
    assert longest == LONGEST_RECONNECT_DELAY
    assert first != [next(others) for _ in range(10)]


@pytest_twisted.ensureDeferred
async def test_an_attempt_to_connect_that_is_not_answered_is_aborted_and_followed_by_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "CONNECT_TIMEOUT", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(SOON)
        database = Database(reactor, f"postgresql://nobody@127.0.0.1:{silent.getsockname()[1]}/nothing", 1)
        accepted: list[socket.socket] = []
        database.startService()
        try:
            for _ in range(3):
                # The server keeps it open and never answers.
                client, _address = await deferToThread(silent.accept)
                accepted.append(client)
            with pytest.raises(DatabaseUnavailable):
                await database.query("SELECT 1")
        finally:
            database.stopService()
            for client in accepted:
                client.close()


@pytest.mark.parametrize(
    ("query", "expected"), [("", "tcp_user_timeout=30000"), ("?tcp_user_timeout=7", "tcp_user_timeout=7")]
)
def test_keepalive_parameters_are_set_unless_the_url_has_others(query: str, expected: str) -> None:
    [dsn] = Database(Clock(), f"postgresql://nobody@nowhere/nothing{query}", 1)._pool.connargs
    assert expected in dsn.split()
    assert "keepalives_idle=10" in dsn.split()
