"""The spans of edits, from when their message was received until they are committed.

Each edit that is sampled has a span ``edit`` with two children, ``validate`` and ``fan out``.  A group commit has a
span ``commit`` of its own, with a link to the span of each edit in it.  Spans have the names of documents and sizes;
never content, tokens, or users.

The parts of the daemon know nothing of this: where traces are on, they are given the objects of this module in place of
others with the same interface.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import time_ns

from attrs import define, field, frozen
from opentelemetry.trace import Link, Span, SpanContext, Status, StatusCode, Tracer, set_span_in_context

from canvas_collab.persistence.journal import Log
from canvas_collab.persistence.store import LogEntry

#: The attributes of spans: the document's name; the edit's size in bytes; the number of edits in a group commit,
#: sampled or not; the number of documents in it; the type of the error that a commit has failed with.
DOCUMENT = "canvas_collab.document"
SIZE = "canvas_collab.update.size"
EDITS = "canvas_collab.commit.edits"
DOCUMENTS = "canvas_collab.commit.documents"
ERROR = "error.type"

#: How many edits a span of a commit is linked to at most: by default the SDK drops further links.
MAX_LINKS = 128


@frozen(eq=False)
class Receipt:
    """A message that is being handled.

    :ivar time: when it was received, in nanoseconds since the epoch.
    :ivar links: the span of the handshake, if the client or a proxy has sent its context.
    """

    time: int
    links: Sequence[Link]


@frozen(eq=False)
class TracedEntry(LogEntry):
    """A log entry with the span of its edit."""

    span: Span


class EditTracer:
    """Begins the spans of edits, and ends them."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        #: The message that is being handled at the moment; None outside of that.
        self.receipt: Receipt | None = None

    def begin(self, document_id: str, size: int) -> Span | None:
        """Begin the span of an edit that was merged just now; None if it is not sampled."""
        receipt, now = self.receipt, time_ns()
        attributes: dict[str, str | int] = {DOCUMENT: document_id, SIZE: size}
        started, links = (now, ()) if receipt is None else (receipt.time, receipt.links)
        span = self._tracer.start_span("edit", attributes=attributes, links=links, start_time=started)
        if not span.is_recording():
            return None
        if receipt is not None:
            self.add_child("validate", span, document_id, receipt.time, now)
        return span

    def add_child(self, name: str, parent: Span, document_id: str, started: int, ended: int) -> None:
        """Add a child to the span of an edit."""
        context, attributes = set_span_in_context(parent), {DOCUMENT: document_id}
        self._tracer.start_span(name, context, attributes=attributes, start_time=started).end(ended)


@define(eq=False)
class RoomEdits:
    """The edits of a room that were not sent to its connections yet: the span of each, and when it was merged."""

    _edits: EditTracer
    _append: Callable[[LogEntry], None]
    _document_id: str = field(init=False, default="")
    _unsent: list[tuple[Span, int]] = field(init=False, factory=list)

    def append(self, document_id: str, user_id: str, update: bytes) -> None:
        """Append an edit to the journal, with its span."""
        span = self._edits.begin(document_id, len(update))
        if span is None:
            self._append(LogEntry(document_id, user_id, update))
            return
        self._document_id = document_id
        self._unsent.append((span, time_ns()))
        self._append(TracedEntry(document_id, user_id, update, span))

    def flushed(self) -> None:
        """Called when everything was sent."""
        if self._unsent:
            unsent, self._unsent = self._unsent, []
            now = time_ns()
            for span, merged in unsent:
                self._edits.add_child("fan out", span, self._document_id, merged, now)


class TracedLog:
    """What the journal writes to, with a span for each commit of sampled edits."""

    def __init__(self, tracer: Tracer, log: Log) -> None:
        self._tracer = tracer
        self._log = log

    async def append(self, entries: Sequence[LogEntry]) -> None:
        """Commit all entries, and end the spans of their edits; or raise what the log raises."""
        spans = [entry.span for entry in entries if isinstance(entry, TracedEntry)]
        if not spans:
            await self._log.append(entries)
            return
        contexts: list[SpanContext] = [span.get_span_context() for span in spans]
        commit = self._tracer.start_span(
            "commit",
            attributes={EDITS: len(entries), DOCUMENTS: len({entry.document_id for entry in entries})},
            links=[Link(context) for context in contexts[:MAX_LINKS]],
        )
        try:
            await self._log.append(entries)
        except Exception as error:
            # The message could have values of the statement.
            commit.set_attribute(ERROR, type(error).__name__)
            commit.set_status(Status(StatusCode.ERROR))
            raise
        else:
            now = time_ns()
            for span in spans:
                span.end(now)
        finally:
            commit.end()
