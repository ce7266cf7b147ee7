"""Compacting in a process of its own, and what becomes of a document when that fails."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest
from pycrdt import Doc, Text

from canvas_collab.document.document import Document
from canvas_collab.document.folding import compacted
from canvas_collab.persistence import compactor
from canvas_collab.persistence.compactor import CompactionFailed, decode, encode, main
from canvas_collab.protocol.delete_set import DeleteSet
from canvas_collab.protocol.lib0 import Decoder, encode_var_bytes
from canvas_collab.protocol.update import decode_update


@pytest.fixture
def document() -> Document:
    doc: Doc = Doc()
    updates: list[bytes] = []
    subscription = doc.observe(lambda event: updates.append(event.update))
    text = doc.get("text", type=Text)
    for number in range(100):
        text += chr(97 + number % 26)
    del text[0:90]
    doc.unobserve(subscription)
    return Document(map(decode_update, updates))


def test_a_process_gives_what_a_thread_would(document: Document) -> None:
    here = compacted(document, document.deletions)
    assert compactor._compact_in_process(document, document.deletions).encode() == here.encode()
    assert len(here.encode()) < len(document.encode()) / 5


def test_what_the_process_does(document: Document, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[int] = []
    monkeypatch.setattr(os, "nice", steps.append)
    answer = io.BytesIO()
    main(io.BytesIO(encode(document) + encode_var_bytes(document.deletions.encode())), answer)
    assert decode(Decoder(answer.getvalue())).encode() == compacted(document, document.deletions).encode()
    assert steps == [compactor.NICENESS]


@pytest.mark.parametrize(
    ("program", "reason"),
    [("import sys; sys.exit('out of memory')", "out of memory"), ("print('nonsense')", "not a document")],
)
def test_a_process_that_fails_says_why(
    document: Document, monkeypatch: pytest.MonkeyPatch, program: str, reason: str
) -> None:
    start = subprocess.Popen
    command = [sys.executable, "-c", program]
    monkeypatch.setattr(subprocess, "Popen", lambda _command, **options: start(command, **options))
    with pytest.raises(CompactionFailed, match=reason):
        compactor._compact_in_process(document, DeleteSet())


def test_a_process_that_takes_too_long_is_given_up(document: Document, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compactor, "TIMEOUT", 0.01)
    with pytest.raises(CompactionFailed, match="timed out"):
        compactor._compact_in_process(document, DeleteSet())
