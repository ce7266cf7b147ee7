"""The commands that change the database: ``import``, ``restore``, ``repair``, ``migrate``."""

from __future__ import annotations

from datetime import datetime
from typing import BinaryIO

import click

from canvas_collab.cli.context import Context, pass_context
from canvas_collab.cli.errors import CommandError
from canvas_collab.cli.formatting import clock_count
from canvas_collab.cli.group import cli
from canvas_collab.cli.timespec import Timespec
from canvas_collab.database.errors import UnsuitableDatabase
from canvas_collab.database.migrations import prepare_database
from canvas_collab.document.content import to_json
from canvas_collab.document.document import Document
from canvas_collab.document.folding import DocumentDamaged, Snapshot, snapshot_of
from canvas_collab.document.restoring import restoring_update, unused_client_id
from canvas_collab.document.values import write_json
from canvas_collab.protocol.lib0 import Malformed
from canvas_collab.protocol.update import EMPTY_UPDATE, Update, decode_update


@cli.command("import")
@click.argument("room")
@click.argument("file", type=click.File("rb"))
@click.option("--user", metavar="ID", help="The user to name in the log.")
@pass_context
def import_(context: Context, room: str, file: BinaryIO, user: str | None) -> None:
    """Apply a Yjs update from FILE (- is standard input) to a document, as an edit.

    Only the new part of the update is applied. Clients that have the document open receive it.
    """
    try:
        update = decode_update(file.read())
    except Malformed as error:
        raise CommandError(f"{file.name} is not a Yjs update: {error}.") from error
    if not update:
        click.echo("The update is empty.")
        return
    with context.repository() as repository:
        room = context.room(room)
        added = repository.add(room, update, user)
    if added:
        click.echo(f"{added} bytes added to {room}.")
    else:
        click.echo(f"{room} has all of the update already.")


@cli.command()
@click.argument("room")
@click.option("--at", type=Timespec(), required=True, help="The time: 2026-11-23T14:30, 2h, '3 days ago'.")
@click.option("--user", metavar="ID", help="The user to name in the log.")
@click.option("--dry-run", is_flag=True, help="Only print what would be done.")
@pass_context
def restore(context: Context, room: str, at: datetime, user: str | None, dry_run: bool) -> None:
    """Restore the content that a document had at some time.

    This adds new edits. Clients that have the document open receive them, the history is kept, and restoring an earlier
    time undoes them.
    """
    with context.repository() as repository:
        room = context.room(room)
        now = repository.load(room)
        then = repository.load_at(room, at, context.settings.snapshots.history_retention)
        # The same content needs no edit, even where other items have it.
        is_same = write_json(to_json(now)) == write_json(to_json(then))
        update = EMPTY_UPDATE if is_same else restoring_update(now, then, unused_client_id(now))
        if update == EMPTY_UPDATE:
            click.echo(f"{room} has the same content already.")
            return
        edits = decode_update(update)
        inserted = sum(run.count for runs in edits.runs.values() for run in runs)
        deleted = clock_count(edits.deletions)
        changes = f"{inserted} items inserted again, {deleted} clocks deleted, {len(update)} bytes"
        if dry_run:
            click.echo(f"{room} would be restored: {changes}.")
            return
        repository.append(room, update, user)
        click.echo(f"{room} is restored: {changes}.")


@cli.command()
@click.argument("room")
@click.option("--trust-snapshot", is_flag=True, help="Use the content of the snapshot although its checksum is wrong.")
@click.option("--keep", type=click.Path(dir_okay=False), help="Write the damaged snapshot to this file.")
@click.option("--discard", is_flag=True, help="Do not keep the damaged snapshot.")
@pass_context
def repair(context: Context, room: str, trust_snapshot: bool, keep: str | None, discard: bool) -> None:
    """Write a new snapshot of a damaged document, from its log and optionally from the damaged snapshot."""
    if (keep is None) == (not discard):
        raise click.UsageError("Choose what to do with the damaged snapshot: --keep FILE, or --discard.")
    with context.repository() as repository:
        room = context.room(room)
        with repository.locked(room) as snapshot:
            document = Document()
            try:
                document.apply(snapshot.read())
                click.echo("The snapshot is not damaged.")
            except DocumentDamaged as error:
                click.echo(f"{error}.".capitalize())
                if trust_snapshot:
                    document.apply(_trusted(snapshot))
            if keep is not None:
                with open(keep, "xb") as file:
                    file.write(snapshot.data)
            entries = repository.log(room, with_updates=True)
            unreadable = 0
            for entry in entries:
                try:
                    document.append(entry.update)
                except Malformed:
                    unreadable += 1
            repository.write(room, snapshot_of(document), [entry.id for entry in entries])
    click.echo(f"{room} has a new snapshot of {len(entries) - unreadable} log entries; {unreadable} could not be read.")
    if not trust_snapshot:
        click.echo("Content that is older than the log, and was only in the damaged snapshot, may be lost.")


def _trusted(snapshot: Snapshot) -> Update:
    """Read a snapshot whose checksum is wrong.

    :raises CommandError: if it is malformed as well.
    """
    try:
        return Snapshot(snapshot.data).read()
    except DocumentDamaged as error:
        raise CommandError(f"The content of the snapshot cannot be read: {error}.") from error


@cli.command()
@click.option("--check", is_flag=True, help="Only print whether migrations are missing; exits with 1 if so.")
@pass_context
def migrate(context: Context, check: bool) -> None:
    """Apply missing migrations, as the daemon does when it starts."""
    schema = context.settings.database.schema
    with context.database_url() as url:
        try:
            prepare_database(url, False, schema)
        except UnsuitableDatabase as error:
            if check or not any("lacks the migrations" in problem for problem in error.problems):
                raise
            prepare_database(url, True, schema)
            click.echo("The migrations were applied.")
        else:
            click.echo("The database is up to date.")
