"""Reads from the log what other daemons and commands have appended."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from canvas_collab.database.pool import Database
from canvas_collab.database.tables import Tables
from canvas_collab.persistence.seen_ids import LogHorizon
from canvas_collab.replication.notifications import AppendNotification

#: How many unseen entries one query returns at most.
UNSEEN_LIMIT = 2000

# By ranges of ids, so that most of the log is not read: few entries in the gaps between those that were seen exist.
_IN_RANGES = """
      FROM unnest(%(firsts)s::bigint[], %(lasts)s::bigint[]) AS range (first, last)
      JOIN {log} AS log ON log.id BETWEEN range.first AND range.last
     WHERE log.document_id = ANY(%(documents)s::text[])
     ORDER BY log.id
"""

_APPENDED = f"SELECT log.document_id, log.id, log.update {_IN_RANGES}"

# One statement, so that the transaction numbers belong to the moment at which the entries are read.
_UNSEEN = f"""
    SELECT NULL, coalesce(max(id), 0), txid_snapshot_xmin(txid_current_snapshot()),
           txid_snapshot_xmax(txid_current_snapshot())
      FROM {{log}}
    UNION ALL
    (SELECT log.document_id, log.id, octet_length(log.update), NULL {_IN_RANGES} LIMIT %(limit)s)
"""

_READ = "SELECT document_id, id, update FROM {log} WHERE id = ANY(%s) ORDER BY id"


@frozen
class ReadEntry:
    """A log entry that was read."""

    document_id: str
    id: int
    update: bytes


@frozen
class UnseenEntries:
    """The ids and sizes of entries that were not seen, the horizon of the query, and whether there are no more."""

    horizon: LogHorizon
    entries: list[tuple[int, int]]
    is_complete: bool


class LogReader:
    """Queries for log entries that this daemon has not appended."""

    def __init__(self, database: Database, tables: Tables) -> None:
        self._database = database
        self._appended = tables.fill(_APPENDED)
        self._unseen = tables.fill(_UNSEEN)
        self._read = tables.fill(_READ)

    async def read_appended(
        self, notifications: Sequence[AppendNotification], document_ids: Sequence[str]
    ) -> list[ReadEntry]:
        """Read the entries that these notifications announce, as far as they are of these documents."""
        firsts = [notification.first for notification in notifications]
        lasts = [notification.last for notification in notifications]
        rows = await self._database.query(self._appended, _range_parameters(firsts, lasts, document_ids))
        return [ReadEntry(document_id, row_id, bytes(update)) for document_id, row_id, update in rows]

    async def find_unseen(self, gaps: tuple[list[int], list[int]], document_ids: Sequence[str]) -> UnseenEntries:
        """Find the entries of these documents whose ids are in the gaps.

        :param gaps: the first and the last ids of ranges, as :meth:`.SeenIds.gaps` returns them.
        """
        parameters = {**_range_parameters(*gaps, document_ids), "limit": UNSEEN_LIMIT}
        rows = await self._database.query(self._unseen, parameters)
        [horizon] = [rows.pop(index)[1:] for index, row in enumerate(rows) if row[0] is None]
        entries = [(row_id, size) for _, row_id, size, _ in rows]
        return UnseenEntries(LogHorizon(*horizon), entries, len(rows) < UNSEEN_LIMIT)

    async def read(self, ids: Sequence[int]) -> list[ReadEntry]:
        """Read the entries with these ids."""
        rows = await self._database.query(self._read, (list(ids),))
        return [ReadEntry(document_id, row_id, bytes(update)) for document_id, row_id, update in rows]


def _range_parameters(firsts: list[int], lasts: list[int], document_ids: Sequence[str]) -> dict[str, object]:
    return {"firsts": firsts, "lasts": lasts, "documents": list(document_ids)}
