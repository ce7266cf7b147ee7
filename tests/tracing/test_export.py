"""Traces of a real daemon, received by a collector; and what the daemon says where they cannot work."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Sequence

import pytest
import pytest_twisted
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from twisted.internet import reactor

from canvas_collab.persistence.store import LogEntry
from canvas_collab.tracing.export import SAMPLERS, SpanExport, environment_problems
from canvas_collab.tracing.problems import tracing_problems
from tests.conftest import StartDaemon
from tests.support.clients import Client, typed
from tests.support.daemons import ROOT
from tests.support.databases import TestDatabase
from tests.support.hocuspocus_client import RawHocuspocus
from tests.support.otlp_collector import OtlpCollector


class EmptyLog:
    """A log whose commits succeed at once."""

    async def append(self, entries: Sequence[LogEntry]) -> None:
        pass


TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_edits_of_both_protocols_are_traced_from_receipt_to_commit(
    database: TestDatabase, start_daemon: StartDaemon
) -> None:
    ada = database.add_user("ada")
    database.add_diagram("one", ada)
    database.add_diagram("two", ada)
    with OtlpCollector() as collector:
        daemon = start_daemon(
            database,
            TRACING="on",
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
            OTEL_EXPORTER_OTLP_HEADERS="x-key=secret-of-the-collector",
            OTEL_RESOURCE_ATTRIBUTES="deployment.environment=staging",
            OTEL_BSP_SCHEDULE_DELAY="20",
        )
        began = time.time_ns()
        headers = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
        with Client(daemon, "one", ada, additional_headers=headers) as editor, Client(daemon, "one", ada) as reader:
            editor.edit(typed("content-of-one"))
            reader.wait_for("content-of-one")
        with RawHocuspocus(daemon) as provider:
            provider.open("diagram-two", ada.token)
            provider.edit("diagram-two", typed("content-of-two"))
        # Spans of one edit may be exported apart, as they end one after the other.
        daemon.wait_until(lambda: len(collector.spans) >= 6 + len(collector.named("commit")) > 6)
        daemon.stop()
        edits, commits = collector.named("edit"), collector.named("commit")
        assert [edit.attributes["canvas_collab.document"] for edit in edits] == ["diagram-one", "diagram-two"]
        assert [edit.links for edit in edits] == [[SPAN], []]
        assert sorted(link for commit in commits for link in commit.links) == sorted(edit.id for edit in edits)
        for name in ("validate", "fan out"):
            assert [child.parent for child in collector.named(name)] == [edit.id for edit in edits]
        for edit, validate in zip(edits, collector.named("validate"), strict=True):
            assert began <= edit.start == validate.start <= validate.end <= edit.end <= time.time_ns()
        [resource] = collector.resources[:1]
        assert (resource["service.name"], resource["deployment.environment"]) == ("canvas-collab", "staging")
        assert collector.headers[0]["x-key"] == "secret-of-the-collector"
        exported = b"".join(collector.bodies)
        assert b"content-of" not in exported
        assert ada.token.encode() not in exported
        assert ada.id.encode() not in exported
    assert [event for event in daemon.events() if event["level"] not in ("debug", "info")] == []
    assert "secret-of-the-collector" not in daemon.output


def test_a_collector_that_does_not_answer_delays_neither_edits_nor_the_stop(
    database: TestDatabase, start_daemon: StartDaemon
) -> None:
    ada = database.add_user("ada")
    database.add_diagram("one", ada)
    with OtlpCollector(is_silent=True) as collector:
        daemon = start_daemon(
            database, TRACING="on", OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_BSP_SCHEDULE_DELAY="1"
        )
        with Client(daemon, "one", ada) as editor, Client(daemon, "one", ada) as reader:
            editor.edit(typed("first"))
            assert collector.requested.wait(10)
            editor.edit(typed("second"))
            for _ in range(2):
                reader.wait_for_update()
        daemon.wait_until(lambda: len(database.query("SELECT id FROM yjs_update_log")) == 2)
        daemon.stop()
    assert "not within 2 s of the stop" in [event["reason"] for event in daemon.events("traces not exported")]
    assert "Unhandled" not in daemon.output


@pytest_twisted.ensureDeferred
async def test_when_the_daemon_stops_what_is_left_is_exported() -> None:
    exporter = InMemorySpanExporter()
    export = SpanExport(reactor, exporter)
    [service] = export.services()
    service.startService()
    entries: list[LogEntry] = []
    append, _ = export.trace_room(entries.append)
    append("diagram-one", "ada", b"update")
    await export.trace_log(EmptyLog()).append(entries)
    assert exporter.get_finished_spans() == ()
    await service.stopService()
    assert sorted(span.name for span in exporter.get_finished_spans()) == ["commit", "edit"]


def test_a_collector_that_is_not_there_is_logged_once(database: TestDatabase, start_daemon: StartDaemon) -> None:
    ada = database.add_user("ada")
    database.add_diagram("one", ada)
    daemon = start_daemon(
        database,
        TRACING="on",
        OTEL_EXPORTER_OTLP_ENDPOINT="http://user:secret-of-the-url@127.0.0.1:9",
        OTEL_EXPORTER_OTLP_TIMEOUT="1",
        OTEL_BSP_SCHEDULE_DELAY="1",
    )
    with Client(daemon, "one", ada) as editor:
        editor.edit(typed("first"))
        daemon.wait_for_event("traces not exported")
    daemon.stop()
    assert "secret-of-the-url" not in daemon.output
    assert "Traceback" not in daemon.output


def test_without_the_extra_the_daemon_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_spec(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    [sentence] = tracing_problems(True, {})
    assert "pip install 'canvas-collab[tracing]'" in sentence
    assert tracing_problems(False, {"OTEL_TRACES_SAMPLER": "dice"}) == []


def test_variables_that_cannot_be_used_are_named_before_the_daemon_starts(
    database: TestDatabase, start_daemon: StartDaemon
) -> None:
    with pytest.raises(AssertionError) as ended:
        start_daemon(database, TRACING="on", OTEL_TRACES_SAMPLER="dice", OTEL_EXPORTER_OTLP_PROTOCOL="grpc")
    output = str(ended.value)
    assert "OTEL_TRACES_SAMPLER must be one of always_on" in output
    assert "OTEL_EXPORTER_OTLP_PROTOCOL must be http/protobuf" in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("environment", "problem"),
    [
        ({}, None),
        ({"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.01"}, None),
        ({"OTEL_TRACES_SAMPLER": "traceidratio"}, None),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "5"}, "OTEL_TRACES_SAMPLER_ARG must be"),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "x"}, "OTEL_TRACES_SAMPLER_ARG must be"),
        ({"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json"}, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL must be"),
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER must be otlp"),
    ],
)
def test_each_variable_is_checked(environment: dict[str, str], problem: str | None) -> None:
    found = environment_problems(environment)
    assert [problem in sentence for sentence in found] == ([True] if problem else []) if problem else not found


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zip", "Unsupported compression type: zip"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "secret-without-a-name", "Header format invalid"),
    ],
)
def test_what_the_sdk_would_warn_of_is_a_problem_without_secrets(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(name, value)
    [sentence] = environment_problems({})
    assert message in sentence
    assert "secret" not in sentence


def test_the_samplers_are_the_sdks() -> None:
    from opentelemetry.sdk.trace.sampling import _KNOWN_SAMPLERS

    assert set(SAMPLERS) == set(_KNOWN_SAMPLERS)


def test_a_daemon_without_traces_does_not_even_import_opentelemetry() -> None:
    program = "import json, sys, canvas_collab.tap; print(json.dumps([n for n in sys.modules if 'telemetry' in n]))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert json.loads(done.stdout) == []
