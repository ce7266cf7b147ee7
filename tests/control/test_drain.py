"""When draining closes which client, on a clock of the test."""

from __future__ import annotations

from typing import Any, cast

import pytest
from twisted.application.service import Service
from twisted.internet.error import ReactorNotRunning
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from canvas_collab.control.drain import Drain
from canvas_collab.control.listener import REQUEST_TIMEOUT, ControlFactory
from canvas_collab.websocket.server import ServerFactory


class Reactor(Clock):
    """A clock that can be stopped, as a reactor."""

    stopped_at: float | None = None

    def stop(self) -> None:
        self.stopped_at = self.seconds()


class FakeClient:
    """A client that records when it was closed."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.closed_at: float | None = None

    def close_now(self, code: int, reason: str) -> None:
        assert int(code) == 1012
        self.closed_at = self._clock.seconds()


class FakeServer:
    def __init__(self, clients: list[FakeClient]) -> None:
        self.clients = set(clients)


def drain_of(reactor: Reactor, clients: list[FakeClient], listener: Service, started: list[bool]) -> Drain:
    return Drain(reactor, cast(ServerFactory, FakeServer(clients)), listener, lambda: started.append(True))


def test_clients_are_closed_evenly_over_the_time_and_then_the_daemon_stops() -> None:
    reactor = Reactor()
    clients = [FakeClient(reactor) for _ in range(100)]
    listener = Service()
    listener.startService()
    started: list[bool] = []
    drain = drain_of(reactor, clients, listener, started)
    assert drain.start(10) == 100
    assert started == [True]
    assert not listener.running
    with pytest.raises(RuntimeError):
        drain.start(10)
    reactor.pump([0.01] * 1010)
    times = sorted(client.closed_at or 0 for client in clients)
    assert all(number / 10 <= at <= (number + 1) / 10 + 0.02 for number, at in enumerate(times))
    assert reactor.stopped_at == pytest.approx(10, abs=0.02)


def test_clients_are_closed_in_another_order_than_they_came() -> None:
    orders = set()
    for _ in range(5):
        reactor = Reactor()
        clients = [FakeClient(reactor) for _ in range(20)]
        drain_of(reactor, clients, Service(), []).start(1)
        reactor.pump([0.001] * 1100)
        orders.add(tuple(sorted(range(20), key=lambda number: clients[number].closed_at or 0)))
    assert len(orders) > 1


def test_a_daemon_that_is_stopping_already_is_not_stopped_again() -> None:
    class Stopping(Reactor):
        def stop(self) -> None:
            raise ReactorNotRunning

    reactor = Stopping()
    drain_of(reactor, [], Service(), []).start(5)
    reactor.advance(0)


def test_a_command_that_sends_no_request_is_disconnected() -> None:
    reactor = Clock()
    factory = ControlFactory(reactor, cast(Any, None), cast(Any, None))
    protocol = factory.buildProtocol(cast(Any, None))
    transport = StringTransport()
    assert protocol is not None
    protocol.makeConnection(transport)
    reactor.advance(REQUEST_TIMEOUT - 0.1)
    assert not transport.disconnecting
    reactor.advance(0.2)
    assert transport.disconnected or transport.disconnecting
