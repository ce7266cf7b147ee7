"""What is asked of the Yjs engine: three functions on encoded updates, with one kind of failure.

The server never integrates a document.  It merges, cuts and measures encoded updates, which loses nothing where
integrating can: out of order, with gaps, with a character cut in half.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pycrdt

from canvas_collab.protocol.lib0 import Malformed

#: The update that changes nothing: no structs, no deletions.
EMPTY_UPDATE = b"\x00\x00"

#: How many updates are merged in one go: merging many at once costs their number squared, merging them as a tree not.
FAN_IN = 100

_T = TypeVar("_T")


def merge(*updates: bytes) -> bytes:
    """Merge updates to one, in the engine's canonical form; each may hold gaps, overlap others, come in any order.

    Merging a single update validates it: every struct is parsed.

    :raises Malformed: if one of them is no update.
    """
    if not updates:
        return EMPTY_UPDATE
    while len(updates) > FAN_IN:
        updates = tuple(merge(*updates[start : start + FAN_IN]) for start in range(0, len(updates), FAN_IN))
    return _call(lambda: pycrdt.merge_updates(*updates))


def state_vector(update: bytes) -> bytes:
    """The state vector of a document made of `update` alone: what it holds from clock 0 without a gap.

    :raises Malformed: if it is no update.
    """
    return _call(lambda: pycrdt.get_state(update))


def beyond(update: bytes, known: bytes) -> bytes:
    """What `update` holds beyond the state vector `known`: structs above its clocks, and every deletion.

    :raises Malformed: if either is not what it should be.
    """
    return _call(lambda: pycrdt.get_update(update, known))


def _call(function: Callable[[], _T]) -> _T:
    """Turn every way in which the engine refuses its input into one."""
    try:
        return function()
    except ValueError as error:
        raise Malformed(str(error)) from error
    except BaseException as error:
        # A panic of the Rust side is no Exception, and its class cannot be imported.
        if type(error).__name__ != "PanicException":
            raise
        raise Malformed("the engine gave up on the update") from error
