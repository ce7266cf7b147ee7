"""Whether traces can be switched on: a sentence for each thing that keeps them from working."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping


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
