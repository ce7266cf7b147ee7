"""What the Twisted plugin names: the options and the service of the daemon, imported without what it does not use."""

from __future__ import annotations

import sys

from canvas_collab.lean_imports import import_networking

import_networking(sys.argv)

from canvas_collab.tap import Options, makeService  # noqa: E402

__all__ = ["Options", "makeService"]
