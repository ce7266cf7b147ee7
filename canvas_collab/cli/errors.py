"""The error that ends a command with a sentence for the operator."""

from __future__ import annotations


class CommandError(Exception):
    """A command cannot do what it was asked to; the text is a sentence for the operator."""
