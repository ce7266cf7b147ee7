"""Yjs updates as values that can be modified and combined, for updates that no client would send."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from attrs import define, evolve, field

from canvas_collab.protocol.lib0 import Decoder, encode_var_string, encode_var_uint
from canvas_collab.protocol.struct_info import GC, KEY, KIND, ORIGIN, RIGHT_ORIGIN, SKIP
from canvas_collab.protocol.structs import Struct, read_structs
from canvas_collab.protocol.update import decode_update

Id: TypeAlias = tuple[int, int]


@define
class CraftedStruct:
    """A struct.

    :ivar kind: as in the format, :mod:`canvas_collab.protocol.struct_info`.
    :ivar content: the encoded content.
    :ivar origin: the id of the item to its left when it was inserted.
    :ivar right: the id of the item to its right when it was inserted.
    :ivar parent: the shared type, by its name on the document or its id; encoded only without `origin` and `right`.
    :ivar key: of a map or of attributes.
    :ivar length: in clocks.
    """

    kind: int
    content: bytes
    origin: Id | None = None
    right: Id | None = None
    parent: str | Id = "map"
    key: str | None = None
    length: int = 1

    def encode(self) -> bytes:
        """Encode the struct."""
        if self.kind in (GC, SKIP):
            return bytes((self.kind,)) + encode_var_uint(self.length)
        info = self.kind
        head = b""
        if self.origin is not None:
            info |= ORIGIN
            head += encode_id(self.origin)
        if self.right is not None:
            info |= RIGHT_ORIGIN
            head += encode_id(self.right)
        if self.key is not None:
            info |= KEY
        if self.origin is None and self.right is None:
            if isinstance(self.parent, str):
                head += b"\x01" + encode_var_string(self.parent)
            else:
                head += b"\x00" + encode_id(self.parent)
            if self.key is not None:
                head += encode_var_string(self.key)
        return bytes((info,)) + head + self.content


@define
class ClientStructs:
    """Structs of one client, from a clock on."""

    client: int
    clock: int
    structs: list[CraftedStruct]

    def ids(self) -> list[tuple[Id, CraftedStruct]]:
        """Return each struct with its first id."""
        found, clock = [], self.clock
        for struct in self.structs:
            found.append(((self.client, clock), struct))
            clock += struct.length
        return found


@define
class CraftedUpdate:
    """An update.

    :ivar deletions: ranges, in the order in which they are encoded: client id, first clock, length.
    """

    parts: list[ClientStructs] = field(factory=list)
    deletions: list[tuple[int, int, int]] = field(factory=list)

    def encode(self) -> bytes:
        """Encode the update."""
        structs = [
            encode_var_uint(len(part.structs))
            + encode_var_uint(part.client)
            + encode_var_uint(part.clock)
            + b"".join(struct.encode() for struct in part.structs)
            for part in self.parts
        ]
        return encode_var_uint(len(structs)) + b"".join(structs) + encode_deletions(self.deletions)


def crafted_update(
    client: int, clock: int, *structs: CraftedStruct, deleting: Sequence[tuple[int, int, int]] = ()
) -> bytes:
    """Encode an update with the structs of one client, and deletions."""
    parts = [ClientStructs(client, clock, list(structs))] if structs else []
    return CraftedUpdate(parts, list(deleting)).encode()


def encode_deletions(ranges: Sequence[tuple[int, int, int]]) -> bytes:
    """Encode a delete set with these ranges, in this order."""
    clients: dict[int, list[tuple[int, int]]] = {}
    for client, start, length in ranges:
        clients.setdefault(client, []).append((start, length))
    encoded = encode_var_uint(len(clients))
    for client, found in clients.items():
        encoded += encode_var_uint(client) + encode_var_uint(len(found))
        encoded += b"".join(encode_var_uint(start) + encode_var_uint(length) for start, length in found)
    return encoded


def parse_update(data: bytes) -> CraftedUpdate:
    """Parse an update that the server accepts.

    :raises Malformed: if it does not.
    """
    update = decode_update(data)
    parts = []
    for client, runs in update.runs.items():
        for run in runs:
            structs = [_struct(run.data, struct) for struct in read_structs(run, client)]
            parts.append(ClientStructs(client, run.clock, structs))
    deletions = [(client, start, end - start) for client, ranges in update.deletions.items() for start, end in ranges]
    return CraftedUpdate(parts, deletions)


def _struct(data: bytes, place: Struct) -> CraftedStruct:
    decoder = Decoder(data)
    decoder.position = place.start
    info = decoder.byte()
    length = place.end - place.clock
    found = CraftedStruct(info & KIND, data[place.content : place.stop], length=length)
    if found.kind == GC:
        return found
    if info & ORIGIN:
        found.origin = _id(decoder)
    if info & RIGHT_ORIGIN:
        found.right = _id(decoder)
    if found.origin is None and found.right is None:
        found.parent = decoder.var_string() if decoder.var_uint() == 1 else _id(decoder)
        found.key = decoder.var_string() if info & KEY else None
    return found


def _id(decoder: Decoder) -> Id:
    return decoder.var_uint(), decoder.var_uint()


def encode_id(identifier: Id) -> bytes:
    """Encode an id."""
    return encode_var_uint(identifier[0]) + encode_var_uint(identifier[1])


def with_joined_parts(update: CraftedUpdate) -> CraftedUpdate:
    """Return the same update with one part for each client, and skips in the gaps, as the format requires."""
    parts: dict[int, ClientStructs] = {}
    for part in sorted(update.parts, key=lambda part: part.clock):
        known = parts.get(part.client)
        if known is None:
            parts[part.client] = evolve(part, structs=list(part.structs))
            continue
        end = known.clock + sum(struct.length for struct in known.structs)
        if part.clock > end:
            known.structs.append(CraftedStruct(SKIP, b"", length=part.clock - end))
        known.structs += part.structs
    return CraftedUpdate(list(parts.values()), update.deletions)
