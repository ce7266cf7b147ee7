"""All shapes of attack, by name."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain

from attrs import evolve

from tests.support.attacks import deletions, framing, queries, structs, values
from tests.support.attacks.shape import Shape, WireProtocol

#: The shapes that are also sent with Hocuspocus's protocol.
_ALSO_IN_HOCUSPOCUS = ("deletions-descending", "collected", "authors", "vector", "list-of-true", "awareness-too-large")

_all = list(chain(structs.SHAPES, deletions.SHAPES, values.SHAPES, queries.SHAPES, framing.SHAPES))

SHAPES: Mapping[str, Shape] = {
    shape.name: shape
    for shape in (
        *_all,
        *(
            evolve(
                shape,
                name=f"hocuspocus-{shape.name}",
                title=f"{shape.title} (Hocuspocus)",
                protocol=WireProtocol.HOCUSPOCUS,
            )
            for shape in _all
            if shape.name in _ALSO_IN_HOCUSPOCUS
        ),
    )
}
