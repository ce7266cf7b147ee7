"""Switching traces on: whether they can be, and the hooks with them or without."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any

from canvas_collab.tracing.hooks import Tracing


def make_tracing(reactor: Any, is_on: bool) -> Tracing:
    """Return the hooks; if traces are on, those that export them."""
    if not is_on:
        return Tracing()
    from canvas_collab.tracing.export import SpanExport

    return SpanExport(reactor)


def tracing_problems(is_on: bool, environment: Mapping[str, str]) -> list[str]:
    """Return a sentence for each thing that keeps traces from working."""
    if not is_on:
        return []
    try:
        is_installed = importlib.util.find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        is_installed = False
    if not is_installed:
        return [
            "TRACING=on needs OpenTelemetry: install it with pip install 'canvas-collab[tracing]', or set TRACING=off."
        ]
    from canvas_collab.tracing.export import environment_problems

    return environment_problems(environment)
