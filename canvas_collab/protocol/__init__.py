"""The wire formats of Yjs, y-protocols, y-websocket, Hocuspocus and WebSocket frames: pure functions on bytes, no I/O.

All bytes that a client sends are parsed here.  What cannot be parsed raises
:exc:`~canvas_collab.protocol.lib0.Malformed`.
"""
