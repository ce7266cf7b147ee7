"""What others have added to the log: which entries there are that were not seen, and what is in them."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from canvas_collab.database.pool import Database
from canvas_collab.persistence.seen_ids import Mark
from canvas_collab.replication.notifications import AppendNotification

#: Of so many entries it is found out at a time that they were not seen.
AT_A_TIME = 2000

# The stretches seldom hold more than a few entries that are not known, so most of the log is not looked at.
_IN_STRETCHES = """
      FROM unnest(%(firsts)s::bigint[], %(lasts)s::bigint[]) AS stretch (first, last)
      JOIN yjs_update_log AS log ON log.id BETWEEN stretch.first AND stretch.last
     WHERE log.document_id = ANY(%(documents)s::text[])
     ORDER BY log.id
"""

_ADDED = f"SELECT log.document_id, log.id, log.update {_IN_STRETCHES}"

# One statement, so that the numbers of transactions are those of the moment for which the entries are looked at.
_MISSING = f"""
    SELECT NULL, coalesce(max(id), 0), txid_snapshot_xmin(txid_current_snapshot()),
           txid_snapshot_xmax(txid_current_snapshot())
      FROM yjs_update_log
    UNION ALL
    (SELECT log.document_id, log.id, octet_length(log.update), NULL {_IN_STRETCHES} LIMIT %(limit)s)
"""

_READ = "SELECT document_id, id, update FROM yjs_update_log WHERE id = ANY(%s) ORDER BY id"


@frozen
class ReadEntry:
    """An update as it is in the log."""

    document_id: str
    id: int
    update: bytes


@frozen
class UnseenEntries:
    """The ids and sizes of some entries, whether these are all there are, and when that was."""

    mark: Mark
    entries: list[tuple[int, int]]
    is_all: bool


class LogReader:
    """The log, as far as others have added to it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def added(self, additions: Sequence[AppendNotification], document_ids: Sequence[str]) -> list[ReadEntry]:
        """The entries that somebody has added to the log, of those documents that are asked for."""
        stretches = [addition.first for addition in additions], [addition.last for addition in additions]
        rows = await self._database.query(_ADDED, _in_stretches(*stretches, document_ids))
        return [ReadEntry(document_id, row_id, bytes(update)) for document_id, row_id, update in rows]

    async def missing(self, gaps: tuple[list[int], list[int]], document_ids: Sequence[str]) -> UnseenEntries:
        """Which entries of those documents there are in these gaps, and what time it is for the database."""
        values = {**_in_stretches(*gaps, document_ids), "limit": AT_A_TIME}
        rows = await self._database.query(_MISSING, values)
        [mark] = [rows.pop(place)[1:] for place, row in enumerate(rows) if row[0] is None]
        return UnseenEntries(Mark(*mark), [(row_id, size) for _, row_id, size, _ in rows], len(rows) < AT_A_TIME)

    async def read(self, ids: Sequence[int]) -> list[ReadEntry]:
        """The entries with these ids."""
        rows = await self._database.query(_READ, (list(ids),))
        return [ReadEntry(document_id, row_id, bytes(update)) for document_id, row_id, update in rows]


def _in_stretches(firsts: list[int], lasts: list[int], document_ids: Sequence[str]) -> dict[str, object]:
    return {"firsts": firsts, "lasts": lasts, "documents": list(document_ids)}
