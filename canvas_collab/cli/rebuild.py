"""The command that makes a document anew without some of what was edited."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Collection, Sequence
from datetime import datetime
from itertools import islice

import click

from canvas_collab.cli.context import Context, pass_context
from canvas_collab.cli.formatting import as_bytes, as_time, clock_count, counted
from canvas_collab.cli.group import cli
from canvas_collab.cli.repository import LogRow, NotFound, read
from canvas_collab.cli.timespec import Timespec
from canvas_collab.document.budget import BudgetExceeded
from canvas_collab.document.folding import Snapshot, snapshot_of
from canvas_collab.document.rebuilding import RebuildResult, Removal, rebuild_without, removal_of
from canvas_collab.protocol.delete_set import DeleteSet
from canvas_collab.protocol.lib0 import Malformed
from canvas_collab.protocol.update import Update, clocks_of, decode_update, encode_update

#: Of so many authors, and entries that depend on what goes, each is named.
NAMED = 20


class Entries(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """Numbers of log entries: one, or from one to another."""

    name = "entries"

    def convert(self, value: str | range, param: click.Parameter | None, ctx: click.Context | None) -> range:
        """Read them, or say what would be right."""
        if isinstance(value, range):
            return value
        found = re.fullmatch(r"(\d+)(?:-(\d+))?", value.strip())
        if found is None or int(found[2] or found[1]) < int(found[1]):
            self.fail(f"{value!r} names no log entries: write 17, or 17-20.", param, ctx)
        return range(int(found[1]), int(found[2] or found[1]) + 1)


@cli.command()
@click.argument("room")
@click.option("--without", "ranges", type=Entries(), multiple=True, metavar="ENTRY[-ENTRY]", help="Leave these out.")
@click.option("--without-user", "user", metavar="ID", help="Leave this user's out.")
@click.option("--since", type=Timespec(), help="Of that user's, only those since then.")
@click.option("--leave-deleted", is_flag=True, help="Do not bring back what they deleted.")
@click.option("--no-places", is_flag=True, help="Leave nothing of them: what others put beside them goes as well.")
@click.option("--keep", type=click.Path(dir_okay=False), help="Put what goes, and the snapshot, into this file.")
@click.option("--discard", is_flag=True, help="Do not keep it.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@pass_context
def rebuild(
    context: Context,
    room: str,
    ranges: Sequence[range],
    user: str | None,
    since: datetime | None,
    leave_deleted: bool,
    no_places: bool,
    keep: str | None,
    discard: bool,
    dry_run: bool,
) -> None:
    """Make a document anew without some entries of its log, or without one user's.

    For what `restore` cannot undo, since it breaks or slows the clients: `log` lists the entries, `verify` names some
    of those. What the entries brought goes, and what they deleted is there again. They are taken out of the log.
    Whoever has the document open has to load it afresh.
    """
    if not ranges and user is None:
        raise click.UsageError("Say what is to be left out: --without ENTRY, or --without-user ID.")
    if since is not None and user is None:
        raise click.UsageError("--since goes with --without-user.")
    if not dry_run and (keep is None) == (not discard):
        raise click.UsageError("Say what becomes of what goes: --keep FILE, or --discard.")
    with context.archive() as archive:
        room = context.room(room)
        with archive.locked(room) as snapshot:
            log = archive.log(room, with_updates=True)
            going = _chosen(room, log, ranges, user, since)
            entries = [(row, _decoded(row, row.id in going)) for row in log]
            whole = read(room, snapshot, [row.update for row, update in entries if update])
            without = removal_of((update, row.id in going) for row, update in entries if update)
            if leave_deleted:
                without = Removal(without.clocks, DeleteSet())
            try:
                result = rebuild_without(whole, without, not no_places)
            except BudgetExceeded as error:
                raise NotFound(
                    f"What was deleted cannot be brought back: {error}. It can be left deleted with --leave-deleted."
                ) from error
            removed = [row for row in log if row.id in going]
            click.echo(f"{room} {'would be' if dry_run else 'is'} without {_said(removed, without.clocks)}")
            _say_consequences(result, [(row, update) for row, update in entries if update and row.id not in going])
            if dry_run:
                return
            if keep is not None:
                _keep(keep, room, snapshot, removed)
            change = encode_update(result.change.runs, result.change.deletions)
            kept = [row.id for row in log if row.id not in going]
            archive.replace(room, snapshot_of(result.document), sorted(going), kept, change)
    click.echo("Whoever had it open is told to load it afresh.")


def _chosen(
    room: str, log: Sequence[LogRow], ranges: Sequence[range], user: str | None, since: datetime | None
) -> set[int]:
    """The numbers of the entries that are to be left out."""
    there = {row.id for row in log}
    chosen: set[int] = set()
    for numbers in ranges:
        found = {number for number in there if number in numbers}
        if not found:
            names = f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
            raise NotFound(f"The log of {room} has no entry {names}.")
        chosen |= found
    if user is not None:
        found = {row.id for row in log if row.user_id == user and (since is None or row.time >= since)}
        if not found:
            raise NotFound(f"The log of {room} has no entry of the user {user}{' since then' if since else ''}.")
        chosen |= found
    return chosen


def _decoded(row: LogRow, goes: bool) -> Update | None:
    """What an entry holds; None if it cannot be read, and is to go anyway."""
    try:
        return decode_update(row.update)
    except Malformed as error:
        if goes:
            return None
        raise NotFound(f"The entry {row.id} of the log cannot be read: {error}. Leave it out as well.") from error


def _said(removed: Sequence[LogRow], clocks: DeleteSet) -> str:
    """What goes."""
    size = sum(row.size for row in removed)
    people = ", ".join(sorted({row.who for row in removed}))
    lines = [f"{counted(len(removed), 'log entry', 'log entries')}, {as_bytes(size)}, of {people}:"]
    numbers = ", ".join(str(row.id) for row in removed[:NAMED])
    lines.append(f"  entries {numbers}{_more(len(removed))}")
    authors = list(clocks.items())
    for client, ranges in authors[:NAMED]:
        stretches = ", ".join(f"{start}-{end - 1}" for start, end in islice(ranges, NAMED))
        lines.append(f"  author {client}: clocks {stretches}{_more(len(ranges))}")
    if len(authors) > NAMED:
        lines.append(f"  and of {len(authors) - NAMED} more authors")
    return "\n".join(lines)


def _more(count: int) -> str:
    return f", and {count - NAMED} more" if count > NAMED else ""


def _say_consequences(result: RebuildResult, kept: Collection[tuple[LogRow, Update]]) -> None:
    """What becomes of the rest."""
    back = sum(run.count for runs in result.change.runs.values() for run in runs)
    if back:
        click.echo(f"  {counted(back, 'item', 'items')} that they deleted inserted again")
    if gone := clock_count(result.unrecoverable):
        click.echo(f"  {counted(gone, 'clock', 'clocks')} that they deleted stay deleted: nobody has the content")
    if result.placeholders:
        click.echo(
            f"  {counted(result.placeholders, 'item', 'items')} emptied and left in place: others put theirs beside"
        )
    if not result.unreachable:
        click.echo("  nothing of what others edited depends on it")
        return
    click.echo(f"  {counted(clock_count(result.unreachable), 'clock', 'clocks')} of others are in it, and go with it:")
    holding = [row for row, update in kept if clocks_of(update).intersection(result.unreachable)]
    for row in holding[:NAMED]:
        click.echo(f"    entry {row.id}, {as_time(row.time)}, {row.who}")
    if len(holding) > NAMED:
        click.echo(f"    and {len(holding) - NAMED} more entries")
    if not holding:
        click.echo("    older than the log")


def _keep(path: str, room: str, snapshot: Snapshot, removed: Sequence[LogRow]) -> None:
    """Write what goes to a file: a JSON object a line, the snapshot first."""
    lines: list[dict[str, object]] = [{"room": room, "snapshot": b64encode(snapshot.data).decode()}]
    lines += (
        {
            "entry": row.id,
            "time": row.time.isoformat(),
            "user_id": row.user_id,
            "update": b64encode(row.update).decode(),
        }
        for row in removed
    )
    with open(path, "x", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
