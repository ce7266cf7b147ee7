"""What a document shows, as JSON that loses nothing: every shared type says of which kind it is.

==================  ==================================================================================================
in the document     in JSON
==================  ==================================================================================================
``Y.Map``           ``{"map": {KEY: VALUE, …}}``
``Y.Array``         ``{"array": [VALUE, …]}``
``Y.Text``          ``{"text": [{"insert": STRING or {"embed": VALUE}, "attributes": {…}}, …], "attributes": {…}}``
``Y.XmlText``       ``{"xmltext": …}``, as a text
``Y.XmlElement``    ``{"element": NAME, "attributes": {…}, "children": [VALUE, …]}``
``Y.XmlFragment``   ``{"fragment": [VALUE, …]}``
``Y.XmlHook``       ``{"hook": {KEY: VALUE, …}}``
a subdocument       ``{"subdocument": GUID, …}`` with its options
bytes               ``{"bytes": BASE64}``
a ``BigInt``        ``{"bigint": DIGITS}``
undefined           ``{"undefined": true}``
NaN, infinities     ``{"number": "NaN"}``, ``{"number": "Infinity"}``, ``{"number": "-Infinity"}``
==================  ==================================================================================================

Attributes are left out where there are none.  Of which kind a type is that is named on the document, an update does not
say; it is told from what is in it.  A text that holds nothing but embedded types looks like an array.
"""

from __future__ import annotations

import json
import struct
from base64 import b64encode
from collections.abc import Collection, Iterator
from typing import Any

from canvas_collab.document.document import Document
from canvas_collab.document.integration import Integration, Node, SharedType
from canvas_collab.protocol.info import Kind
from canvas_collab.protocol.lib0 import Decoder

UNDEFINED = {"undefined": True}

_ARRAY, _MAP, _TEXT, _ELEMENT, _FRAGMENT, _HOOK, _XML_TEXT = range(7)

_XML = (_ELEMENT, _HOOK, _XML_TEXT)


def to_json(document: Document, texts: Collection[str] = ()) -> dict[str, object]:
    """The content of a document: its shared types by name, those that are empty left out.

    :param texts: the names of those that are texts even if nothing in them tells.
    """
    integration = Integration(document.as_update())
    roots = {name: _root(root, name in texts) for name, root in sorted(integration.roots.items())}
    return {name: content for name, content in roots.items() if content is not None}


def _root(root: SharedType, is_text: bool) -> object:
    present = [node for node in root.sequence() if not node.is_deleted]
    entries = _entries(root)
    kinds = {node.kind for node in present}
    if is_text and (present or entries):
        return _text("text", root)
    if not present:
        return {"map": entries} if entries else None
    if kinds & {Kind.STRING, Kind.FORMAT, Kind.EMBED}:
        return _text("text", root)
    references = {_reference(node) for node in present if node.kind is Kind.TYPE}
    if references and kinds == {Kind.TYPE} and references <= set(_XML):
        return {"fragment": _values(root)}
    return {"array": _values(root)}


def _shared_type(node: Node) -> object:
    assert node.shared_type is not None, "the content is a shared type"
    reference = _reference(node)
    if reference == _MAP:
        return {"map": _entries(node.shared_type)}
    if reference == _HOOK:
        return {"hook": _entries(node.shared_type)}
    if reference == _ARRAY:
        return {"array": _values(node.shared_type)}
    if reference == _FRAGMENT:
        return {"fragment": _values(node.shared_type)}
    if reference == _ELEMENT:
        decoder = Decoder(node.content)
        decoder.var_uint()
        name = decoder.var_string()
        return {"element": name, "attributes": _entries(node.shared_type), "children": _values(node.shared_type)}
    return _text("xmltext" if reference == _XML_TEXT else "text", node.shared_type)


def _reference(node: Node) -> int:
    return Decoder(node.content).var_uint()


def _entries(shared_type: SharedType) -> dict[str, object]:
    entries = sorted(shared_type.entries.items())
    return {key: list(_contents(node))[-1] for key, node in entries if not node.is_deleted}


def _values(shared_type: SharedType) -> list[object]:
    present = (node for node in shared_type.sequence() if not node.is_deleted and node.kind is not Kind.FORMAT)
    return [value for node in present for value in _contents(node)]


def _text(kind: str, shared_type: SharedType) -> object:
    """A text as runs of equal formatting."""
    runs: list[dict[str, Any]] = []
    formatting: dict[str, object] = {}
    for node in shared_type.sequence():
        if node.is_deleted:
            continue
        if node.kind is Kind.FORMAT:
            decoder = Decoder(node.content)
            key, value = decoder.var_string(), json.loads(decoder.var_string())
            if value is None:
                formatting.pop(key, None)
            else:
                formatting[key] = value
            continue
        inserted: object
        if node.kind is Kind.STRING:
            inserted = Decoder(node.content).var_string()
        else:
            inserted = {"embed": next(iter(_contents(node)))}
        attributes = dict(sorted(formatting.items()))
        last: dict[str, Any] = runs[-1] if runs else {"insert": None}
        if isinstance(inserted, str) and isinstance(last["insert"], str) and last.get("attributes", {}) == attributes:
            last["insert"] += inserted
        else:
            runs.append({"insert": inserted, "attributes": attributes} if attributes else {"insert": inserted})
    entries = _entries(shared_type)
    return {kind: runs, "attributes": entries} if entries else {kind: runs}


def _contents(node: Node) -> Iterator[object]:
    """The values of an item."""
    decoder = Decoder(node.content)
    if node.kind is Kind.ANY:
        for _ in range(decoder.var_uint()):
            yield _any(decoder)
    elif node.kind is Kind.JSON:
        for _ in range(decoder.var_uint()):
            text = decoder.var_string()
            yield UNDEFINED if text == "undefined" else json.loads(text)
    elif node.kind is Kind.STRING:
        yield from decoder.var_string()
    elif node.kind is Kind.EMBED:
        yield json.loads(decoder.var_string())
    elif node.kind is Kind.BINARY:
        yield _bytes(decoder)
    elif node.kind is Kind.TYPE:
        yield _shared_type(node)
    elif node.kind is Kind.DOC:
        yield _subdocument(decoder.var_string(), _any(decoder))


def _subdocument(guid: str, options: Any) -> object:
    kept = {"meta": options.get("meta"), "autoLoad": options.get("autoLoad"), "gc": options.get("gc")}
    shown = {name: value for name, value in kept.items() if value is not None and value != UNDEFINED}
    return {"subdocument": guid, **shown}


def _bytes(decoder: Decoder) -> object:
    return {"bytes": b64encode(decoder.var_bytes()).decode()}


def _any(decoder: Decoder) -> object:
    """A value of lib0's ``writeAny``; it has been checked when it came."""
    tag = decoder.byte()
    if tag == 119:
        return decoder.var_string()
    if tag == 125:
        return decoder.var_int()
    if tag == 118:
        return {decoder.var_string(): _any(decoder) for _ in range(decoder.var_uint())}
    if tag == 117:
        return [_any(decoder) for _ in range(decoder.var_uint())]
    if tag == 116:
        return _bytes(decoder)
    if tag == 122:
        return {"bigint": str(int.from_bytes(decoder.take(8), "big", signed=True))}
    if tag in (123, 124):
        number = float(struct.unpack(">d" if tag == 123 else ">f", decoder.take(8 if tag == 123 else 4))[0])
        return number if number - number == 0 else {"number": _NOT_FINITE[str(number)]}
    return {120: True, 121: False, 126: None, 127: UNDEFINED}[tag]


_NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
