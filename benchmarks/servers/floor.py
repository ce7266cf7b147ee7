"""The floor: a relay in C that only does the system calls.  Its source is ``benchmarks/floor/relay.c``."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from benchmarks.servers.base import Testbed
from benchmarks.servers.peer import Peer

SOURCE = Path(__file__).resolve().parent.parent / "floor" / "relay.c"


def compiler() -> str | None:
    """The C compiler of this machine; None if there is none."""
    return shutil.which(os.environ.get("CC", "cc"))


def build(directory: Path) -> Path:
    """Compile the relay, unless the directory has it already.

    :return: the program.
    :raises FileNotFoundError: if there is no compiler.
    :raises subprocess.CalledProcessError: if it fails.
    """
    program = directory / "relay"
    if not program.exists():
        found = compiler()
        if found is None:
            raise FileNotFoundError("there is no C compiler, which the floor needs")
        subprocess.run([found, "-O2", "-o", program, SOURCE], check=True)
    return program


class Floor(Peer):
    """The relay.  Clients speak y-websocket's protocol; it has no documents."""

    name = "floor"
    has_store = False
    has_documents = False
    needs_warm_up = False

    @property
    def version(self) -> str:
        """The version of the compiler."""
        found = compiler()
        if found is None:
            return "not built: no C compiler"
        return subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]

    def prepare(self, testbed: Testbed) -> None:
        """Compile the relay."""
        build(testbed.directory)

    def command(self, testbed: Testbed, port: int) -> list[str]:
        """The command that starts the relay."""
        return [str(build(testbed.directory)), str(port)]
