"""The command ``import-all``, which imports the documents of another server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from canvas_collab.access.roles import room_name_problem
from canvas_collab.cli import sources
from canvas_collab.cli.context import Context, pass_context, room_name
from canvas_collab.cli.errors import CommandError
from canvas_collab.cli.formatting import plural
from canvas_collab.cli.group import cli
from canvas_collab.cli.repository import DocumentRepository, open_repository
from canvas_collab.config.database_url import database_url
from canvas_collab.protocol.lib0 import Malformed
from canvas_collab.protocol.update import decode_update


def _checked_url(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    """Check the URL of an option, whose error does not show the password."""
    try:
        return value and database_url(value)
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from error


@cli.command("import-all")
@click.option("--directory", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Files NAME.update.")
@click.option(
    "--sqlite",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The database of Hocuspocus's SQLite extension.",
)
@click.option("--query", metavar="SQL", help="A query that returns names and updates, such as of your own table.")
@click.option(
    "--source",
    metavar="URL",
    callback=_checked_url,
    help="The PostgreSQL database of the query; default: DATABASE_URL.",
)
@click.option("--strip", metavar="PREFIX", default="", help="Remove this from the beginning of each name.")
@click.option("--user", metavar="ID", help="The user to name in the log.")
@click.option("--dry-run", is_flag=True, help="Only print what would be imported.")
@pass_context
def import_all(
    context: Context,
    directory: Path | None,
    sqlite: Path | None,
    query: str | None,
    source: str | None,
    strip: str,
    user: str | None,
    dry_run: bool,
) -> None:
    """Import all documents of another server, each as an edit of the room with its name.

    A name that does not begin with ROOM_PREFIX is taken for the id of a diagram. Documents that exist already are
    merged with what is imported; importing again adds nothing. A document that cannot be imported is reported, and the
    others are imported. Exits with 1 if any could not be imported.
    """
    if sum(option is not None for option in (directory, sqlite, query)) != 1:
        raise click.UsageError("Choose one source: --directory, --sqlite or --query.")
    failed = imported = unchanged = 0
    settings = context.settings
    prefix = settings.routing.room_prefix
    with context.database_url() as url, open_repository(url, settings.database.schema) as repository:
        for name, update in _documents(directory, sqlite, query, source or url):
            room = room_name(name.removeprefix(strip), prefix)
            try:
                if problem := room_name_problem(room, prefix):
                    raise CommandError(f"{problem}.")
                size = _import(repository, room, update, user, dry_run)
            except CommandError as error:
                failed += 1
                click.echo(f"{room}: {error}", err=True)
                continue
            imported += size > 0
            unchanged += size == 0
            if size:
                click.echo(f"{room}: {size} bytes")
    done = "would be imported" if dry_run else "imported"
    click.echo(f"{plural(imported, 'document', 'documents')} {done}, {unchanged} unchanged, {failed} failed.")
    if failed:
        raise SystemExit(1)


def _documents(directory: Path | None, sqlite: Path | None, query: str | None, url: str) -> Iterator[tuple[str, bytes]]:
    if directory is not None:
        return sources.from_directory(directory)
    if sqlite is not None:
        return sources.from_sqlite(sqlite)
    assert query is not None
    return sources.from_query(url, query)


def _import(repository: DocumentRepository, room: str, data: bytes, user: str | None, dry_run: bool) -> int:
    """Import a document; return how many bytes of it were new, or would be.

    :raises CommandError: if it is not a Yjs update, or cannot be added.
    """
    try:
        update = decode_update(data)
    except Malformed as error:
        raise CommandError(f"not a Yjs update: {error}.") from error
    if not update:
        return 0
    return len(data) if dry_run else repository.add(room, update, user)
