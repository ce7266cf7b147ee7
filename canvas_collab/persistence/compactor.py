"""Compacting beside the reactor: a small document in a thread, a large one in a process of its own.

A thread would share the interpreter's lock with the reactor for as long as it takes, which is seconds for a document of
megabytes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import BinaryIO

from twisted.internet.threads import deferToThread

from canvas_collab.document.document import Document
from canvas_collab.document.folding import compacted
from canvas_collab.protocol.delete_set import DeleteSet
from canvas_collab.protocol.layout import decode_laid_out
from canvas_collab.protocol.lib0 import Decoder, Malformed, encode_var_bytes

#: A document of more bytes is compacted in a process of its own.
LARGE = 2**17

#: That process leaves the processor to those who have people waiting.
NICENESS = 10

#: It is given up after so many seconds.
TIMEOUT = 300.0


#: Those that run.
_processes: set[subprocess.Popen[bytes]] = set()


class CompactionFailed(Exception):
    """A document could not be compacted; it stays as it is."""


async def compact_beside(document: Document, droppable: DeleteSet) -> Document:
    """A document in fewer bytes, without the content of the deletions that are `droppable`.

    :raises CompactionFailed: where the process fails.
    """
    compact = compacted if document.size <= LARGE else _compact_in_process
    return await deferToThread(compact, document, droppable)


def _compact_in_process(document: Document, droppable: DeleteSet) -> Document:
    request = encode(document) + encode_var_bytes(droppable.encode())
    command = [sys.executable, "-m", "canvas_collab.persistence.compactor"]
    try:
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            _processes.add(process)
            try:
                answer, errors = process.communicate(request, TIMEOUT)
            finally:
                process.kill()
                _processes.discard(process)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CompactionFailed(str(error)) from error
    if process.returncode != 0:
        reason = errors.decode(errors="replace").strip().rpartition("\n")[2]
        raise CompactionFailed(reason or "the process was ended")
    try:
        return decode(Decoder(answer))
    except Malformed as error:
        raise CompactionFailed(f"the answer is not a document: {error}") from error


def give_up() -> None:
    """End the processes that run: those who wait for them are told that compaction failed."""
    for process in list(_processes):
        process.kill()


def encode(document: Document) -> bytes:
    """A document on its way between the processes."""
    return encode_var_bytes(document.encode()) + encode_var_bytes(document.layout)


def decode(decoder: Decoder) -> Document:
    """The document again."""
    return Document([decode_laid_out(decoder.var_bytes(), decoder.var_bytes())])


def main(source: BinaryIO, target: BinaryIO) -> None:
    """Compact one document."""
    os.nice(NICENESS)
    decoder = Decoder(source.read())
    document = decode(decoder)
    target.write(encode(compacted(document, DeleteSet.decode(decoder.var_bytes()))))


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer)
