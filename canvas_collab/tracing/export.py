"""Exporting spans with OTLP over HTTP, in a thread of the SDK, as OpenTelemetry's environment variables say."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from canvas_collab import __version__
from canvas_collab.persistence.journal import Log
from canvas_collab.persistence.store import LogEntry
from canvas_collab.timeouts import wait_at_most
from canvas_collab.tracing.edits import EditTracer, RoomEdits, TracedLog
from canvas_collab.tracing.handlers import TracedHandler
from canvas_collab.tracing.hooks import Append, HandlerFactory, Tracing

#: For how many seconds stopping waits until the last spans are exported.
EXPORT_TIMEOUT = 2.0

#: A message of the SDK that was logged is not logged again for so many seconds, and cut to so many characters.
LOG_AGAIN_AFTER = 60.0
MAX_MESSAGE = 300

SAMPLERS = (
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
)


def environment_problems(environment: Mapping[str, str]) -> list[str]:
    """Return a sentence for each of OpenTelemetry's variables that cannot be used.

    The SDK would only log these, and use something else.
    """
    problems = []
    if (sampler := environment.get("OTEL_TRACES_SAMPLER", "").strip().lower()) not in ("", *SAMPLERS):
        problems.append(f"OTEL_TRACES_SAMPLER must be one of {', '.join(SAMPLERS)}.")
    if sampler.endswith("traceidratio") and not _is_ratio(environment.get("OTEL_TRACES_SAMPLER_ARG", "") or "1"):
        problems.append("OTEL_TRACES_SAMPLER_ARG must be a number from 0 to 1: the share of the edits to trace.")
    for name in ("OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"):
        if environment.get(name, "").strip() not in ("", "http/protobuf"):
            problems.append(f"{name} must be http/protobuf: the daemon exports traces with nothing else.")
    if environment.get("OTEL_TRACES_EXPORTER", "").strip() not in ("", "otlp"):
        problems.append("OTEL_TRACES_EXPORTER must be otlp; to export nothing, set TRACING=off.")
    messages: list[str] = []
    with _SdkMessages(messages.append):
        try:
            OTLPSpanExporter()
        except Exception as error:
            messages.append(_one_line(str(error)))
    problems += [f"A variable OTEL_EXPORTER_OTLP_… cannot be used: {message}." for message in messages]
    return problems


def _is_ratio(text: str) -> bool:
    try:
        return 0 <= float(text) <= 1
    except ValueError:
        return False


def _one_line(text: str) -> str:
    """Return a message on one line, without the credentials that a URL in it may have."""
    return re.sub(r"//[^/@\s]+@", "//", " ".join(text.split()))[:MAX_MESSAGE]


class SpanExport(Service, Tracing):
    """The hooks with traces: exports spans while it runs, and when it stops, those that are left."""

    log = Logger()

    def __init__(self, reactor: Any, exporter: SpanExporter | None = None) -> None:
        """:param exporter: default: OTLP over HTTP, to what the environment says."""
        self._reactor = reactor
        self._exporter = exporter
        self._sdk_messages = _SdkMessages(self._report)
        service = Resource({"service.name": "canvas-collab", "service.version": __version__})
        resource = Resource.create().merge(service).merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._tracer = self._provider.get_tracer("canvas_collab", __version__)
        self._edits = EditTracer(self._tracer)

    def services(self) -> list[Service]:
        """Return what has to be started and stopped: this."""
        return [self]

    def trace_log(self, log: Log) -> Log:
        """Return what the journal writes to, with a span for each commit."""
        return TracedLog(self._tracer, log)

    def trace_handlers(self, make: HandlerFactory) -> HandlerFactory:
        """Return a function that makes protocol handlers, which note when messages are received."""
        return lambda socket, path: TracedHandler(self._edits, make(socket, path))

    def trace_room(self, append: Callable[[LogEntry], None]) -> tuple[Append, Callable[[], None] | None]:
        """Return what one room appends its updates with, and is called after each flush, for the spans of edits."""
        edits = RoomEdits(self._edits, append)
        return edits.append, edits.flushed

    def startService(self) -> None:
        """Start the thread that exports: here, as twistd may fork before this and no thread survives that."""
        Service.startService(self)
        self._sdk_messages.__enter__()
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter or OTLPSpanExporter()))

    def stopService(self) -> Deferred[None]:
        """Export what is left, within :data:`EXPORT_TIMEOUT`."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self._shut_down())

    async def _shut_down(self) -> None:
        ended: Deferred[bool] = Deferred()

        def shut_down() -> None:
            self._provider.shutdown()
            self._reactor.callFromThread(ended.callback, True)

        # The process waits for the threads of the reactor's pool, and would wait for an exporter that hangs.
        threading.Thread(target=shut_down, daemon=True).start()
        if not await wait_at_most(self._reactor, ended, EXPORT_TIMEOUT, False):
            self.log.warn("traces not exported", reason=f"not within {EXPORT_TIMEOUT:.0f} s of the stop")
        self._sdk_messages.__exit__()

    def _report(self, message: str) -> None:
        self._reactor.callFromThread(self.log.warn, "traces not exported", reason=message)


class _SdkMessages(logging.Handler):
    """Passes the SDK's warnings on while it is entered, each kind once in :data:`LOG_AGAIN_AFTER` seconds."""

    def __init__(self, report: Callable[[str], object]) -> None:
        """:param report: called with each message, in any thread."""
        super().__init__(logging.WARNING)
        self._pass_on = report
        self._reported_at: dict[str, float] = {}

    def __enter__(self) -> None:
        logger = logging.getLogger("opentelemetry")
        logger.addHandler(self)
        logger.propagate = False

    def __exit__(self, *_: object) -> None:
        logger = logging.getLogger("opentelemetry")
        logger.removeHandler(self)
        logger.propagate = True

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a message on."""
        now, kind = time.monotonic(), str(record.msg)
        if now - self._reported_at.get(kind, float("-inf")) >= LOG_AGAIN_AFTER:
            self._reported_at[kind] = now
            # A header that cannot be parsed is quoted, and is probably a key.
            is_secret = "header" in kind.lower()
            self._pass_on(_one_line(kind.split(":")[0] if is_secret else record.getMessage()))
