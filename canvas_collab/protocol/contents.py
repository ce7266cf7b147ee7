"""The content of items in a Yjs update: validating and slicing it.

Content stays the bytes that were received.  It is never decoded and encoded again, so no value can change on the way.
"""

from __future__ import annotations

from codecs import getincrementaldecoder
from typing import TYPE_CHECKING, Final, final

from canvas_collab.protocol.content_values import (
    OBJECT,
    read_bounds,
    read_string,
    skip_bytes,
    skip_string,
    skip_values,
)
from canvas_collab.protocol.json_text import LONG, check_json, check_long_json
from canvas_collab.protocol.lib0 import Malformed, encode_var_string, encode_var_uint, read_var_uint
from canvas_collab.protocol.steps import BYTES_PER_STEP, VALUES_PER_STEP, Steps, run_to_completion
from canvas_collab.protocol.struct_info import (
    ANY,
    BINARY,
    DELETED,
    DOC,
    EMBED,
    FORMAT,
    GC,
    JSON,
    STRING,
    TYPE,
)

if TYPE_CHECKING:
    from mypy_extensions import i64

#: The shared types that are followed by a name: XML elements and hooks.
_ELEMENT: Final = 3
_HOOK: Final = 5
_LAST_TYPE: Final = 6

#: How many JSON texts are checked in one step.
TEXTS_PER_STEP: Final = 200

#: How many bytes of a string are decoded in one step.
TEXT_PER_STEP = 2**18

#: What :func:`skip_content` returns instead of the position after content that is too long for one step.
UNFINISHED: Final = -1


def skip_content(data: bytes, position: i64, kind: i64) -> tuple[i64, i64]:
    """Validate the content at `position`; returns its length in clocks and the position after it.

    The position is :data:`UNFINISHED` if the content is too long for one step; use :func:`skip_long_content` then.

    :raises Malformed: if some client could not read it.
    :raises IndexError: if `data` ends inside it.
    """
    if kind == STRING:
        return _skip_text(data, position)
    count: i64
    pending: list[int]
    if kind == ANY:
        count, position = read_var_uint(data, position)
        pending = [count << 1]
        position = skip_values(data, position, pending)
        return count, UNFINISHED if pending else position
    if kind == DELETED:
        return read_var_uint(data, position)
    if kind == TYPE:
        reference, position = read_var_uint(data, position)
        if reference > _LAST_TYPE:
            raise Malformed(f"there is no shared type {reference}")
        return 1, skip_string(data, position) if reference in (_ELEMENT, _HOOK) else position
    if kind == FORMAT:
        return 1, _skip_json(data, skip_string(data, position))
    if kind == EMBED:
        return 1, _skip_json(data, position)
    if kind == BINARY:
        return 1, skip_bytes(data, position)
    if kind == JSON:
        count, position = read_var_uint(data, position)
        if count > TEXTS_PER_STEP:
            return count, UNFINISHED
        limit = position + BYTES_PER_STEP
        for _ in range(count):
            position = _skip_json(data, position, also_valid="undefined")
            if position == UNFINISHED or position > limit:
                return count, UNFINISHED
        return count, position
    if kind == DOC:
        position = skip_string(data, position)
        if data[position] != OBJECT:
            raise Malformed("the options of a subdocument are not an object")
        pending = [2]
        position = skip_values(data, position, pending)
        return 1, UNFINISHED if pending else position
    raise Malformed(f"there is no content of kind {kind}")


def skip_long_content(data: bytes, position: int, kind: int) -> Steps[tuple[int, int]]:
    """Validate content for which :func:`skip_content` returns :data:`UNFINISHED`, in steps.

    Returns and raises what :func:`skip_content` does otherwise.
    """
    if kind == STRING:
        return (yield from _skip_long_text(data, position))
    count = 1
    if kind in (ANY, DOC):
        if kind == DOC:
            position = skip_string(data, position)
        else:
            count, position = read_var_uint(data, position)
        pending = [count << 1]
        while pending:
            position = skip_values(data, position, pending)
            yield
        return count, position
    if kind == FORMAT:
        position = skip_string(data, position)
    elif kind == JSON:
        count, position = read_var_uint(data, position)
    limit = position + BYTES_PER_STEP
    for index in range(count):
        text, position = read_string(data, position)
        if len(text) > LONG:
            yield from check_long_json(text)
        elif kind != JSON or text != "undefined":
            check_json(text)
        if position > limit or index % TEXTS_PER_STEP == TEXTS_PER_STEP - 1:
            yield
            limit = position + BYTES_PER_STEP
    return count, position


@final
class ContentSlicer:
    """Slices the content of one item, any number of times; :meth:`prepare` must have run before."""

    __slots__ = ("_bounds", "_data", "_kind", "units")

    def __init__(self, data: bytes, kind: int) -> None:
        """:param data: contains the content, which must be valid."""
        self._data = data
        self._kind = kind
        #: The UTF-16 code units of a string, two bytes each.
        self.units = b""
        self._bounds: list[int] = []

    def prepare(self, position: int) -> Steps[None]:
        """Find where the content, which begins at `position`, can be cut, in steps."""
        data, kind = self._data, self._kind
        if kind == STRING:
            self.units = read_string(data, position)[0].encode("utf-16-le")
        elif kind in (ANY, JSON):
            count, position = read_var_uint(data, position)
            for index in range(count):
                self._bounds.append(position)
                if kind == JSON:
                    position = skip_bytes(data, position)
                else:
                    pending = [2]
                    while pending:
                        position = skip_values(data, position, pending)
                        if pending:
                            yield
                if index % VALUES_PER_STEP == VALUES_PER_STEP - 1:
                    yield
            self._bounds.append(position)

    def slice(self, start: int, end: int) -> bytes:
        """Return the content of the clocks from `start` to `end`, relative to the first clock of the item."""
        if self._kind in (GC, DELETED):
            return encode_var_uint(end - start)
        if self._kind == STRING:
            # Like in Yjs, a surrogate pair that is cut becomes two replacement characters.
            return encode_var_string(self.units[2 * start : 2 * end].decode("utf-16-le", "replace"))
        return encode_var_uint(end - start) + self._data[self._bounds[start] : self._bounds[end]]


def make_content_slicer(content: bytes, kind: int) -> ContentSlicer:
    """Return a prepared slicer of valid content."""
    slicer = ContentSlicer(content, kind)
    run_to_completion(slicer.prepare(0))
    return slicer


def _skip_text(data: bytes, position: i64) -> tuple[i64, i64]:
    """Validate a string; returns its length in UTF-16 code units, as JavaScript counts, and the position after it."""
    start, stop = read_bounds(data, position)
    if stop - start > TEXT_PER_STEP:
        return 0, UNFINISHED
    return count_units(read_string(data, position)[0]), stop


def _skip_long_text(data: bytes, position: int) -> Steps[tuple[int, int]]:
    start, stop = read_bounds(data, position)
    decoder = getincrementaldecoder("utf-8")()
    units = 0
    for begin in range(start, stop, TEXT_PER_STEP):
        end = min(begin + TEXT_PER_STEP, stop)
        try:
            units += count_units(decoder.decode(data[begin:end], end == stop))
        except UnicodeDecodeError:
            raise Malformed("a string is not UTF-8") from None
        yield
    return units, stop


def count_units(text: str) -> int:
    """Return the number of UTF-16 code units of a text, which is its length in clocks."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2


def _skip_json(data: bytes, position: i64, also_valid: str | None = None) -> i64:
    """Check that ``JSON.parse`` accepts a string; returns the position after it.

    :param also_valid: a text that Yjs accepts although it is not JSON.
    """
    text, stop = read_string(data, position)
    if len(text) > LONG:
        return UNFINISHED
    if text != also_valid:
        check_json(text)
    return stop
