"""Compacts documents outside the reactor's thread: tiny ones in another thread, all others in a process each.

A thread shares the interpreter's lock with the reactor for the whole duration, which is seconds for a document of
megabytes, and it cannot be killed.  A process can, and has limits of time and memory.

``python -m canvas_collab.persistence.compactor`` is that process: it reads one document from its standard input and
writes the compacted one to its standard output.
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

#: A document of up to so many bytes is compacted in a thread, which takes milliseconds.
MAX_SIZE_IN_THREAD = 2**14

#: By how much the process lowers its priority: clients do not wait for it.
NICE_INCREMENT = 10

#: The process is killed after so many seconds.
TIMEOUT = 60.0

#: The limit of the process's memory, in bytes: the first of these, and the second for every byte of its input.
BASE_MEMORY = 2**28
MEMORY_PER_BYTE = 500

#: So many processes run at once.  A document that waits for a process for longer than the timeout, in seconds, is not
#: compacted this time, so that its snapshot does not wait for compactions that take long.
MAX_PROCESSES = 2
SLOT_TIMEOUT = 5.0


class CompactionFailed(Exception):
    """A document could not be compacted, and stays as it is."""


class CompactionDeferred(Exception):
    """A document cannot be compacted now, and stays as it is until the next time."""


class Compactor:
    """Compacts documents, a few at a time, until :meth:`abort` is called."""

    def __init__(self) -> None:
        self._slots = DeferredSemaphore(MAX_PROCESSES)
        self._is_aborted = False
        self._processes: set[subprocess.Popen[bytes]] = set()

    async def compact(self, document: Document, droppable: DeleteSet) -> Document:
        """Return the document in fewer bytes, without the content of the `droppable` deletions.

        :raises CompactionFailed: if it cannot be compacted within the limits of time and memory.
        :raises CompactionDeferred: if the documents that are being compacted take too long.
        """
        # Imported here, since it installs a reactor, which the process that compacts has no use for.
        from twisted.internet import reactor

        ranges = sum(len(ranges) for _, ranges in document.deletions.items())
        if document.size + ranges <= MAX_SIZE_IN_THREAD:
            return await deferToThread(_compact_in_thread, document, droppable)
        try:
            await self._slots.acquire().addTimeout(SLOT_TIMEOUT, reactor)
        except TookTooLong as error:
            raise CompactionDeferred("others are being compacted") from error
        try:
            return await deferToThread(self.compact_in_process, document, droppable)
        finally:
            self._slots.release()

    def compact_in_process(self, document: Document, droppable: DeleteSet) -> Document:
        """Compact in a process, and block until that has ended.

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
                    if self._is_aborted:
                        process.kill()
                    answer, errors = process.communicate(request, TIMEOUT)
                finally:
                    process.kill()
                    self._processes.discard(process)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise CompactionFailed(str(error)) from error
        if process.returncode != 0:
            reason = errors.decode(errors="replace").strip().rpartition("\n")[2]
            raise CompactionFailed(reason or "the process was killed")
        try:
            return decode(Decoder(answer))
        except Malformed as error:
            raise CompactionFailed(f"the answer is not a document: {error}") from error

    def abort(self) -> None:
        """Kill the processes, and start no more: these and later compactions raise :exc:`CompactionFailed`."""
        self._is_aborted = True
        for process in list(self._processes):
            process.kill()


def _compact_in_thread(document: Document, droppable: DeleteSet) -> Document:
    try:
        return compact_document(document, droppable)
    except BudgetExceeded as error:
        raise CompactionFailed(str(error)) from error


#: The daemon's compactor.
_compactor = Compactor()
compact_in_background = _compactor.compact
abort_compactions = _compactor.abort


def encode(document: Document) -> bytes:
    """Encode a document for the other process."""
    return encode_var_bytes(document.encode()) + encode_var_bytes(document.layout)


def decode(decoder: Decoder) -> Document:
    """Decode a document from the other process."""
    return Document([decode_with_layout(decoder.var_bytes(), decoder.var_bytes())])


def main(source: BinaryIO, target: BinaryIO) -> None:
    """Compact the document that `source` has, and write it to `target`."""
    os.nice(NICE_INCREMENT)
    request = source.read()
    _lower_limit(resource.RLIMIT_AS, BASE_MEMORY + MEMORY_PER_BYTE * len(request))
    # Besides the daemon's timeout, since the daemon may be killed before that.
    _lower_limit(resource.RLIMIT_CPU, int(TIMEOUT))
    decoder = Decoder(request)
    document = decode(decoder)
    target.write(encode(compact_document(document, DeleteSet.decode(decoder.var_bytes()))))


def _lower_limit(limit: int, value: int) -> None:
    """Limit a resource of this process to `value`, unless its hard limit is lower."""
    _, hard = resource.getrlimit(limit)
    if hard == resource.RLIM_INFINITY or value < hard:
        resource.setrlimit(limit, (value, value))


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer)
