"""Switching traces on: the hooks with them, or without."""

from __future__ import annotations

from typing import Any

from canvas_collab.tracing.hooks import Tracing


def make_tracing(reactor: Any, is_on: bool) -> Tracing:
    """Return the hooks; if traces are on, those that export them."""
    if not is_on:
        return Tracing()
    from canvas_collab.tracing.export import SpanExport

    return SpanExport(reactor)
