"""The wire formats: pure functions on bytes, without I/O and without Twisted.

Everything a peer sends is parsed here and nowhere else.  What cannot be parsed raises
:exc:`~canvas_collab.protocol.lib0.Malformed`.
"""
