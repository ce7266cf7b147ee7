"""Updates: what is accepted and rejected, and that accepted updates keep their bytes."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycrdt import Doc, Text

from canvas_collab.document.document import Document
from canvas_collab.document.merging import merge_updates
from canvas_collab.protocol.json_text import MAX_NESTING
from canvas_collab.protocol.lib0 import Malformed, TooLarge, encode_var_string, encode_var_uint
from canvas_collab.protocol.steps import run_to_completion
from canvas_collab.protocol.structs import MAX_CLOCK
from canvas_collab.protocol.update import RUN_WEIGHT, decode_update, encode_update, read_update
from tests.support.updates import edits, update_of_many_clients, update_with_gaps

CLIENT = b"\x05"
PARENT = b"\x01\x01t"


def item(kind: int, content: bytes, clock: int = 0) -> bytes:
    """Return an update with one item in the top-level type ``t``."""
    return b"\x01\x01" + CLIENT + encode_var_uint(clock) + bytes((kind,)) + PARENT + content + b"\x00"


def string(text: str) -> bytes:
    return encode_var_string(text)


VALUES = {
    "undefined": b"\x7f",
    "null": b"\x7e",
    "integer": b"\x7d\x85\x01",
    "float": b"\x7c\x00\x00\x00\x00",
    "double": b"\x7b" + bytes(8),
    "bigint": b"\x7a" + bytes(8),
    "true": b"\x78",
    "false": b"\x79",
    "string": b"\x77" + string("é😀"),
    "object": b"\x76\x02" + string("z") + b"\x78" + string("a") + b"\x75\x01\x7e",
    "array": b"\x75\x02\x7e\x7f",
    "bytes": b"\x74\x02\xff\xfe",
}

CONTENTS = {
    "deleted": (1, b"\x07", 7),
    "json": (2, b"\x02" + string("undefined") + string('{"a":1}'), 2),
    "binary": (3, b"\x02\xff\x00", 1),
    "string": (4, string("a😀é"), 4),
    "embed": (5, string('{"half":"\\ud83d","many":1e400}'), 1),
    "format": (6, string("bold") + string("null"), 1),
    "array type": (7, b"\x00", 1),
    "xml element": (7, b"\x03" + string("p"), 1),
    "xml hook": (7, b"\x05" + string("h"), 1),
    "xml text": (7, b"\x06", 1),
    "any": (8, encode_var_uint(len(VALUES)) + b"".join(VALUES.values()), len(VALUES)),
    "subdocument": (9, string("guid") + b"\x76\x01" + string("meta") + VALUES["object"], 1),
}


@pytest.mark.parametrize("name", CONTENTS)
def test_every_kind_of_content_keeps_its_bytes_and_has_its_length(name: str) -> None:
    kind, content, length = CONTENTS[name]
    data = item(kind, content)
    update = decode_update(data)
    [run] = update.runs[5]
    assert (run.clock, run.end, run.count) == (0, length, 1)
    assert encode_update(update.runs, update.deletions) == data


REJECTED = {
    "a string that is not utf-8": item(4, b"\x01\xff"),
    "an empty string": item(4, b"\x00"),
    "no values": item(8, b"\x00"),
    "an unknown value": item(8, b"\x01\x50"),
    "an integer of too many bits": item(8, b"\x01\x7d" + b"\xff" * 9),
    "half a double": item(8, b"\x01\x7b\x00")[:-1],
    "invalid json": item(2, b"\x01" + string("{")),
    "an embed that is undefined": item(5, string("undefined")),
    "an embed that is not a number": item(5, string("NaN")),
    "an unknown shared type": item(7, b"\x07"),
    "unknown content": item(11, b"\x01"),
    "a skip with fields": b"\x01\x01\x05\x00\x8a\x01\x01\x01\x00",
    "an empty gc": b"\x01\x01\x05\x00\x00\x00\x00",
    "one client twice": b"\x02\x01\x05\x00\x00\x01\x01\x05\x01\x00\x01\x00",
    "a clock that is too high": b"\x01\x01\x05" + encode_var_uint(MAX_CLOCK + 1) + b"\x00\x01\x00",
    "a struct that ends too high": b"\x01\x01\x05" + encode_var_uint(MAX_CLOCK) + b"\x00\x01\x00",
    "a deletion that ends too high": b"\x00\x01\x05\x01\x01" + encode_var_uint(MAX_CLOCK),
    "more structs than there are": b"\x01\xff\xff\xff\xff\x0f\x05\x00\x00\x01",
    "more clients than there are": b"\xff\xff\xff\xff\x0f\x01\x05\x00\x00\x01\x00",
    "more deletions than there are": b"\x00\x01\x05\xff\xff\xff\xff\x0f\x01\x01",
    "an empty deletion": b"\x00\x01\x05\x01\x07\x00",
    "a struct that is its own origin": b"\x01\x01\x05\x07\x84\x05\x07\x01a\x00",
    "a struct with a later right origin": b"\x01\x01\x05\x07\x44\x05\x08\x01a\x00",
    "a struct with a later parent": b"\x01\x01\x05\x07\x04\x00\x05\x08\x01a\x00",
    "a subdocument without options": item(9, string("guid") + b"\x7e"),
    "no delete set": item(4, string("a"))[:-1],
    "json that is nested too deeply": item(5, string("[" * (MAX_NESTING + 1) + "]" * (MAX_NESTING + 1))),
    "values that are nested too deeply": item(8, b"\x01" + b"\x75\x01" * (MAX_NESTING + 2) + b"\x7e"),
}


@pytest.mark.parametrize("name", REJECTED)
def test_updates_that_some_client_could_not_read_are_rejected(name: str) -> None:
    with pytest.raises(Malformed):
        decode_update(REJECTED[name])


def test_nesting_up_to_the_limit_is_accepted() -> None:
    assert decode_update(item(8, b"\x01" + b"\x75\x01" * MAX_NESTING + b"\x7e"))


@pytest.mark.parametrize(
    "text",
    ["[" * MAX_NESTING + "]" * MAX_NESTING, "[" + "[]," * MAX_NESTING + "{}]", '"' + "[" * MAX_NESTING * 2 + '"'],
)
def test_json_is_accepted_unless_it_is_nested_too_deeply(text: str) -> None:
    assert decode_update(item(5, string(text)))


def test_a_number_of_very_many_digits_is_accepted() -> None:
    assert decode_update(item(5, string("9" * 100_000)))


def test_bytes_after_the_end_are_ignored() -> None:
    data = item(4, string("a"))
    assert decode_update(data + b"more").runs == decode_update(data).runs


def test_every_prefix_of_an_update_is_rejected() -> None:
    data = item(8, CONTENTS["any"][1])
    for length in range(len(data)):
        with pytest.raises(Malformed):
            decode_update(data[:length])


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=80))
def test_any_bytes_are_either_an_update_or_malformed(data: bytes) -> None:
    try:
        decode_update(data)
    except Malformed:
        return


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32), st.data())
def test_a_mutated_update_is_rejected_or_encoded_without_loss(seed: int, data: st.DataObject) -> None:
    chance = random.Random(seed)
    update = bytearray(chance.choice(edits(seed % 50, 20)))
    for _ in range(chance.randint(1, 3)):
        update[chance.randrange(len(update))] = chance.randrange(256)
    try:
        decoded = decode_update(bytes(update))
    except Malformed:
        return
    again = encode_update(decoded.runs, decoded.deletions)
    assert decode_update(again).runs == decoded.runs
    assert decode_update(again).deletions.encode() == decoded.deletions.encode()


def test_an_update_of_pycrdt_is_encoded_to_the_same_bytes() -> None:
    doc: Doc[Any] = Doc()
    text = doc.get("text", type=Text)
    for word in ("one ", "two ", "three "):
        text.insert(0, word)
    del text[2:5]
    data = doc.get_update()
    update = decode_update(data)
    assert encode_update(update.runs, update.deletions) == data


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 80), st.integers(1, 4000))
def test_the_parts_of_a_split_update_have_together_what_it_has(seed: int, count: int, size: int) -> None:
    whole = decode_update(merge_updates([decode_update(data) for data in edits(seed, count)]))
    parts = list(whole.split(size))
    for part in parts:
        assert decode_update(part.encode()).runs == {client: list(runs) for client, runs in part.runs.items()}
    document = Document(parts)
    assert document.encode() == Document([whole]).encode()


@pytest.mark.parametrize("make", [update_with_gaps, update_of_many_clients])
def test_an_update_that_would_take_too_much_memory_is_rejected(make: Callable[[int], bytes]) -> None:
    data = make(2000)
    update = run_to_completion(read_update(data, 2000 * RUN_WEIGHT))
    assert run_to_completion(update.compute_weight()) >= 2000 * RUN_WEIGHT
    with pytest.raises(TooLarge):
        run_to_completion(read_update(data, 1000 * RUN_WEIGHT))
