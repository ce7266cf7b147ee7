"""The daemon for operators: health, readiness, outages, endpoints, sessions that end, the event log."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from pycrdt import Doc, Text
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from canvas_collab.config.settings import Settings
from canvas_collab.database.migrations import prepare_database
from canvas_collab.service import collaboration_service
from canvas_collab.websocket.monitor import ConnectionMonitor
from tests.conftest import StartDaemon
from tests.support.clients import Client, Refused
from tests.support.daemons import daemon_environment
from tests.support.databases import TestDatabase
from tests.support.stalling_proxy import StallingProxy


def test_health_reports_the_state_of_the_daemon(database: TestDatabase, start_daemon: StartDaemon) -> None:
    ada = database.add_user("ada")
    database.add_diagram("one", ada)
    daemon = start_daemon(database)
    with Client(daemon, "one", ada):
        status, health = daemon.get("/health")
    assert status == 200
    assert health["status"] == "ok"
    assert health["database"]["ok"] is True
    assert 0 < health["database"]["latency_ms"] < 2000
    assert (health["connections"], health["documents"], health["unsaved_updates"]) == (1, 1, 0)
    assert health["uptime"] > 0
    assert health["version"]


def test_a_server_that_confirms_commits_before_they_are_on_disk_is_reported(
    database: TestDatabase, start_daemon: StartDaemon
) -> None:
    assert start_daemon(database).get("/health")[1]["durability"] == {"ok": True, "reason": None}
    [[name]] = database.query("SELECT current_database()")
    database.query(f"ALTER DATABASE {name} SET synchronous_commit = off")
    daemon = start_daemon(database)
    reason = "PostgreSQL has synchronous_commit=off: what is saved may be lost when it fails"
    assert daemon.wait_for_event("commits may be lost")["reason"] == reason
    status, health = daemon.get("/health")
    assert (status, health["durability"]) == (200, {"ok": False, "reason": reason})


def test_a_database_that_hangs_is_reported_within_two_seconds_and_refuses_clients_until_it_is_back(
    database: TestDatabase, start_daemon: StartDaemon
) -> None:
    ada = database.add_user("ada")
    database.add_diagram("one", ada)
    with StallingProxy(database.url) as proxy:
        daemon = start_daemon(database, DATABASE_URL=proxy.url, HANDSHAKE_TIMEOUT=2)
        proxy.pause()
        for path in ("/health", "/ready", "/health"):
            began = time.monotonic()
            status, _ = daemon.get(path)
            assert status == 503
            assert time.monotonic() - began < 2
        assert daemon.get("/health")[1]["status"] == "degraded"
        with pytest.raises(Refused) as refused:
            Client(daemon, "one", ada)
        assert refused.value.code == 503
        assert "did not answer" in daemon.wait_for_event("connection denied")["reason"]
        proxy.resume()
        daemon.wait_until(lambda: daemon.get("/ready")[0] == 200)
        with Client(daemon, "one", ada) as client:
            assert client.text == ""


@pytest.mark.parametrize("_again", range(3))
def test_the_daemon_reconnects_to_the_database_by_itself(
    database: TestDatabase, start_daemon: StartDaemon, _again: int
) -> None:
    ada = database.add_user("ada")
    database.add_diagram("one", ada)
    with StallingProxy(database.url) as proxy:
        daemon = start_daemon(database, DATABASE_URL=proxy.url)
        proxy.cut()
        # Every request must be answered, although new sockets have the same file descriptors as those that were closed.
        daemon.wait_until(lambda: daemon.get("/ready", timeout=2.5)[0] == 200)

        def is_open() -> bool:
            try:
                Client(daemon, "one", ada).close()
            except Refused:
                return False
            return True

        daemon.wait_until(is_open)
        assert not [event for event in daemon.events() if event["level"] == "critical"]


def test_a_stopping_daemon_is_not_ready(database: TestDatabase, start_daemon: StartDaemon) -> None:
    ada = database.add_user("ada")
    database.add_diagram("one", ada)
    with StallingProxy(database.url) as proxy:
        daemon = start_daemon(database, DATABASE_URL=proxy.url)
        with Client(daemon, "one", ada) as client:
            proxy.pause()
            doc: Doc[Any] = Doc()
            doc["text"] = Text("a commit that has to be waited for")
            client.edit(doc.get_update())
            client.flush()
            daemon.process.terminate()
            daemon.wait_for_event("stopping")
            assert daemon.get("/ready") == (503, {"ready": False, "reason": "shutting down"})
            began = time.monotonic()
            daemon.stop()
            assert time.monotonic() - began < 5


def test_other_pages_of_the_health_port_are_not_found(database: TestDatabase, start_daemon: StartDaemon) -> None:
    daemon = start_daemon(database)
    with socket.create_connection(("127.0.0.1", daemon.health_port), timeout=10) as connection:
        connection.sendall(b"GET /secret HTTP/1.0\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.0 404")


def test_a_session_that_ends_closes_its_connections(database: TestDatabase, start_daemon: StartDaemon) -> None:
    ada = database.add_user("ada")
    database.add_diagram("one", ada)
    daemon = start_daemon(database, SESSION_RECHECK=1)
    with Client(daemon, "one", ada) as client:
        database.query("DELETE FROM session")
        assert client.wait_for_close() == (4401, "unauthorized")


def test_a_revoked_role_closes_a_connection_and_a_changed_role_applies(
    database: TestDatabase, start_daemon: StartDaemon
) -> None:
    ada, bob = database.add_user("ada"), database.add_user("bob")
    database.add_diagram("one", ada, editor=bob)
    daemon = start_daemon(database, SESSION_RECHECK=1)
    with Client(daemon, "one", bob) as client:
        database.grant("one", bob, "viewer")
        daemon.wait_for_event("access changed", user=bob.id, access="read")
        database.revoke("one", bob)
        assert client.wait_for_close() == (4403, "forbidden")


def test_clients_and_health_can_be_served_on_other_endpoints(
    database: TestDatabase, start_daemon: StartDaemon, tmp_path: Path
) -> None:
    ada = database.add_user("ada")
    database.add_diagram("one", ada)
    path = tmp_path / "socket"
    daemon = start_daemon(database, arguments=("--ws-endpoint", f"unix:{path}"))
    with Client(daemon, "one", ada, unix=str(path)) as client:
        assert client.text == ""


def test_a_path_prefix_of_a_reverse_proxy_is_taken_off(database: TestDatabase, start_daemon: StartDaemon) -> None:
    ada = database.add_user("ada")
    database.add_diagram("one", ada)
    daemon = start_daemon(database, WS_PATH_PREFIX="/collab/ws")
    with Client(daemon, "one", ada, prefix="/collab/ws") as client:
        assert client.text == ""
    with pytest.raises(Refused) as refused:
        Client(daemon, "one", ada)
    assert refused.value.code == 403


def test_behind_proxies_the_log_names_the_client_that_they_saw(
    database: TestDatabase, start_daemon: StartDaemon
) -> None:
    daemon = start_daemon(database, TRUSTED_PROXIES=1)
    with pytest.raises(Refused):
        Client(daemon, "one", None, additional_headers={"X-Forwarded-For": "192.0.2.7"})
    assert daemon.wait_for_event("connection denied")["client"] == "192.0.2.7"


def test_every_line_of_the_log_is_json_and_holds_no_token(database: TestDatabase, start_daemon: StartDaemon) -> None:
    ada = database.add_user("ada")
    database.add_diagram("one", ada)
    daemon = start_daemon(database, LOG_LEVEL="debug")
    with Client(daemon, "one", ada):
        pass
    with pytest.raises(Refused):
        Client(daemon, "two", ada)
    daemon.stop()
    for line in daemon.lines:
        assert {"time", "level", "event"} <= json.loads(line).keys()
    assert ada.token not in daemon.output
    assert daemon.events("connection opened")[0]["room"] == "diagram-one"


def test_the_log_goes_to_the_file_that_twistd_is_told_of(
    database: TestDatabase, start_daemon: StartDaemon, tmp_path: Path
) -> None:
    daemon = start_daemon(database, twistd=("--logfile", str(tmp_path / "log")))
    with pytest.raises(Refused):
        Client(daemon, "one", None)
    daemon.stop()
    events = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [event["reason"] for event in events if event["event"] == "connection denied"] == ["no token"]
    assert daemon.events() == []


def test_a_role_that_nobody_knows_is_no_access_and_is_logged(database: TestDatabase, start_daemon: StartDaemon) -> None:
    ada = database.add_user("ada")
    database.query("DROP VIEW collab_access")
    database.query(
        "CREATE VIEW collab_access AS SELECT '1' AS diagram_id, id AS user_id, 'admin' AS role FROM \"user\""
    )
    daemon = start_daemon(database)
    with pytest.raises(Refused) as refused:
        Client(daemon, "1", ada)
    assert refused.value.code == 403
    assert daemon.wait_for_event("unknown role")["role"] == "admin"


@pytest.mark.parametrize("what", ["WS_PORT", "HEALTH_PORT"])
def test_a_busy_port_is_one_sentence(database: TestDatabase, start_daemon: StartDaemon, what: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy, pytest.raises(AssertionError) as ended:
        start_daemon(database, **{what: busy.getsockname()[1]})
    output = str(ended.value)
    assert f"{what}: nothing can listen on 127.0.0.1 port" in output
    assert "Traceback" not in output


def test_every_problem_of_the_configuration_is_said_without_a_traceback(
    database: TestDatabase, start_daemon: StartDaemon
) -> None:
    with pytest.raises(AssertionError) as ended:
        start_daemon(database, LOG_LEVEL="loud", MIGRATE="maybe")
    output = str(ended.value)
    assert "LOG_LEVEL must be one of" in output
    assert "MIGRATE must be one of" in output
    assert "Traceback" not in output


@pytest_twisted.ensureDeferred
async def test_nagles_algorithm_is_off_on_every_connection(database: TestDatabase) -> None:
    ada = database.add_user("ada")
    database.add_diagram("one", ada)
    environment = daemon_environment(database)
    settings = Settings.from_environment(environment)
    catalogue = prepare_database(database.url, migrate=True)
    ws, health = (f"tcp:{environment[name]}:interface=127.0.0.1" for name in ("WS_PORT", "HEALTH_PORT"))
    service = collaboration_service(reactor, settings, catalogue, ws, health)
    service.startService()
    try:
        factory = next(part._factory for part in service.services if isinstance(part, ConnectionMonitor))

        class ThisProcess:
            ws_url = f"ws://127.0.0.1:{environment['WS_PORT']}"

        client = await deferToThread(Client, ThisProcess(), "one", ada)
        [connection] = factory.clients
        assert connection.transport.getTcpNoDelay()
        await deferToThread(client.close)
    finally:
        await service.stopService()


@pytest.mark.parametrize("endpoint", ["nonsense:80", "tcp:http", "tcp:80:color=red", "ssl:443:privateKey=/none"])
def test_an_endpoint_string_that_cannot_be_parsed_is_a_sentence_that_names_the_option(
    database: TestDatabase, start_daemon: StartDaemon, endpoint: str
) -> None:
    with pytest.raises(AssertionError, match="--ws-endpoint must be a Twisted endpoint string") as caught:
        start_daemon(database, ("--ws-endpoint", endpoint))
    assert "Traceback" not in str(caught.value)
