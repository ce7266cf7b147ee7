"""The structs of a document, found by the ids that they hold."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

from canvas_collab.protocol.items import Id, Item


class Indexed(Protocol):
    """What is known of one struct."""

    @property
    def item(self) -> Item:
        """The struct."""


T = TypeVar("T", bound=Indexed)


class StructIndex(Generic[T]):
    """All structs of a document, with what somebody knows of each."""

    def __init__(self, structs: Mapping[int, Sequence[T]]) -> None:
        """:param structs: for each client, in the order of their clocks."""
        self._structs = structs
        self._clocks = {client: [one.item.clock for one in found] for client, found in structs.items()}

    def __iter__(self) -> Iterator[T]:
        for found in self._structs.values():
            yield from found

    def find(self, identifier: Id | None) -> T | None:
        """The struct that holds an id."""
        if identifier is None:
            return None
        client, clock = identifier
        index = bisect_right(self._clocks.get(client, ()), clock) - 1
        if index < 0:
            return None
        struct = self._structs[client][index]
        return struct if clock < struct.item.end else None
