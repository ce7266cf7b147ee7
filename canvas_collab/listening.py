"""Whether something can listen on a host and port, and how these are written in a URL."""

from __future__ import annotations

import socket


def listening_error(host: str, port: int) -> OSError | None:
    """Return the error that listening on a host and port fails with, or None if that is possible."""
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = addresses[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError as error:
        return error
    return None


def authority(host: str, port: int) -> str:
    """Return the host and port as they are written in a URL."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
