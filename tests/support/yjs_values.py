"""Values for the edits of Yjs clients, as JSON for the Node process.

What is not JSON in Yjs is an object with the key ``$``: shared types, subdocuments, bytes, and big integers. The other
side is ``tests/node/edits.mjs``; ``tests/node/canonical.mjs`` writes the content of documents.
"""

from __future__ import annotations

from base64 import b64encode
from typing import Any

Json = Any


def text(content: str) -> Json:
    """A ``Y.Text``."""
    return {"$": "text", "text": content}


def mapping(**entries: Json) -> Json:
    """A ``Y.Map``."""
    return {"$": "map", "entries": entries}


def array(*values: Json) -> Json:
    """A ``Y.Array``."""
    return {"$": "array", "values": list(values)}


def element(name: str, *children: Json, **attributes: str) -> Json:
    """A ``Y.XmlElement``."""
    return {"$": "element", "name": name, "attributes": attributes, "children": list(children)}


def xml_text(content: str) -> Json:
    """A ``Y.XmlText``."""
    return {"$": "xmltext", "text": content}


def hook(name: str) -> Json:
    """A ``Y.XmlHook``."""
    return {"$": "hook", "name": name}


def subdocument(guid: str, **options: Json) -> Json:
    """A ``Y.Doc`` in a document."""
    return {"$": "subdocument", "guid": guid, **options}


def big_integer(number: int) -> Json:
    """A JavaScript ``BigInt``."""
    return {"$": "bigint", "digits": str(number)}


def binary(content: bytes) -> Json:
    """A ``Uint8Array``."""
    return {"$": "bytes", "base64": b64encode(content).decode()}
