"""What processes take of the machine, and on which cores they run."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from attrs import frozen

_TICK = os.sysconf("SC_CLK_TCK")

#: The priority of what gives way, the lowest there is.
NICENESS = 19


@frozen
class Cores:
    """Which core the measured server has to itself, and which ones are everybody else's."""

    server: int
    others: frozenset[int]

    @property
    def shared(self) -> bool:
        """Whether there is only one core, so that nothing is apart."""
        return self.server in self.others

    @classmethod
    def choose(cls) -> Cores:
        """The first core that this process may use for the server, the rest for the others."""
        server, *others = sorted(os.sched_getaffinity(0))
        return cls(server, frozenset(others or [server]))

    def take_others(self) -> None:
        """Run on the cores that are not the server's from now on, children included."""
        os.sched_setaffinity(0, self.others)

    @contextmanager
    def starting_server(self) -> Iterator[None]:
        """Processes that are started in here run on the server's core."""
        os.sched_setaffinity(0, {self.server})
        try:
            yield
        finally:
            self.take_others()


def family(pid: int) -> list[int]:
    """A process and its descendants."""
    found = [pid]
    for parent in found:
        with suppress(OSError):
            for children in Path(f"/proc/{parent}/task").glob("*/children"):
                found += map(int, children.read_text().split())
    return found


def give_way(pid: int) -> None:
    """Have a process and its descendants run when nothing more urgent does on their core."""
    for member in family(pid):
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, member, NICENESS)
            # Where every session is a group of its own, priorities count within one, and this is the group's.
            Path(f"/proc/{member}/autogroup").write_text(str(NICENESS))


def cpu_seconds(pid: int) -> float:
    """The processor time that a process and its descendants have taken, those that have ended included."""
    ticks = 0
    for member in family(pid):
        with suppress(OSError):
            fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))
    return ticks / _TICK


def waited_seconds(pid: int) -> float:
    """How long a process's main thread could have run and had to wait for its core."""
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    return 0.0


def memory(pid: int) -> int:
    """The memory that a process and its descendants hold, in bytes; what they share counts once (PSS)."""
    return sum(_kilobytes(f"/proc/{member}/smaps_rollup", "Pss:") for member in family(pid))


def peak_memory(pid: int) -> int:
    """The most memory that a process has held since :func:`forget_peak_memory`, in bytes (RSS)."""
    return _kilobytes(f"/proc/{pid}/status", "VmHWM:")


def forget_peak_memory(pid: int) -> None:
    """Begin anew with the peak."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def allow_files(wanted: int) -> None:
    """Let this process and its children open so many files.

    :raises OSError: if the system does not allow that.
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
