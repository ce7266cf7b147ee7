"""Clients of all kinds in one room: the edits of each reach all others, and are stored."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest

from tests.support.daemons import ROOT
from tests.support.diagrams import Diagram, headers_of
from tests.support.sync_clients import PycrdtClient
from tests.support.yjs_clients import VERSIONS, Version, YjsClient, YjsClients
from tests.support.yjs_values import (
    array,
    big_integer,
    binary,
    element,
    hook,
    mapping,
    subdocument,
    text,
    xml_text,
)


class YpyProcess:
    """The program :mod:`tests.support.ypy_client` as a child process."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def start(self, diagram: Diagram) -> dict[str, Any]:
        """Start the client in the room of a diagram, and return the content of the document."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.ypy_client", diagram.url, diagram.editor.cookie],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
        return self._answer()

    def run(self, **command: Any) -> dict[str, Any]:
        """Run a command of the program, and return the content after it."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.kill()
        self._process.communicate()

    def _answer(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the y-py client ended with exit code {self._process.wait(10)}"
        content: dict[str, Any] = json.loads(line)
        return content


@pytest.fixture
def y_py() -> Iterator[YpyProcess]:
    process = YpyProcess()
    yield process
    process.stop()


needs_y_py = pytest.mark.skipif(find_spec("y_py") is None, reason="y-py has no wheel for this Python")


def python_text(client: PycrdtClient) -> list[Any]:
    """Return the text of a pycrdt client in the form in which Yjs clients report it."""
    runs: list[Any] = []
    for content, attributes in client.text.diff():
        insert = content if isinstance(content, str) else {"embed": content}
        runs.append({"insert": insert, "attributes": attributes} if attributes else {"insert": insert})
    return runs


def edit_every_type(first: YjsClient, second: YjsClient, third: YjsClient) -> None:
    """Make edits to every shared type by three clients, some of them concurrent."""
    first.insert_text("text", 0, "Canvas Collab", bold=True)
    first.insert_embed("text", 0, {"image": "logo.svg"})
    second.insert_text("text", 0, "漢字 ")
    second.insert_text("text of emoji", 0, "😀😀")
    third.set_key("map", "shape", mapping(kind="rect", points=array(1, 2.5, -3), label=text("a label")))
    first.set_key("map", "shape of first", None)
    second.insert_values("array", 0, "one", {"two": [2, True]}, binary(b"\x00\x01\xff"))
    third.insert_values("array", 0, array(text("nested")))
    third.insert_values("xml", 0, element("svg", element("rect", id="r1"), xml_text("hello"), width="10"))
    first.set_key("map", "page", subdocument("page-1"))
    second.insert_values("array", 0, subdocument("page-2"))


def edit_others_content(first: YjsClient, second: YjsClient, third: YjsClient) -> None:
    """Edit what other clients made: formatting, deletions, split emoji, nested types."""
    first.format_text("text", 0, 6, italic=True)
    second.delete_text("text", 0, 1)
    second.delete_text("text of emoji", 0, 1)
    third.insert_text("text of emoji", 3, "|")
    first.insert_text(["map", "shape", "label"], 2, "long ")
    second.insert_values(["map", "shape", "points"], 1, "between")
    third.delete_key("map", "shape of first")
    first.set_attribute(["xml", 0], "width", "20")
    second.insert_text(["xml", 0, 1], 5, ", world", bold=True)
    third.delete_values(["xml", 0], 0)


def test_all_versions_of_y_websocket_converge_and_a_latecomer_has_it_all(diagram: Diagram, yjs: YjsClients) -> None:
    clients = [diagram.join(yjs, f"client {version}", version=version) for version in VERSIONS]

    edit_every_type(*clients)
    drawn = yjs.wait_converged(*clients)
    edit_others_content(*clients)
    changed = yjs.wait_converged(*clients)
    for client in clients:
        client.set_awareness({"name": client.name})
    yjs.wait_awareness(*clients, states=[{"name": client.name} for client in clients])

    latecomer = diagram.join(yjs, "latecomer")
    assert drawn.keys() == {"text", "text of emoji", "map", "array", "xml"}
    assert drawn["map"]["page"] == {"subdocument": "page-1"}
    assert changed != drawn
    assert yjs.wait_converged(latecomer, *clients) == changed
    yjs.wait_awareness(latecomer, states=[{}, *({"name": client.name} for client in clients)])


def test_a_new_client_finds_exactly_the_same_document_after_a_restart(diagram: Diagram, yjs: YjsClients) -> None:
    clients = [diagram.join(yjs, f"client {version}", version=version) for version in VERSIONS]
    edit_every_type(*clients)
    yjs.wait_converged(*clients)
    edit_others_content(*clients)
    content = yjs.wait_converged(*clients)
    snapshot = clients[0].snapshot
    for client in clients:
        client.destroy()

    diagram.daemon.stop()
    diagram.start()

    newcomer = diagram.join(yjs, "newcomer")
    assert newcomer.content == content
    assert newcomer.snapshot == snapshot


def test_values_that_only_javascript_has_are_kept(diagram: Diagram, yjs: YjsClients) -> None:
    writer, reader = diagram.join(yjs, "writer"), diagram.join(yjs, "reader")

    writer.set_key("map", "order of keys", {"z": 1, "a": 2, "m": {"y": 3, "b": 4}})
    writer.set_key("map", "big integer", big_integer(-5 * 10**17))
    writer.set_key("map", "page", subdocument("page-1", meta={"title": "Page 1"}, autoLoad=True))
    writer.insert_values("xml", 0, hook("date-picker"))
    writer.insert_text("text", 0, "marked", link={"href": "/", "half an emoji": "\ud83d", "beyond 64 bits": 2**70})
    content = json.dumps(yjs.wait_converged(writer, reader))

    assert json.dumps(diagram.join(yjs, "latecomer").content) == content
    for client in (writer, reader):
        client.destroy()
    diagram.daemon.stop()
    diagram.start()
    assert json.dumps(diagram.join(yjs, "newcomer").content) == content


@pytest.mark.parametrize("version", VERSIONS)
def test_edits_on_both_sides_of_a_lost_connection_are_merged_when_it_is_back(
    diagram: Diagram, yjs: YjsClients, version: Version
) -> None:
    here, away = diagram.join(yjs, "here"), diagram.join(yjs, "away", version=version)
    here.insert_text("text", 0, "before ")
    yjs.wait_converged(here, away)

    away.disconnect()
    away.wait_disconnected()
    away.insert_text("text", 7, "away ")
    here.insert_text("text", 7, "here ")
    away.connect()

    (run,) = yjs.wait_converged(here, away)["text"]
    assert sorted(run["insert"].split()) == ["away", "before", "here"]


def test_clients_reconnect_after_a_restart_of_the_server_and_lose_nothing(diagram: Diagram, yjs: YjsClients) -> None:
    clients = [diagram.join(yjs, f"client {version}", version=version) for version in VERSIONS]
    clients[0].insert_text("text", 0, "0")
    yjs.wait_converged(*clients)

    diagram.daemon.stop()
    for number, client in enumerate(clients, 1):
        assert client.wait_closed()[0] == 1012
        client.insert_text("text", 1, str(number))
    diagram.start(WS_PORT=diagram.daemon.ws_port)

    (run,) = yjs.wait_converged(*clients, timeout=20)["text"]
    assert sorted(run["insert"]) == ["0", "1", "2", "3"]


def test_a_pycrdt_client_and_y_websocket_clients_receive_each_others_edits(diagram: Diagram, yjs: YjsClients) -> None:
    browser = diagram.join(yjs, "browser")
    edit_every_type(browser, browser, browser)

    with PycrdtClient(diagram.url, headers=headers_of(diagram.editor)) as python:
        python.text.insert(0, "from pycrdt: ")
        python.map["python"] = "was here"
        browser.set_key("map", "browser", "was here too")
        python.wait_until(lambda: "browser" in python.map)
        python.text.insert(0, "!")

        assert python.map["shape"]["kind"] == "rect"
        expected = browser.content
        expected["text"] = python_text(python)
        expected["map"]["python"] = "was here"
        browser.wait_content(expected)


@needs_y_py
def test_a_y_py_client_takes_part_in_a_room_without_subdocuments(
    diagram: Diagram, yjs: YjsClients, y_py: YpyProcess
) -> None:
    browser = diagram.join(yjs, "browser")
    browser.insert_text("text", 0, "browser")
    browser.set_key("map", "browser", [1, "two"])
    assert y_py.start(diagram)["text"] == "browser"

    y_py.run(insert=[0, "y-py and "])
    y_py.run(set=["y-py", {"nested": True}])
    y_py.run(push="pushed")
    content = {"map": {"browser": [1, "two"], "y-py": {"nested": True}}, "array": ["pushed"]}
    browser.wait_content({"text": [{"insert": "y-py and browser"}], **content})

    browser.delete_text("text", 0, 5)
    y_py.run(wait={"text": "and browser", **content})
