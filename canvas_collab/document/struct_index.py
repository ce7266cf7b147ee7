"""Finds the structs of a document by id."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

from canvas_collab.protocol.items import Id, Item


class HasItem(Protocol):
    """A value that belongs to one struct."""

    @property
    def item(self) -> Item:
        """The struct."""


T = TypeVar("T", bound=HasItem)


class StructIndex(Generic[T]):
    """Values for all structs of a document, found by the ids that the structs contain."""

    def __init__(self, values: Mapping[int, Sequence[T]]) -> None:
        """:param values: for each client, in the order of their clocks."""
        self._values = values
        self._clocks = {client: [value.item.clock for value in found] for client, found in values.items()}

    def __iter__(self) -> Iterator[T]:
        for found in self._values.values():
            yield from found

    def find(self, identifier: Id | None) -> T | None:
        """Return the value of the struct that contains an id; None if there is none."""
        if identifier is None:
            return None
        client, clock = identifier
        index = bisect_right(self._clocks.get(client, ()), clock) - 1
        if index < 0:
            return None
        value = self._values[client][index]
        return value if clock < value.item.end else None
