"""Random interleavings of what two stores do with one document."""

from __future__ import annotations

import random
from collections.abc import Coroutine, Sequence
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from canvas_collab.persistence.store import DocumentStore, LogEntry
from tests.support.authors import Author, content, expect_all


class StoreInterleaving:
    """One document in two stores, each used by an author of its own."""

    def __init__(self, stores: Sequence[DocumentStore], seed: int) -> None:
        self._random = random.Random(seed)
        self._stores = stores
        self._name = f"document-{seed}"
        self._authors = [Author(self._random, name) for name in ("a", "b")]
        self._appended: list[bytes] = []

    async def play(self, steps: int = 24) -> None:
        """Take random steps, several at a time, then compare what both stores load with what was appended."""
        running: set[Deferred[None]] = set()
        for _ in range(steps):
            step: Deferred[None] = Deferred.fromCoroutine(self._step())
            running.add(step)
            step.addCallback(lambda _, ended: running.discard(ended), step)
            if len(running) >= self._random.randrange(1, 6):
                await gatherResults(self._random.sample(sorted(running, key=id), 1), consumeErrors=True)
        await gatherResults(list(running), consumeErrors=True)
        for store in self._stores:
            stored = await store.load(self._name)
            expect_all(stored.document, self._appended)
            assert content([stored.document.encode()]) == content(self._appended)

    def _step(self) -> Coroutine[Deferred[Any], Any, None]:
        number = self._random.randrange(2)
        store = self._stores[number]
        weights = {self._append: 5, self._load: 3, self._fold: 3, self._prune: 1}
        [step] = self._random.choices(list(weights), list(weights.values()))
        return step(store, self._authors[number])

    async def _append(self, store: DocumentStore, author: Author) -> None:
        if self._random.random() < 0.3:
            author.merge(self._random.choice(self._authors))
        for _ in range(self._random.randrange(1, 5)):
            author.edit()
        updates = author.take_updates()
        await store.append([LogEntry(self._name, "nobody", update) for update in updates])
        self._appended += updates

    async def _load(self, store: DocumentStore, _author: Author) -> None:
        before = list(self._appended)
        stored = await store.load(self._name)
        expect_all(stored.document, before)

    async def _fold(self, store: DocumentStore, _author: Author) -> None:
        await store.fold(self._name, compact=self._random.random() < 0.5)

    async def _prune(self, store: DocumentStore, _author: Author) -> None:
        await store.prune(self._random.choice((1, 3, 500)), min_retention=0)
