"""Updates that are well-formed, and that Yjs breaks on all the same: it takes them in, and then cannot send any more.

That is for what comes in.  What is stored is read as it is, or documents would be lost that can still be repaired.

=================================  =====================================================================================
what                               what Yjs does
=================================  =====================================================================================
an object with a key               ``obj[key] = value`` sets the prototype.  If that is a byte array, lib0's
``__proto__``                      ``writeAny`` takes the object for one and throws; else the value is another one after
                                   it was written again, or has waited for other structs.
a subdocument's ``guid`` among     ``new Doc({guid, ...options})`` takes it instead of the subdocument's own.  One that
its options that is no string      is no string cannot be written, or only as another; without a value, every client
                                   draws its own.
a ``gcFilter`` among them          is called by the subdocument as a function, whenever anything is deleted.
several values at a key of a map   are cut when a part of them is deleted, or something is inserted between them.  The
                                   first part stays alive for good then, and garbage collection throws when the map
                                   has been deleted.  Clients that keep deleted content write such items, all of which
                                   is deleted.
=================================  =====================================================================================
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from canvas_collab.protocol.delete_set import DeleteSet
from canvas_collab.protocol.lib0 import Malformed, read_var_uint
from canvas_collab.protocol.steps import RANGES_PER_STEP, RUNS_PER_STEP, VALUES_PER_STEP, Steps
from canvas_collab.protocol.struct_info import ANY, DOC, EMBED, FORMAT, JSON, KIND
from canvas_collab.protocol.structs import Run, structs_in_steps

#: A client, the first clock of an item, and the one after its last.
Stretch = tuple[int, int, int]

_PROTOTYPE = b"__proto__"

# What has none of these in its bytes has no such key and no such option.  JSON may have a key in escapes.
_SUSPECT = (_PROTOTYPE, b"\\u", b"guid", b"gcFilter")

# That key in JSON, in whatever spelling.  A quotation mark that does not begin a string has a backslash before it.
_JSON_KEY = re.compile(
    rb"""(?<!\\)"(?:_|\\u005[fF]){2}(?:p|\\u0070)(?:r|\\u0072)(?:o|\\u006[fF])(?:t|\\u0074)(?:o|\\u006[fF])"""
    rb'''(?:_|\\u005[fF]){2}"'''
)
_COLON = re.compile(rb"[ \t\n\r]*:")
_LONGEST_KEY = 64

#: So many bytes are searched in one step, which takes much less time than to check them.
_SEARCHED_PER_STEP = 2**18

_STRING, _OBJECT, _ARRAY, _BYTES, _INTEGER = 119, 118, 117, 116, 125
_SIZES = {120: 0, 121: 0, 126: 0, 127: 0, 122: 8, 123: 8, 124: 4}


def refuse_poison(client: int, runs: Sequence[Run]) -> Steps[None]:
    """Make sure that there is none in the content of a client's structs, which have been checked.

    :raises Malformed: if there is.
    """
    for index, run in enumerate(runs):
        if index % RUNS_PER_STEP == RUNS_PER_STEP - 1:
            yield
        if (yield from _is_suspect(run.data)):
            for struct in structs_in_steps(run, client):
                if struct is None:
                    yield
                else:
                    yield from refuse_content(run.data, struct.content, struct.stop, run.data[struct.start] & KIND)


def refuse_lists_at_keys(at_keys: Sequence[Stretch], deletions: DeleteSet) -> Steps[None]:
    """Make sure that items of several clocks at a key are deleted, all of them.

    :raises Malformed: if one is not.
    """
    for index, (client, start, end) in enumerate(at_keys):
        covered = DeleteSet()
        covered.add(client, start, end)
        if not deletions.covers(covered):
            raise Malformed("several values are at one key")
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


def refuse_content(data: bytes, position: int, stop: int, kind: int) -> Steps[None]:
    """Make sure that there is none in the content of an item, which has been checked, between two positions.

    :raises Malformed: if there is.
    """
    if kind == DOC:
        length, position = read_var_uint(data, position)
        yield from _refuse_keys(data, position + length, 1, are_options=True)
    elif kind == ANY:
        if data.find(_PROTOTYPE, position, stop) >= 0:
            count, position = read_var_uint(data, position)
            yield from _refuse_keys(data, position, count)
    elif kind in (EMBED, FORMAT, JSON):
        count = 1
        if kind == JSON:
            count, position = read_var_uint(data, position)
        elif kind == FORMAT:
            length, position = read_var_uint(data, position)
            position += length
        for index in range(count):
            length, position = read_var_uint(data, position)
            yield from _refuse_keys_in_json(data, position, position + length)
            position += length
            if index % VALUES_PER_STEP == VALUES_PER_STEP - 1:
                yield


def _refuse_keys_in_json(data: bytes, position: int, stop: int) -> Steps[None]:
    for start in range(position, stop, _SEARCHED_PER_STEP):
        for found in _JSON_KEY.finditer(data, start, min(stop, start + _SEARCHED_PER_STEP + _LONGEST_KEY)):
            if _COLON.match(data, found.end(), stop):
                raise Malformed("an object has a key __proto__")
        if start + _SEARCHED_PER_STEP < stop:
            yield


def _refuse_keys(data: bytes, position: int, count: int, *, are_options: bool = False) -> Steps[None]:
    """Refuse keys among values of lib0's ``writeAny``; `are_options` if they are a subdocument's."""
    left = VALUES_PER_STEP
    for depth, key, tag in _values(data, position, count):
        if key == _PROTOTYPE:
            raise Malformed("an object has a key __proto__")
        if are_options and depth == 1 and (key == b"gcFilter" or (key == b"guid" and tag != _STRING)):
            raise Malformed("a subdocument has a guid or a gcFilter among its options that no client could use")
        left -= 1
        if not left:
            yield
            left = VALUES_PER_STEP


def _values(data: bytes, position: int, count: int) -> Iterator[tuple[int, bytes | None, int]]:
    """Every value of lib0's ``writeAny``, and all in them: how deep it is, its key in an object, and its tag."""
    # How many values are still to come on each level, and whether they have keys.
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
