"""Checks of this machine: the limit of open files, and the free disk."""

from __future__ import annotations

import os
import resource
import shutil
from pathlib import Path

from canvas_collab.cli.doctor.finding import Finding, ok, problem, warning
from canvas_collab.descriptors import OTHER_DESCRIPTORS

#: Below so many free bytes there is a warning, and a problem.
LITTLE_DISK = 2**30
TOO_LITTLE_DISK = 100 * 2**20


def check_open_files(max_connections: int) -> Finding:
    """Check the limit of open files of this process; a daemon started from here would have the same."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return open_files_finding(hard if hard != resource.RLIM_INFINITY else 2**31, max_connections)


def open_files_finding(limit: int, max_connections: int) -> Finding:
    """Return a finding for a limit of open files."""
    wanted = max_connections + OTHER_DESCRIPTORS
    if limit < wanted:
        return problem(
            "open files",
            f"A process that is started here may open {limit} files, and MAX_CONNECTIONS takes {wanted}.",
            f"Set LimitNOFILE={wanted} in the unit, `ulimit -n {wanted}` before PM2, or a lower MAX_CONNECTIONS.",
        )
    return ok("open files", f"A process that is started here may open {limit} files; {wanted} are needed.")


def check_disk(directory: Path) -> Finding:
    """Check the free disk of ``DATA_DIR``, the directory of the embedded database, and that it can be written."""
    existing = directory.absolute()
    while not existing.exists():
        existing = existing.parent
    if not os.access(existing, os.W_OK | os.X_OK):
        return problem(
            "disk",
            f"DATA_DIR, {directory}, cannot be written by the user who runs this.",
            f"Run as the user whose directory it is, or `chown` {existing} to this one.",
        )
    return disk_finding(directory, shutil.disk_usage(existing).free)


def disk_finding(directory: Path, free: int) -> Finding:
    """Return a finding for `free` bytes at a directory."""
    text = f"There are {free / 10**9:.1f} GB free at DATA_DIR, {directory}."
    remedy = "Free some, or set DATA_DIR to a directory on another disk."
    if free < TOO_LITTLE_DISK:
        return problem("disk", text, remedy)
    return warning("disk", text, remedy) if free < LITTLE_DISK else ok("disk", text)
