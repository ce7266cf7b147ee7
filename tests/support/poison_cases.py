"""Named cases of poison, updates that Yjs breaks on: those that the server must refuse, those that it cannot know, and
harmless ones that look similar.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from attrs import frozen

from canvas_collab.protocol.lib0 import encode_var_string, encode_var_uint
from canvas_collab.protocol.struct_info import ANY, DELETED, DOC, EMBED, FORMAT, JSON, STRING, TYPE
from tests.support.crafted_updates import CraftedStruct, crafted_update

#: The client id of the structs.
CLIENT = 5

#: Values in lib0's encoding.
UNDEFINED, NULL, TRUE, ONE = b"\x7f", b"\x7e", b"\x78", b"\x7d\x01"
BYTES = b"\x74\x01\x07"
FLOAT = b"\x7c\x00\x00\x00\x00"
BIGINT = b"\x7a" + bytes(8)

ARRAY_TYPE, MAP_TYPE, TEXT_TYPE = b"\x00", b"\x01", b"\x02"


def text(value: str) -> bytes:
    """Encode a string as a value of lib0."""
    return b"\x77" + encode_var_string(value)


def obj(*entries: tuple[str, bytes]) -> bytes:
    """Encode an object as a value of lib0."""
    return b"\x76" + encode_var_uint(len(entries)) + b"".join(encode_var_string(key) + value for key, value in entries)


def arr(*values: bytes) -> bytes:
    """Encode an array as a value of lib0."""
    return b"\x75" + encode_var_uint(len(values)) + b"".join(values)


def many(*values: bytes) -> bytes:
    """Encode the content of an item with several values."""
    return encode_var_uint(len(values)) + b"".join(values)


def subdocument(options: bytes, guid: str = "guid") -> CraftedStruct:
    """An item that is a subdocument, with its options as an encoded object."""
    return CraftedStruct(DOC, encode_var_string(guid) + options, key="doc")


def values(*found: bytes, **fields: object) -> CraftedStruct:
    """An item of encoded values; `fields` are those of :class:`CraftedStruct`."""
    return CraftedStruct(ANY, many(*found), length=len(found), **fields)  # type: ignore[arg-type]


def type_in(parent: str | tuple[int, int], key: str | None = None, kind: bytes = MAP_TYPE) -> CraftedStruct:
    """An item that is a shared type."""
    return CraftedStruct(TYPE, kind, parent=parent, key=key)


def string(value: str, **fields: object) -> CraftedStruct:
    """An item that is a string."""
    return CraftedStruct(STRING, encode_var_string(value), length=len(value.encode("utf-16-le")) // 2, **fields)  # type: ignore[arg-type]


def embed(value: str) -> CraftedStruct:
    """An item that is an embed, of a JSON text."""
    return CraftedStruct(EMBED, encode_var_string(value), parent="text")


def mark(key: str, value: str) -> CraftedStruct:
    """An item that formats a text, with a value as JSON text."""
    return CraftedStruct(FORMAT, encode_var_string(key) + encode_var_string(value), parent="text")


def old_json(*found: str, **fields: object) -> CraftedStruct:
    """An item of JSON texts, which old versions of Yjs make."""
    return CraftedStruct(JSON, many(*map(encode_var_string, found)), length=len(found), **fields)  # type: ignore[arg-type]


@frozen
class PoisonCase:
    """A case of poison: updates in order, on the last of which Yjs breaks, if not when the document is used later."""

    name: str
    updates: list[bytes]


def _one(name: str, *structs: CraftedStruct, deleting: tuple[tuple[int, int, int], ...] = ()) -> PoisonCase:
    return PoisonCase(name, [crafted_update(CLIENT, 0, *structs, deleting=deleting)])


def guids() -> Iterator[PoisonCase]:
    """The options of a subdocument replace its guid with something else than a string."""
    found = {
        "null": NULL,
        "undefined": UNDEFINED,
        "an integer": ONE,
        "an object": obj(),
        "an array": arr(),
        "true": TRUE,
        "bytes": BYTES,
        "a float": FLOAT,
        "a bigint": BIGINT,
        "an object that has no text": obj(("toString", ONE)),
    }
    for name, value in found.items():
        yield _one(f"a guid that is {name}", subdocument(obj(("guid", value))))
    yield _one("a guid that is null after one that is none", subdocument(obj(("guid", text("x")), ("guid", NULL))))


def options() -> Iterator[PoisonCase]:
    """The options of a subdocument set ``gcFilter``, which must be a function."""
    for name, value in {"a number": ONE, "null": NULL, "a string": text("x")}.items():
        yield _one(f"a gcFilter that is {name}", subdocument(obj(("gcFilter", value))))


def prototypes() -> Iterator[PoisonCase]:
    """An object has a key ``__proto__``, so that Yjs takes it for what its prototype is."""
    poisoned = obj(("__proto__", BYTES))
    yield _one("a prototype that is bytes", values(poisoned, parent="array"))
    yield _one("a prototype deep down", values(arr(obj(("a", arr(poisoned)))), parent="array"))
    yield _one("a prototype in a subdocument's meta", subdocument(obj(("meta", poisoned))))
    yield _one("a prototype of a subdocument's options", subdocument(obj(("__proto__", obj(("guid", NULL))))))
    yield _one("a prototype that is an object", values(obj(("__proto__", obj(("a", ONE)))), parent="array"))
    yield _one("a prototype that is a number", values(obj(("__proto__", ONE)), parent="array"))
    for name, value in {
        "an embed": '{"__proto__":{"a":1}}',
        "an embed deep down": '[{"a":[{"__proto__":null}]}]',
        "an embed, escaped": '{"__pr\\u006fto__":{"a":1}}',
    }.items():
        yield _one(f"a prototype in {name}", embed(value))
    yield _one("a prototype in a mark", mark("link", '{"__proto__":{"a":1}}'))
    yield _one("a prototype in old JSON", old_json('{"__proto__":{"a":1}}', parent="array"))


def at_a_key() -> Iterator[PoisonCase]:
    """An item of several clocks has a key: once it is split, its first part is never deleted."""
    container = type_in("map", "m")
    inside = (CLIENT, 0)
    contents: dict[str, Callable[[str | None], CraftedStruct]] = {
        "values": lambda key: values(ONE, ONE, parent=inside, key=key),
        "a string": lambda key: string("ab", parent=inside, key=key),
        "old JSON": lambda key: old_json("1", "2", parent=inside, key=key),
    }
    for name, make in contents.items():
        both = crafted_update(CLIENT, 0, container, make("k"))
        yield PoisonCase(
            f"{name} at a key, half deleted, then the map",
            [
                both,
                crafted_update(CLIENT, 3, deleting=[(CLIENT, 2, 1)]),
                crafted_update(CLIENT, 3, deleting=[(CLIENT, 0, 1)]),
            ],
        )
        yield PoisonCase(
            f"{name} at a key, cut by what is inserted, then the map",
            [
                both,
                crafted_update(CLIENT, 3, values(ONE, origin=(CLIENT, 1)), values(ONE, origin=(CLIENT, 2))),
                crafted_update(CLIENT, 5, deleting=[(CLIENT, 0, 1)]),
            ],
        )


def at_an_inherited_key() -> Iterator[PoisonCase]:
    """The same, with the key of the item's origin."""
    one = crafted_update(CLIENT, 0, type_in("map", "m"), values(ONE, parent=(CLIENT, 0), key="k"))
    two = crafted_update(CLIENT, 2, values(ONE, ONE, origin=(CLIENT, 1)))
    yield PoisonCase(
        "values at a key that is inherited, half deleted, then the map",
        [
            one,
            two,
            crafted_update(CLIENT, 4, deleting=[(CLIENT, 3, 1)]),
            crafted_update(CLIENT, 4, deleting=[(CLIENT, 0, 1)]),
        ],
    )


def nested(depth: int) -> PoisonCase:
    """Shared types are nested so deeply that deleting them exceeds the call stack."""
    structs = [type_in("array", kind=ARRAY_TYPE)]
    structs += [type_in((CLIENT, level), kind=ARRAY_TYPE) for level in range(depth)]
    return PoisonCase(
        f"types nested {depth} deep, then the outermost deleted",
        [crafted_update(CLIENT, 0, *structs), crafted_update(CLIENT, depth + 1, deleting=[(CLIENT, 0, 1)])],
    )


def refused_cases() -> list[PoisonCase]:
    """Poison that one update shows, so that the server must refuse it."""
    return [*guids(), *options(), *prototypes(), *at_a_key()]


def accepted_cases() -> list[PoisonCase]:
    """What only the document shows: such updates are accepted, and break clients."""
    return [*at_an_inherited_key(), *between_types(), *no_neighbours(), *waiting(), nested(10_000)]


def between_types() -> Iterator[PoisonCase]:
    """An item's neighbours are in different types: Yjs puts it into the left one's until the right one is collected."""
    one = crafted_update(
        CLIENT, 0, values(ONE, parent="array"), type_in("map", "m", ARRAY_TYPE), values(ONE, parent=(CLIENT, 1))
    )
    between = values(ONE, origin=(CLIENT, 0), right=(CLIENT, 2))
    yield PoisonCase(
        "an item between two types",
        [one, crafted_update(CLIENT, 3, between), crafted_update(CLIENT, 4, deleting=[(CLIENT, 1, 1)])],
    )


def no_neighbours() -> Iterator[PoisonCase]:
    """An item's neighbours were never neighbours: where it is integrated depends on the order of updates."""
    typed = [string("a", parent="text"), string("b", origin=(CLIENT, 0)), string("c", origin=(CLIENT, 1))]
    yield PoisonCase(
        "an item at the beginning of a text, and before its third character",
        [
            crafted_update(CLIENT, 0, *typed),
            crafted_update(7, 0, string("x", origin=(CLIENT, 0))),
            crafted_update(9, 0, string("y", right=(CLIENT, 2))),
        ],
    )


def waiting() -> Iterator[PoisonCase]:
    """JSON with half a surrogate pair is pending: Yjs keeps pending structs in another format, which loses it."""
    half = CraftedStruct(EMBED, encode_var_string('"\\ud83d"'), origin=(CLIENT, 0))
    yield PoisonCase(
        "half a character in an embed that waits",
        [crafted_update(9, 0, half), crafted_update(CLIENT, 0, string("a", parent="text"))],
    )


def harmless_cases() -> Iterator[PoisonCase]:
    """Updates that look like poison, and that clients may have made."""
    deleted_list = values(ONE, ONE, ONE, key="k")
    yield _one("several values at a key, deleted", deleted_list, deleting=((CLIENT, 0, 3),))
    yield _one("a deleted stretch at a key", CraftedStruct(DELETED, encode_var_uint(3), length=3, key="k"))
    yield _one("a value that is __proto__", values(obj(("a", text("__proto__"))), parent="array"))
    yield _one("a text that is __proto__", string("__proto__", parent="text"))
    yield _one("JSON about __proto__", embed(r'{"a":"__proto__:","b":"\"__proto__\":"}'))
    yield _one("a guid deep in the options", subdocument(obj(("meta", obj(("guid", NULL), ("gcFilter", ONE))))))
    yield _one("a guid that is another string", subdocument(obj(("guid", text("another")))))
    yield _one("a key that is __proto__", values(BYTES, key="__proto__"))
    element = CraftedStruct(TYPE, b"\x03" + encode_var_string("p"), parent="xml")
    yield _one("an attribute that is __proto__", element, values(BYTES, parent=(CLIENT, 0), key="__proto__"))
    yield _one("a type on the document that is __proto__", values(ONE, parent="__proto__"))
    yield _one("a mark that is __proto__", mark("__proto__", '{"a":1}'), string("abc", origin=(CLIENT, 0)))
    yield _one(
        "an element that is __proto__", CraftedStruct(TYPE, b"\x03" + encode_var_string("__proto__"), parent="xml")
    )
    yield _one("a number without end", embed('{"a":1e400}'))
    yield _one("a mark at a key", CraftedStruct(FORMAT, encode_var_string("a") + encode_var_string("1"), key="k"))
    inside = [type_in("map", "m"), values(ONE, parent=(CLIENT, 0), key="k"), values(ONE, ONE, right=(CLIENT, 1))]
    for name, clock in (("half", 3), ("all", 0)):
        cut = crafted_update(CLIENT, 4, deleting=[(CLIENT, clock, 1)])
        yield PoisonCase(f"values before one at a key, {name} of it deleted", [crafted_update(CLIENT, 0, *inside), cut])
    far = (9, 2**53 - 1)
    yield _one("an origin that no struct can have", values(ONE, origin=far))
    later = values(*[ONE] * 12, parent="array")
    for name, ranges in {
        "overlap": [(CLIENT, 2, 4), (CLIENT, 3, 1), (CLIENT, 1, 2)],
        "descend": [(CLIENT, 8, 1), (CLIENT, 4, 1), (CLIENT, 1, 1)],
    }.items():
        yield PoisonCase(
            f"deletions to come that {name}",
            [
                crafted_update(CLIENT, 0, deleting=ranges),
                crafted_update(CLIENT, 0, later),
                crafted_update(6, 0, values(ONE, parent="array")),
            ],
        )
