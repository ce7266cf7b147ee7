"""A room: one live document, the connections to it, and the flushes that send everybody what happened."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

from attrs import frozen
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from canvas_collab.document.document import Document, merge_updates
from canvas_collab.protocol import awareness as awareness_format
from canvas_collab.protocol import sync
from canvas_collab.protocol.awareness import Entry
from canvas_collab.protocol.update import Update, encode_update
from canvas_collab.rooms.awareness import Awareness
from canvas_collab.rooms.outgoing import Outgoing
from canvas_collab.rooms.pacing import Pace

#: A message with a whole document is made anew when the document has changed; one with more bytes than this, when it
#: has grown by so much.
SMALL = 64 * 2**10
STALE_GROWTH = 1.1

#: So many awareness messages are remembered for a while, to know them when they come back.
ECHOES = 128


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

    @property
    def offer(self) -> Callable[[Outgoing], bool]:
        """Sends a message, unless the client does not read; returns False if it was not sent for that reason."""

    def send_stateless(self, message: Outgoing) -> None:
        """Send a stateless message."""


MemberT = TypeVar("MemberT", bound=Member)


class Room(Generic[MemberT]):
    """One live document.

    What comes in is sent to everybody at once, unless that has happened just before: then it waits for company.  Of
    what waits the updates are merged to one, the awareness states collapsed to the latest of each client.
    """

    __slots__ = (
        "_awareness_call",
        "_awareness_is_due",
        "_awareness_news",
        "_awareness_pace",
        "_behind",
        "_call",
        "_is_from_elsewhere",
        "_journal",
        "_pace",
        "_reactor",
        "_senders",
        "_sent_awareness",
        "_stateless",
        "_updates",
        "_whole",
        "_whole_is_wanted",
        "awareness",
        "document",
        "is_discarded",
        "loaded",
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
        awareness_pace: Pace,
        journal: Callable[[str, str, bytes], None],
    ) -> None:
        """:param pace: when to flush updates; `awareness_pace`, when to flush awareness states.
        :param journal: keeps an update; takes the room's name, the user's id and the update."""
        self._reactor = reactor
        self.name = name
        self.document = document
        self.awareness = awareness
        self.members: set[MemberT] = set()
        #: When loading the document began.
        self.loaded = reactor.seconds()
        #: Whether the document is not what is stored any more.
        self.is_discarded = False
        self._pace = pace
        self._awareness_pace = awareness_pace
        self._journal = journal
        self._updates: list[tuple[bytes, Update]] = []
        self._senders: set[MemberT] = set()
        self._is_from_elsewhere = False
        self._stateless: list[tuple[MemberT, Outgoing]] = []
        self._awareness_news: dict[int, Entry] = {}
        self._call: IDelayedCall | None = None
        self._awareness_call: IDelayedCall | None = None
        self._awareness_is_due = False
        # Who does not read, and up to which clock of which author each of them has everything.
        self._behind: dict[MemberT, Mapping[int, int]] = {}
        # By their hashes, in the order of sending.
        self._sent_awareness: dict[int, None] = {}
        self._whole: _Whole | None = None
        self._whole_is_wanted = False

    def join(self, member: MemberT) -> None:
        """A connection has opened."""
        self.members.add(member)

    def leave(self, member: MemberT) -> None:
        """A connection has ended: its awareness clients leave with it."""
        self.members.discard(member)
        self._behind.pop(member, None)
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

    def is_echo(self, payload: bytes) -> bool:
        """Whether an awareness update is one that the room has sent, word for word: then it is no news to anybody."""
        return hash(payload) in self._sent_awareness

    def catch_up(self, member: MemberT) -> list[Outgoing]:
        """The messages that tell a member what it has missed while it did not read."""
        clocks = self._behind.pop(member, None)
        if clocks is None:
            return []
        everybody = awareness_format.encode(self.awareness.known())
        return [
            Outgoing(sync.encode_update(self.document.beyond(clocks))),
            Outgoing(sync.encode_awareness(everybody)),
        ]

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
        """Send everybody what has been edited, and the stateless messages, since the last flush."""
        self._call = None
        started = self._reactor.seconds()
        updates, self._updates = self._updates, []
        senders, self._senders = self._senders, set()
        stateless, self._stateless = self._stateless, []
        if updates:
            [(data, update), *others] = updates
            if others:
                data = merge_updates([update, *(other for _, other in others)])
            message = Outgoing(sync.encode_update(data))
            # What only one has sent it knows already; what several have sent is told to all, harmlessly.
            only_sender = next(iter(senders)) if len(senders) == 1 and not self._is_from_elsewhere else None
            self._is_from_elsewhere = False
            self._broadcast(message, only_sender, [update, *(other for _, other in others)])
        for sender, message in stateless:
            for member in list(self.members):
                if member is not sender:
                    member.send_stateless(message)
        self._pace.flushed(started, self._reactor.seconds())
        if self._awareness_is_due:
            self.flush_awareness()

    def flush_awareness(self) -> None:
        """Send everybody the awareness states that have changed since the last time."""
        self._awareness_call = None
        # Cursors stand in what has been typed, so that goes first.
        self._awareness_is_due = bool(self._updates)
        if self._awareness_is_due:
            return
        started = self._reactor.seconds()
        news, self._awareness_news = self._awareness_news, {}
        # To the sender as well: clients take a connection on which they hear nothing for dead.
        payload = awareness_format.encode(news.values())
        self._sent_awareness[hash(payload)] = None
        if len(self._sent_awareness) > ECHOES:
            del self._sent_awareness[next(iter(self._sent_awareness))]
        self._broadcast(Outgoing(sync.encode_awareness(payload)))
        self._awareness_pace.flushed(started, self._reactor.seconds())

    def close(self) -> None:
        """The room leaves memory."""
        for call in (self._call, self._awareness_call):
            if call is not None:
                call.cancel()
        self._call = self._awareness_call = None

    def _broadcast(self, message: Outgoing, but: MemberT | None = None, updates: Sequence[Update] = ()) -> None:
        """Send everybody a message, save one; `updates` are what it holds of the document.

        Nothing is kept for those who do not read.  Where they have stopped is, and when they read again they are sent
        what has changed since then.
        """
        behind, laggards = self._behind, []
        for member in list(self.members):
            if member is not but and member not in behind and not member.offer(message):
                laggards.append(member)
        if laggards:
            clocks = self.document.clocks
            for update in updates:
                for author, runs in update.runs.items():
                    clocks[author] = min(clocks.get(author, 0), runs[0].clock)
            behind.update((member, clocks) for member in laggards)

    def _announce(self, entries: list[Entry]) -> None:
        if not entries:
            return
        self._awareness_news.update((entry.client_id, entry) for entry in entries)
        if any(entry.has_left for entry in entries):
            # Who comes back has to be heard, and may say the same as before.
            self._sent_awareness.clear()
        if self._awareness_call is None and not self._awareness_is_due:
            if delay := self._awareness_pace.delay(self._reactor.seconds()):
                self._awareness_call = self._reactor.callLater(delay, self.flush_awareness)
            else:
                self.flush_awareness()

    def _schedule(self) -> None:
        if self._call is None:
            if delay := self._pace.delay(self._reactor.seconds()):
                self._call = self._reactor.callLater(delay, self.flush)
            else:
                self.flush()
