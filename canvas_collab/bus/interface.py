"""The interface of the bus: what carries messages between daemons, at most once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred


class BusListener(Protocol):
    """What is told of the messages that arrive."""

    def received(self, channel: str, data: bytes) -> None:
        """Called with every message on a channel that is subscribed to, those of this daemon included."""

    def missed(self) -> None:
        """Called when messages on any channel may have been missed, and others arrive again."""


class Bus(Service, ABC):
    """Carries messages to all daemons that subscribe to their channel.

    Messages that one daemon publishes on one channel arrive in that order, or not at all: those that the bus cannot
    take are dropped.
    """

    #: Told of the messages; set before the bus starts.
    listener: BusListener

    @property
    @abstractmethod
    def problem(self) -> str | None:
        """Why messages are not carried; None if they are."""

    @abstractmethod
    def publish(self, channel: str, data: bytes) -> Deferred[int]:
        """Publish a message; fires with how many subscribers there were, 0 if it could not be published."""

    @abstractmethod
    def subscribe(self, channel: str) -> Deferred[bool]:
        """Receive what is published on a channel from now on; fires with whether that is so already.

        The subscription lasts until :meth:`unsubscribe`, over losses of the connection.
        """

    @abstractmethod
    def unsubscribe(self, channel: str) -> None:
        """Receive no more messages on a channel."""
