"""Checks of the ports, and of the daemon that listens on them."""

from __future__ import annotations

import errno
import http.client
import ipaddress
import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from canvas_collab import __version__
from canvas_collab.cli.doctor.finding import Finding, ok, problem, warning
from canvas_collab.cli.doctor.probe import Unreachable, handshake
from canvas_collab.config.application import ListenSettings, RoutingSettings
from canvas_collab.listening import authority, listening_error

#: How long the daemon may take to answer on the health port, in seconds.
TIMEOUT = 5.0

_START = "Start the daemon; if it has another address (--ws-endpoint), ignore this."


def check_ports(listen: ListenSettings, routing: RoutingSettings) -> Iterator[Finding]:
    """Check that each port is free, or that the daemon answers on it."""
    check = "ports"
    if listen.ws_port == listen.health_port and listen.ws_host == listen.health_host and listen.ws_port:
        yield problem(check, f"WS_PORT and HEALTH_PORT are both {listen.ws_port}.", "Set them to different ports.")
        return
    for name, host, port in (
        ("WS", listen.ws_host, listen.ws_port),
        ("HEALTH", listen.health_host, listen.health_port),
    ):
        if _is_public(host):
            yield warning(
                check,
                f"{name}_HOST is {host}: the port can be reached past the reverse proxy, without TLS.",
                f"Set {name}_HOST=127.0.0.1 if the reverse proxy is on this machine, or let a firewall guard it.",
            )
        error = listening_error(host, port)
        if error is None:
            yield warning(
                check, f"Nothing listens on {host} port {port}, {name}_PORT: the daemon does not run.", _START
            )
        elif error.errno != errno.EADDRINUSE:
            yield problem(
                check,
                f"Nothing can listen on {host} port {port}, {name}_PORT: {_error_text(error)}.",
                f"Correct {name}_HOST and {name}_PORT; ports below 1024 need a right that the daemon does not have.",
            )
        elif name == "WS":
            yield _websocket_finding(check, host, port, routing)


def _websocket_finding(check: str, host: str, port: int, routing: RoutingSettings) -> Finding:
    path = f"{routing.ws_path_prefix}{routing.hocuspocus_path}"
    try:
        answer = handshake(urlsplit(f"ws://{_local_authority(host, port)}"), path, ping=True)
    except Unreachable as error:
        reason = str(error)
    else:
        if answer.answers_ping:
            return ok(check, f"The daemon answers on {host} port {port}.")
        if answer.status == 401:
            return problem(
                check,
                f"What listens on {host} port {port} is a daemon with other paths than {path} for Hocuspocus.",
                "Restart the daemon with this environment, or run doctor with the daemon's.",
            )
        reason = f"it answers {answer.status} {answer.reason}"
    return problem(
        check,
        f"Another program listens on {host} port {port}, WS_PORT: {reason}.",
        f"`ss -ltnp 'sport = :{port}'` shows which one; stop it, or choose another WS_PORT.",
    )


def _error_text(error: OSError) -> str:
    # The error numbers of a name that is not found are not those of errno.
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return "this machine does not have that address"
    return (error.strerror or str(error)).lower()


def _is_public(host: str) -> bool:
    """Return whether a host is an address that others may reach."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == ""
    return address.is_unspecified or address.is_global


def _local_authority(host: str, port: int) -> str:
    """Return the host and port, for a URL, by which this machine reaches what listens on them."""
    return authority({"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port)


def check_daemon(listen: ListenSettings) -> Iterator[Finding]:
    """Check what the running daemon reports of itself."""
    check = "daemon"
    base = f"http://{_local_authority(listen.health_host, listen.health_port)}"
    try:
        ready, health = _get(f"{base}/ready", "ready"), _get(f"{base}/health", "status")
    except OSError as error:
        reason = getattr(error, "reason", error)
        if listening_error(listen.health_host, listen.health_port) is None:
            yield warning(check, "The daemon does not answer on the health port: it does not run.", _START)
        else:
            yield problem(
                check,
                f"/ready does not answer on port {listen.health_port}: {reason}.",
                "Restart the daemon if it hangs, and read its log.",
            )
        return
    except (ValueError, http.client.HTTPException):
        yield problem(
            check,
            f"Another program listens on port {listen.health_port}, HEALTH_PORT: its /ready is not the daemon's.",
            f"`ss -ltnp 'sport = :{listen.health_port}'` shows which one; stop it, or choose another HEALTH_PORT.",
        )
        return
    if not ready["ready"]:
        yield problem(check, f"The daemon is not ready: {ready.get('reason')}.", "docs/health.md explains each reason.")
    for part in ("journal", "durability", "notifications"):
        if reason := (health.get(part) or {}).get("reason"):
            yield warning(check, f"The daemon reports of {part}: {reason}.", "docs/health.md explains each reason.")
    if damaged := health.get("damaged_documents"):
        yield problem(check, f"Damaged documents: {', '.join(damaged)}.", "Run `canvas-collab repair` for each.")
    if health.get("version") != __version__:
        yield warning(
            check,
            f"The daemon is version {health.get('version')}, and this command {__version__}.",
            "Restart the daemon after an upgrade, and use the command of the same installation.",
        )
    if ready["ready"]:
        yield ok(check, f"The daemon is ready, with {health.get('connections')} connections.")


def _get(url: str, key: str) -> dict[str, Any]:
    """Return the JSON of a page of the health port, whatever its status.

    :param key: what the daemon's page has.
    :raises ValueError: if that is not there, or the page is not JSON.
    :raises HTTPException: if the answer is not HTTP.
    :raises OSError: if there is no answer.
    """
    try:
        # Not through a proxy that the environment names for other hosts.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, timeout=TIMEOUT) as response:
            body = json.load(response)
    except urllib.error.HTTPError as error:
        body = json.load(error)
    if not isinstance(body, dict) or key not in body:
        raise ValueError("not the daemon's")
    return body
