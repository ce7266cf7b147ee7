"""A room: one live document, the connections to it, and the flush that sends everybody what happened."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar

from attrs import define, field, frozen
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from canvas_collab.awareness import Awareness
from canvas_collab.document import Document, merge_updates
from canvas_collab.pacing import Pace
from canvas_collab.protocol import awareness as awareness_format
from canvas_collab.protocol import sync
from canvas_collab.protocol.awareness import Entry
from canvas_collab.protocol.update import Update, encode_update

#: A message with a whole document is made anew when the document has changed; one with more bytes than this, when it
#: has grown by so much.
SMALL = 64 * 2**10
STALE_GROWTH = 1.1


@define
class Outgoing:
    """A message on its way to one client or to many; `frames` keeps its frames, by what was put in front of it."""

    payload: bytes
    frames: dict[bytes, bytes] = field(factory=dict)


@frozen
class _Whole:
    """A document's whole content as a message, as it was at some time."""

    message: Outgoing
    version: int
    size: int
    state_vector: bytes


class Member(Hashable, Protocol):
    """What a room asks of a connection to it."""

    @property
    def user_id(self) -> str:
        """Whose connection it is."""

    def send(self, message: Outgoing) -> None:
        """Send a message."""

    def send_stateless(self, message: Outgoing) -> None:
        """Send a stateless message."""


MemberT = TypeVar("MemberT", bound=Member)


class Room(Generic[MemberT]):
    """One live document.

    What comes in is queued, and flushed together: the updates merged to one, the awareness states collapsed to the
    latest of each client.
    """

    __slots__ = (
        "_awareness_news",
        "_call",
        "_is_from_elsewhere",
        "_journal",
        "_pace",
        "_reactor",
        "_senders",
        "_stateless",
        "_updates",
        "_whole",
        "_whole_is_wanted",
        "awareness",
        "document",
        "members",
        "name",
    )

    def __init__(
        self,
        reactor: IReactorTime,
        name: str,
        document: Document,
        awareness: Awareness,
        pace: Pace,
        journal: Callable[[str, str, bytes], None],
    ) -> None:
        """:param journal: keeps an update; takes the room's name, the user's id and the update."""
        self._reactor = reactor
        self.name = name
        self.document = document
        self.awareness = awareness
        self.members: set[MemberT] = set()
        self._pace = pace
        self._journal = journal
        self._updates: list[tuple[bytes, Update]] = []
        self._senders: set[MemberT] = set()
        self._is_from_elsewhere = False
        self._stateless: list[tuple[MemberT, Outgoing]] = []
        self._awareness_news: dict[int, Entry] = {}
        self._call: IDelayedCall | None = None
        self._whole: _Whole | None = None
        self._whole_is_wanted = False

    def join(self, member: MemberT) -> None:
        """A connection has opened."""
        self.members.add(member)

    def leave(self, member: MemberT) -> None:
        """A connection has ended: its awareness clients leave with it."""
        self.members.discard(member)
        self._announce(self.awareness.leave(member, self._reactor.seconds()))

    def edit(self, sender: MemberT, data: bytes, update: Update) -> None:
        """Take an update in, keep it, and pass it on to the others.

        :param data: the update as it came, which is how it is kept unless a part of it is known.
        :param update: the same, decoded.
        """
        if not update:
            return
        taken = self.document.apply(update)
        if not taken:
            return
        if taken is not update:
            # Nobody hears of two versions of a struct: clients would not agree which one counts, and may break on it.
            # And the log says of everything when it came, and from whom.
            data = encode_update(taken.runs, taken.deletions)
        self._journal(self.name, sender.user_id, data)
        self._updates.append((data, taken))
        self._senders.add(sender)
        self._schedule()

    def follow(self, update: Update) -> bool:
        """Take in what was edited elsewhere and is in the log already; returns whether it was news."""
        taken = self.document.apply(update)
        if taken:
            self._updates.append((encode_update(taken.runs, taken.deletions), taken))
            self._is_from_elsewhere = True
            self._schedule()
        return bool(taken)

    def show(self, sender: MemberT, entries: list[Entry]) -> list[Entry]:
        """Take awareness states in and pass on what is new; returns what the sender should be told.

        :raises Malformed: if a state is not JSON.
        :raises TooManyClients: if the sender announces too many.
        """
        news, corrections = self.awareness.apply(entries, sender, sender.user_id, self._reactor.seconds())
        self._announce(news)
        return corrections

    def whole(self) -> list[Outgoing]:
        """The messages that tell somebody everything who has nothing.

        The first, a step 2, is made once for many; what has come in since it was made is in a second.
        """
        document = self.document
        whole = self._whole
        self._whole_is_wanted = True
        if whole is None or self._is_stale(whole):
            message = Outgoing(sync.encode_step_2(document.encode()))
            whole = self._whole = _Whole(message, document.version, document.size, document.state_vector)
        if whole.version == document.version:
            return [whole.message]
        return [whole.message, Outgoing(sync.encode_update(document.lacking(whole.state_vector)))]

    def _is_stale(self, whole: _Whole) -> bool:
        has_changed = whole.version != self.document.version
        return has_changed and not SMALL < self.document.size <= whole.size * STALE_GROWTH

    def relay(self, sender: MemberT, message: Outgoing) -> None:
        """Pass a stateless message on to the others, after what was edited before it."""
        self._stateless.append((sender, message))
        self._schedule()

    def expire(self) -> None:
        """Take out awareness states that were not renewed, and what nobody has asked for since the last time."""
        self._announce(self.awareness.expire(self._reactor.seconds()))
        if not self._whole_is_wanted:
            self._whole = None
        self._whole_is_wanted = False

    def flush(self) -> None:
        """Send everybody what has come in since the last flush."""
        self._call = None
        started = self._reactor.seconds()
        updates, self._updates = self._updates, []
        senders, self._senders = self._senders, set()
        stateless, self._stateless = self._stateless, []
        news, self._awareness_news = self._awareness_news, {}
        if updates:
            [(data, update), *others] = updates
            if others:
                data = merge_updates([update, *(other for _, other in others)])
            message = Outgoing(sync.encode_update(data))
            # What only one has sent it knows already; what several have sent is told to all, harmlessly.
            only_sender = next(iter(senders)) if len(senders) == 1 and not self._is_from_elsewhere else None
            self._is_from_elsewhere = False
            for member in list(self.members):
                if member is not only_sender:
                    member.send(message)
        if news:
            # To the sender as well: clients take a connection on which they hear nothing for dead.
            message = Outgoing(sync.encode_awareness(awareness_format.encode(news.values())))
            for member in list(self.members):
                member.send(message)
        for sender, message in stateless:
            for member in list(self.members):
                if member is not sender:
                    member.send_stateless(message)
        self._pace.flushed(started, self._reactor.seconds())

    def close(self) -> None:
        """The room leaves memory."""
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _announce(self, entries: list[Entry]) -> None:
        if entries:
            self._awareness_news.update((entry.client_id, entry) for entry in entries)
            self._schedule()

    def _schedule(self) -> None:
        if self._call is None:
            self._call = self._reactor.callLater(self._pace.delay(self._reactor.seconds()), self.flush)
