"""The shipped triggers that notify the daemon of changed access, and listening to what they notify."""

from __future__ import annotations

from types import TracebackType

from tests.support.daemons import ROOT
from tests.support.databases import TestDatabase

SCRIPT = ROOT / "deploy" / "access-changed.sql"


def add_access_triggers(database: TestDatabase) -> list[str]:
    """Run the script; return the messages of PostgreSQL."""
    connection = database.connect()
    try:
        with connection.cursor() as cursor:
            cursor.execute(SCRIPT.read_text(encoding="utf-8"))
        return [str(notice) for notice in connection.notices]
    finally:
        connection.close()


class Listener:
    """Receives notifications of changed access, to be used in a with statement."""

    def __init__(self, database: TestDatabase) -> None:
        self._connection = database.connect()
        self._notifications = self._connection.cursor()
        self._notifications.execute("LISTEN collab_access_changed")

    def __enter__(self) -> Listener:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._connection.close()

    def run(self, sql: str, *parameters: object) -> list[str]:
        """Run a statement on this connection; return the payloads of its notifications, sorted."""
        # What others have notified before is received with the result of any statement.
        self._notifications.execute("SELECT 1")
        self._connection.notifies.clear()
        self._notifications.execute(sql, parameters)
        payloads = sorted(notification.payload for notification in self._connection.notifies)
        self._connection.notifies.clear()
        return payloads

    @property
    def warnings(self) -> list[str]:
        """The messages of PostgreSQL so far."""
        return [str(notice) for notice in self._connection.notices]
