"""Authorization through the daemon, with unusual tables of the application, and with a database that fails."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from urllib.parse import quote

import pytest

from tests.conftest import StartDaemon
from tests.support.databases import TestDatabase, User
from tests.support.handshakes import OPEN, close_code, open_connection, request_step_2, try_handshake


@pytest.fixture
def drawings(empty_database: TestDatabase) -> TestDatabase:
    """A database without diagrams, to which tests add the application's table."""
    empty_database.create_auth_tables()
    return empty_database


def add_drawings(database: TestDatabase, id_type: str, *diagram_ids: str) -> User:
    """Create a table with these diagrams and a user who owns them; `id_type` is the type of the ids."""
    ada = database.add_user("ada")
    database.query(f"CREATE TABLE drawing (id {id_type} PRIMARY KEY, owner TEXT)")
    database.query(
        "CREATE VIEW collab_access AS SELECT id AS diagram_id, owner AS user_id, 'owner' AS role FROM drawing"
    )
    for diagram_id in diagram_ids:
        database.query("INSERT INTO drawing VALUES (%s, %s)", (diagram_id, ada.id))
    return ada


def test_a_diagram_whose_id_has_a_fixed_length_is_found_only_by_its_complete_id(
    drawings: TestDatabase, start_daemon: StartDaemon
) -> None:
    ulid = "01HZY3V5K8Q2J4N6P8R0T2W4Y6"
    ada = add_drawings(drawings, "char(26)", ulid, "0")
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
def test_a_diagram_has_one_room_though_its_id_could_be_written_in_other_ways(
    drawings: TestDatabase,
    start_daemon: StartDaemon,
    id_type: str,
    diagram_id: str,
    aliases: tuple[Callable[[str], str], ...],
) -> None:
    ada = add_drawings(drawings, id_type, diagram_id)
    daemon = start_daemon(drawings)
    assert try_handshake(daemon, f"/diagram-{diagram_id}", cookie=ada.cookie).status == OPEN
    for alias in aliases:
        name = alias(diagram_id)
        assert try_handshake(daemon, f"/diagram-{quote(name)}", cookie=ada.cookie).status == 403, name


def test_a_failing_view_denies_clients_and_is_logged_and_rechecks_continue(
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


def test_a_denial_logs_a_room_name_up_to_its_maximum_length(database: TestDatabase, start_daemon: StartDaemon) -> None:
    daemon = start_daemon(database)
    try_handshake(daemon, "/" + "x" * 12000)
    assert len(daemon.wait_for_event("connection denied")["room"]) <= 260
