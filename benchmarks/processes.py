"""Processor time, memory and core affinity of processes, from Linux's /proc."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from attrs import frozen

_TICK = os.sysconf("SC_CLK_TCK")

#: The kind of clock in Linux's ids of processes' clocks that has the time of all threads, as `clock_getcpuclockid` uses
#: it.
_CPUCLOCK_SCHED = 2

#: The lowest priority there is.
NICENESS = 19


@frozen
class Cores:
    """How the cores are divided.

    :ivar server: the core of the measured server.
    :ivar others: the cores of all other processes.
    """

    server: int
    others: frozenset[int]

    @property
    def shared(self) -> bool:
        """Whether there is only one core, which the server shares with the others."""
        return self.server in self.others

    @classmethod
    def choose(cls) -> Cores:
        """Take the first core that this process may use for the server, the rest for the others."""
        server, *others = sorted(os.sched_getaffinity(0))
        return cls(server, frozenset(others or [server]))

    def leave_server_core(self) -> None:
        """Restrict this process, and children that it starts from now on, to the cores of the others."""
        os.sched_setaffinity(0, self.others)

    @contextmanager
    def on_server_core(self) -> Iterator[None]:
        """Start processes in this context to run them on the server's core."""
        os.sched_setaffinity(0, {self.server})
        try:
            yield
        finally:
            self.leave_server_core()


def process_tree(pid: int) -> list[int]:
    """The ids of a process and its descendants."""
    found = [pid]
    for parent in found:
        with suppress(OSError):
            for children in Path(f"/proc/{parent}/task").glob("*/children"):
                found += map(int, children.read_text().split())
    return found


def lower_priority(pid: int) -> None:
    """Give a process and its descendants the lowest priority."""
    for member in process_tree(pid):
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, member, NICENESS)
            # With the kernel's autogrouping, a process's nice value only counts within its session; this is the
            # session's own.
            Path(f"/proc/{member}/autogroup").write_text(str(NICENESS))


def cpu_seconds(pid: int) -> float:
    """The processor time of a process and its descendants, in seconds, including children that have ended."""
    seconds = 0.0
    for member in process_tree(pid):
        with suppress(OSError):
            # The process's own clock has a resolution of nanoseconds, /proc one of 10 ms.
            seconds += time.clock_gettime(~member << 3 | _CPUCLOCK_SCHED)
            fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
            seconds += sum(map(int, fields[13:15])) / _TICK
    return seconds


def cpu_wait_seconds(pid: int) -> float:
    """How long a process's main thread was ready to run and waited for a core, in seconds."""
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    return 0.0


def memory(pid: int) -> int:
    """The proportional set size (PSS) of a process and its descendants, in bytes."""
    return sum(_kilobytes(f"/proc/{member}/smaps_rollup", "Pss:") for member in process_tree(pid))


def resident_memory(pid: int) -> int:
    """The resident set size (RSS) of a process, in bytes."""
    return _kilobytes(f"/proc/{pid}/status", "VmRSS:")


def peak_memory(pid: int) -> int:
    """The highest resident set size (RSS) of a process since :func:`reset_peak_memory`, in bytes."""
    return _kilobytes(f"/proc/{pid}/status", "VmHWM:")


def reset_peak_memory(pid: int) -> None:
    """Reset the peak of a process's resident set size to its current value."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def raise_open_files_limit(wanted: int) -> None:
    """Raise the limit of open files of this process and its children to at least `wanted`.

    :raises OSError: if the hard limit is lower.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise OSError(f"{wanted} open files are needed, and the limit is {hard}: raise it with ulimit -Hn")
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _kilobytes(path: str, name: str) -> int:
    with suppress(OSError):
        for line in Path(path).read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024
    return 0
