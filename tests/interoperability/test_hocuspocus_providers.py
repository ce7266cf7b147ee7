"""Hocuspocus providers of six versions, with the same tests for each: opening, editing, denials, many documents."""

from __future__ import annotations

import time

import pytest

from tests.conftest import StartDaemon
from tests.support.databases import TestDatabase
from tests.support.diagrams import Diagram, headers_of
from tests.support.hocuspocus_providers import PROVIDER_VERSIONS, VERSIONS_THAT_REOPEN, Providers, ProviderVersion
from tests.support.yjs_clients import YjsClient
from tests.support.yjs_values import array, binary, element, mapping, subdocument, text, xml_text

every_version = pytest.mark.parametrize("version", PROVIDER_VERSIONS)
versions_that_reopen = pytest.mark.parametrize("version", VERSIONS_THAT_REOPEN)

FOREIGN = {"Origin": "https://evil.example"}


def edit_every_type(client: YjsClient) -> None:
    """Make edits to every shared type."""
    client.insert_text("text", 0, "Canvas ", bold=True)
    client.set_key("map", "shape", mapping(kind="rect", points=array(1, 2.5), label=text("a label")))
    client.insert_values("array", 0, "one", {"two": [2, True]}, binary(b"\x00\xff"))
    client.insert_values("xml", 0, element("svg", element("rect", id="r1"), xml_text("hello"), width="10"))
    client.set_key("map", "page", subdocument("page-1"))


def edit_others_content(client: YjsClient) -> None:
    """Edit what another client made."""
    client.insert_text("text", 7, "Collab")
    client.format_text("text", 0, 6, italic=True)
    client.insert_text(["map", "shape", "label"], 2, "long ")
    client.insert_values(["map", "shape", "points"], 1, "between")
    client.delete_values("array", 0)
    client.set_attribute(["xml", 0], "width", "20")
    client.delete_values(["xml", 0], 0)


def typed(content: str) -> dict[str, object]:
    return {"edit": "insertText", "path": ["text"], "index": 0, "text": content}


# Opening and editing


@every_version
def test_providers_edit_every_shared_type_together_and_a_latecomer_has_it_all(
    diagram: Diagram, providers: Providers, version: ProviderVersion
) -> None:
    ada = diagram.provide(providers, "ada", version=version)
    bob = diagram.provide(providers, "bob", diagram.owner, version=version)
    assert ada.report()["scope"] == bob.report()["scope"] == "read-write"

    edit_every_type(ada)
    drawn = providers.wait_converged(ada, bob)
    edit_others_content(bob)
    changed = providers.wait_converged(ada, bob)
    ada.wait_saved()
    bob.wait_saved()

    assert drawn.keys() == {"text", "map", "array", "xml"}
    assert drawn["map"]["page"] == {"subdocument": "page-1"}
    assert changed != drawn
    latecomer = diagram.provide(providers, "latecomer", version=version)
    assert providers.wait_converged(latecomer, ada, bob) == changed
    assert {user for user, _ in diagram.log()} == {diagram.editor.id, diagram.owner.id}


@every_version
def test_providers_see_each_others_cursors_until_one_leaves(
    diagram: Diagram, providers: Providers, version: ProviderVersion
) -> None:
    ada = diagram.provide(providers, "ada", version=version)
    bob = diagram.provide(providers, "bob", version=version)
    ada.set_awareness({"name": "ada", "x": 1})
    bob.set_awareness({"name": "bob"})
    providers.wait_awareness(ada, bob, states=[{"name": "ada", "x": 1}, {"name": "bob"}])
    bob.destroy()
    ada.wait_awareness({"name": "ada", "x": 1})
    ada.drop()
    diagram.provide(providers, "carol", version=version).set_awareness({"name": "carol"})
    ada.wait_awareness({"name": "ada", "x": 1}, {"name": "carol"})


@every_version
def test_a_stateless_message_reaches_the_others_and_not_its_sender(
    diagram: Diagram, providers: Providers, version: ProviderVersion
) -> None:
    ada = diagram.provide(providers, "ada", version=version)
    bob = diagram.provide(providers, "bob", version=version)
    ada.send_stateless('{"type": "ring", "to": "everybody 😀"}')
    bob.wait_event("stateless", payload='{"type": "ring", "to": "everybody 😀"}')
    bob.send_stateless("answer")
    ada.wait_event("stateless", payload="answer")
    assert [event["payload"] for event in ada.events("stateless")] == ["answer"]


@every_version
def test_the_token_may_be_signed_or_come_from_a_function_at_once_or_later(
    diagram: Diagram, providers: Providers, version: ProviderVersion
) -> None:
    diagram.provide(providers, "signed", token=diagram.editor.signed_token, version=version)
    diagram.provide(providers, "function", token_kind="function", version=version)
    diagram.provide(providers, "promise", token_kind="promise", version=version)
    diagram.daemon.wait_until(lambda: len(diagram.daemon.events("connection opened")) == 3)


# Readers


@every_version
def test_a_readers_edits_are_neither_relayed_nor_stored_and_stay_unsynced_and_its_cursor_is_seen(
    diagram: Diagram, providers: Providers, version: ProviderVersion
) -> None:
    writer = diagram.provide(providers, "writer", version=version)
    writer.insert_text("text", 0, "written")
    writer.wait_saved()
    reader = diagram.provide(providers, "reader", diagram.viewer, version=version)
    reader.wait_state(scope="readonly", hasUnsyncedChanges=False)
    providers.wait_converged(writer, reader)

    reader.insert_text("text", 0, "scribbled, ")
    reader.set_awareness({"name": "reader"})
    writer.wait_awareness({}, {"name": "reader"})
    writer.set_key("map", "after", "that")
    reader.wait_content({"text": [{"insert": "scribbled, written"}], "map": {"after": "that"}})
    writer.wait_saved()

    assert reader.unsynced == 1
    assert writer.content == {"text": [{"insert": "written"}], "map": {"after": "that"}}
    assert [user for user, _ in diagram.log()] == [diagram.editor.id] * 2


@every_version
def test_a_readers_stateless_messages_are_not_relayed(
    diagram: Diagram, providers: Providers, version: ProviderVersion
) -> None:
    writer = diagram.provide(providers, "writer", version=version)
    reader = diagram.provide(providers, "reader", diagram.viewer, version=version)
    reader.send_stateless("psst")
    reader.set_awareness({"said": True})
    writer.wait_awareness({}, {"said": True})
    assert writer.events("stateless") == []


# Denials


@every_version
def test_a_denial_has_a_reason_and_does_not_affect_other_documents_of_the_socket(
    diagram: Diagram, providers: Providers, version: ProviderVersion
) -> None:
    database, token = diagram.database, diagram.editor.token
    database.add_diagram("private", database.add_user("stranger"))
    late = database.add_user("late", lifetime="-1 second")
    socket = diagram.socket(providers, "socket", version)
    other = diagram.provide(providers, "other", at=socket)

    for room, given, reason in (
        (diagram.add_room("one"), "nonsense", "unauthorized: unknown session"),
        (diagram.add_room("two"), f"{token}.nonsense", "unauthorized: bad signature"),
        (diagram.add_room("three"), late.token, "unauthorized: expired session"),
        ("diagram-private", token, "forbidden: no role in this room"),
        ("diagram-nowhere", token, "forbidden: no role in this room"),
        ("nowhere", token, "forbidden: the name of a room begins with diagram-"),
    ):
        denied = diagram.provide(providers, room, at=socket, room=room, token=given, wait=False)
        assert denied.wait_denied() == reason
        assert denied.report()["authenticated"] is False

    other.insert_text("text", 0, "undisturbed")
    other.wait_saved()
    socket.expect_never_closed()


@versions_that_reopen
def test_a_denied_provider_gets_in_with_a_valid_token_on_the_same_socket(
    diagram: Diagram, providers: Providers, version: ProviderVersion
) -> None:
    socket = diagram.socket(providers, "socket", version)
    other = diagram.provide(providers, "other", version=version)
    denied = diagram.provide(providers, "denied", at=socket, token="nonsense", wait=False)
    denied.set_awareness({"name": "denied"})
    denied.wait_denied()

    denied.set_token(diagram.editor.token)
    denied.retry()
    denied.wait_synced()
    denied.insert_text("text", 0, "let in")
    denied.wait_saved()
    other.wait_content({"text": [{"insert": "let in"}]})
    other.wait_awareness({}, {"name": "denied"})
    socket.expect_never_closed()


@every_version
def test_the_cookie_is_used_if_the_token_is_empty_or_not_configured(
    diagram: Diagram, providers: Providers, version: ProviderVersion
) -> None:
    socket = diagram.socket(providers, "socket", version, headers=headers_of(diagram.viewer))
    none = diagram.provide(providers, "none", at=socket, token=None)
    empty = diagram.provide(providers, "empty", at=socket, token="", room=diagram.add_room("empty"))
    own = diagram.provide(providers, "own", at=socket, room=diagram.add_room("own"))
    assert [provider.report()["scope"] for provider in (none, empty, own)] == ["readonly", "readonly", "read-write"]
    socket.expect_never_closed()


@every_version
def test_a_page_of_a_foreign_origin_may_use_a_token_but_not_the_cookie(
    diagram: Diagram, providers: Providers, version: ProviderVersion
) -> None:
    socket = diagram.socket(providers, "socket", version, headers={**headers_of(diagram.editor), **FOREIGN})
    # Versions before 3 send an empty token only if a function returned it.
    guest = diagram.provide(providers, "guest", at=socket, token_kind="function", token="", wait=False)
    assert guest.wait_denied() == "forbidden origin: foreign origin https://evil.example"
    own = diagram.provide(providers, "own", at=socket, room=diagram.add_room("own"))
    assert own.report()["scope"] == "read-write"
    socket.expect_never_closed()


# Edits that come before the document is open


@every_version
def test_an_edit_made_before_the_document_is_open_is_saved(
    diagram: Diagram, providers: Providers, version: ProviderVersion
) -> None:
    provider = diagram.provide(providers, "provider", version=version, edits_at_open=[typed("early")])
    provider.wait_saved()
    late = diagram.provide(providers, "late", version=version)
    assert late.content == {"text": [{"insert": "early"}]}
    assert provider.report()["closes"] == []


@every_version
def test_an_edit_that_is_too_large_to_wait_for_its_document_is_saved_after_a_reconnect(
    database: TestDatabase, start_daemon: StartDaemon, providers: Providers, version: ProviderVersion
) -> None:
    diagram = Diagram(database, start_daemon, MAX_PENDING_SIZE=2**19)
    provider = diagram.provide(providers, "provider", version=version, edits_at_open=[typed("early " * 100_000)])
    if version in VERSIONS_THAT_REOPEN:
        provider.wait_saved()
    diagram.daemon.wait_until(lambda: len(diagram.log()) == 1)
    late = diagram.provide(providers, "late", version=version)
    assert providers.wait_converged(late, provider) == {"text": [{"insert": "early " * 100_000}]}
    assert provider.report()["closes"][0]["code"] == 4413


# Many documents on one socket


@every_version
def test_documents_on_one_socket_are_independent(
    diagram: Diagram, providers: Providers, version: ProviderVersion
) -> None:
    rooms = [diagram.room, diagram.add_room("second"), diagram.add_room("third")]
    socket = diagram.socket(providers, "socket", version)
    one, two, three = (diagram.provide(providers, room, at=socket, room=room) for room in rooms)
    denied = diagram.provide(providers, "denied", at=socket, room="diagram-of-others", wait=False)
    assert denied.wait_denied() == "forbidden: no role in this room"

    others = [diagram.provide(providers, f"other of {room}", room=room, version=version) for room in rooms]
    for provider in (one, two, three):
        provider.insert_text("text", 0, provider.name)
        provider.set_awareness({"in": provider.name})
    for other in others:
        other.set_awareness({"other": other.name})
    for provider, other in zip((one, two, three), others, strict=True):
        assert providers.wait_converged(provider, other) == {"text": [{"insert": provider.name}]}
        providers.wait_awareness(provider, other, states=[{"in": provider.name}, {"other": other.name}])

    two.destroy()
    others[1].wait_awareness({"other": others[1].name})
    for provider, other in ((one, others[0]), (three, others[2])):
        other.insert_text("text", 0, "still in ")
        providers.wait_converged(provider, other)
        provider.insert_text("text", 0, "and out ")
        providers.wait_converged(provider, other)
        provider.wait_saved()
    socket.expect_never_closed()


@every_version
def test_a_document_can_be_closed_and_opened_again_on_the_same_socket(
    diagram: Diagram, providers: Providers, version: ProviderVersion
) -> None:
    socket = diagram.socket(providers, "socket", version)
    other = diagram.provide(providers, "other", version=version)
    ada = diagram.provide(providers, "ada", at=socket)
    ada.set_awareness({"name": "ada"})
    other.wait_awareness({}, {"name": "ada"})

    ada.destroy()
    other.wait_awareness({})
    other.insert_text("text", 0, "meanwhile")
    again = diagram.provide(providers, "ada again", at=socket)
    providers.wait_converged(again, other)
    again.insert_text("text", 0, "again, ")
    assert providers.wait_converged(again, other) == {"text": [{"insert": "again, meanwhile"}]}
    socket.expect_never_closed()


@every_version
def test_closed_documents_do_not_count_as_waiting_to_be_opened(
    database: TestDatabase, start_daemon: StartDaemon, providers: Providers, version: ProviderVersion
) -> None:
    diagram = Diagram(database, start_daemon, MAX_PENDING_DOCUMENTS=2)
    socket = diagram.socket(providers, "socket", version)
    rooms = [diagram.add_room(f"number-{number}") for number in range(6)]
    first, *others = [diagram.provide(providers, room, at=socket, room=room) for room in rooms]
    for other in others:
        other.set_awareness({"name": other.name})
        other.destroy()
    first.insert_text("text", 0, "undisturbed")
    first.wait_saved()
    socket.expect_never_closed()


@every_version
def test_all_documents_of_a_socket_are_open_again_after_the_network_failed(
    diagram: Diagram, providers: Providers, version: ProviderVersion
) -> None:
    socket = diagram.socket(providers, "socket", version)
    rooms = [diagram.room, diagram.add_room("second")]
    pairs = [
        (
            diagram.provide(providers, room, at=socket, room=room),
            diagram.provide(providers, f"other of {room}", room=room),
        )
        for room in rooms
    ]
    socket.drop()
    for here, other in pairs:
        here.wait_closed()
        here.insert_text("text", 0, "lost its network ")
        other.insert_text("text", 0, "did not ")
    for here, other in pairs:
        (run,) = providers.wait_converged(here, other)["text"]
        assert sorted(run["insert"].split()) == ["did", "its", "lost", "network", "not"]
        here.wait_saved()
    assert socket.report()["opened"] >= 2


def test_two_sessions_of_one_document_on_one_socket_are_two_clients(diagram: Diagram, providers: Providers) -> None:
    socket = diagram.socket(providers, "socket", "4.8.0")
    writer = diagram.provide(providers, "writer", at=socket, session_awareness=True)
    reader = diagram.provide(providers, "reader", diagram.viewer, at=socket, session_awareness=True)
    assert (writer.report()["scope"], reader.report()["scope"]) == ("read-write", "readonly")

    writer.insert_text("text", 0, "from one to the other")
    writer.set_awareness({"name": "writer"})
    reader.wait_content({"text": [{"insert": "from one to the other"}]})
    reader.wait_awareness({"name": "writer"}, {})
    writer.wait_saved()
    reader.insert_text("text", 0, "refused ")
    writer.send_stateless("ring")
    reader.wait_event("stateless", payload="ring")
    assert writer.events("stateless") == []

    reader.destroy()
    writer.wait_awareness({"name": "writer"})
    writer.insert_text("text", 0, "alone: ")
    writer.wait_saved()
    late = diagram.provide(providers, "late", at=socket, session_awareness=True)
    assert late.content == {"text": [{"insert": "alone: from one to the other"}]}
    socket.expect_never_closed()


# Restarts


@every_version
def test_providers_reconnect_after_a_restart_of_the_server_and_lose_nothing(
    diagram: Diagram, providers: Providers, version: ProviderVersion
) -> None:
    alone = diagram.provide(providers, "alone", version=version)
    socket = diagram.socket(providers, "socket", version)
    second = diagram.add_room("second")
    clients = [alone, diagram.provide(providers, "shared", at=socket)]
    elsewhere = diagram.provide(providers, "elsewhere", at=socket, room=second)
    alone.insert_text("text", 0, "0")
    elsewhere.insert_text("text", 0, "before")
    providers.wait_converged(*clients)
    elsewhere.wait_saved()

    diagram.daemon.stop()
    for number, client in enumerate(clients, 1):
        assert client.wait_closed()[0] == 1012
        client.insert_text("text", 1, str(number))
    elsewhere.insert_text("text", 0, "down, ")
    diagram.start(WS_PORT=diagram.daemon.ws_port)

    (run,) = providers.wait_converged(*clients, timeout=20)["text"]
    assert sorted(run["insert"]) == ["0", "1", "2"]
    elsewhere.wait_synced()
    for client in (*clients, elsewhere):
        client.wait_saved()
    assert diagram.provide(providers, "late", room=second).content == {"text": [{"insert": "down, before"}]}


# Offences


@every_version
def test_a_provider_that_is_closed_whenever_it_connects_does_not_reconnect_at_once(
    database: TestDatabase, start_daemon: StartDaemon, providers: Providers, version: ProviderVersion
) -> None:
    delay, times = 0.5, 3
    diagram = Diagram(database, start_daemon, MAX_DOCUMENT_SIZE=1024, CLOSE_DELAY=delay)
    provider = diagram.provide(providers, "provider", version=version)
    provider.insert_text("text", 0, "x" * 3000)
    assert provider.wait_closed()[0] == 4413
    began = time.monotonic()
    provider.wait_closed(1 + times)
    assert time.monotonic() - began >= times * delay


# Beside y-websocket clients


@every_version
def test_a_provider_and_a_y_websocket_client_are_in_one_room(
    diagram: Diagram, providers: Providers, version: ProviderVersion
) -> None:
    provider = diagram.provide(providers, "provider", version=version)
    y_websocket = diagram.join(providers, "y-websocket", version="3.1.0")

    edit_every_type(provider)
    drawn = providers.wait_converged(provider, y_websocket)
    edit_others_content(y_websocket)
    assert providers.wait_converged(provider, y_websocket) != drawn
    provider.set_awareness({"name": "provider"})
    y_websocket.set_awareness({"name": "y-websocket"})
    providers.wait_awareness(provider, y_websocket, states=[{"name": "provider"}, {"name": "y-websocket"}])

    provider.send_stateless("not for y-websocket")
    provider.set_key("map", "after", "the message")
    y_websocket.set_key("map", "heard", "only edits")
    content = providers.wait_converged(provider, y_websocket)["map"]
    assert (content["after"], content["heard"]) == ("the message", "only edits")
    provider.wait_saved()
    report = y_websocket.report()
    assert (report["closes"], report["errors"]) == ([], [])

    y_websocket.destroy()
    provider.wait_awareness({"name": "provider"})
