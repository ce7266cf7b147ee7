"""Hocuspocus, message by message: what is kept before a document is open, what is bounded, what is acknowledged."""

from __future__ import annotations

import cProfile
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from twisted.internet.task import Clock
from websockets.exceptions import InvalidStatus

from canvas_collab.access.authorization import Request
from canvas_collab.config.connections import HocuspocusSettings
from canvas_collab.protocol import awareness, hocuspocus, sync
from canvas_collab.protocol.awareness import Entry
from canvas_collab.protocol.close_codes import CloseCode
from canvas_collab.protocol.lib0 import Decoder
from canvas_collab.rooms.awareness import CLOCK_OFFSET
from canvas_collab.websocket.hocuspocus import Hocuspocus
from canvas_collab.websocket.shared_limit import SharedLimit
from tests.conftest import StartDaemon
from tests.support.clients import Client, Refused, typed
from tests.support.daemons import Daemon
from tests.support.databases import TestDatabase, User
from tests.support.hocuspocus_client import STEP_1, UPDATE, Closed, RawHocuspocus, authentication

ONE, TWO = "diagram-one", "diagram-two"

LIMITS = {
    "MAX_PENDING_DOCUMENTS": 3,
    "MAX_PENDING_MESSAGES": 5,
    "MAX_PENDING_SIZE": 2000,
    "MAX_DOCUMENTS": 6,
    "MAX_SESSIONS_PER_DOCUMENT": 4,
    "MAX_STATELESS_SIZE": 100,
}


class StagedSocket:
    """A socket of a dialect under test; `ended` is how it was ended."""

    client_address = "192.0.2.1:1234"
    is_closing = False

    def __init__(self) -> None:
        self.ended: list[tuple[int, str]] = []

    def close(self, code: CloseCode, reason: str) -> None:
        self.ended.append((int(code), reason))


class StagedEntrance:
    """An entrance for those who have not said who they are."""

    def carries_credential(self, handshake: Request) -> bool:
        return False


class Stage:
    """A daemon with low limits, two diagrams, somebody who may write and somebody who may read, and a bystander."""

    def __init__(self, daemon: Daemon, ada: User, vera: User) -> None:
        self.daemon = daemon
        self.ada = ada
        self.vera = vera
        self.bystander = Client(daemon, "one", ada)

    def socket(self, path: str = "/") -> RawHocuspocus:
        return RawHocuspocus(self.daemon, path)

    def expect_shown(self, entry: Entry) -> None:
        while not any(awareness.decode(payload) == [entry] for payload in self.bystander.awareness):
            self.bystander.receive()

    def expect_bystander_unharmed(self) -> None:
        self.bystander.edit(typed("still here"))
        self.bystander.flush()
        with Client(self.daemon, "one", self.ada) as again:
            assert "still here" in again.text


@pytest.fixture
def people(database: TestDatabase) -> tuple[User, User]:
    ada, vera = database.add_user("ada"), database.add_user("vera")
    for diagram in ("one", "two"):
        database.add_diagram(diagram, ada, viewer=vera)
    return ada, vera


@pytest.fixture
def stage(database: TestDatabase, start_daemon: StartDaemon, people: tuple[User, User]) -> Iterator[Stage]:
    stage = Stage(start_daemon(database, **LIMITS), *people)
    yield stage
    stage.bystander.close()


# Opening


def test_what_is_sent_before_a_document_is_open_is_taken_when_it_is(stage: Stage) -> None:
    with stage.socket() as socket:
        socket.send(ONE, sync.encode_step_1(b"\x00"))
        socket.edit(ONE, typed("early"))
        socket.send(ONE, authentication(stage.ada.token))
        socket.wait_for(ONE, b"\x00\x01")
        socket.wait_for(ONE, hocuspocus.SAVED)
    stage.bystander.wait_for("early")


def test_nothing_of_a_document_is_heard_before_it_is_open(stage: Stage) -> None:
    stage.bystander.edit(typed("secret"))
    stage.bystander.flush()
    with stage.socket() as socket:
        socket.send(ONE, sync.encode_step_1(b"\x00"))
        socket.send(ONE, b"\x03")
        socket.ping()
        assert socket.heard(ONE) == []


def test_each_step_1_is_answered_with_a_step_2_and_one_step_1_unless_it_is_a_reply(stage: Stage) -> None:
    with stage.socket() as socket:
        socket.open(ONE, stage.ada.token)
        socket.send(ONE, sync.encode_step_1(b"\x00"))
        socket.ping()
        assert [message[:2] for message in socket.heard(ONE, b"\x00")] == [b"\x00\x01", b"\x00\x00"]
        socket.send(ONE, b"\x04" + sync.encode_step_1(b"\x00")[1:])
        socket.ping()
        assert [message[:2] for message in socket.heard(ONE, b"\x00")][2:] == [b"\x00\x01"]


def test_a_document_that_is_denied_says_why_and_a_good_token_opens_it_on_the_same_socket(stage: Stage) -> None:
    with stage.socket() as socket:
        for token, reason in (
            ("", "unauthorized: no token"),
            ("nonsense", "unauthorized: unknown session"),
            (stage.ada.token + ".AAAA", "unauthorized: bad signature"),
        ):
            socket.send(ONE, authentication(token))
            assert socket.denied(ONE) == reason
        socket.send("diagram-nowhere", authentication(stage.ada.token))
        assert socket.denied("diagram-nowhere") == "forbidden: no role in this room"
        assert socket.open(ONE, stage.ada.signed_token) == "read-write"


def test_a_newer_token_that_comes_while_the_older_is_looked_at_counts(stage: Stage) -> None:
    with stage.socket() as socket:
        socket.send(ONE, authentication("nonsense"))
        assert socket.open(ONE, stage.ada.token) == "read-write"


def test_the_handshakes_cookie_counts_where_the_token_is_empty_or_no_auth_message_is_sent(stage: Stage) -> None:
    cookie = {"Cookie": stage.ada.cookie}
    with RawHocuspocus(stage.daemon, additional_headers=cookie) as socket:
        assert socket.open(ONE, "") == "read-write"
        socket.send(TWO, sync.encode_step_1(b"\x00"))
        assert Decoder(socket.wait_for(TWO, b"\x02\x02")[2:]).var_string() == "read-write"
        socket.wait_for(TWO, b"\x00\x01")


def test_a_foreign_page_cannot_use_the_cookie_but_its_own_token(stage: Stage) -> None:
    headers = {"Cookie": stage.ada.cookie, "Origin": "https://evil.example"}
    with RawHocuspocus(stage.daemon, additional_headers=headers) as socket:
        socket.send(ONE, authentication(""))
        assert "forbidden origin" in socket.denied(ONE)
        assert socket.open(ONE, stage.ada.token) == "read-write"


def test_the_versions_of_providers_are_logged(stage: Stage) -> None:
    with stage.socket() as socket:
        socket.send(ONE, authentication(stage.ada.token, "4.8.0"))
        socket.send(TWO, authentication(stage.ada.token, None))
        stage.daemon.wait_for_event("connection opened", room=ONE, protocol="hocuspocus 4.8.0")
        stage.daemon.wait_for_event("connection opened", room=TWO, protocol="hocuspocus before 4")


@pytest.mark.parametrize("path", ["/live", "/live/", "/live?x=1"])
def test_the_path_can_be_chosen(
    database: TestDatabase, start_daemon: StartDaemon, people: tuple[User, User], path: str
) -> None:
    ada, _ = people
    daemon = start_daemon(database, HOCUSPOCUS_PATH="/live")
    with RawHocuspocus(daemon, path) as socket:
        assert socket.open(ONE, ada.token) == "read-write"
    with pytest.raises(InvalidStatus):
        RawHocuspocus(daemon, "/").__enter__()


def test_it_lies_under_the_path_of_a_proxy(
    database: TestDatabase, start_daemon: StartDaemon, people: tuple[User, User]
) -> None:
    ada, _ = people
    daemon = start_daemon(database, WS_PATH_PREFIX="/collab")
    for path in ("/collab", "/collab/"):
        with RawHocuspocus(daemon, path) as socket:
            assert socket.open(ONE, ada.token) == "read-write"
    with Client(daemon, "one", ada, prefix="/collab"):
        pass


# Several documents, several sessions


def test_documents_of_one_socket_have_nothing_to_do_with_each_other(stage: Stage) -> None:
    with stage.socket() as socket:
        socket.open(ONE, stage.ada.token)
        socket.open(TWO, stage.vera.token)
        socket.edit(ONE, typed("first"))
        assert socket.content(ONE) == "first"
        assert socket.content(TWO) == ""
        socket.send(ONE, b"\x07")
        stage.daemon.wait_for_event("connection closed", room=ONE, reason="the client left the document")
        assert socket.content(TWO) == ""
        assert socket.open(ONE, stage.ada.token) == "read-write"
        assert socket.content(ONE) == "first"


def test_two_sessions_of_a_document_are_two_connections_each_answered_at_its_own_address(stage: Stage) -> None:
    left, right = ONE + "\0left", ONE + "\0right"
    with stage.socket() as socket:
        for address in (left, right):
            assert socket.open(address, stage.ada.token) == "read-write"
        update = typed("from the left")
        socket.edit(left, update)
        assert socket.wait_for(right, UPDATE) == sync.encode_update(update)
        socket.wait_for(left, hocuspocus.SAVED)
        socket.ping()
        assert socket.heard(left, UPDATE) == []
        assert socket.heard(right, b"\x08") == []
        assert socket.heard(ONE) == []
        socket.send(left, b"\x07")
        socket.edit(right, typed("alone"))
        socket.wait_for(right, hocuspocus.SAVED)


def test_leaving_a_document_takes_its_cursor_away(stage: Stage) -> None:
    with stage.socket() as socket:
        socket.open(ONE, stage.ada.token)
        socket.send(ONE, sync.encode_awareness(awareness.encode([Entry(7, 1, '{"x":1}')])))
        stage.expect_shown(Entry(7, 1 + CLOCK_OFFSET, '{"x":1}'))
        socket.send(ONE, b"\x07")
        stage.expect_shown(Entry(7, 1 + CLOCK_OFFSET, "null"))


# Acknowledgements


def test_every_edit_and_step_2_is_acknowledged_once(stage: Stage) -> None:
    with stage.socket() as socket:
        socket.open(ONE, stage.ada.token)
        for number in range(30):
            socket.edit(ONE, typed(f"edit {number}"))
        socket.send(ONE, sync.encode_step_2(typed("step 2")))
        socket.send(ONE, sync.encode_step_2(b"\x00\x00"))
        for _ in range(32):
            socket.wait_for(ONE, hocuspocus.SAVED)
        socket.ping()
        assert socket.heard(ONE, b"\x08") == []
    rows = stage.daemon.get("/health")[1]["unsaved_updates"]
    assert rows == 0


def test_a_reader_is_told_that_an_edit_was_refused_and_that_nothing_new_was_nothing(stage: Stage) -> None:
    stage.bystander.edit(update := typed("known"))
    stage.bystander.flush()
    with stage.socket() as socket:
        assert socket.open(ONE, stage.vera.token) == "readonly"
        socket.edit(ONE, typed("mine"))
        socket.wait_for(ONE, hocuspocus.REFUSED)
        socket.send(ONE, sync.encode_step_2(typed("mine too")))
        socket.wait_for(ONE, hocuspocus.REFUSED)
        socket.send(ONE, sync.encode_step_2(update))
        socket.wait_for(ONE, hocuspocus.SAVED)
        socket.ping()
        assert socket.heard(ONE, b"\x08") == []
    stage.bystander.flush()
    assert stage.bystander.text == "known"


# Stateless messages


def test_a_stateless_message_of_a_writer_reaches_the_other_providers_after_what_was_edited_before_it(
    stage: Stage,
) -> None:
    with stage.socket() as writer, stage.socket() as reader:
        writer.open(ONE, stage.ada.token)
        reader.open(ONE, stage.vera.token)
        reader.open(TWO, stage.vera.token)
        writer.edit(ONE, typed("before"))
        writer.send(ONE, hocuspocus.encode_stateless("look"))
        assert reader.wait_for(ONE, b"\x05") == hocuspocus.encode_stateless("look")
        assert len(reader.heard(ONE, UPDATE)) == 1
        reader.send(ONE, hocuspocus.encode_stateless("I may not"))
        reader.ping()
        writer.ping()
        assert writer.heard(ONE, b"\x05") == []
        assert reader.heard(TWO) == []
    stage.expect_bystander_unharmed()


def test_stateless_messages_can_be_turned_off(
    database: TestDatabase, start_daemon: StartDaemon, people: tuple[User, User]
) -> None:
    ada, vera = people
    daemon = start_daemon(database, STATELESS="off")
    with RawHocuspocus(daemon) as writer, RawHocuspocus(daemon) as reader:
        writer.open(ONE, ada.token)
        reader.open(ONE, vera.token)
        writer.send(ONE, hocuspocus.encode_stateless("look"))
        writer.edit(ONE, typed("an edit"))
        reader.wait_for(ONE, UPDATE)
        assert reader.heard(ONE, b"\x05") == []


# Bounds


@pytest.mark.parametrize(
    ("messages", "code", "reason"),
    [
        ([(f"diagram-{number}", b"\x03") for number in range(4)], 4413, "3 documents"),
        ([(ONE, b"\x03")] * 6, 4413, "5 messages"),
        ([(ONE, sync.encode_update(b"x" * 900))] * 3, 4413, "2000 bytes"),
        ([("d" * 600, b"\x03")], 4413, "255 characters"),
        ([(ONE, b"\x06\x00")], 4400, "malformed"),
        ([(ONE, sync.encode_update(b"x" * 2500))], 4413, "2000 bytes before a document is open"),
    ],
    ids=["documents", "messages", "bytes", "address", "broadcast", "one large message"],
)
def test_what_a_socket_may_send_before_it_has_authenticated_is_bounded(
    stage: Stage, messages: list[tuple[str, bytes]], code: int, reason: str
) -> None:
    with stage.socket() as socket:
        try:
            for address, message in messages:
                socket.send(address, message)
        except Closed as closed:
            ended = closed
        else:
            ended = socket.wait_closed()
    assert (ended.code, reason in ended.reason) == (code, True), ended
    stage.expect_bystander_unharmed()


def test_a_socket_that_has_authenticated_may_send_larger_messages(stage: Stage) -> None:
    with stage.socket() as socket:
        socket.open(ONE, stage.ada.token)
        socket.edit(ONE, typed("x" * 5000))
        socket.wait_for(ONE, hocuspocus.SAVED)


def test_the_documents_of_a_socket_are_bounded(stage: Stage, database: TestDatabase) -> None:
    with stage.socket() as socket:
        for number in range(LIMITS["MAX_DOCUMENTS"] // 2):
            socket.open(f"{ONE}\0{number}", stage.ada.token)
            socket.open(f"{TWO}\0{number}", stage.ada.token)
        socket.send(TWO, authentication(stage.ada.token))
        closed = socket.wait_closed()
    assert (closed.code, "6 documents" in closed.reason) == (4413, True)
    stage.expect_bystander_unharmed()


def test_the_sessions_of_one_document_on_a_socket_are_bounded_and_those_that_ended_do_not_count(stage: Stage) -> None:
    most = LIMITS["MAX_SESSIONS_PER_DOCUMENT"]
    with stage.socket() as socket:
        for number in range(2 * most):
            socket.open(f"{ONE}\0{number}", stage.ada.token)
            socket.send(f"{ONE}\0{number}", b"\x07")
            socket.send(f"{TWO}\0{number}", b"\x03")
            socket.send(f"{TWO}\0{number}", b"\x07")
        for number in range(most):
            socket.open(f"{ONE}\0{number}", stage.ada.token)
        socket.open(TWO, stage.ada.token)
        socket.send(f"{ONE}\0more", b"\x03")
        closed = socket.wait_closed()
    assert (closed.code, f"{most} times" in closed.reason) == (4413, True)
    stage.expect_bystander_unharmed()


def test_what_all_sockets_together_may_keep_is_bounded_and_one_with_the_most_of_it_goes(
    database: TestDatabase, start_daemon: StartDaemon, people: tuple[User, User]
) -> None:
    ada, _ = people
    daemon = start_daemon(database, MAX_PENDING_SIZE=10_000, MAX_PENDING_TOTAL=20_000)
    with ExitStack() as opened:
        modest, *greedy = (opened.enter_context(RawHocuspocus(daemon)) for _ in range(4))
        modest.edit(ONE, typed("early"))
        modest.ping()
        for socket in greedy:
            socket.edit(TWO, b"x" * 8_000)
        closed = daemon.wait_for_event("connection ended", code=4503)
        assert "try again later" in closed["reason"]
        assert modest.open(ONE, ada.token) == "read-write"
        modest.wait_for(ONE, hocuspocus.SAVED)
    assert len(daemon.events("connection ended")) == 1


def test_keeping_messages_takes_work_in_proportion_to_their_number() -> None:
    def calls(count: int) -> int:
        socket, clock = StagedSocket(), Clock()
        settings = HocuspocusSettings(max_pending_messages=10**6, max_pending_documents=10**6, max_documents=10**6)
        total = SharedLimit(settings.max_pending_total)
        handler = Hocuspocus(clock, socket, StagedEntrance(), None, settings, total)  # type: ignore[arg-type]
        handler.handshake = Request("/", {}, {})
        messages = [hocuspocus.encode_address(f"diagram-{number}") + b"\x03" for number in range(count)]
        work = cProfile.Profile()
        # The first message of each document sets a timer, which is dear with a clock of the tests.
        for measured in (False, True):
            if measured:
                work.enable()
            for message in messages:
                # Whether it is a generator or not.
                deque(handler.received(message) or (), maxlen=0)
        work.disable()
        assert socket.ended == []
        return sum(entry.callcount for entry in work.getstats())

    assert calls(1000) < 2.2 * calls(500)


def test_a_stateless_message_over_its_size_is_dropped_and_its_sender_stays(stage: Stage) -> None:
    with stage.socket() as socket, stage.socket() as other:
        socket.open(ONE, stage.ada.token)
        other.open(ONE, stage.ada.token)
        for _ in range(3):
            socket.send(ONE, hocuspocus.encode_stateless("é" * 51))
        socket.send(ONE, hocuspocus.encode_stateless("small"))
        assert other.wait_for(ONE, b"\x05") == hocuspocus.encode_stateless("small")
        socket.edit(ONE, typed("still here"))
        socket.wait_for(ONE, hocuspocus.SAVED)
    [event] = stage.daemon.events("stateless message dropped")
    assert "100 bytes" in event["reason"]
    stage.expect_bystander_unharmed()


@pytest.mark.parametrize(
    "message",
    [b"\x00\x02\x01\xff", b"\x00\x01\x01\xff", b"\x00\x00\x01\xff", b"\x01\x01\xff", b"\x05\x01\xff", b"\x02\x01\x00"],
    ids=["update", "step 2", "state vector", "awareness", "stateless", "auth"],
)
def test_a_malformed_message_closes_its_socket(stage: Stage, message: bytes) -> None:
    with stage.socket() as socket:
        socket.open(ONE, stage.ada.token)
        socket.send(ONE, message)
        assert socket.wait_closed().code == 4400
    stage.expect_bystander_unharmed()


def test_messages_of_other_types_are_ignored_and_counted_whether_their_document_is_open_or_not(stage: Stage) -> None:
    with stage.socket() as socket:
        for kind in (8, 9, 11, 102):
            socket.send(ONE, bytes((kind,)) + b"whatever")
        socket.ping()
        socket.open(ONE, stage.ada.token)
        for _ in range(96):
            socket.send(ONE, b"\x7f")
        socket.edit(ONE, typed("an edit"))
        socket.wait_for(ONE, hocuspocus.SAVED)
    counts = [(event["count"], event["type"], event["room"]) for event in stage.daemon.events("message ignored")]
    assert counts == [(1, 8, None), (10, 127, ONE), (100, 127, ONE)]


def test_a_malformed_message_that_waited_for_its_document_closes_the_socket_then(stage: Stage) -> None:
    with stage.socket() as socket:
        socket.send(ONE, b"\x00\x02\x01\xff")
        socket.send(ONE, authentication(stage.ada.token))
        assert socket.wait_closed().code == 4400
    stage.daemon.wait_for_event("connection ended", room=ONE, user=stage.ada.id, code=4400)
    stage.expect_bystander_unharmed()


@pytest.mark.parametrize("busy", [False, True], ids=["silent", "pinging"])
def test_a_socket_that_opens_no_document_in_time_is_closed_whatever_it_says(
    database: TestDatabase, start_daemon: StartDaemon, people: tuple[User, User], busy: bool
) -> None:
    daemon = start_daemon(database, AUTH_TIMEOUT=0.5)
    with RawHocuspocus(daemon) as socket:
        if busy:
            with pytest.raises(Closed) as closed:
                socket.ping_for_ever()
            assert closed.value.code == 4408
        else:
            assert socket.wait_closed().code == 4408
    daemon.wait_for_event("connection ended", code=4408)


def test_a_document_that_waits_too_long_for_its_token_is_forgotten_and_the_others_go_on(
    database: TestDatabase, start_daemon: StartDaemon, people: tuple[User, User]
) -> None:
    ada, _ = people
    daemon = start_daemon(database, AUTH_TIMEOUT=0.3, MAX_PENDING_DOCUMENTS=1)
    with RawHocuspocus(daemon) as socket:
        socket.open(ONE, ada.token)
        socket.send(TWO, sync.encode_update(typed("forgotten")))
        # A third document finds no room until the second has been given up.
        daemon.wait_until(lambda: _may_wait(daemon, socket))
        assert socket.content(ONE) == ""
        assert socket.open(TWO, ada.token) == "read-write"
        assert socket.content(TWO) == ""


def _may_wait(daemon: Daemon, socket: RawHocuspocus) -> bool:
    """Whether the daemon has let go of what waited: it logs that."""
    socket.ping()
    return bool(daemon.events("document not opened"))


def test_half_open_sockets_do_not_keep_others_out_for_ever(
    database: TestDatabase, start_daemon: StartDaemon, people: tuple[User, User]
) -> None:
    ada, _ = people
    daemon = start_daemon(database, AUTH_TIMEOUT=0.5, MAX_CONNECTIONS=5)
    with ExitStack() as flood:
        sockets = [flood.enter_context(RawHocuspocus(daemon)) for _ in range(5)]
        with pytest.raises(Refused) as refused:
            Client(daemon, "one", ada)
        assert refused.value.code == 503
        assert {socket.wait_closed().code for socket in sockets} == {4408}
    daemon.wait_until(lambda: daemon.get("/health")[1]["connections"] == 0)
    with Client(daemon, "one", ada):
        pass


def test_a_pong_and_a_close_of_nothing_are_harmless(stage: Stage) -> None:
    with stage.socket() as socket:
        socket.send_raw(hocuspocus.PONG)
        socket.send(ONE, b"\x07")
        socket.open(ONE, stage.ada.token)
        assert socket.heard(ONE, STEP_1) == []


def test_a_ping_is_told_from_a_document_with_a_name_of_nine_letters(stage: Stage) -> None:
    with stage.socket() as socket:
        socket.send("diagramme", authentication(stage.ada.token))
        assert socket.denied("diagramme").startswith("forbidden")


SOCKETS = 150
ROUNDS = 8

#: What the daemon may grow by from the fourth flood to the last, in bytes; each brings some twenty megabytes.
GROWTH_MAX = 8 * 2**20

#: glibc gives back at once what is free, so that what the daemon takes is what it keeps.
FRUGAL = {"MALLOC_ARENA_MAX": 1, "MALLOC_TRIM_THRESHOLD_": 65536, "MALLOC_MMAP_THRESHOLD_": 65536}


def test_floods_before_authentication_leave_nothing_behind_and_a_bystander_goes_on(
    database: TestDatabase, start_daemon: StartDaemon, people: tuple[User, User]
) -> None:
    ada, _ = people
    daemon = start_daemon(database, AUTH_TIMEOUT=1, **FRUGAL)
    memories = []
    with Client(daemon, "one", ada) as bystander:
        for _ in range(ROUNDS):
            with ExitStack() as flood:
                sockets = [flood.enter_context(RawHocuspocus(daemon)) for _ in range(SOCKETS)]
                for number, socket in enumerate(sockets):
                    if number % 3 == 0:
                        # Large messages of one document, names of many, or nothing at all.
                        for _ in range(4):
                            socket.send(ONE, sync.encode_update(b"x" * 100_000))
                    elif number % 3 == 1:
                        for document in range(90):
                            socket.send(f"diagram-{document}", b"\x03")
                bystander.edit(typed("still here "))
                bystander.flush()
                assert {socket.wait_closed().code for socket in sockets} == {4408}
            daemon.wait_until(lambda: daemon.get("/health")[1]["connections"] == 1)
            memories.append(daemon.memory or 0)
        assert bystander.text == "still here " * ROUNDS
    print([f"{memory / 2**20:.1f}" for memory in memories])
    assert min(memories[-2:]) - memories[3] < GROWTH_MAX, memories
