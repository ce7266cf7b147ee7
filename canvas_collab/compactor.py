"""Compacting beside the reactor: a small document in a thread, a large one in a process of its own.

A thread would share the interpreter's lock with the reactor for as long as it takes, which is seconds for a document of
megabytes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any, BinaryIO

from twisted.internet.threads import deferToThread
from twisted.internet.utils import getProcessOutputAndValue

from canvas_collab.document import Document
from canvas_collab.folding import compacted
from canvas_collab.protocol.delete_set import DeleteSet
from canvas_collab.protocol.layout import decode_laid_out
from canvas_collab.protocol.lib0 import Decoder, Malformed, encode_var_bytes

#: A document of more bytes is compacted in a process of its own.
LARGE = 2**17

#: That process leaves the processor to those who have people waiting.
NICENESS = 10


class CompactionFailed(Exception):
    """A document could not be compacted; it stays as it is."""


def compactor(reactor: Any) -> Callable[[Document, DeleteSet], Awaitable[Document]]:
    """What compacts documents: takes one, and the deletions whose content may go.

    It raises :exc:`CompactionFailed` where the process fails.
    """

    async def compact(document: Document, droppable: DeleteSet) -> Document:
        if document.size <= LARGE:
            return await deferToThread(compacted, document, droppable)
        request = encode(document) + encode_var_bytes(droppable.encode())
        arguments = ["-m", "canvas_collab.compactor"]
        output, errors, status = await getProcessOutputAndValue(
            sys.executable, arguments, env=os.environ, reactor=reactor, stdinBytes=request
        )
        if status != 0:
            raise CompactionFailed(errors.decode(errors="replace").strip().rpartition("\n")[2])
        try:
            return decode(Decoder(output))
        except Malformed as error:
            raise CompactionFailed(f"the answer is not a document: {error}") from error

    return compact


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
