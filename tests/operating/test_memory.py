"""Freed memory is returned to the system."""

from __future__ import annotations

import ctypes
import gc
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from canvas_collab import memory
from canvas_collab.memory import FULL_COLLECTION_INTERVAL, FULL_COLLECTION_RATIO, FullCollections, release_free_memory

PROGRAM = """
import re
from canvas_collab.memory import release_free_memory

def resident():
    return int(re.search(r"VmRSS:\\s+(\\d+)", open("/proc/self/status").read())[1])

before = resident()
# Small enough to be in the heap, and followed by an object that stays.
values = [bytes(4000) for _ in range(20_000)]
last = bytes(4000)
held = resident()
del values
release_free_memory()
print(before, held, resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc gives memory back when it is told to")
def test_freed_memory_is_returned_to_the_system() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60)
    before, held, after = map(int, re.findall(r"\d+", done.stdout))
    assert held - before > 60_000
    assert after - before < 10_000


def test_without_malloc_trim_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Path)
    assert not release_free_memory()


def test_all_garbage_is_collected_soon_after_objects_were_promoted_and_more_rarely_if_that_takes_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, promotions, now, took = Clock(), 0, 0.0, 0.003
    collected: list[float] = []

    def collect() -> None:
        nonlocal now
        collected.append(clock.seconds())
        now += took

    monkeypatch.setattr(gc, "get_count", lambda: (0, promotions, 0))
    monkeypatch.setattr(memory, "thread_time", lambda: now)
    service = FullCollections(clock, collect)
    service.startService()
    clock.advance(FULL_COLLECTION_INTERVAL)
    assert len(collected) == 0
    promotions = 1
    clock.advance(FULL_COLLECTION_INTERVAL)
    assert len(collected) == 1
    took = 0.1
    clock.pump([FULL_COLLECTION_INTERVAL] * 5)
    assert len(collected) == 2
    clock.advance(FULL_COLLECTION_RATIO * took)
    clock.advance(FULL_COLLECTION_INTERVAL)
    assert len(collected) == 3
    service.stopService()
