"""The bus on Valkey or Redis: a connection that publishes, and one that subscribes, both opened again when lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import txredisapi
from twisted.application.internet import ClientService
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.ssl import optionsForClientTLS
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from canvas_collab.backoff import Backoff
from canvas_collab.bus.interface import Bus, BusListener
from canvas_collab.config.bus import ValkeyAddress

#: The bounds of the delays after which a connection is tried again, in seconds.
FIRST_RETRY_DELAY = 0.1
LONGEST_RETRY_DELAY = 2.0

#: A server that has not answered for so many seconds counts as away; it is asked in this interval.
ANSWER_TIMEOUT = 5.0
PING_INTERVAL = 5.0

#: How many messages, and bytes of them, the server may not have answered yet; more are dropped.
MAX_UNANSWERED = 10_000
MAX_UNANSWERED_BYTES = 2**25


class _Connections(Factory):
    """Makes the connections of one kind, and remembers why signing in has failed."""

    noisy = False
    #: Read by the connections of txredisapi.
    isLazy = False

    def __init__(self, protocol: Callable[..., Any], address: ValkeyAddress) -> None:
        self._make = protocol
        self._address = address
        self.sign_in_problem: str | None = None

    def buildProtocol(self, address: object) -> Any:
        """Make a connection."""
        self.sign_in_problem = None
        connection = self._make(
            charset=None,
            replyTimeout=ANSWER_TIMEOUT,
            password=self._address.password,
            username=self._address.user,
            convertNumbers=False,
        )
        connection.factory = self
        return connection

    def stopTrying(self) -> None:
        """Called by a connection that could not sign in; trying goes on, as the server may be set up meanwhile."""

    def connectionError(self, reason: str) -> None:
        """Called by a connection that could not sign in."""
        self.sign_in_problem = reason


class _Subscriber(txredisapi.SubscriberProtocol):  # type: ignore[misc]
    """The connection that subscribes."""

    listener: BusListener

    def messageReceived(self, pattern: object, channel: bytes, message: bytes) -> None:
        """A message has arrived."""
        self.listener.received(channel.decode("utf-8", "replace"), message)


class ValkeyBus(Bus):
    """The bus on one Valkey or Redis server."""

    log = Logger()

    def __init__(self, reactor: Any, address: ValkeyAddress) -> None:
        self._channels: set[str] = set()
        # The open connections, if they are.
        self._publisher: Any = None
        self._subscriber: Any = None
        # Whether all subscriptions are confirmed, and whether a connection was lost since messages were carried.
        self._is_subscribed = False
        self._may_have_missed = False
        self._unanswered_bytes = 0
        self._failure: str | None = "not connected yet"
        self._publishing = self._client(reactor, address, txredisapi.RedisProtocol, self._publisher_ready)
        self._subscribing = self._client(reactor, address, self._make_subscriber, self._subscriber_ready)
        self._pings = LoopingCall(self._ping)
        self._pings.clock = reactor

    def _client(
        self, reactor: Any, address: ValkeyAddress, protocol: Callable[..., Any], ready: Callable[[Any], object]
    ) -> ClientService:
        """A service that keeps one connection open."""
        endpoint: IStreamClientEndpoint = HostnameEndpoint(reactor, address.host, address.port)
        if address.is_tls:
            endpoint = wrapClientTLS(optionsForClientTLS(address.host), endpoint)
        factory = _Connections(protocol, address)
        backoff = Backoff(FIRST_RETRY_DELAY, LONGEST_RETRY_DELAY)

        def delay(attempt: int) -> float:
            if attempt <= 1:
                backoff.reset()
            return backoff.next_delay()

        async def signed_in(connection: Any) -> None:
            outcome: Deferred[bool] = Deferred()

            def end(is_signed_in: bool) -> None:
                if not outcome.called:
                    outcome.callback(is_signed_in)

            connection.whenConnected().addCallback(lambda _: end(True))
            connection.whenDisconnected().addCallback(lambda _: end(False))
            if not await outcome:
                raise ConnectionError(factory.sign_in_problem or "the connection was closed at once")
            ready(connection)

        def prepare(connection: Any) -> Deferred[None]:
            return Deferred.fromCoroutine(signed_in(connection)).addErrback(self._failed)

        return ClientService(endpoint, factory, delay, reactor, prepare)

    def _make_subscriber(self, **options: Any) -> _Subscriber:
        subscriber = _Subscriber(**options)
        subscriber.listener = self.listener
        return subscriber

    @property
    def problem(self) -> str | None:
        """Why messages are not carried; None if they are."""
        return None if self._failure is None else f"the bus cannot be used: {self._failure}"

    def startService(self) -> None:
        """Connect."""
        Service.startService(self)
        for client in (self._publishing, self._subscribing):
            client.startService()
            client.whenConnected(failAfterFailures=1).addErrback(self._failed).addErrback(lambda _: None)
        self._pings.start(PING_INTERVAL, now=False)

    def stopService(self) -> Deferred[Any]:
        """Disconnect, after what was published is sent."""
        Service.stopService(self)
        self._pings.stop()
        return self._publishing.stopService().addCallback(lambda _: self._subscribing.stopService())

    def publish(self, channel: str, data: bytes) -> Deferred[int]:
        """Publish a message; fires with how many subscribers there were, 0 if it could not be published."""
        connection = self._publisher
        if (
            connection is None
            or len(connection.replyQueue.waiting) >= MAX_UNANSWERED
            or self._unanswered_bytes > MAX_UNANSWERED_BYTES
        ):
            return succeed(0)
        self._unanswered_bytes += len(data)

        def answered(count: Any) -> int:
            self._unanswered_bytes -= len(data)
            return count if isinstance(count, int) else 0

        published: Deferred[int] = connection.publish(channel, data)
        return published.addBoth(answered)

    def subscribe(self, channel: str) -> Deferred[bool]:
        """Receive what is published on a channel from now on; fires with whether that is so already."""
        self._channels.add(channel)
        if self._subscriber is None:
            return succeed(False)
        subscribed: Deferred[Any] = self._subscriber.subscribe(channel)
        return subscribed.addCallbacks(lambda _: True, lambda _: False)

    def unsubscribe(self, channel: str) -> None:
        """Receive no more messages on a channel."""
        self._channels.discard(channel)
        if self._subscriber is not None:
            self._subscriber.unsubscribe(channel).addErrback(lambda _: None)

    def _publisher_ready(self, connection: Any) -> None:
        self._publisher = connection
        connection.whenDisconnected().addCallback(lambda _: self._publisher_lost(connection))
        self._update()

    def _publisher_lost(self, connection: Any) -> None:
        if self._publisher is connection:
            self._publisher = None
            self._lost()

    def _subscriber_ready(self, connection: Any) -> None:
        self._subscriber = connection
        connection.whenDisconnected().addCallback(lambda _: self._subscriber_lost(connection))
        for channel in self._channels:
            connection.subscribe(channel).addErrback(lambda _: None)
        # Answered after the subscriptions.
        connection.ping().addCallbacks(lambda _: self._subscribed(connection), lambda _: None)

    def _subscribed(self, connection: Any) -> None:
        if self._subscriber is connection:
            self._is_subscribed = True
            self._update()

    def _subscriber_lost(self, connection: Any) -> None:
        if self._subscriber is connection:
            self._subscriber = None
            self._is_subscribed = False
            self._lost()

    def _lost(self) -> None:
        if self.running:
            self._may_have_missed = True
            self._set_failure("the connection was lost")

    def _failed(self, failure: Failure) -> Failure:
        if self.running:
            self._set_failure(" ".join(failure.getErrorMessage().split()) or type(failure.value).__name__)
        return failure

    def _update(self) -> None:
        if self._publisher is None or not self._is_subscribed:
            return
        self._set_failure(None)
        if self._may_have_missed:
            self._may_have_missed = False
            self.listener.missed()

    def _set_failure(self, failure: str | None) -> None:
        had_failed, self._failure = self._failure, failure
        if failure is None:
            self.log.info("bus connected")
        elif had_failed is None or had_failed == "not connected yet":
            self.log.warn("bus lost", reason=failure)

    def _ping(self) -> None:
        """Find out whether the server still answers; a connection on which it does not is closed."""
        for connection in (self._publisher, self._subscriber):
            if connection is not None:
                connection.ping().addErrback(lambda _: None)
