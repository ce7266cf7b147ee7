"""A room: one live document, the connections to it, and the flushes that send everybody what happened."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from canvas_collab.document.document import Document
from canvas_collab.protocol import awareness as awareness_format
from canvas_collab.protocol import sync
from canvas_collab.protocol.awareness import Entry
from canvas_collab.protocol.steps import Steps
from canvas_collab.protocol.update import Update
from canvas_collab.rooms.awareness import Awareness, Outcome
from canvas_collab.rooms.broadcast_queue import BroadcastQueue
from canvas_collab.rooms.echo_filter import EchoFilter
from canvas_collab.rooms.full_sync import FullSync
from canvas_collab.rooms.pacing import FlushPacer
from canvas_collab.rooms.prepared_message import PreparedMessage

#: Awareness updates have at most so many bytes, unless a single state has more.
AWARENESS_SIZE = 32 * 2**10

#: A larger update is taken in, kept and passed on in parts of about so many bytes, each of which is an update.
PART_SIZE = 2**18

#: So many stateless messages are sent at a time, and so many may wait for that.
STATELESS_AT_ONCE = 32
STATELESS_WAITING = 1000


class Member(Hashable, Protocol):
    """What a room asks of a connection to it."""

    @property
    def user_id(self) -> str:
        """Whose connection it is."""

    @property
    def offer(self) -> Callable[[PreparedMessage], bool]:
        """Sends a message, unless the client does not read; returns False if it was not sent for that reason."""

    def send_stateless(self, message: PreparedMessage) -> None:
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
        "_echo_filter",
        "_edits_under_way",
        "_everybody",
        "_everybody_heard",
        "_is_from_elsewhere",
        "_journal",
        "_pace",
        "_reactor",
        "_senders",
        "_stateless",
        "_unsent",
        "_waiting_for_merges",
        "_whole",
        "awareness",
        "document",
        "is_discarded",
        "members",
        "name",
    )

    def __init__(
        self,
        reactor: IReactorTime,
        name: str,
        document: Document,
        awareness: Awareness,
        pace: FlushPacer,
        awareness_pace: FlushPacer,
        journal: Callable[[str, str, bytes], None],
    ) -> None:
        """:param pace: when to flush updates; `awareness_pace`, when to flush awareness states.
        :param journal: keeps an update; takes the room's name, the user's id and the update."""
        self._reactor = reactor
        self.name = name
        self.document = document
        self.awareness = awareness
        self.members: set[MemberT] = set()
        #: Whether the document is not what is stored any more.
        self.is_discarded = False
        self._pace = pace
        self._awareness_pace = awareness_pace
        self._journal = journal
        self._unsent = BroadcastQueue()
        self._senders: set[MemberT] = set()
        self._edits_under_way = 0
        self._waiting_for_merges: list[Deferred[None]] = []
        self._is_from_elsewhere = False
        self._stateless: list[tuple[MemberT, PreparedMessage]] = []
        self._awareness_news: dict[int, Entry] = {}
        self._call: IDelayedCall | None = None
        self._awareness_call: IDelayedCall | None = None
        self._awareness_is_due = False
        # Who does not read, and up to which clock of which author each of them has everything.
        self._behind: dict[MemberT, Mapping[int, int]] = {}
        self._echo_filter = EchoFilter()
        # The answer to a query of awareness: of which version it is, the updates, and the messages with them.
        self._everybody: tuple[int, list[bytes], list[PreparedMessage]] | None = None
        # When everybody was sent something last.
        self._everybody_heard = float("-inf")
        self._whole = FullSync(document)

    def join(self, member: MemberT) -> None:
        """A connection has opened."""
        self.members.add(member)
        self._echo_filter.joined(member)

    def leave(self, member: MemberT) -> None:
        """A connection has ended: its awareness clients leave with it."""
        self.members.discard(member)
        self._behind.pop(member, None)
        self._echo_filter.left(member)
        self.announce(self.awareness.leave(member, self._reactor.seconds()))

    def edit(self, sender: MemberT, update: Update) -> Steps[None]:
        """Take an update in, keep it, and pass it on to the others, in steps."""
        self._edits_under_way += 1
        try:
            for part in update.split(PART_SIZE):
                if not part:
                    continue
                # Where a part of it was known only the rest is kept and passed on. Nobody hears of two versions of a
                # struct: clients would not agree which one counts, and may break on it. And the log says of everything
                # when it came, and from whom.
                data = yield from self._unsent.merge_new(self.document, part)
                if data is not None:
                    self._journal(self.name, sender.user_id, data)
                    self._senders.add(sender)
                    self._schedule()
        finally:
            self._edits_under_way -= 1
            if not self._edits_under_way:
                waiting, self._waiting_for_merges = self._waiting_for_merges, []
                for done in waiting:
                    done.callback(None)

    def when_merged(self) -> Deferred[None]:
        """Fires when every update that is being taken in is."""
        done: Deferred[None] = Deferred()
        if self._edits_under_way:
            self._waiting_for_merges.append(done)
        else:
            done.callback(None)
        return done

    def follow(self, update: Update) -> Steps[bool]:
        """Take in what was edited elsewhere and is in the log already, in steps; returns whether it was news."""
        data = yield from self._unsent.merge_new(self.document, update)
        if data is not None:
            self._is_from_elsewhere = True
            self._schedule()
        return data is not None

    def show(self, sender: MemberT, entries: list[Entry], is_opening: bool = False) -> Outcome:
        """Take awareness states in; :meth:`announce` is for what is new.

        :raises Malformed: if a state is not JSON.
        """
        return self.awareness.apply(entries, sender, sender.user_id, self.now, is_opening)

    def is_echo(self, member: MemberT, payload: bytes) -> bool:
        """Whether an awareness update is one that this member was sent, word for word."""
        return self._echo_filter.is_echo(member, payload)

    def introduce(self, member: MemberT) -> list[PreparedMessage]:
        """The messages that tell somebody who joins who is here."""
        return self._tell(member, awareness_format.pack(self.awareness.introduce(), AWARENESS_SIZE))

    def everybody(self, member: MemberT) -> list[PreparedMessage]:
        """The messages that answer a query of who is here."""
        if self._everybody is None or self._everybody[0] != self.awareness.version:
            packed = awareness_format.pack(self.awareness.encode_present(), AWARENESS_SIZE)
            payloads = packed or [awareness_format.EMPTY_AWARENESS]
            messages = [PreparedMessage(sync.encode_awareness(payload)) for payload in payloads]
            self._everybody = self.awareness.version, payloads, messages
        _, payloads, messages = self._everybody
        self._tell(member, payloads)
        return messages

    def correct(self, member: MemberT, entries: list[Entry]) -> list[PreparedMessage]:
        """The messages that tell a member how clocks stand."""
        return self._tell(member, awareness_format.pack(map(awareness_format.encode_entry, entries), AWARENESS_SIZE))

    def _tell(self, member: MemberT, payloads: list[bytes]) -> list[PreparedMessage]:
        for payload in payloads:
            self._echo_filter.told(member, payload)
        return [PreparedMessage(sync.encode_awareness(payload)) for payload in payloads]

    @property
    def now(self) -> float:
        """The time, in seconds of a monotonic clock."""
        return self._reactor.seconds()

    @property
    def silence(self) -> float:
        """How many seconds ago everybody who is here was sent something."""
        return self.now - self._everybody_heard

    def catch_up(self, member: MemberT) -> Steps[list[PreparedMessage]]:
        """The messages that tell a member what it has missed while it did not read, in steps."""
        clocks = self._behind.pop(member, None)
        if clocks is None:
            return []
        missed = yield from self.document.diff(clocks)
        everybody = awareness_format.pack(self.awareness.encode_known(), AWARENESS_SIZE)
        return [
            PreparedMessage(sync.encode_update(missed)),
            *self._tell(member, everybody),
        ]

    def whole(self) -> Steps[list[PreparedMessage]]:
        """The messages that tell somebody everything who has nothing, in steps."""
        return self._whole.messages()

    def relay(self, sender: MemberT, message: PreparedMessage) -> bool:
        """Pass a stateless message on to the others, after what was edited before it.

        Returns False if too many wait already; then it is dropped.
        """
        if len(self._stateless) >= STATELESS_WAITING:
            return False
        self._stateless.append((sender, message))
        self._schedule()
        return True

    def expire(self) -> None:
        """Take out awareness states that were not renewed, and what nobody has asked for since the last time."""
        self.announce(self.awareness.expire(self._reactor.seconds()))
        self._whole.expire()

    def flush(self) -> None:
        """Send everybody what has been edited, and the stateless messages, since the last flush."""
        self._call = None
        started = self._reactor.seconds()
        senders, self._senders = self._senders, set()
        stateless = self._stateless[:STATELESS_AT_ONCE]
        del self._stateless[:STATELESS_AT_ONCE]
        # What only one has sent it knows already; what several have sent is told to all, harmlessly.
        only_sender = next(iter(senders)) if len(senders) == 1 and not self._is_from_elsewhere else None
        self._is_from_elsewhere = False
        while self._unsent:
            data, merged = self._unsent.next()
            self._broadcast(PreparedMessage(sync.encode_update(data)), only_sender, merged)
        for sender, message in stateless:
            for member in list(self.members):
                if member is not sender:
                    member.send_stateless(message)
        self._pace.flushed(started, self._reactor.seconds())
        if self._stateless:
            self._call = self._reactor.callLater(self._pace.delay(self._reactor.seconds()), self.flush)
        if self._awareness_is_due:
            self.flush_awareness()

    def flush_awareness(self) -> None:
        """Send everybody the awareness states that have changed since the last time."""
        self._awareness_call = None
        # Cursors stand in what has been typed, so that goes first.
        self._awareness_is_due = bool(self._unsent)
        if self._awareness_is_due:
            return
        started = self._reactor.seconds()
        news, self._awareness_news = self._awareness_news, {}
        # To the sender as well: clients take a connection on which they hear nothing for dead.
        for payload in awareness_format.pack(map(awareness_format.encode_entry, news.values()), AWARENESS_SIZE):
            self._echo_filter.sent(payload)
            self._broadcast(PreparedMessage(sync.encode_awareness(payload)))
        self._everybody_heard = self._reactor.seconds()
        self._awareness_pace.flushed(started, self._reactor.seconds())

    def close(self) -> None:
        """The room leaves memory."""
        for call in (self._call, self._awareness_call):
            if call is not None:
                call.cancel()
        self._call = self._awareness_call = None

    def _broadcast(self, message: PreparedMessage, but: MemberT | None = None, updates: Sequence[Update] = ()) -> None:
        """Send everybody a message, save one; `updates` are what it holds of the document.

        Nothing is kept for those who do not read.  Where they have stopped is, and when they read again they are sent
        what has changed since then.
        """
        behind, laggards = self._behind, []
        for member in list(self.members):
            if member is not but and member not in behind and not member.offer(message):
                laggards.append(member)
        if laggards:
            clocks = self._unsent.sent_clocks(self.document, updates)
            behind.update((member, clocks) for member in laggards)

    def announce(self, entries: list[Entry]) -> None:
        """Pass on to everybody what is new in awareness."""
        if not entries:
            return
        self._awareness_news.update((entry.client_id, entry) for entry in entries)
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
