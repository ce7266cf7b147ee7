"""Documents that are rebuilt without some log entries, beside a daemon and Yjs clients."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pycrdt import Doc, Text

from canvas_collab.document.document import Document
from canvas_collab.protocol import sync
from canvas_collab.protocol.update import decode_update
from tests.support.clients import Client, typed
from tests.support.commands import run
from tests.support.databases import TestDatabase, User
from tests.support.diagrams import Diagram
from tests.support.hocuspocus_providers import Providers
from tests.support.stored_poison import at_one_place, nested
from tests.support.yjs_clients import YjsClients
from tests.support.yjs_values import mapping

DEPTH = 5000

Command = Callable[..., str]


@pytest.fixture
def command(database: TestDatabase) -> Command:
    """A function that runs the command on the test's database, and returns its output."""

    def run_it(*arguments: str, status: int = 0) -> str:
        done = run(*arguments, DATABASE_URL=database.url)
        assert done.returncode == status, (done.stdout + done.stderr).decode()
        return (done.stdout + done.stderr).decode()

    return run_it


def committed(diagram: Diagram, count: int) -> None:
    """Wait until the log has so many entries."""
    diagram.daemon.wait_until(lambda: diagram.database.query("SELECT count(*) FROM yjs_update_log") == [(count,)])


def send(diagram: Diagram, user: User, *updates: bytes) -> None:
    """Send updates from a client that does not apply them itself."""
    with Client(diagram.daemon, "sketch", user) as client:
        for update in updates:
            client.send(sync.encode_update(update))
        client.flush()


def test_poison_is_removed_for_new_clients_and_cannot_be_sent_again(
    diagram: Diagram, yjs: YjsClients, command: Command, tmp_path: Path
) -> None:
    drawing = diagram.join(yjs, "drawing", diagram.owner)
    drawing.set_key("map", "before", mapping(x=1))
    committed(diagram, 1)
    poison = list(nested(DEPTH))
    send(diagram, diagram.editor, *poison)
    committed(diagram, 1 + len(poison))
    listed = command("log", "sketch", "--user", diagram.editor.id)
    assert len(listed.splitlines()) == len(poison)
    assert all("editor" in line for line in listed.splitlines())
    output = command("rebuild", "sketch", "--without-user", diagram.editor.id, "--since", "1h", "--dry-run")
    assert f"would be without {len(poison)} log entries" in output
    assert f"author 666: clocks 0-{DEPTH - 1}" in output
    assert "no edit of others depends on it" in output
    assert diagram.database.query("SELECT reset_at FROM yjs_document") == [(None,)]
    kept = tmp_path / "kept"
    command("rebuild", "sketch", "--without-user", diagram.editor.id, "--keep", str(kept))
    assert len(kept.read_text().splitlines()) == 1 + len(poison)

    assert drawing.wait_given_up() == (4409, "the document was reset, load it afresh")
    assert diagram.daemon.wait_for_event("document reset")["connections"] >= 1
    one, two = diagram.join(yjs, "one", diagram.owner), diagram.join(yjs, "two")
    assert one.content == {"map": {"before": {"map": {"x": 1}}}}
    one.set_key("map", "after", 2)
    two.wait_content({"map": {"after": 2, "before": {"map": {"x": 1}}}})

    # A client that still has the poison reconnects.
    send(diagram, diagram.editor, *poison)
    yjs.wait_converged(one, two)
    three = diagram.join(yjs, "three")
    three.set_key("map", "last", 3)
    content = yjs.wait_converged(one, two, three)
    assert content == {"map": {"after": 2, "before": {"map": {"x": 1}}, "last": 3}}
    assert "0 problems." in command("verify")
    [[without]] = diagram.database.query("SELECT count(*) FROM yjs_update_log WHERE user_id = %s", (diagram.editor.id,))
    # Two edits of clients that are well.
    assert without == 1


def test_an_update_that_slows_clients_down_is_removed(diagram: Diagram, yjs: YjsClients, command: Command) -> None:
    drawing = diagram.join(yjs, "drawing", diagram.owner)
    drawing.insert_text("text", 0, "hello")
    committed(diagram, 1)
    slow = at_one_place(4000)
    send(diagram, diagram.editor, slow)
    committed(diagram, 2)
    [[number]] = diagram.database.query("SELECT max(id) FROM yjs_update_log")
    assert "1 log entry, 52 kB" in command("rebuild", "sketch", "--without", str(number), "--discard")
    drawing.wait_given_up()
    newcomer = diagram.join(yjs, "newcomer")
    assert newcomer.content == {"text": [{"insert": "hello"}]}
    assert len(newcomer.update) < len(slow)


def test_what_a_user_deleted_or_overwrote_is_restored_even_when_clients_with_the_deletions_reconnect(
    diagram: Diagram, yjs: YjsClients, command: Command
) -> None:
    # Version 2 reconnects by itself, with everything that it has.
    drawing = diagram.join(yjs, "drawing", diagram.owner, version="2.1.0")
    drawing.insert_text("text", 0, "a drawing")
    drawing.set_key("map", "colour", "green")
    vandal = diagram.join(yjs, "vandal")
    yjs.wait_converged(drawing, vandal)
    vandal.delete_text("text", 0, 9)
    vandal.insert_text("text", 0, "nonsense")
    vandal.set_key("map", "colour", "black")
    drawing.wait_content({"map": {"colour": "black"}, "text": [{"insert": "nonsense"}]})
    drawing.insert_text("text", 3, "!")
    yjs.wait_converged(drawing, vandal)
    committed(diagram, 6)
    output = command("rebuild", "sketch", "--without-user", diagram.editor.id, "--discard")
    assert "2 items that they deleted inserted again" in output
    assert "left in place without content: others inserted items next to them" in output
    assert vandal.wait_given_up()[0] == 4409
    newcomer = diagram.join(yjs, "newcomer")
    content = yjs.wait_converged(drawing, newcomer)
    assert content["map"] == {"colour": "green"}
    assert sorted(content["text"][0]["insert"]) == sorted("a drawing!")


def test_the_history_of_a_rebuilt_document_lacks_the_removed_entries(
    diagram: Diagram, yjs: YjsClients, command: Command
) -> None:
    drawing = diagram.join(yjs, "drawing", diagram.owner)
    drawing.insert_text("text", 0, "first")
    committed(diagram, 1)
    [[early]] = diagram.database.query("SELECT now()::text")
    vandal = diagram.join(yjs, "vandal")
    vandal.delete_text("text", 0, 5)
    vandal.insert_text("text", 0, "nonsense")
    committed(diagram, 3)
    [[late]] = diagram.database.query("SELECT now()::text")
    command("rebuild", "sketch", "--without-user", diagram.editor.id, "--discard")
    drawing.wait_given_up()
    for moment in (early, late):
        shown = json.loads(command("export", "sketch", "--format", "json", "--at", moment.replace(" ", "T")))
        assert shown == {"text": {"text": [{"insert": "first"}]}}
    again = diagram.join(yjs, "again", diagram.owner)
    again.insert_text("text", 5, " and second")
    committed(diagram, 3)
    assert "is restored" in command("restore", "sketch", "--at", early.replace(" ", "T"))
    again.wait_content({"text": [{"insert": "first"}]})
    assert "0 problems." in command("verify")
    # What others inserted beside an entry that is removed later is kept, too.
    [[number]] = diagram.database.query("SELECT max(id) FROM yjs_update_log WHERE user_id IS NOT NULL")
    assert "1 log entry" in command("rebuild", "sketch", "--without", f"{number}-{number}", "--no-places", "--discard")


def test_entries_that_depend_on_removed_ones_are_listed(diagram: Diagram, yjs: YjsClients, command: Command) -> None:
    vandal = diagram.join(yjs, "vandal")
    vandal.set_key("map", "shape", mapping(x=1))
    drawing = diagram.join(yjs, "drawing", diagram.owner)
    drawing.set_key(["map", "shape"], "y", 2)
    committed(diagram, 2)
    output = command("rebuild", "sketch", "--without-user", diagram.editor.id, "--dry-run")
    [[number]] = diagram.database.query("SELECT id FROM yjs_update_log WHERE user_id = %s", (diagram.owner.id,))
    assert "1 clock of others inside of it" in output
    assert re.search(rf"entry {number}, .*, owner", output)


def test_a_hocuspocus_provider_is_told_that_its_document_was_reset(
    diagram: Diagram, providers: Providers, command: Command
) -> None:
    provider = diagram.provide(providers, "drawing", diagram.owner)
    provider.insert_text("text", 0, "hello")
    committed(diagram, 1)
    command("rebuild", "sketch", "--without-user", diagram.owner.id, "--discard")
    closed = diagram.daemon.wait_for_event("connection closed", code=4409)
    assert closed["reason"] == "the document was reset, load it afresh"
    later = diagram.provide(providers, "later", diagram.owner)
    assert later.content == {}


def test_an_edit_that_was_received_before_a_reset_and_committed_after_it_is_kept(
    diagram: Diagram, command: Command
) -> None:
    database = diagram.database
    # Committing an edit of the owner waits for this connection.
    gate = database.connect()
    gate.cursor().execute("SELECT pg_advisory_lock(1)")
    database.query(
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF NEW.user_id LIKE 'user-owner%%' THEN PERFORM pg_advisory_xact_lock(1); END IF; RETURN NEW; END $$;"
        "CREATE TRIGGER wait BEFORE INSERT ON yjs_update_log FOR EACH ROW EXECUTE FUNCTION wait()"
    )

    database.query("INSERT INTO yjs_document (id, data) VALUES ('diagram-sketch', '\\x0000')")
    database.query(
        "INSERT INTO yjs_update_log (document_id, update, user_id) VALUES ('diagram-sketch', %s, %s)",
        (typed("goes"), diagram.editor.id),
    )
    with Client(diagram.daemon, "sketch", diagram.owner) as client:
        client.send(sync.encode_update(typed("stays")))
        client.flush()
        command("rebuild", "sketch", "--without-user", diagram.editor.id, "--discard")
        assert client.wait_for_close() == (4409, "the document was reset, load it afresh")
    assert database.query("SELECT count(*) FROM yjs_update_log WHERE user_id IS NOT NULL") == [(0,)]
    opening_gate = threading.Timer(0.5, gate.close)
    opening_gate.start()
    with Client(diagram.daemon, "sketch", diagram.owner) as client:
        assert client.text == "stays"
    opening_gate.join()
    assert database.query("SELECT count(*) FROM yjs_update_log WHERE user_id IS NOT NULL") == [(1,)]


def test_a_reset_whose_notification_was_missed_is_found_after_a_reconnect(diagram: Diagram, command: Command) -> None:
    doc: Doc[Any] = Doc()
    doc["text"] = Text("goes")
    with Client(diagram.daemon, "sketch", diagram.editor) as client:
        client.edit(doc.get_update())
        committed(diagram, 1)
        listening = "application_name LIKE '%% listening' AND datname = current_database()"
        # The document is reset without a notification.
        diagram.database.query(
            "UPDATE yjs_document SET reset_at = clock_timestamp(), data = '\\x0000', layout = NULL, checksum = NULL;"
            "DELETE FROM yjs_update_log"
        )
        diagram.database.query(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {listening}", {})
        assert client.wait_for_close()[0] == 4409
    with Client(diagram.daemon, "sketch", diagram.editor) as client:
        assert client.text == ""


def test_entries_that_cannot_be_removed_are_errors(diagram: Diagram, command: Command) -> None:
    doc: Doc[Any] = Doc()
    doc["text"] = Text("here")
    with Client(diagram.daemon, "sketch", diagram.editor) as client:
        client.edit(doc.get_update())
        committed(diagram, 1)
    assert "There is no document" in command("rebuild", "nowhere", "--without", "1", "--dry-run", status=1)
    assert "has no entry 4711" in command("rebuild", "sketch", "--without", "4711", "--dry-run", status=1)
    assert "no entry of the user nobody" in command(
        "rebuild", "sketch", "--without-user", "nobody", "--dry-run", status=1
    )
    assert "Choose what to remove" in command("rebuild", "sketch", "--dry-run", status=2)
    assert "names no log entries" in command("rebuild", "sketch", "--without", "7-3", "--dry-run", status=2)
    assert "--keep FILE, or --discard" in command("rebuild", "sketch", "--without", "1", status=2)
    assert "--since needs" in command("rebuild", "sketch", "--without", "1", "--since", "1h", "--discard", status=2)
    [[data]] = diagram.database.query("SELECT update FROM yjs_update_log")
    assert not Document([decode_update(bytes(data))]).lacks_any_of(decode_update(doc.get_update()))
