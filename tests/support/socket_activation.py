"""Starts a program with a listening socket as systemd does: ``python -m tests.support.socket_activation FD COMMAND…``.

The socket becomes file descriptor 3, and ``LISTEN_PID`` is the process that the command replaces (sd_listen_fds(3)).
"""

from __future__ import annotations

import os
import sys

FIRST = 3


def main() -> None:
    """Replace this process by the command."""
    descriptor, *command = sys.argv[1:]
    if int(descriptor) != FIRST:
        os.dup2(int(descriptor), FIRST)
    os.set_inheritable(FIRST, True)
    os.environ.update(LISTEN_FDS="1", LISTEN_FDNAMES="clients", LISTEN_PID=str(os.getpid()))
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
