"""Access that changes while clients are connected: at once with the triggers, otherwise at the next recheck."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime

import pytest

from tests.conftest import StartDaemon
from tests.support.access_triggers import add_access_triggers
from tests.support.clients import Client, Refused, typed
from tests.support.databases import TestDatabase
from tests.support.diagrams import Diagram
from tests.support.hocuspocus_providers import VERSIONS_THAT_REOPEN, Providers, ProviderVersion
from tests.support.yjs_clients import VERSIONS, Version

Change = Callable[[Diagram], object]

REVOCATIONS: dict[str, tuple[Change, int, str]] = {
    "member removed": (lambda d: d.database.revoke("sketch", d.editor), 4403, "forbidden: no role in this room"),
    "session deleted": (
        lambda d: d.database.query("DELETE FROM session WHERE token = %s", (d.editor.token,)),
        4401,
        "unauthorized: unknown session",
    ),
    "session expired": (
        lambda d: d.database.query('UPDATE session SET "expiresAt" = now() WHERE token = %s', (d.editor.token,)),
        4401,
        "unauthorized: expired session",
    ),
    "user removed": (
        lambda d: d.database.query('DELETE FROM "user" WHERE id = %s', (d.editor.id,)),
        4401,
        "unauthorized: unknown session",
    ),
    "diagram deleted": (
        lambda d: d.database.query("DELETE FROM diagram WHERE id = 'sketch'"),
        4403,
        "forbidden: no role in this room",
    ),
}

revocations = pytest.mark.parametrize("revocation", REVOCATIONS)

#: The newest version with every revocation, the others with one of the role and one of the session.
BOTH_KINDS = ("member removed", "session deleted")
Y_WEBSOCKET_CASES = [
    (version, name) for version in VERSIONS for name in (REVOCATIONS if version == VERSIONS[-1] else BOTH_KINDS)
]
PROVIDER_CASES = [
    (version, name)
    for version in VERSIONS_THAT_REOPEN
    for name in (REVOCATIONS if version == VERSIONS_THAT_REOPEN[-1] else BOTH_KINDS)
]

#: An interval at which nothing is rechecked during a test.
NEVER = 86400


@pytest.fixture(params=["with triggers", "without triggers"])
def diagram(request: pytest.FixtureRequest, database: TestDatabase, start_daemon: StartDaemon) -> Diagram:
    """A diagram whose daemon is notified of changes, or rechecks every second."""
    if request.param == "with triggers":
        add_access_triggers(database)
        return Diagram(database, start_daemon, SESSION_RECHECK=NEVER)
    return Diagram(database, start_daemon, SESSION_RECHECK=1)


@pytest.fixture
def notified(database: TestDatabase, start_daemon: StartDaemon) -> Diagram:
    """A diagram whose daemon is notified of changes, and rechecks nothing otherwise."""
    add_access_triggers(database)
    return Diagram(database, start_daemon, SESSION_RECHECK=NEVER)


@pytest.fixture
def unnotified(database: TestDatabase, start_daemon: StartDaemon) -> Diagram:
    """A diagram whose daemon neither is notified of changes nor rechecks anything."""
    return Diagram(database, start_daemon, SESSION_RECHECK=NEVER)


@pytest.mark.parametrize(("version", "revocation"), Y_WEBSOCKET_CASES)
def test_a_y_websocket_client_that_has_lost_access_is_closed(
    diagram: Diagram, providers: Providers, version: Version, revocation: str
) -> None:
    client = diagram.join(providers, "client", version=version)
    change, code, _ = REVOCATIONS[revocation]
    change(diagram)
    assert client.wait_closed()[0] == code


@pytest.mark.parametrize(("version", "revocation"), PROVIDER_CASES)
def test_a_provider_that_has_lost_access_is_denied_the_document_and_keeps_its_socket(
    diagram: Diagram, providers: Providers, version: ProviderVersion, revocation: str
) -> None:
    socket = diagram.socket(providers, "socket", version)
    provider = diagram.provide(providers, "provider", at=socket)
    change, _, reason = REVOCATIONS[revocation]
    change(diagram)
    assert provider.wait_denied() == reason
    socket.expect_never_closed()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_y_websocket_client_reads_on_as_a_viewer_and_another_writes_as_an_editor(
    diagram: Diagram, providers: Providers, version: Version
) -> None:
    lowered = diagram.join(providers, "lowered", version=version)
    raised = diagram.join(providers, "raised", diagram.viewer, version=version)
    diagram.database.grant("sketch", diagram.editor, "viewer")
    diagram.daemon.wait_for_event("access changed", user=diagram.editor.id, access="read")
    diagram.database.grant("sketch", diagram.viewer, "editor")
    diagram.daemon.wait_for_event("access changed", user=diagram.viewer.id, access="write")
    lowered.insert_text("text refused", 0, "as a viewer")
    raised.insert_text("text", 0, "as an editor")
    lowered.wait_content({"text": [{"insert": "as an editor"}], "text refused": [{"insert": "as a viewer"}]})
    diagram.daemon.wait_until(lambda: [user for user, _ in diagram.log()] == [diagram.viewer.id])
    assert raised.content == {"text": [{"insert": "as an editor"}]}
    assert lowered.report()["closes"] == raised.report()["closes"] == []


@pytest.mark.parametrize("version", VERSIONS_THAT_REOPEN)
def test_a_provider_is_told_that_it_may_only_read_and_that_it_may_write_again(
    diagram: Diagram, providers: Providers, version: ProviderVersion
) -> None:
    socket = diagram.socket(providers, "socket", version)
    provider = diagram.provide(providers, "provider", at=socket)
    owner = diagram.provide(providers, "owner", diagram.owner, version=version)
    diagram.database.grant("sketch", diagram.editor, "viewer")
    provider.wait_event("authenticated", scope="readonly")
    owner.insert_text("text", 0, "from the owner")
    provider.wait_content({"text": [{"insert": "from the owner"}]})
    diagram.database.grant("sketch", diagram.editor, "editor")
    provider.wait_state(scope="read-write")
    provider.insert_text("text", 0, "as an editor, ")
    provider.wait_saved()
    owner.wait_content({"text": [{"insert": "as an editor, from the owner"}]})
    socket.expect_never_closed()


@revocations
def test_with_the_triggers_access_ends_within_a_second_for_those_concerned_alone(
    notified: Diagram, revocation: str
) -> None:
    daemon = notified.daemon
    with Client(daemon, "sketch", notified.editor), Client(daemon, "sketch", notified.owner) as owner:
        changed_at = time.time()
        REVOCATIONS[revocation][0](notified)
        event = daemon.wait_for_event("connection ended", user=notified.editor.id)
        assert datetime.fromisoformat(event["time"].replace("Z", "+00:00")).timestamp() - changed_at < 1
        if revocation != "diagram deleted":
            owner.edit(typed("undisturbed"))
            assert owner.flush() == []


@pytest.mark.parametrize("payload", ["user:{editor}", "diagram:sketch", ""])
def test_a_notification_without_a_trigger_rechecks_the_user_the_diagram_or_everybody(
    unnotified: Diagram, payload: str
) -> None:
    database, daemon, viewer = unnotified.database, unnotified.daemon, unnotified.viewer
    unnotified.add_room("other")
    with Client(daemon, "sketch", unnotified.editor) as client, Client(daemon, "sketch", viewer):
        database.revoke("sketch", unnotified.editor)
        database.grant("sketch", viewer, "editor")
        # These are about others.  Their rechecks are over when that of the last has taken effect.
        for other in ("diagram:other", "user:nobody", f"user:{viewer.id}"):
            database.query("SELECT pg_notify('collab_access_changed', %s)", (other,))
        daemon.wait_for_event("access changed", user=viewer.id, access="write")
        client.edit(typed("not rechecked"))
        client.flush()
        payload = payload.format(editor=unnotified.editor.id)
        database.query("SELECT pg_notify('collab_access_changed', %s)", (payload,))
        assert client.wait_for_close()[0] == 4403


def test_a_change_that_is_notified_while_a_client_is_being_let_in_ends_its_access(
    notified: Diagram, providers: Providers
) -> None:
    database = notified.database
    notified.add_room("other")
    blocking = database.connect()
    with Client(notified.daemon, "other", notified.viewer), blocking, blocking.cursor() as cursor:
        # The client is authorized, and its document cannot be loaded yet.
        cursor.execute("BEGIN; LOCK TABLE yjs_document IN ACCESS EXCLUSIVE MODE")
        client = notified.join(providers, "client", wait=False)
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'yjs_document'::regclass"
        notified.daemon.wait_until(lambda: database.query(waiting) == [(1,)])
        database.revoke("sketch", notified.editor)
        # The recheck after the revocation is over when this one, which is notified later, has taken effect.
        database.grant("other", notified.viewer, "editor")
        notified.daemon.wait_for_event("access changed", user=notified.viewer.id, access="write")
        cursor.execute("COMMIT")
    blocking.close()
    assert client.wait_closed()[0] == 4403
    notified.daemon.wait_for_event("connection opened", user=notified.editor.id)


def test_invalid_payloads_are_ignored_and_logged_without_their_text(unnotified: Diagram) -> None:
    database, daemon = unnotified.database, unnotified.daemon
    with Client(daemon, "sketch", unnotified.editor) as client:
        for payload in (
            f"session:{unnotified.editor.token}",
            "user:",
            "garbage",
            "user:%s",
            "x" * 7000,
            "user:\ufffd'",
        ):
            database.query("SELECT pg_notify('collab_access_changed', %s)", (payload,))
        daemon.wait_for_event("access notification ignored")
        client.edit(typed("undisturbed"))
        client.flush()
        database.query("DELETE FROM session")
        database.query("NOTIFY collab_access_changed")
        assert client.wait_for_close()[0] == 4401
    assert unnotified.editor.token not in daemon.output


def test_after_the_connection_that_listens_was_lost_everybody_is_rechecked(unnotified: Diagram) -> None:
    with Client(unnotified.daemon, "sketch", unnotified.editor) as client:
        unnotified.database.revoke("sketch", unnotified.editor)
        unnotified.database.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name = 'canvas-collab listening'"
        )
        assert client.wait_for_close()[0] == 4403


def test_one_connection_whose_values_make_the_query_fail_does_not_hold_up_the_others(unnotified: Diagram) -> None:
    database, daemon = unnotified.database, unnotified.daemon
    with (
        Client(daemon, "sketch", unnotified.editor) as editor,
        Client(daemon, "sketch", unnotified.owner) as owner,
        Client(daemon, "sketch", unnotified.viewer) as viewer,
    ):
        database.query("ALTER VIEW collab_access RENAME TO roles")
        database.query(
            f"""
            CREATE FUNCTION role_of(role text, user_id text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN
                IF user_id = '{unnotified.owner.id}' THEN RAISE EXCEPTION 'broken'; END IF; RETURN role;
            END $$;
            CREATE VIEW collab.collab_access AS
                SELECT diagram_id, user_id, role_of(role, user_id) AS role FROM roles;
            """
        )
        database.revoke("sketch", unnotified.editor)
        database.grant("sketch", unnotified.viewer, "editor")
        database.query("NOTIFY collab_access_changed")
        assert editor.wait_for_close()[0] == 4403
        daemon.wait_for_event("access changed", user=unnotified.viewer.id, access="write")
        daemon.wait_for_event("recheck failed", user=unnotified.owner.id)
        owner.flush()
        viewer.flush()


def test_rechecks_that_an_outage_has_made_fail_are_made_when_it_is_over(
    database: TestDatabase, start_daemon: StartDaemon
) -> None:
    unnotified = Diagram(database, start_daemon, SESSION_RECHECK=NEVER)
    with Client(unnotified.daemon, "sketch", unnotified.editor) as client:
        database.revoke("sketch", unnotified.editor)
        database.query(
            "SELECT pg_notify('collab_access_changed', ''), pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name = 'canvas-collab'"
        )
        assert client.wait_for_close()[0] == 4403
    with pytest.raises(Refused):
        Client(unnotified.daemon, "sketch", unnotified.editor)
