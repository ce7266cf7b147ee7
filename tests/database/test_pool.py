"""The connection pool."""

from __future__ import annotations

from twisted.internet.task import Clock

from canvas_collab.database.pool import Database


def test_a_connected_connection_is_taken_before_one_that_is_being_reconnected() -> None:
    connections = Database(Clock(), "postgresql://nobody@nowhere/nothing", 4)._pool.connections
    for count in range(1, 5):
        list(connections)[count - 1].detector.connectionIsDead = count < 4
    [alive] = [one for one in connections if not one.detector.connectionIsDead]
    assert connections.pop() is alive
    assert alive not in connections
    assert connections.pop().detector.connectionIsDead
