"""Who may come in when the application's tables are not the simplest ones, and when the database misbehaves."""

from __future__ import annotations

import uuid
from urllib.parse import quote

import pytest

from tests.conftest import StartDaemon
from tests.support.databases import TestDatabase, User
from tests.support.handshakes import OPEN, close_code, open_connection, request_step_2, try_handshake


@pytest.fixture
def drawings(empty_database: TestDatabase) -> TestDatabase:
    """A database whose diagrams are the application's own."""
    empty_database.create_auth_tables()
    return empty_database


def own(database: TestDatabase, id_type: str, *diagram_ids: str) -> User:
    """Someone who owns these diagrams, in a table of the application's with ids of that type."""
    ada = database.add_user("ada")
    database.query(f"CREATE TABLE drawing (id {id_type} PRIMARY KEY, owner TEXT)")
    database.query(
        "CREATE VIEW collab_access AS SELECT id AS diagram_id, owner AS user_id, 'owner' AS role FROM drawing"
    )
    for diagram_id in diagram_ids:
        database.query("INSERT INTO drawing VALUES (%s, %s)", (diagram_id, ada.id))
    return ada


def test_a_diagram_whose_id_has_a_fixed_length_is_found_by_the_whole_of_it(
    drawings: TestDatabase, start_daemon: StartDaemon
) -> None:
    ulid = "01HZY3V5K8Q2J4N6P8R0T2W4Y6"
    ada = own(drawings, "char(26)", ulid, "0")
    daemon = start_daemon(drawings)
    assert try_handshake(daemon, f"/diagram-{ulid}", cookie=ada.cookie).status == OPEN
    assert try_handshake(daemon, "/diagram-0", cookie=ada.cookie).status == OPEN
    for name in ("0-anything-at-all", "01", ulid + "%20", ulid[:-1]):
        assert try_handshake(daemon, f"/diagram-{name}", cookie=ada.cookie).status == 403, name


@pytest.mark.parametrize(
    ("id_type", "diagram_id", "aliases"),
    [
        (
            "uuid",
            str(uuid.UUID(int=0xA0EEBC99)),
            (str.upper, lambda name: name.replace("-", ""), lambda name: f"{{{name}}}"),
        ),
        (
            "integer",
            "12",
            (lambda name: f"0{name}", lambda name: f"+{name}", lambda name: f" {name} ", lambda _: "0xC"),
        ),
    ],
)
def test_a_diagram_has_one_room_however_else_its_id_could_be_written(
    drawings: TestDatabase, start_daemon: StartDaemon, id_type: str, diagram_id: str, aliases: tuple
) -> None:
    ada = own(drawings, id_type, diagram_id)
    daemon = start_daemon(drawings)
    assert try_handshake(daemon, f"/diagram-{diagram_id}", cookie=ada.cookie).status == OPEN
    for alias in aliases:
        name = alias(diagram_id)
        assert try_handshake(daemon, f"/diagram-{quote(name)}", cookie=ada.cookie).status == 403, name


def test_a_view_that_fails_is_an_answer_and_a_log_event_and_not_the_end_of_rechecks(
    database: TestDatabase, start_daemon: StartDaemon
) -> None:
    ada = database.add_user("ada")
    database.add_diagram("sketch", ada)
    daemon = start_daemon(database, SESSION_RECHECK=1)
    with open_connection(daemon, cookie=ada.cookie) as connection:
        request_step_2(connection)
        database.query("ALTER VIEW collab_access RENAME TO elsewhere")
        assert try_handshake(daemon, cookie=ada.cookie).status in (500, 503)
        daemon.wait_for_event("connection denied", room="diagram-sketch")
        daemon.wait_for_event("recheck failed", room="diagram-sketch")
        database.query("ALTER VIEW elsewhere RENAME TO collab_access")
        database.query("DELETE FROM session")
        assert close_code(connection) == 4401
    daemon.stop()
    assert not daemon.events("a part did not stop")


def test_a_session_table_with_columns_of_other_types_is_refused_at_start(
    database: TestDatabase, start_daemon: StartDaemon
) -> None:
    database.query('ALTER TABLE session ALTER "expiresAt" TYPE bigint USING 0')
    with pytest.raises(AssertionError, match="expiresAt"):
        start_daemon(database)


def test_a_refusal_logs_no_more_of_a_room_name_than_a_room_name_can_have(
    database: TestDatabase, start_daemon: StartDaemon
) -> None:
    daemon = start_daemon(database)
    try_handshake(daemon, "/" + "x" * 12000)
    assert len(daemon.wait_for_event("connection denied")["room"]) <= 260
