"""The interface between a connection and the protocol that carries its messages."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Protocol, TypeAlias

from canvas_collab.access.authorization import Denied
from canvas_collab.access.fair_semaphore import Requester
from canvas_collab.protocol.update import Update
from canvas_collab.rooms.prepared_message import PreparedMessage

#: Yields a message when it is to be sent, and None at the end of a step of its preparation.
Messages: TypeAlias = Generator[PreparedMessage | None, None, None]


class Pacable(Protocol):
    """A large answer whose messages are sent one by one."""

    #: How many bytes the client receives in a second; None if that is not known yet.
    rate: float | None

    def messages(self) -> Messages:
        """Iterate over the messages."""


class Channel(Protocol):
    """Sends the messages of one connection to its client, in the protocol that the client speaks."""

    @property
    def requester(self) -> Requester:
        """The client's socket, on whose behalf sessions and documents are loaded."""

    @property
    def client(self) -> str:
        """The client's address, for the event log."""

    @property
    def protocol(self) -> str:
        """The name of the client's protocol, for the event log."""

    @property
    def acknowledges(self) -> bool:
        """Whether the client is sent an acknowledgement or a refusal for each of its updates."""

    def send(self, message: PreparedMessage) -> None:
        """Send a message of y-protocols."""

    def offer(self, message: PreparedMessage) -> bool:
        """Send a message of y-protocols unless the client is under backpressure; return whether it was sent."""

    def send_paced(self, answer: Pacable) -> None:
        """Send the messages of a large answer, no faster than the client receives them."""

    def download_ended(self) -> None:
        """Called when all messages of a large answer have been sent."""

    def send_stateless(self, message: PreparedMessage) -> None:
        """Send a stateless message, if the protocol has them."""

    def edit_accepted(self, update: Update) -> None:
        """Called when an update of the client was merged into the document and appended to the journal."""

    def access_changed(self) -> None:
        """Called when the user's access to the room has changed."""

    def ask_for_token(self) -> None:
        """Ask the client for a newer token, as its session expires soon, if the protocol can."""

    def pause_reading_until(self, subscribe: Callable[[Callable[[], None]], None]) -> None:
        """Stop reading from the client until an event, for a second at most.

        :param subscribe: called with a callback, which it has to call when the event happens.
        """

    def close(self, denied: Denied) -> None:
        """Close the connection, as the client may not keep it."""
