"""The content of a document as JSON, without loss: every shared type is tagged with its kind.

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

Attributes are omitted if there are none.  Updates do not contain the kind of a top-level type; it is inferred from the
type's content.  A text with nothing but embedded types is taken for an array.
"""

from __future__ import annotations

from collections.abc import Collection, Generator
from typing import Any, TypeAlias

from canvas_collab.document.budget import Budget
from canvas_collab.document.document import Document
from canvas_collab.document.integration import Integration, Node, SharedType
from canvas_collab.document.values import UNDEFINED, read_json, values_of
from canvas_collab.protocol.lib0 import Decoder
from canvas_collab.protocol.struct_info import Kind

_ARRAY, _MAP, _TEXT, _ELEMENT, _FRAGMENT, _HOOK, _XML_TEXT = range(7)

_XML = (_ELEMENT, _HOOK, _XML_TEXT)

#: The limit on the number of attributes in all texts together; each run of text has all attributes that apply to it.
MAX_ATTRIBUTES = 5_000_000

#: A generator that yields the computations it depends on, and is sent their results.  It takes the place of recursion,
#: since types may be nested more deeply than Python's stack allows.
_Computation: TypeAlias = "Generator[_Computation, Any, Any]"


def to_json(document: Document, texts: Collection[str] = ()) -> dict[str, object]:
    """Return the content of a document: its top-level types by name, without those that are empty.

    :param texts: the names of types that are texts even if their content does not show it.
    :raises BudgetExceeded: if integrating the document takes too many operations, or its content is too large.
    """
    integration = Integration(document.as_update())
    converter = _Converter()
    roots = {name: _evaluate(converter.root(root, name in texts)) for name, root in sorted(integration.roots.items())}
    return {name: content for name, content in roots.items() if content is not None}


def _evaluate(computation: _Computation) -> Any:
    """Run a computation and all that it depends on, and return its result."""
    stack = [computation]
    result: Any = None
    while stack:
        try:
            stack.append(stack[-1].send(result))
            result = None
        except StopIteration as end:
            stack.pop()
            result = end.value
    return result


class _Converter:
    """Converts shared types to JSON values."""

    def __init__(self) -> None:
        self._budget = Budget(MAX_ATTRIBUTES, "formatting its texts")

    def root(self, root: SharedType, is_text: bool) -> _Computation:
        """Convert a top-level type; None if it is empty."""
        present = [node for node in root.sequence() if not node.is_deleted]
        entries = yield self._entries(root)
        kinds = {node.kind for node in present}
        if is_text and (present or entries):
            return (yield self._text("text", root))
        if not present:
            return {"map": entries} if entries else None
        if kinds & {Kind.STRING, Kind.FORMAT, Kind.EMBED}:
            return (yield self._text("text", root))
        values = yield self._values(root)
        references = {_reference(node) for node in present if node.kind is Kind.TYPE}
        if references and kinds == {Kind.TYPE} and references <= set(_XML):
            return {"fragment": values}
        return {"array": values}

    def _shared_type(self, node: Node) -> _Computation:
        assert node.shared_type is not None, "the content is a shared type"
        reference = _reference(node)
        if reference == _MAP:
            return {"map": (yield self._entries(node.shared_type))}
        if reference == _HOOK:
            return {"hook": (yield self._entries(node.shared_type))}
        if reference == _ARRAY:
            return {"array": (yield self._values(node.shared_type))}
        if reference == _FRAGMENT:
            return {"fragment": (yield self._values(node.shared_type))}
        if reference == _ELEMENT:
            decoder = Decoder(node.content)
            decoder.var_uint()
            name = decoder.var_string()
            attributes = yield self._entries(node.shared_type)
            return {"element": name, "attributes": attributes, "children": (yield self._values(node.shared_type))}
        return (yield self._text("xmltext" if reference == _XML_TEXT else "text", node.shared_type))

    def _entries(self, shared_type: SharedType) -> _Computation:
        entries = {}
        for key, node in sorted(shared_type.entries.items()):
            if not node.is_deleted:
                values = yield self._contents(node)
                # Yjs returns undefined for an entry whose content has no values, such as a formatting mark.
                entries[key] = values[-1] if values else UNDEFINED
        return entries

    def _values(self, shared_type: SharedType) -> _Computation:
        values: list[object] = []
        for node in shared_type.sequence():
            if not node.is_deleted:
                values += yield self._contents(node)
        return values

    def _text(self, kind: str, shared_type: SharedType) -> _Computation:
        """Convert a text to runs of equal formatting."""
        runs: list[dict[str, Any]] = []
        formatting: dict[str, object] = {}
        # The parts of the last run.
        parts: list[str] = []
        for node in shared_type.sequence():
            if node.is_deleted:
                continue
            if node.kind is Kind.FORMAT:
                decoder = Decoder(node.content)
                key, value = decoder.var_string(), read_json(decoder.var_string())
                if value is None:
                    formatting.pop(key, None)
                else:
                    formatting[key] = value
                continue
            self._budget.spend(1 + len(formatting))
            attributes = dict(sorted(formatting.items()))
            if node.kind is Kind.STRING:
                text = Decoder(node.content).var_string()
                if parts and runs[-1].get("attributes", {}) == attributes:
                    parts.append(text)
                    continue
                _join(runs, parts)
                parts = [text]
                run: dict[str, Any] = {"insert": ""}
            else:
                _join(runs, parts)
                parts = []
                values = yield self._contents(node)
                run = {"insert": {"embed": values[0] if values else UNDEFINED}}
            runs.append({**run, "attributes": attributes} if attributes else run)
        _join(runs, parts)
        entries = yield self._entries(shared_type)
        return {kind: runs, "attributes": entries} if entries else {kind: runs}

    def _contents(self, node: Node) -> _Computation:
        """Convert the values of an item."""
        if node.kind is Kind.TYPE:
            return [(yield self._shared_type(node))]
        return values_of(node.kind, node.content)


def _join(runs: list[dict[str, Any]], parts: list[str]) -> None:
    if parts:
        runs[-1]["insert"] = "".join(parts)


def _reference(node: Node) -> int:
    return Decoder(node.content).var_uint()
