"""The events that Hocuspocus providers emit to a page."""

from __future__ import annotations

import pytest

from tests.conftest import StartDaemon
from tests.support.databases import TestDatabase
from tests.support.diagrams import Diagram
from tests.support.hocuspocus_providers import PROVIDER_VERSIONS, VERSIONS_THAT_REOPEN, Providers, ProviderVersion
from tests.support.stalling_proxy import StallingProxy
from tests.support.yjs_values import Json

every_version = pytest.mark.parametrize("version", PROVIDER_VERSIONS)
versions_that_reopen = pytest.mark.parametrize("version", VERSIONS_THAT_REOPEN)

SYNC, AWARENESS, AUTH, STATELESS, SYNC_STATUS = 0, 1, 2, 5, 8


@every_version
def test_a_provider_emits_an_event_for_each_step_of_opening(
    diagram: Diagram, providers: Providers, version: ProviderVersion
) -> None:
    provider = diagram.provide(providers, "provider", version=version, offline=True)
    assert provider.report()["socketsOpened"] == 0
    provider.connect()
    provider.wait_saved()

    statuses = [event["status"] for event in provider.events("status")]
    assert statuses[-1] == "connected"
    assert set(statuses) <= {"connecting", "connected"}
    assert len(provider.events("connect")) == 1
    assert [event["scope"] for event in provider.events("authenticated")] == ["read-write"]
    assert [event["state"] for event in provider.events("synced")] == [True]
    assert provider.events("open")
    assert provider.events("authenticationFailed") == provider.events("close") == provider.events("disconnect") == []


@every_version
def test_a_provider_emits_events_for_all_messages_in_both_directions(
    diagram: Diagram, providers: Providers, version: ProviderVersion
) -> None:
    other = diagram.provide(providers, "other", version=version)
    provider = diagram.provide(providers, "provider", version=version)
    provider.insert_text("text", 0, "edited")
    provider.set_awareness({"name": "provider"})
    provider.send_stateless("ring")
    other.wait_event("stateless")
    other.send_stateless("answer")
    provider.wait_event("stateless")
    provider.wait_saved()

    # Its token, its step 1, its awareness, its step 2, and the edit.
    sent = [event["type"] for event in provider.events("outgoingMessage")]
    assert sent[:3] == [AUTH, SYNC, AWARENESS]
    assert {AWARENESS, STATELESS} <= set(sent)
    received = [event["type"] for event in provider.events("message")]
    assert received[0] == AUTH
    assert {SYNC, AWARENESS, STATELESS, SYNC_STATUS} <= set(received)
    # Step 2 and step 1, once for each step 1 of its own: a provider counts what it has answered. Version 2.4 sends two.
    begun = 2 if version == "2.4.0" else 1
    assert (received.count(SYNC), received.count(SYNC_STATUS)) == (2 * begun, begun + 1)


@every_version
def test_every_edit_is_unsynced_until_it_is_saved(
    diagram: Diagram, providers: Providers, version: ProviderVersion
) -> None:
    provider = diagram.provide(providers, "provider", version=version)
    provider.wait_saved()
    before = len(provider.events("unsyncedChanges"))
    for number in range(1, 6):
        provider.insert_values("array", 0, number)
    provider.wait_saved()

    numbers = [event["number"] for event in provider.events("unsyncedChanges")][before:]
    assert len(numbers) == 10
    assert (numbers[0], numbers[-1]) == (1, 0)
    assert min(numbers) == 0
    report = provider.report()
    assert (report["unsynced"], report["hasUnsyncedChanges"], report["synced"]) == (0, False, True)
    assert len(diagram.log()) == 5


@every_version
def test_edits_of_others_are_not_unsynced(diagram: Diagram, providers: Providers, version: ProviderVersion) -> None:
    provider = diagram.provide(providers, "provider", version=version)
    other = diagram.provide(providers, "other", version=version)
    provider.wait_saved()
    before = len(provider.events("unsyncedChanges"))
    other.insert_text("text", 0, "not mine")
    providers.wait_converged(provider, other)
    assert len(provider.events("unsyncedChanges")) == before


@every_version
def test_edits_made_before_there_was_a_connection_are_saved_when_there_is_one(
    diagram: Diagram, providers: Providers, version: ProviderVersion
) -> None:
    provider = diagram.provide(providers, "provider", version=version, offline=True)
    for word in ("three ", "two ", "one "):
        provider.insert_text("text", 0, word)
    assert provider.report()["hasUnsyncedChanges"] is True
    provider.connect()
    provider.wait_saved()
    late = diagram.provide(providers, "late", version=version)
    assert late.content == {"text": [{"insert": "one two three "}]}


@every_version
def test_edits_made_while_disconnected_are_saved_after_it_has_come_back(
    diagram: Diagram, providers: Providers, version: ProviderVersion
) -> None:
    other = diagram.provide(providers, "other", version=version)
    provider = diagram.provide(providers, "provider", version=version)
    provider.wait_saved()
    provider.disconnect()
    provider.wait_disconnected()
    provider.wait_event("disconnect")
    provider.insert_text("text", 0, "meanwhile here ")
    other.insert_text("text", 0, "meanwhile there ")
    assert provider.report()["hasUnsyncedChanges"] is True
    provider.connect()

    (run,) = providers.wait_converged(provider, other)["text"]
    assert sorted(run["insert"].split()) == ["here", "meanwhile", "meanwhile", "there"]
    provider.wait_saved()
    assert len(provider.events("connect")) == len(provider.events("authenticated")) == 2


@every_version
def test_a_provider_emits_events_when_the_network_fails_and_reconnects_by_itself(
    diagram: Diagram, providers: Providers, version: ProviderVersion
) -> None:
    other = diagram.provide(providers, "other", version=version)
    other.set_awareness({"name": "other"})
    provider = diagram.provide(providers, "provider", version=version)
    provider.wait_awareness({}, {"name": "other"})

    provider.drop()
    provider.wait_event("close", code=1006)
    provider.wait_event("disconnect", code=1006)
    provider.wait_event("authenticated", 2)
    provider.wait_synced()
    statuses = [event["status"] for event in provider.events("status")]
    assert "disconnected" in statuses
    assert statuses[-1] == "connected"
    # The provider removed the others when it lost its connection; their next awareness update adds them again.
    alone = [{"clientId": provider.client_id}]
    assert alone in [event["states"] for event in provider.events("awarenessUpdate")]
    other.set_awareness({"name": "other", "x": 1})
    provider.wait_awareness({}, {"name": "other", "x": 1})


@every_version
def test_awareness_of_others_emits_an_update_event_and_a_change_event_only_if_it_differs(
    diagram: Diagram, providers: Providers, version: ProviderVersion
) -> None:
    provider = diagram.provide(providers, "provider", version=version)
    other = diagram.provide(providers, "other", version=version)
    own: dict[str, Json] = {"clientId": provider.client_id}

    other.set_awareness({"name": "other", "x": 1})
    shown = sorted([own, {"clientId": other.client_id, "name": "other", "x": 1}], key=lambda state: state["clientId"])
    provider.wait_awareness({}, {"name": "other", "x": 1})
    for event in ("awarenessUpdate", "awarenessChange"):
        states = provider.events(event)[-1]["states"]
        assert sorted(states, key=lambda state: state["clientId"]) == shown

    changes = len(provider.events("awarenessChange"))
    updates = len(provider.events("awarenessUpdate"))
    other.set_awareness({"name": "other", "x": 1})
    provider.wait_event("awarenessUpdate", updates + 1)
    assert len(provider.events("awarenessChange")) == changes

    other.destroy()
    provider.wait_event("awarenessChange", states=[own])


@every_version
def test_a_provider_without_awareness_edits_and_sees_the_others(
    diagram: Diagram, providers: Providers, version: ProviderVersion
) -> None:
    other = diagram.provide(providers, "other", version=version)
    shy = diagram.provide(providers, "shy", version=version)
    # The provider knows the clock at which the server relays its awareness: a state that it removed before that would
    # come back.
    other.insert_text("text", 0, "come in")
    shy.wait_content({"text": [{"insert": "come in"}]})
    shy.set_awareness(None)
    other.set_awareness({"name": "other"})
    shy.wait_awareness({"name": "other"})
    shy.drop()
    shy.wait_event("authenticated", 2)
    other.set_awareness({"name": "other", "x": 1})
    shy.wait_awareness({"name": "other", "x": 1})
    shy.insert_text("text", 0, "here I am, ")
    other.wait_content({"text": [{"insert": "here I am, come in"}]})
    other.wait_awareness({"name": "other", "x": 1})


@every_version
def test_stateless_messages_arrive_in_the_order_in_which_they_were_sent(
    diagram: Diagram, providers: Providers, version: ProviderVersion
) -> None:
    sender = diagram.provide(providers, "sender", version=version)
    receiver = diagram.provide(providers, "receiver", version=version)
    sender.insert_text("text", 0, "before the first")
    payloads = [f"message {number}" for number in range(20)]
    for payload in payloads:
        sender.send_stateless(payload)
    receiver.wait_event("stateless", 20)
    assert [event["payload"] for event in receiver.events("stateless")] == payloads
    assert receiver.content == {"text": [{"insert": "before the first"}]}


@every_version
def test_a_sync_can_be_forced_once_or_at_intervals(
    diagram: Diagram, providers: Providers, version: ProviderVersion
) -> None:
    provider = diagram.provide(providers, "provider", version=version)
    provider.wait_saved()
    provider.force_sync()
    assert {"event": "unsyncedChanges", "number": 1} in provider.events("unsyncedChanges")
    provider.wait_event("message", 2, type=SYNC_STATUS)
    provider.wait_saved()
    assert diagram.log() == []

    often = diagram.provide(providers, "often", version=version, forceSyncInterval=50)
    often.wait_event("message", 5, type=SYNC_STATUS)
    often.insert_text("text", 0, "in between")
    provider.wait_content({"text": [{"insert": "in between"}]})
    often.destroy()


@every_version
def test_the_token_is_asked_for_anew_whenever_a_connection_opens(
    diagram: Diagram, providers: Providers, version: ProviderVersion
) -> None:
    provider = diagram.provide(providers, "provider", version=version, token_kind="promise")
    assert provider.report()["tokensGiven"] == 1
    provider.set_token(diagram.viewer.token)
    provider.drop()
    provider.wait_asked(2)
    provider.wait_state(scope="readonly", synced=True)


@versions_that_reopen
def test_a_token_function_that_fails_is_a_denial(
    diagram: Diagram, providers: Providers, version: ProviderVersion
) -> None:
    socket = diagram.socket(providers, "socket", version)
    other = diagram.provide(providers, "other", at=socket, room=diagram.add_room("other"))
    provider = diagram.provide(providers, "provider", at=socket, token=None, token_kind="promise", wait=False)
    assert "there is no token" in provider.wait_denied()
    other.insert_text("text", 0, "undisturbed")
    other.wait_saved()
    provider.set_token(diagram.editor.token)
    provider.retry()
    provider.wait_synced()
    socket.expect_never_closed()


@every_version
def test_a_provider_emits_the_close_code_of_a_server_that_stops(
    diagram: Diagram, providers: Providers, version: ProviderVersion
) -> None:
    provider = diagram.provide(providers, "provider", version=version)
    diagram.daemon.stop()
    provider.wait_event("close", code=1012)
    provider.wait_event("status", status="disconnected")
    provider.wait_state(connected=False, synced=False, authenticated=False)


@every_version
def test_an_unreachable_database_is_no_denial_and_the_provider_gets_in_when_it_is_back(
    database: TestDatabase, start_daemon: StartDaemon, providers: Providers, version: ProviderVersion
) -> None:
    with StallingProxy(database.url) as proxy:
        diagram = Diagram(database, start_daemon, DATABASE_URL=proxy.url, HANDSHAKE_TIMEOUT=2)
        proxy.pause()
        provider = diagram.provide(providers, "provider", version=version, wait=False)
        assert provider.wait_closed() == (4503, "try again later")
        proxy.resume()
        provider.wait_synced()
        assert provider.events("authenticationFailed") == []


def test_edits_that_are_flushed_together_are_saved_together(diagram: Diagram, providers: Providers) -> None:
    other = diagram.provide(providers, "other")
    provider = diagram.provide(providers, "provider", flushDelay=50)
    provider.wait_saved()
    for number in range(5):
        provider.insert_values("array", number, number)
    provider.set_awareness({"name": "provider"})
    assert provider.unsynced == 1
    other.wait_content({"array": [0, 1, 2, 3, 4]})
    other.wait_awareness({}, {"name": "provider"})
    provider.wait_saved()
    assert len(diagram.log()) == 1
