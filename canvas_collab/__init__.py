"""Realtime collaboration for Yjs documents: a Twisted daemon that loses no edit."""

from canvas_collab import compilation

__version__ = "0.1.0"

compilation.choose()
