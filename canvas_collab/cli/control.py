"""The commands that talk to the running daemon: `connections`, `rooms`, `kick`, `drain`."""

from __future__ import annotations

import errno
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, TypeVar

import click

from canvas_collab.cli.context import Context, as_json, pass_context
from canvas_collab.cli.errors import CommandError
from canvas_collab.cli.formatting import format_size, plural
from canvas_collab.cli.group import cli
from canvas_collab.control.interface import MAX_DRAIN_TIME, control_path

#: The socket of the daemon that runs under the unit of the repository.
SYSTEMD_SOCKET = "/run/canvas-collab/control.sock"

#: How long the daemon may take to answer, in seconds.
TIMEOUT = 30.0

_F = TypeVar("_F", bound=Callable[..., Any])


def _socket_option(command: _F) -> _F:
    option = click.option(
        "--socket", "path", metavar="PATH", help=f"The daemon's control socket: CONTROL_SOCKET, or {SYSTEMD_SOCKET}."
    )
    return option(command)


def _request(context: Context, path: str | None, **request: object) -> Iterator[dict[str, Any]]:
    """Send a request, and yield the items of the answer.

    :raises CommandError: if there is no daemon, or it refuses.
    """
    path = path or control_path(context.settings.listen.control_socket, context.environment) or SYSTEMD_SOCKET
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(TIMEOUT)
            connection.connect(path)
            # A daemon with too many connections answers and closes without having read the request.
            with suppress(BrokenPipeError):
                connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as lines:
                for line in lines:
                    answer = _decoded(line, path)
                    if "error" in answer:
                        raise CommandError(f"The daemon refuses: {answer['error']}.")
                    if "end" in answer:
                        break
                    yield answer["item"]
                else:
                    raise CommandError("The daemon ended before it had answered.")
    except TimeoutError as error:
        raise CommandError(f"The daemon does not answer on {path}.") from error
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ECONNREFUSED):
            raise CommandError(
                f"No daemon listens on {path}: start it with CONTROL_SOCKET, and name that with --socket."
            ) from error
        raise CommandError(f"{path}: {error.strerror or error}; run this as root or as the daemon's user.") from error


def _decoded(line: bytes, path: str) -> dict[str, Any]:
    """Return a line of an answer; one that is not the daemon's raises :class:`CommandError`."""
    with suppress(ValueError):
        answer = json.loads(line)
        if isinstance(answer, dict) and {"item", "end", "error"} & set(answer):
            return answer
    raise CommandError(f"What listens on {path} is not the daemon's control socket: name that with --socket.")


@cli.command()
@click.option("--room", help="Only those in this room.")
@click.option("--user", metavar="ID", help="Only those of this user.")
@_socket_option
@as_json
@pass_context
def connections(context: Context, room: str | None, user: str | None, path: str | None, as_json: bool) -> None:
    """List the connections to the running daemon: client, room, user, access and protocol."""
    found = [
        item
        for item in _request(context, path, request="connections")
        if (room is None or item["room"] == context.room(room)) and (user is None or item["user"] == user)
    ]
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for item in found:
        if item["room"] is None:
            click.echo(f"{item['client']}  nothing open")
            continue
        slow = "  reads slowly" if item["backpressure"] else ""
        click.echo(f"{item['client']}  {item['room']}  {item['user']}  {item['access']}  {item['protocol']}{slow}")
    click.echo(plural(len(found), "connection", "connections") + ".", err=True)


@cli.command()
@_socket_option
@as_json
@pass_context
def rooms(context: Context, path: str | None, as_json: bool) -> None:
    """List the rooms in the running daemon's memory, the one with the most connections first."""
    found = sorted(_request(context, path, request="rooms"), key=lambda item: (-item["connections"], item["room"]))
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for item in found:
        connected = plural(item["connections"], "connection", "connections")
        click.echo(
            f"{item['room']}  {connected}  {plural(item['users'], 'user', 'users')}  {format_size(item['size'])}"
        )
    click.echo(plural(len(found), "room", "rooms") + ".", err=True)


@cli.command()
@click.argument("user", required=False)
@click.option("--room", help="Only connections to this room; without USER, all of them.")
@_socket_option
@pass_context
def kick(context: Context, user: str | None, room: str | None, path: str | None) -> None:
    """Close the connections of USER, an id, to the running daemon.

    A client whose session and role are still valid can connect again: take those away first.
    """
    if user is None and room is None:
        raise click.UsageError("Name a user, or a room with --room.")
    name = context.room(room) if room is not None else None
    [item] = _request(context, path, request="kick", user=user, room=name)
    click.echo(f"{plural(item['connections'], 'connection', 'connections')} closed.")


@cli.command()
@click.option(
    "--within",
    type=click.FloatRange(0, MAX_DRAIN_TIME),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="Close the clients over so many seconds.",
)
@_socket_option
@pass_context
def drain(context: Context, within: float, path: str | None) -> None:
    """Stop the running daemon gently: it accepts no more clients, and closes them in random order over some time.

    They reconnect to another daemon, or to this one when it was started again. Then the process ends, with
    the status 0.
    """
    [item] = _request(context, path, request="drain", within=within)
    clients = plural(item["connections"], "client is", "clients are")
    click.echo(f"{clients} closed within {within:g} s; then the daemon stops.")
