"""Poison that the server accepts, as it does not integrate updates: clients break on it, or take very long."""

from __future__ import annotations

from collections.abc import Iterator

from canvas_collab.protocol.delete_set import DeleteSet
from canvas_collab.protocol.lib0 import encode_var_string, encode_var_uint
from canvas_collab.protocol.struct_info import KEY, ORIGIN, RIGHT_ORIGIN, Kind
from canvas_collab.protocol.structs import Run
from canvas_collab.protocol.update import encode_update

#: The client id of these structs.
CLIENT = 666


def item(
    kind: Kind,
    content: bytes,
    *,
    parent: str | tuple[int, int] | None = None,
    key: str | None = None,
    origin: tuple[int, int] | None = None,
    right_origin: tuple[int, int] | None = None,
) -> bytes:
    """Encode an item."""
    info = int(kind)
    head = b""
    for flag, identifier in ((ORIGIN, origin), (RIGHT_ORIGIN, right_origin)):
        if identifier is not None:
            info |= flag
            head += encode_id(identifier)
    if isinstance(parent, str):
        head += encode_var_uint(1) + encode_var_string(parent)
    elif parent is not None:
        head += encode_var_uint(0) + encode_id(parent)
    if key is not None:
        info |= KEY
        if parent is not None:
            head += encode_var_string(key)
    return bytes((info,)) + head + content


def encode_id(identifier: tuple[int, int]) -> bytes:
    """Encode an id."""
    return encode_var_uint(identifier[0]) + encode_var_uint(identifier[1])


def update_of(
    structs: list[bytes],
    *,
    client: int = CLIENT,
    clock: int = 0,
    clocks: int | None = None,
    deleted: DeleteSet | None = None,
) -> bytes:
    """Encode an update with the structs of one client.

    :param clock: of the first struct.
    :param clocks: how many clocks the structs have in all; one each by default.
    :param deleted: the delete set.
    """
    runs = {client: [Run(clock, clock + (clocks or len(structs)), len(structs), b"".join(structs))]} if structs else {}
    return encode_update(runs, deleted or DeleteSet())


def deletion(start: int, end: int, client: int = CLIENT) -> bytes:
    """Encode an update that deletes clocks from `start` to `end`, without that."""
    deleted = DeleteSet()
    deleted.add(client, start, end)
    return update_of([], deleted=deleted)


def string(text: str) -> bytes:
    """Encode the content of a string."""
    return encode_var_string(text)


def nested(depth: int, root: str = "array", at_a_time: int = 100) -> Iterator[bytes]:
    """Yield updates that nest maps in an array, `at_a_time` in each, and one that deletes the outermost."""
    for start in range(0, depth, at_a_time):
        structs = [
            item(Kind.TYPE, b"\x01", parent=root)
            if clock == 0
            else item(Kind.TYPE, b"\x01", parent=(CLIENT, clock - 1), key="a")
            for clock in range(start, min(start + at_a_time, depth))
        ]
        yield update_of(structs, clock=start)
    yield deletion(0, 1)


def at_one_place(count: int, root: str = "text") -> bytes:
    """Encode an update with concurrent insertions at the beginning of a text, each by another client."""
    clients = {CLIENT + number: [Run(0, 1, 1, item(Kind.STRING, string("x"), parent=root))] for number in range(count)}
    return encode_update(clients, DeleteSet())


def circle() -> bytes:
    """Encode an update of two items, each of which has the other as its origin."""
    first = item(Kind.STRING, string("a"), origin=(CLIENT + 1, 0))
    second = item(Kind.STRING, string("b"), origin=(CLIENT, 0))
    return encode_update({CLIENT: [Run(0, 1, 1, first)], CLIENT + 1: [Run(0, 1, 1, second)]}, DeleteSet())
