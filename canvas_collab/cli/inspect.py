"""The commands that only read: ``documents``, ``history``, ``log``, ``export``, ``verify``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import click

from canvas_collab.cli.context import Context, as_json, pass_context
from canvas_collab.cli.errors import CommandError
from canvas_collab.cli.formatting import author_name, format_size, format_time, plural
from canvas_collab.cli.group import cli
from canvas_collab.cli.repository import DocumentRepository, LogRow
from canvas_collab.cli.timespec import Timespec
from canvas_collab.document.content import to_json
from canvas_collab.document.document import Document
from canvas_collab.document.folding import DocumentDamaged, read_document
from canvas_collab.document.poison import find_poison
from canvas_collab.document.values import write_json
from canvas_collab.protocol.delete_set import DeleteSet
from canvas_collab.protocol.lib0 import Malformed
from canvas_collab.protocol.update import clocks_of, decode_update


def _print_json(value: object) -> None:
    click.echo(json.dumps(value, default=_plain, ensure_ascii=False, indent=2))


def _plain(value: Any) -> object:
    """Convert a time or a decimal number for ``json.dumps``."""
    return value.isoformat() if isinstance(value, datetime) else int(value)


@cli.command()
@as_json
@pass_context
def documents(context: Context, as_json: bool) -> None:
    """List all documents, the last changed first, with size, last edit and number of editors."""
    with context.repository() as repository:
        found = repository.documents()
    if as_json:
        _print_json(found)
        return
    for document in found:
        unmerged = f", and {document['unmerged']} log entries" if document["unmerged"] else ""
        last = format_time(document["last_edit"] or document["updated_at"])
        people = plural(document["people"], "person", "people")
        click.echo(f"{document['room']}  {format_size(document['size'])}{unmerged}  {last}  {people}")


@cli.command()
@click.argument("room")
@click.option("--by", type=click.Choice(["minute", "hour", "day"]), default="hour", help="The length of each period.")
@as_json
@pass_context
def history(context: Context, room: str, by: str, as_json: bool) -> None:
    """Show who edited a document, when, and how much, as far back as the log goes."""
    with context.repository() as repository:
        room = context.room(room)
        repository.stored(room)
        found = repository.history(room, by)
    if as_json:
        _print_json(found)
        return
    for entry in found:
        author = author_name(entry["name"], entry["user_id"])
        click.echo(
            f"{format_time(entry['time'])}  {author}  {entry['updates']} updates  {format_size(int(entry['size']))}"
        )


@cli.command()
@click.argument("room")
@click.option("--user", metavar="ID", help="Only those of this user.")
@click.option("--since", type=Timespec(), help="Only those since then: 2026-11-23T14:30, 2h, '3 days ago'.")
@as_json
@pass_context
def log(context: Context, room: str, user: str | None, since: datetime | None, as_json: bool) -> None:
    """List the entries of a document's log, with number, time, size and user."""
    with context.repository() as repository:
        room = context.room(room)
        repository.stored(room)
        rows = repository.log(room, user, since)
    if as_json:
        names = {"entry": "id", "time": "time", "user_id": "user_id", "name": "name", "size": "size"}
        _print_json([{name: getattr(row, field) for name, field in names.items()} for row in rows])
        return
    for row in rows:
        account = f" ({row.user_id})" if row.name else ""
        click.echo(f"{row.id}  {format_time(row.time)}  {format_size(row.size)}  {row.author}{account}")


@cli.command()
@click.argument("room")
@click.option("--output", "-o", type=click.Path(dir_okay=False), help="Write to this file, not to standard output.")
@click.option(
    "--format", "form", type=click.Choice(["update", "json"]), help="Default: json on a terminal, else update."
)
@click.option("--at", type=Timespec(), help="As it was then: 2026-11-23T14:30, 2h, '3 days ago'.")
@click.option("--text", "texts", multiple=True, metavar="NAME", help="Export this shared type as a text.")
@pass_context
def export(
    context: Context, room: str, output: str | None, form: str | None, at: datetime | None, texts: tuple[str, ...]
) -> None:
    """Export a document, as a Yjs update or as JSON."""
    form = form or ("json" if output is None and sys.stdout.isatty() else "update")
    with context.repository() as repository:
        room = context.room(room)
        retention = context.settings.snapshots.history_retention
        document = repository.load(room) if at is None else repository.load_at(room, at, retention)
    data = write_json(to_json(document, texts)).encode() + b"\n" if form == "json" else document.encode()
    if output is not None:
        with open(output, "wb") as file:
            file.write(data)
    elif form == "update" and sys.stdout.isatty():
        raise CommandError("An update is binary: write it to a file with --output.")
    else:
        sys.stdout.buffer.write(data)


@cli.command()
@click.argument("rooms", nargs=-1, metavar="[ROOM]...")
@as_json
@pass_context
def verify(context: Context, rooms: tuple[str, ...], as_json: bool) -> None:
    """Check every checksum, snapshot and log entry of some documents, or of all. Exits with 1 if anything is wrong.

    This includes content that real clients are known to break on, or to take long over: see `rebuild`.
    """
    problems: list[dict[str, object]] = []
    entries = 0
    with context.repository() as repository:
        names = [context.room(room) for room in rooms] or repository.rooms()
        with click.progressbar(names, label="Checking", file=sys.stderr) as progress:
            for room in progress:
                entries += _verify(repository, room, problems)
    if as_json:
        _print_json({"documents": len(names), "entries": entries, "problems": problems})
    else:
        for problem in problems:
            click.echo(f"{problem['room']}: {problem['problem']}")
        click.echo(f"{len(names)} documents and {entries} log entries checked, {len(problems)} problems.")
    if problems:
        sys.exit(1)


def _verify(repository: DocumentRepository, room: str, problems: list[dict[str, object]]) -> int:
    """Check a document, add its problems to the list, and return how many log entries were checked."""
    snapshot, unmerged = repository.stored(room)
    is_readable = True
    try:
        snapshot.read()
        # Reading trusts the stored layout if the checksum is right; decoding checks the bytes.
        decode_update(snapshot.data)
    except (DocumentDamaged, Malformed) as error:
        problems.append({"room": room, "problem": str(error)})
        is_readable = False
    log: list[tuple[LogRow, DeleteSet]] = []
    rows = repository.log(room, with_updates=True)
    for row in rows:
        try:
            log.append((row, clocks_of(decode_update(row.update))))
        except Malformed as error:
            problems.append({"room": room, "entry": row.id, "problem": f"log entry {row.id} cannot be read: {error}"})
            is_readable = False
    if is_readable:
        for source, what in _poison(read_document(snapshot, unmerged), log):
            if source is None:
                problems.append(
                    {"room": room, "problem": f"breaks or slows clients, and is older than the log: {what}"}
                )
                continue
            problem = (
                f"log entry {source.id} ({format_time(source.time)}, {source.author}) breaks or slows clients: {what}"
            )
            entry = {"entry": source.id, "time": source.time, "user_id": source.user_id, "problem": problem}
            problems.append({"room": room, **entry})
    return len(rows)


def _poison(document: Document, log: Sequence[tuple[LogRow, DeleteSet]]) -> Iterator[tuple[LogRow | None, str]]:
    """Yield each kind of poison in a document with the log entries that hold it, or with None if it is older."""
    harmful: dict[str, DeleteSet] = {}
    for poison in find_poison(document.as_update()):
        harmful.setdefault(poison.what, DeleteSet()).add(poison.client, poison.start, poison.end)
    for what, clocks in harmful.items():
        holding = [row for row, entry_clocks in log if entry_clocks.intersection(clocks)]
        if not holding:
            yield None, what
        yield from ((row, what) for row in holding)
