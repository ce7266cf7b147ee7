"""A hundred clients in one room: all of them, and the log, get every edit, although the server merges updates."""

from __future__ import annotations

from benchmarks.endpoint import Endpoint
from benchmarks.generator.client import FIRST_CLIENT_ID
from benchmarks.generator.generator import run
from benchmarks.generator.workload import Workload
from canvas_collab.document.document import Document
from canvas_collab.protocol.state_vector import decode_state_vector
from canvas_collab.protocol.update import decode_update
from tests.conftest import StartDaemon
from tests.support.databases import TestDatabase

CLIENTS = 100
RATE = 20
SECONDS = 3


def test_every_edit_of_a_hundred_clients_arrives_everywhere_in_order_and_in_the_log(
    database: TestDatabase, start_daemon: StartDaemon
) -> None:
    user = database.add_user("ada")
    database.add_diagram("busy", user)
    daemon = start_daemon(database)
    endpoint = Endpoint("127.0.0.1", daemon.ws_port, ["diagram-busy"], [user.token])

    measurement = run(Workload(endpoint, CLIENTS, CLIENTS, RATE, SECONDS))

    assert measurement.sent == CLIENTS * RATE * SECONDS
    assert measurement.missing == 0
    assert measurement.out_of_order == 0
    assert measurement.delivered == measurement.sent * (CLIENTS - 1)
    daemon.wait_until(lambda: daemon.get("/health")[1]["unsaved_updates"] == 0)
    rows = database.query("SELECT update, user_id FROM yjs_update_log ORDER BY id")
    assert len(rows) == measurement.sent
    assert {author for _, author in rows} == {user.id}
    logged = Document(decode_update(bytes(update)) for update, _ in rows)
    assert decode_state_vector(logged.state_vector) == {
        FIRST_CLIENT_ID + number: RATE * SECONDS for number in range(CLIENTS)
    }
