"""Handshakes with subprotocols, which may carry the token."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from urllib.parse import quote

import pytest

from canvas_collab.access.authentication import Credential, Source, Unauthenticated, find_credential, verified_token
from canvas_collab.websocket.handshake import choose_subprotocol
from tests.access.test_authentication import SECRET, SIGNED, TOKEN
from tests.conftest import StartDaemon
from tests.support.daemons import Daemon
from tests.support.databases import TestDatabase, User
from tests.support.diagrams import Diagram
from tests.support.hocuspocus_client import RawHocuspocus
from tests.support.hocuspocus_providers import Providers
from tests.support.yjs_clients import Version


def offer_subprotocols(daemon: Daemon, offered: str | None, **headers: str) -> tuple[int, list[str]]:
    """Make a handshake that offers these subprotocols; return the status, and the subprotocols of the response."""
    lines = ["GET /diagram-sketch HTTP/1.1", "Host: x", "Upgrade: websocket", "Connection: Upgrade"]
    lines += ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"Sec-WebSocket-Protocol: {offered}"] if offered is not None else []
    with socket.create_connection(("127.0.0.1", daemon.ws_port), timeout=10) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        answer = connection.makefile("rb")
        status = int(answer.readline().split()[1])
        accepted = []
        while (line := answer.readline().strip()) != b"":
            name, _, value = line.decode().partition(":")
            if name.lower() == "sec-websocket-protocol":
                accepted.append(value.strip())
    return status, accepted


def base64url(signed: str) -> str:
    return signed.replace("+", "-").replace("/", "_").rstrip("=")


def encodings_of_token(user: User) -> list[str]:
    signed = user.signed_token
    return [user.token, quote(signed, safe=""), base64url(signed), base64url(signed) + "="]


@pytest.mark.parametrize("prefix", ["token.", "yauth-"])
def test_a_token_in_a_subprotocol_opens_the_room_and_the_first_one_offered_is_accepted(
    diagram: Diagram, prefix: str
) -> None:
    for token in encodings_of_token(diagram.editor):
        offered = prefix + token
        assert offer_subprotocols(diagram.daemon, f"yjs, {offered}, other") == (101, ["yjs"])
        # "=" is not allowed in a subprotocol: the token is accepted, but the subprotocol is not selected.
        assert offer_subprotocols(diagram.daemon, offered) == (101, [] if "=" in offered else [offered])
    assert {event["user"] for event in diagram.daemon.events("connection opened")} == {diagram.editor.id}


def test_a_subprotocol_without_a_token_is_accepted_and_other_credentials_are_used(diagram: Diagram) -> None:
    cookie = diagram.editor.cookie
    assert offer_subprotocols(diagram.daemon, None, Cookie=cookie) == (101, [])
    assert offer_subprotocols(diagram.daemon, "yjs", Cookie=cookie) == (101, ["yjs"])
    assert offer_subprotocols(diagram.daemon, "y-websocket.v1, token., yauth-", Cookie=cookie) == (
        101,
        ["y-websocket.v1"],
    )
    assert offer_subprotocols(diagram.daemon, "yjs")[0] == 401
    assert offer_subprotocols(diagram.daemon, "token.nonsense", Cookie=cookie)[0] == 401
    assert offer_subprotocols(diagram.daemon, "TOKEN.x", Cookie=cookie) == (101, ["TOKEN.x"])


def test_a_token_in_a_subprotocol_counts_after_the_parameter_and_before_the_cookie() -> None:
    headers = {"cookie": "better-auth.session_token=in.cookie", "sec-websocket-protocol": "yjs,  yauth-a , token.b"}
    assert find_credential(headers, {}, "better-auth") == Credential("a", Source.SUBPROTOCOL)
    assert find_credential(headers, {"token": ["c"]}, "better-auth") == Credential("c", Source.QUERY)
    headers["sec-websocket-protocol"] = "yjs,token.,"
    assert find_credential(headers, {}, "better-auth") == Credential("in.cookie", Source.COOKIE)


@pytest.mark.parametrize("text", [TOKEN, SIGNED, quote(SIGNED, safe=""), base64url(SIGNED), base64url(SIGNED) + "="])
def test_a_signature_may_be_base64_or_base64url(text: str) -> None:
    assert verified_token(Credential(text, Source.SUBPROTOCOL), SECRET) == TOKEN


@pytest.mark.parametrize("position", range(len(TOKEN) + 1, len(base64url(SIGNED)), 5))
def test_a_signature_with_an_altered_character_is_refused(position: int) -> None:
    signed = base64url(SIGNED)
    other = "A" if signed[position] != "A" else "B"
    with pytest.raises(Unauthenticated, match="bad signature"):
        verified_token(Credential(signed[:position] + other + signed[position + 1 :], Source.SUBPROTOCOL), SECRET)


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [([], None), (["a", "b"], "a"), (["", "b"], "b"), (["a b", "b"], "b"), (["a\nb: c"], None), (["a/b", "é"], None)],
)
def test_the_first_valid_subprotocol_is_chosen(offered: Sequence[str], chosen: str | None) -> None:
    assert choose_subprotocol(offered) == chosen


def test_a_rejection_by_a_close_code_selects_a_subprotocol_since_browsers_would_not_report_the_code(
    database: TestDatabase, start_daemon: StartDaemon, providers: Providers
) -> None:
    diagram = Diagram(database, start_daemon, REJECT_WITH="close")
    client = providers.connect(
        "a", diagram.daemon.ws_url, diagram.room, protocols=["yjs", "token.nonsense"], wait=False
    )
    assert client.wait_given_up() == (4401, "unauthorized")


@pytest.mark.parametrize("version", ["2.1.0", "3.1.0"])
def test_a_y_websocket_client_authenticates_with_a_subprotocol(
    diagram: Diagram, providers: Providers, version: Version
) -> None:
    url = diagram.daemon.ws_url
    offers = [[f"yauth-{diagram.editor.token}"], ["yjs", f"token.{quote(diagram.editor.signed_token, safe='')}"]]
    clients = [
        providers.connect(str(number), url, diagram.room, version=version, protocols=offered)
        for number, offered in enumerate(offers)
    ]
    clients[0].insert_text("text", 0, "together")
    assert providers.wait_converged(*clients) == {"text": [{"insert": "together"}]}


def test_the_token_of_a_subprotocol_is_used_for_a_provider_without_a_token(diagram: Diagram) -> None:
    with RawHocuspocus(diagram.daemon, subprotocols=["yjs", f"token.{diagram.editor.token}"]) as socket:
        assert socket.open(diagram.room, "") == "read-write"


def test_a_token_in_a_subprotocol_is_logged_at_no_level(database: TestDatabase, start_daemon: StartDaemon) -> None:
    diagram = Diagram(database, start_daemon, LOG_LEVEL="debug")
    stranger = database.add_user("stranger")
    for user, status in ((diagram.editor, 101), (stranger, 403)):
        for token in encodings_of_token(user):
            assert offer_subprotocols(diagram.daemon, f"token.{token}")[0] == status
    diagram.daemon.wait_until(lambda: len(diagram.daemon.events("connection closed")) == 4)
    diagram.daemon.stop()
    for user in (diagram.editor, stranger):
        assert user.token not in diagram.daemon.output
