"""Compaction in a thread and in a process, its limits, and its failures."""

from __future__ import annotations

import io
import os
import resource
import subprocess
import sys
from typing import Any

import pytest
import pytest_twisted
from pycrdt import Doc, Text
from twisted.internet.defer import Deferred

from canvas_collab.document.budget import BudgetExceeded
from canvas_collab.document.document import Document
from canvas_collab.document.folding import compact_document
from canvas_collab.persistence import compactor
from canvas_collab.persistence.compactor import CompactionDeferred, CompactionFailed, Compactor, decode, encode, main
from canvas_collab.protocol.delete_set import DeleteSet
from canvas_collab.protocol.lib0 import Decoder, encode_var_bytes
from canvas_collab.protocol.update import decode_update


@pytest.fixture
def document() -> Document:
    doc: Doc[Any] = Doc()
    updates: list[bytes] = []
    subscription = doc.observe(lambda event: updates.append(event.update))
    text = doc.get("text", type=Text)
    for number in range(100):
        text += chr(97 + number % 26)
    del text[0:90]
    doc.unobserve(subscription)
    return Document(map(decode_update, updates))


def test_a_process_returns_the_same_document_as_a_thread(document: Document) -> None:
    here = compact_document(document, document.deletions)
    assert Compactor().compact_in_process(document, document.deletions).encode() == here.encode()
    assert len(here.encode()) < len(document.encode()) / 5


def test_the_process_lowers_its_priority_and_its_limits(document: Document, monkeypatch: pytest.MonkeyPatch) -> None:
    increments: list[int] = []
    limits: dict[int, int] = {}
    monkeypatch.setattr(os, "nice", increments.append)
    monkeypatch.setattr(resource, "setrlimit", lambda limit, values: limits.update({limit: values[0]}))
    answer = io.BytesIO()
    main(io.BytesIO(encode(document) + encode_var_bytes(document.deletions.encode())), answer)
    assert decode(Decoder(answer.getvalue())).encode() == compact_document(document, document.deletions).encode()
    assert increments == [compactor.NICE_INCREMENT]
    assert limits[resource.RLIMIT_CPU] == compactor.TIMEOUT
    assert compactor.BASE_MEMORY < limits[resource.RLIMIT_AS] < 2 * compactor.BASE_MEMORY


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
        Compactor().compact_in_process(document, DeleteSet())


def test_a_process_that_takes_too_long_is_killed(document: Document, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compactor, "TIMEOUT", 0.01)
    with pytest.raises(CompactionFailed, match="timed out"):
        Compactor().compact_in_process(document, DeleteSet())


def test_a_process_that_takes_too_much_memory_fails(document: Document, monkeypatch: pytest.MonkeyPatch) -> None:
    program = (
        "import sys; from canvas_collab.persistence import compactor;"
        "compactor.BASE_MEMORY = 2**27; compactor.compact_document = lambda *_: bytearray(2**28);"
        "compactor.main(sys.stdin.buffer, sys.stdout.buffer)"
    )
    start = subprocess.Popen
    monkeypatch.setattr(
        subprocess, "Popen", lambda _command, **options: start([sys.executable, "-c", program], **options)
    )
    with pytest.raises(CompactionFailed, match="MemoryError"):
        Compactor().compact_in_process(document, DeleteSet())


def test_a_tiny_document_that_would_take_too_many_steps_is_left_as_it_is(
    document: Document, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never_ends(*_: object) -> Document:
        raise BudgetExceeded("compaction takes more steps than it may")

    monkeypatch.setattr(compactor, "compact_document", never_ends)
    with pytest.raises(CompactionFailed, match="more steps"):
        compactor._compact_in_thread(document, DeleteSet())


@pytest_twisted.ensureDeferred
async def test_long_compactions_delay_no_other_and_end_when_aborted(monkeypatch: pytest.MonkeyPatch) -> None:
    start = subprocess.Popen
    never_ends = [sys.executable, "-c", "import signal; signal.pause()"]
    monkeypatch.setattr(subprocess, "Popen", lambda _command, **options: start(never_ends, **options))
    monkeypatch.setattr(compactor, "SLOT_TIMEOUT", 0.05)
    doc: Doc[Any] = Doc()
    text = doc.get("text", type=Text)
    text += "x" * (compactor.MAX_SIZE_IN_THREAD + 1)
    large = Document([decode_update(doc.get_update())])
    instance = Compactor()
    slow = [Deferred.fromCoroutine(instance.compact(large, DeleteSet())) for _ in range(compactor.MAX_PROCESSES)]
    with pytest.raises(CompactionDeferred):
        await instance.compact(large, DeleteSet())
    tiny = Document([decode_update(b"\x00\x00")])
    assert (await instance.compact(tiny, DeleteSet())).encode() == tiny.encode()
    assert not any(each.called for each in slow)
    instance.abort()
    for each in slow:
        with pytest.raises(CompactionFailed):
            await each
    with pytest.raises(CompactionFailed):
        await instance.compact(large, DeleteSet())
