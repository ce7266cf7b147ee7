"""Realtime collaboration for Yjs documents: a Twisted daemon that loses no edit."""

__version__ = "0.1.0"
