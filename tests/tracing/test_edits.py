"""The spans of edits: from a room and the journal to an exporter in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler
from opentelemetry.trace import StatusCode
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from canvas_collab.access.authorization import Request
from canvas_collab.counters import Counters
from canvas_collab.document.document import Document
from canvas_collab.persistence.journal import Journal
from canvas_collab.persistence.store import LogEntry
from canvas_collab.protocol.close_codes import CloseCode
from canvas_collab.protocol.steps import Steps, run_to_completion
from canvas_collab.protocol.update import decode_update
from canvas_collab.rooms.awareness import Awareness
from canvas_collab.rooms.pacing import FlushPacer
from canvas_collab.rooms.room import Room
from canvas_collab.tracing.edits import EditTracer, Receipt, RoomEdits, TracedLog
from canvas_collab.tracing.handlers import TracedHandler, handshake_links
from canvas_collab.tracing.hooks import Tracing
from canvas_collab.websocket.protocol_handler import ProtocolHandler
from tests.support.rooms import FakeMember, update_of

INTERVAL, WINDOW = 0.02, 0.5


class StagedLog:
    """A log whose commits end when the test fires their Deferreds."""

    def __init__(self) -> None:
        self.batches: list[Sequence[LogEntry]] = []
        self.commits: list[Deferred[None]] = []

    def append(self, entries: Sequence[LogEntry]) -> Deferred[None]:
        self.batches.append(entries)
        self.commits.append(Deferred())
        return self.commits[-1]


class Stage:
    """A traced room and its journal; `sampler` decides which edits have spans."""

    def __init__(self, sampler: Sampler = ALWAYS_ON) -> None:
        self.clock, self.log, counters = Clock(), StagedLog(), Counters()
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        tracer = provider.get_tracer("tests")
        self.edits = EditTracer(tracer)
        self.journal = Journal(self.clock, TracedLog(tracer, self.log), INTERVAL, 10**6, lambda sizes: None, counters)
        room_edits = RoomEdits(self.edits, self.journal.append)
        self.pacer = FlushPacer(0.5, WINDOW)
        self.room: Room[FakeMember] = Room(
            self.clock,
            "diagram-one",
            Document(),
            Awareness(10),
            self.pacer,
            FlushPacer(0.5, WINDOW),
            room_edits.append,
            counters,
        )
        self.room.on_flush = room_edits.flushed
        self.member = FakeMember("ada")
        self.room.join(self.member)

    def edit(self, text: str) -> Steps[None]:
        """Edit the document, as a client."""
        return self.room.edit(self.member, decode_update(update_of(text)))

    def spans(self, name: str) -> list[ReadableSpan]:
        """The spans that have ended."""
        return [span for span in self.exporter.get_finished_spans() if span.name == name]


@pytest.fixture
def stage() -> Stage:
    return Stage()


def id_of(span: ReadableSpan) -> int:
    assert span.context is not None
    return int(span.context.span_id)


def parent_of(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent is not None else None


def linked_to(span: ReadableSpan) -> list[int]:
    return [link.context.span_id for link in span.links]


def test_the_span_of_an_edit_begins_with_its_receipt_and_ends_with_its_commit(stage: Stage) -> None:
    stage.edits.receipt = Receipt(1_000, [])
    run_to_completion(stage.edit("drawn"))
    stage.edits.receipt = None
    stage.clock.advance(INTERVAL)
    assert stage.spans("edit") == stage.spans("commit") == []
    stage.log.commits[0].callback(None)
    [edit], [validate], [fan_out], [commit] = map(stage.spans, ("edit", "validate", "fan out", "commit"))
    assert edit.start_time == validate.start_time == 1_000
    times = [validate.end_time, fan_out.end_time, commit.start_time, edit.end_time, commit.end_time]
    assert times == sorted(time for time in times if time is not None)
    assert parent_of(edit) is parent_of(commit) is None
    assert [parent_of(child) for child in (validate, fan_out)] == [id_of(edit)] * 2
    assert linked_to(commit) == [id_of(edit)]


def test_spans_have_the_document_and_sizes_and_nothing_else(stage: Stage) -> None:
    update = update_of("drawn")
    run_to_completion(stage.room.edit(stage.member, decode_update(update)))
    stage.clock.advance(INTERVAL)
    stage.log.commits[0].callback(None)
    attributes = {span.name: dict(span.attributes or {}) for span in stage.exporter.get_finished_spans()}
    assert attributes == {
        "edit": {"canvas_collab.document": "diagram-one", "canvas_collab.update.size": len(update)},
        "fan out": {"canvas_collab.document": "diagram-one"},
        "commit": {"canvas_collab.commit.edits": 1, "canvas_collab.commit.documents": 1},
    }


def test_a_group_commit_is_linked_to_every_edit_and_fan_out_ends_with_the_flush(stage: Stage) -> None:
    stage.pacer.flushed(0, 0.1)
    for number in range(3):
        run_to_completion(stage.edit(f"{number}"))
    stage.clock.advance(INTERVAL)
    stage.log.commits[0].callback(None)
    [commit] = stage.spans("commit")
    edits = stage.spans("edit")
    assert linked_to(commit) == [id_of(edit) for edit in edits]
    assert len(edits) == 3
    assert stage.spans("fan out") == []
    stage.clock.advance(WINDOW)
    assert [parent_of(span) for span in stage.spans("fan out")] == [id_of(edit) for edit in edits]


def test_a_commit_that_fails_is_an_error_without_its_message_and_the_edit_ends_with_the_next(stage: Stage) -> None:
    run_to_completion(stage.edit("drawn"))
    stage.clock.advance(INTERVAL)
    stage.log.commits[0].errback(RuntimeError("Failing row contains (drawn)"))
    assert stage.spans("edit") == []
    stage.clock.advance(1)
    stage.log.commits[1].callback(None)
    failed, succeeded = stage.spans("commit")
    [edit] = stage.spans("edit")
    assert linked_to(failed) == linked_to(succeeded) == [id_of(edit)]
    assert (failed.status.status_code, succeeded.status.status_code) == (StatusCode.ERROR, StatusCode.UNSET)
    assert (failed.attributes or {})["error.type"] == "RuntimeError"
    assert "drawn" not in failed.to_json()
    assert not failed.events


def test_an_edit_that_is_not_sampled_costs_no_more_than_the_decision() -> None:
    stage = Stage(ALWAYS_OFF)
    run_to_completion(stage.edit("drawn"))
    stage.clock.advance(INTERVAL)
    [[entry]] = stage.log.batches
    assert type(entry) is LogEntry
    stage.log.commits[0].callback(None)
    assert stage.exporter.get_finished_spans() == ()


def test_where_traces_are_off_everything_is_what_it_would_be_without_them() -> None:
    tracing, log, entries = Tracing(), StagedLog(), list[LogEntry]()

    def make(socket: object, path: str) -> ProtocolHandler:
        raise AssertionError

    append, on_flush = tracing.trace_room(entries.append)
    append("room", "ada", b"update")
    assert (on_flush, entries) == (None, [LogEntry("room", "ada", b"update")])
    assert (tracing.trace_log(log), tracing.trace_handlers(make)) == (log, make)
    assert tracing.services() == []


class InterleavedHandler:
    """A handler whose messages are edits of two steps."""

    too_large_code = CloseCode.TOO_LARGE

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.closed_early = False

    async def accept_handshake(self, request: Request) -> None:
        pass

    def received(self, payload: bytes) -> Steps[None]:
        try:
            yield
            yield from self.stage.edit(payload.decode())
        except GeneratorExit:
            self.closed_early = True
            raise


TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def shake_hands(stage: Stage, **headers: str) -> tuple[TracedHandler, InterleavedHandler]:
    inner = InterleavedHandler(stage)
    handler = TracedHandler(stage.edits, cast(ProtocolHandler, inner))
    Deferred.fromCoroutine(handler.accept_handshake(Request("/", headers, {})))
    return handler, inner


def test_edits_whose_steps_are_interleaved_have_each_the_receipt_and_the_links_of_its_own(stage: Stage) -> None:
    linked, plain = shake_hands(stage, traceparent=f"00-{TRACE}-{SPAN}-01"), shake_hands(stage)
    first, second = linked[0].received(b"first"), plain[0].received(b"second")
    for steps in (first, second, first, second):
        next(steps, None)
        assert stage.edits.receipt is None
    stage.clock.advance(INTERVAL)
    stage.log.commits[0].callback(None)
    edits, validations = stage.spans("edit"), stage.spans("validate")
    assert [[f"{link:016x}" for link in linked_to(edit)] for edit in edits] == [[SPAN], []]
    assert [edit.start_time for edit in edits] == [each.start_time for each in validations]
    # The second was received before the first was merged.
    assert cast(int, edits[1].start_time) <= cast(int, validations[0].end_time)


def test_a_message_whose_handling_is_given_up_closes_the_steps_of_the_handler(stage: Stage) -> None:
    handler, inner = shake_hands(stage)
    steps = handler.received(b"never")
    next(steps)
    steps.close()
    assert inner.closed_early


@pytest.mark.parametrize("value", ["", "nonsense", f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE}-{'0' * 16}-01"])
def test_a_traceparent_that_is_not_valid_is_no_link(value: str) -> None:
    assert handshake_links(Request("/", {"traceparent": value}, {})) == []
