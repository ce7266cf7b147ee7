"""The command ``rebuild``, which removes log entries, and what they brought, from a document."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Collection, Sequence
from datetime import datetime
from itertools import islice

import click

from canvas_collab.cli.context import Context, pass_context
from canvas_collab.cli.errors import CommandError
from canvas_collab.cli.formatting import clock_count, format_size, format_time, plural
from canvas_collab.cli.group import cli
from canvas_collab.cli.repository import LogRow, read_stored
from canvas_collab.cli.timespec import Timespec
from canvas_collab.document.budget import BudgetExceeded
from canvas_collab.document.folding import Snapshot, snapshot_of
from canvas_collab.document.rebuilding import RebuildResult, Removal, rebuild_without, removal_of
from canvas_collab.protocol.delete_set import DeleteSet
from canvas_collab.protocol.lib0 import Malformed
from canvas_collab.protocol.update import Update, clocks_of, decode_update, encode_update

#: How many entries, and how many authors, are listed at most; the rest is counted.
MAX_LISTED = 20


class Entries(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """An option's value that is the number of a log entry, or a range of them: ``17-20``."""

    name = "entries"

    def convert(self, value: str | range, param: click.Parameter | None, ctx: click.Context | None) -> range:
        """Parse the numbers; fail with an example of what is valid."""
        if isinstance(value, range):
            return value
        found = re.fullmatch(r"(\d+)(?:-(\d+))?", value.strip())
        if found is None or int(found[2] or found[1]) < int(found[1]):
            self.fail(f"{value!r} names no log entries: write 17, or 17-20.", param, ctx)
        return range(int(found[1]), int(found[2] or found[1]) + 1)


@cli.command()
@click.argument("room")
@click.option("--without", "ranges", type=Entries(), multiple=True, metavar="ENTRY[-ENTRY]", help="Remove these.")
@click.option("--without-user", "user", metavar="ID", help="Remove the entries of this user.")
@click.option("--since", type=Timespec(), help="Remove only the user's entries since then.")
@click.option("--leave-deleted", is_flag=True, help="Do not restore what they deleted.")
@click.option("--no-places", is_flag=True, help="Leave no empty items; remove what others put next to them too.")
@click.option(
    "--keep", type=click.Path(dir_okay=False), help="Write the removed entries, and the snapshot, to this file."
)
@click.option("--discard", is_flag=True, help="Do not keep them.")
@click.option("--dry-run", is_flag=True, help="Only print what would be done.")
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
    """Rebuild a document without some entries of its log, or without those of one user.

    For content that breaks or slows clients, which `restore` cannot remove. `log` lists the entries, and `verify` names
    those known to be harmful. What the entries inserted is removed, and what they deleted is restored. They are removed
    from the log. Clients that have the document open must reload it.
    """
    if not ranges and user is None:
        raise click.UsageError("Choose what to remove: --without ENTRY, or --without-user ID.")
    if since is not None and user is None:
        raise click.UsageError("--since needs --without-user.")
    if not dry_run and (keep is None) == (not discard):
        raise click.UsageError("Choose what to do with the removed entries: --keep FILE, or --discard.")
    with context.repository() as repository:
        room = context.room(room)
        with repository.locked(room) as snapshot:
            log = repository.log(room, with_updates=True)
            removed_ids = _chosen(room, log, ranges, user, since)
            entries = [(row, _decoded(row, row.id in removed_ids)) for row in log]
            whole = read_stored(room, snapshot, [row.update for row, update in entries if update])
            without = removal_of((update, row.id in removed_ids) for row, update in entries if update)
            if leave_deleted:
                without = Removal(without.clocks, DeleteSet())
            try:
                result = rebuild_without(whole, without, not no_places)
            except BudgetExceeded as error:
                raise CommandError(
                    f"Deleted content cannot be restored: {error}. With --leave-deleted it stays deleted."
                ) from error
            removed = [row for row in log if row.id in removed_ids]
            click.echo(f"{room} {'would be' if dry_run else 'is'} without {_summary(removed, without.clocks)}")
            _print_consequences(
                result, [(row, update) for row, update in entries if update and row.id not in removed_ids]
            )
            if dry_run:
                return
            if keep is not None:
                _write_removed(keep, room, snapshot, removed)
            change = encode_update(result.change.runs, result.change.deletions)
            kept = [row.id for row in log if row.id not in removed_ids]
            repository.replace(room, snapshot_of(result.document), sorted(removed_ids), kept, change)
    click.echo("Clients that have it open are told to reload it.")


def _chosen(
    room: str, log: Sequence[LogRow], ranges: Sequence[range], user: str | None, since: datetime | None
) -> set[int]:
    """Return the numbers of the entries that are to be removed.

    :raises CommandError: if an option matches no entry.
    """
    existing = {row.id for row in log}
    chosen: set[int] = set()
    for numbers in ranges:
        found = {number for number in existing if number in numbers}
        if not found:
            names = f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
            raise CommandError(f"The log of {room} has no entry {names}.")
        chosen |= found
    if user is not None:
        found = {row.id for row in log if row.user_id == user and (since is None or row.time >= since)}
        if not found:
            raise CommandError(f"The log of {room} has no entry of the user {user}{' since then' if since else ''}.")
        chosen |= found
    return chosen


def _decoded(row: LogRow, is_removed: bool) -> Update | None:
    """Decode an entry's update; return None if it is malformed and will be removed.

    :raises CommandError: if it is malformed and stays.
    """
    try:
        return decode_update(row.update)
    except Malformed as error:
        if is_removed:
            return None
        raise CommandError(f"The entry {row.id} of the log cannot be read: {error}. Remove it as well.") from error


def _summary(removed: Sequence[LogRow], clocks: DeleteSet) -> str:
    """Describe the entries that are removed, and the clocks of each author that go with them."""
    size = sum(row.size for row in removed)
    people = ", ".join(sorted({row.author for row in removed}))
    lines = [f"{plural(len(removed), 'log entry', 'log entries')}, {format_size(size)}, of {people}:"]
    numbers = ", ".join(str(row.id) for row in removed[:MAX_LISTED])
    lines.append(f"  entries {numbers}{_more(len(removed))}")
    authors = list(clocks.items())
    for client, ranges in authors[:MAX_LISTED]:
        stretches = ", ".join(f"{start}-{end - 1}" for start, end in islice(ranges, MAX_LISTED))
        lines.append(f"  author {client}: clocks {stretches}{_more(len(ranges))}")
    if len(authors) > MAX_LISTED:
        lines.append(f"  and of {len(authors) - MAX_LISTED} more authors")
    return "\n".join(lines)


def _more(count: int) -> str:
    """Return how many more there are than are listed."""
    return f", and {count - MAX_LISTED} more" if count > MAX_LISTED else ""


def _print_consequences(result: RebuildResult, kept: Collection[tuple[LogRow, Update]]) -> None:
    """Print what removing the entries does to the rest of the document."""
    restored = sum(run.count for runs in result.change.runs.values() for run in runs)
    if restored:
        click.echo(f"  {plural(restored, 'item', 'items')} that they deleted inserted again")
    if unrecoverable := clock_count(result.unrecoverable):
        click.echo(
            f"  {plural(unrecoverable, 'clock', 'clocks')} that they deleted stay deleted: the content is not stored"
        )
    if result.placeholders:
        placeholders = plural(result.placeholders, "item", "items")
        click.echo(f"  {placeholders} left in place without content: others inserted items next to them")
    if not result.unreachable:
        click.echo("  no edit of others depends on it")
        return
    unreachable = plural(clock_count(result.unreachable), "clock", "clocks")
    click.echo(f"  {unreachable} of others inside of it, removed with it:")
    holding = [row for row, update in kept if clocks_of(update).intersection(result.unreachable)]
    for row in holding[:MAX_LISTED]:
        click.echo(f"    entry {row.id}, {format_time(row.time)}, {row.author}")
    if len(holding) > MAX_LISTED:
        click.echo(f"    and {len(holding) - MAX_LISTED} more entries")
    if not holding:
        click.echo("    older than the log")


def _write_removed(path: str, room: str, snapshot: Snapshot, removed: Sequence[LogRow]) -> None:
    """Write the snapshot, then the removed entries, to a new file: a JSON object a line."""
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
