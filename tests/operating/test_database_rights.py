"""A daemon whose database role has the rights of the operating page, and no others."""

from __future__ import annotations

import re
from collections.abc import Iterator

import psycopg2
import pytest

from tests.conftest import StartDaemon
from tests.support.clients import Client, typed
from tests.support.daemons import ROOT
from tests.support.databases import TestDatabase


def documented_grants() -> str:
    """The GRANT statements of the page, which give a role named ``collab`` its rights."""
    page = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    [grants] = re.findall(r"^```sql\n(GRANT .*?)^```$", page, re.MULTILINE | re.DOTALL)
    return str(grants)


@pytest.fixture
def limited(database: TestDatabase) -> Iterator[TestDatabase]:
    """The database as the role ``collab`` reaches it."""
    database.query("CREATE ROLE collab LOGIN")
    try:
        database.query(documented_grants())
        yield TestDatabase(database.url.replace("//postgres:", "//collab:", 1))
    finally:
        database.query("DROP OWNED BY collab CASCADE; DROP ROLE collab")


def test_the_documented_rights_are_enough_to_edit_snapshot_prune_and_open_again(
    database: TestDatabase, limited: TestDatabase, start_daemon: StartDaemon
) -> None:
    ada, bob = database.add_user("ada"), database.add_user("bob")
    database.add_diagram("one", ada, viewer=bob)
    settings = {"MIGRATE": "off", "HISTORY_RETENTION": 3600}
    daemon, other = (start_daemon(database, DATABASE_URL=limited.url, **settings) for _ in range(2))
    with Client(daemon, "one", ada) as editor, Client(other, "one", bob) as viewer:
        editor.edit(typed("drawn"))
        viewer.wait_for("drawn")
    for each in (daemon, other):
        each.stop()
    assert database.query("SELECT count(*) FROM yjs_document WHERE length(data) > 10") == [(1,)]
    database.query("UPDATE yjs_update_log SET merged_at = merged_at - interval '1 day'")
    again = start_daemon(database, DATABASE_URL=limited.url, **settings)
    with Client(again, "one", bob) as viewer:
        assert viewer.text == "drawn"
    again.wait_until(lambda: database.query("SELECT count(*) FROM yjs_update_log") == [(0,)])
    again.stop()
    for each in (daemon, other, again):
        assert [event for event in each.events() if event["level"] not in ("debug", "info")] == []


@pytest.mark.parametrize(
    "statement",
    [
        'SELECT email FROM "user"',
        "SELECT * FROM account",
        "UPDATE session SET \"expiresAt\" = now() + interval '1 year'",
        "INSERT INTO diagram_member VALUES ('one', 'eve', 'editor')",
        "SELECT * FROM diagram_member",
        "DELETE FROM yjs_document",
    ],
)
def test_with_the_documented_rights_nothing_else_can_be_read_or_changed(
    database: TestDatabase, limited: TestDatabase, statement: str
) -> None:
    database.query("CREATE TABLE IF NOT EXISTS account (id TEXT PRIMARY KEY, password TEXT)")
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        limited.query(statement)
