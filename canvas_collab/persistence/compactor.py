"""Compacting beside the reactor: a tiny document in a thread, every other in a process of its own.

A thread would share the interpreter's lock with the reactor for as long as it takes, which is seconds for a document of
megabytes; and it cannot be ended.  A process has bounds: so many seconds, and memory in proportion to the document.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from typing import BinaryIO

from twisted.internet.defer import DeferredSemaphore
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.internet.threads import deferToThread

from canvas_collab.document.budget import BudgetExceeded
from canvas_collab.document.document import Document
from canvas_collab.document.folding import compact_document
from canvas_collab.protocol.delete_set import DeleteSet
from canvas_collab.protocol.layout import decode_with_layout
from canvas_collab.protocol.lib0 import Decoder, Malformed, encode_var_bytes

#: A document of more bytes is compacted in a process of its own; in a thread it is a matter of milliseconds.
TINY = 2**14

#: That process leaves the processor to those who have people waiting.
NICENESS = 10

#: It is given up after so many seconds.
TIMEOUT = 60.0

#: It may take so many bytes of memory, and so many times what it is given.
MEMORY = 2**28
MEMORY_FACTOR = 500

#: So many processes run at once; a document that waits for longer than so many seconds stays as it is until the next
#: time, so that those that take long hold up no other.
AT_ONCE = 2
PATIENCE = 5.0


class CompactionFailed(Exception):
    """A document could not be compacted; it stays as it is."""


class CompactionDeferred(Exception):
    """A document cannot be compacted now; it stays as it is until the next time."""


class Compactor:
    """Compacts documents, a few at a time, and can be told to stop."""

    def __init__(self) -> None:
        self._slots = DeferredSemaphore(AT_ONCE)
        self._gave_up = False
        self._processes: set[subprocess.Popen[bytes]] = set()

    async def compact(self, document: Document, droppable: DeleteSet) -> Document:
        """A document in fewer bytes, without the content of the deletions that are `droppable`.

        :raises CompactionFailed: if it cannot be done, or takes more time or memory than it may.
        :raises CompactionPutOff: if others are being compacted that take long.
        """
        # Choosing a reactor is not for a process that only compacts.
        from twisted.internet import reactor

        ranges = sum(len(ranges) for _, ranges in document.deletions.items())
        if document.size + ranges <= TINY:
            return await deferToThread(_compact_here, document, droppable)
        try:
            await self._slots.acquire().addTimeout(PATIENCE, reactor)
        except TookTooLong as error:
            raise CompactionDeferred("others are being compacted") from error
        try:
            return await deferToThread(self.compact_in_process, document, droppable)
        finally:
            self._slots.release()

    def compact_in_process(self, document: Document, droppable: DeleteSet) -> Document:
        """Compact in a process, and wait for that.

        :raises CompactionFailed: as :meth:`compact` does.
        """
        request = encode(document) + encode_var_bytes(droppable.encode())
        command = [sys.executable, "-m", "canvas_collab.persistence.compactor"]
        try:
            with subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            ) as process:
                self._processes.add(process)
                try:
                    if self._gave_up:
                        process.kill()
                    answer, errors = process.communicate(request, TIMEOUT)
                finally:
                    process.kill()
                    self._processes.discard(process)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CompactionFailed(str(error)) from error
        if process.returncode != 0:
            reason = errors.decode(errors="replace").strip().rpartition("\n")[2]
            raise CompactionFailed(reason or "the process was ended")
        try:
            return decode(Decoder(answer))
        except Malformed as error:
            raise CompactionFailed(f"the answer is not a document: {error}") from error

    def abort(self) -> None:
        """End what is being done, and begin nothing more: those who wait are told that compaction failed."""
        self._gave_up = True
        for process in list(self._processes):
            process.kill()


def _compact_here(document: Document, droppable: DeleteSet) -> Document:
    try:
        return compact_document(document, droppable)
    except BudgetExceeded as error:
        raise CompactionFailed(str(error)) from error


#: The daemon's own.
_compactor = Compactor()
compact_in_background = _compactor.compact
abort = _compactor.abort


def encode(document: Document) -> bytes:
    """A document on its way between the processes."""
    return encode_var_bytes(document.encode()) + encode_var_bytes(document.layout)


def decode(decoder: Decoder) -> Document:
    """The document again."""
    return Document([decode_with_layout(decoder.var_bytes(), decoder.var_bytes())])


def main(source: BinaryIO, target: BinaryIO) -> None:
    """Compact one document."""
    os.nice(NICENESS)
    request = source.read()
    _limit(resource.RLIMIT_AS, MEMORY + MEMORY_FACTOR * len(request))
    # Also where the daemon that would end it has been killed.
    _limit(resource.RLIMIT_CPU, int(TIMEOUT))
    decoder = Decoder(request)
    document = decode(decoder)
    target.write(encode(compact_document(document, DeleteSet.decode(decoder.var_bytes()))))


def _limit(what: int, most: int) -> None:
    """Let this process have no more of something, if that is less than it may have already."""
    _, hard = resource.getrlimit(what)
    if hard == resource.RLIM_INFINITY or most < hard:
        resource.setrlimit(what, (most, most))


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer)
