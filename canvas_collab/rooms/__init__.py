"""Rooms: live documents, the connections to them, the handling of clients' messages, and their distribution."""
