"""Detects poison in updates: well-formed content that Yjs clients accept, and fail on afterwards.

Only updates received from clients are checked.  Stored updates are read as they are, since a document with poison in it
can still be repaired.

=================================  =====================================================================================
content                            what Yjs does
=================================  =====================================================================================
an object with a key               ``obj[key] = value`` sets the prototype.  If the value is a byte array, lib0's
``__proto__``                      ``writeAny`` treats the object as one and throws; otherwise the value changes when it
                                   is encoded again, or while it waits for other structs.
a subdocument with a ``guid``      ``new Doc({guid, ...options})`` uses it instead of the subdocument's own.  If it is
among its options that is not a    not a string, it cannot be encoded, or only as another value; if it is undefined,
string                             every client generates one of its own.
a subdocument with a ``gcFilter``  is called as a function whenever anything in the subdocument is deleted.
among its options
an item with several values at a   is split when a part of it is deleted, or something is inserted between the values.
key of a map                       Its first part is never deleted then, and garbage collection throws when the map is
                                   deleted.  Clients without garbage collection do send such items, but wholly deleted.
=================================  =====================================================================================
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from canvas_collab.protocol.delete_set import DeleteSet
from canvas_collab.protocol.lib0 import Malformed, read_var_uint
from canvas_collab.protocol.steps import RANGES_PER_STEP, RUNS_PER_STEP, VALUES_PER_STEP, Steps
from canvas_collab.protocol.struct_info import ANY, DOC, EMBED, FORMAT, JSON, KIND
from canvas_collab.protocol.structs import Run, read_structs_in_steps

#: A client id, the first clock of an item, and the clock after its last.
ItemRange = tuple[int, int, int]

_PROTOTYPE = b"__proto__"

# Bytes with none of these contain no such key or option.  In JSON a key may be written with escapes.
_SUSPECT = (_PROTOTYPE, b"\\u", b"guid", b"gcFilter")

# The key in JSON, with and without escapes.  A quotation mark inside a string has a backslash before it.
_JSON_KEY = re.compile(
    rb"""(?<!\\)"(?:_|\\u005[fF]){2}(?:p|\\u0070)(?:r|\\u0072)(?:o|\\u006[fF])(?:t|\\u0074)(?:o|\\u006[fF])"""
    rb'''(?:_|\\u005[fF]){2}"'''
)
_COLON = re.compile(rb"[ \t\n\r]*:")
_LONGEST_KEY = 64

#: How many bytes are searched in one step; searching is much faster than validating.
_SEARCHED_PER_STEP = 2**18

_STRING, _OBJECT, _ARRAY, _BYTES, _INTEGER = 119, 118, 117, 116, 125
_SIZES = {120: 0, 121: 0, 126: 0, 127: 0, 122: 8, 123: 8, 124: 4}


def is_harmless(data: bytes) -> bool:
    """Return whether a small update certainly contains no poison of which :func:`check_runs` would have to be asked."""
    return _PROTOTYPE not in data and b"\\u" not in data and b"guid" not in data and b"gcFilter" not in data


def check_runs(client: int, runs: Sequence[Run]) -> Steps[None]:
    """Check that the content of a client's structs, which must be valid, contains no poison.

    :raises Malformed: if it does.
    """
    for index, run in enumerate(runs):
        if index % RUNS_PER_STEP == RUNS_PER_STEP - 1:
            yield
        if (yield from _is_suspect(run.data)):
            for struct in read_structs_in_steps(run, client):
                if struct is None:
                    yield
                else:
                    yield from check_content(run.data, struct.content, struct.stop, run.data[struct.start] & KIND)


def check_lists_at_keys(lists_at_keys: Sequence[ItemRange], deletions: DeleteSet) -> Steps[None]:
    """Check that all items with several values at a key are wholly deleted.

    :raises Malformed: if one is not.
    """
    for index, (client, start, end) in enumerate(lists_at_keys):
        covered = DeleteSet()
        covered.add(client, start, end)
        if not deletions.covers(covered):
            raise Malformed("an item has several values at one key")
        if index % RANGES_PER_STEP == RANGES_PER_STEP - 1:
            yield


def _is_suspect(data: bytes) -> Steps[bool]:
    for start in range(0, len(data), _SEARCHED_PER_STEP):
        stop = start + _SEARCHED_PER_STEP + _LONGEST_KEY
        if any(data.find(word, start, stop) >= 0 for word in _SUSPECT):
            return True
        if stop < len(data):
            yield
    return False


def check_content(data: bytes, position: int, stop: int, kind: int) -> Steps[None]:
    """Check that the content of an item, which must be valid, from `position` up to `stop`, contains no poison.

    :raises Malformed: if it does.
    """
    if kind == DOC:
        length, position = read_var_uint(data, position)
        yield from _check_keys(data, position + length, 1, are_options=True)
    elif kind == ANY:
        if data.find(_PROTOTYPE, position, stop) >= 0:
            count, position = read_var_uint(data, position)
            yield from _check_keys(data, position, count)
    elif kind in (EMBED, FORMAT, JSON):
        count = 1
        if kind == JSON:
            count, position = read_var_uint(data, position)
        elif kind == FORMAT:
            length, position = read_var_uint(data, position)
            position += length
        for index in range(count):
            length, position = read_var_uint(data, position)
            yield from _check_json_keys(data, position, position + length)
            position += length
            if index % VALUES_PER_STEP == VALUES_PER_STEP - 1:
                yield


def _check_json_keys(data: bytes, position: int, stop: int) -> Steps[None]:
    for start in range(position, stop, _SEARCHED_PER_STEP):
        for found in _JSON_KEY.finditer(data, start, min(stop, start + _SEARCHED_PER_STEP + _LONGEST_KEY)):
            if _COLON.match(data, found.end(), stop):
                raise Malformed("an object has a key __proto__")
        if start + _SEARCHED_PER_STEP < stop:
            yield


def _check_keys(data: bytes, position: int, count: int, *, are_options: bool = False) -> Steps[None]:
    """Check the keys in `count` values of lib0's ``writeAny``.

    :param are_options: whether the value is the options of a subdocument.
    """
    remaining = VALUES_PER_STEP
    for depth, key, tag in _values(data, position, count):
        if key == _PROTOTYPE:
            raise Malformed("an object has a key __proto__")
        if are_options and depth == 1 and (key == b"gcFilter" or (key == b"guid" and tag != _STRING)):
            raise Malformed("a subdocument has a guid or a gcFilter among its options that no client could use")
        remaining -= 1
        if not remaining:
            yield
            remaining = VALUES_PER_STEP


def _values(data: bytes, position: int, count: int) -> Iterator[tuple[int, bytes | None, int]]:
    """Iterate over `count` values of lib0's ``writeAny`` and all values nested in them.

    Yields for each its depth, its key if it is in an object, and its tag.
    """
    # For each level, how many values there are still to come, and whether they have keys.
    levels = [(count, False)]
    while levels:
        count, has_keys = levels.pop()
        if not count:
            continue
        levels.append((count - 1, has_keys))
        key = None
        if has_keys:
            length, position = read_var_uint(data, position)
            key = data[position : position + length]
            position += length
        tag = data[position]
        position += 1
        yield len(levels) - 1, key, tag
        if tag in (_OBJECT, _ARRAY):
            count, position = read_var_uint(data, position)
            levels.append((count, tag == _OBJECT))
        elif tag in (_STRING, _BYTES):
            length, position = read_var_uint(data, position)
            position += length
        elif tag == _INTEGER:
            while data[position] >= 0x80:
                position += 1
            position += 1
        else:
            position += _SIZES[tag]
