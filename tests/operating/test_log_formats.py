"""Events are written as JSON or as text, one a line, with the same fields; those of security have one shape."""

from __future__ import annotations

import ast
import io
import json
import os
import pty
import re
import subprocess
import sys
import threading

import pytest
from twisted.logger import Logger, LogLevel

from canvas_collab.config.settings import Settings
from canvas_collab.database.migrations import available_migrations
from canvas_collab.logs import FORMATS, log_observer
from tests.conftest import StartDaemon
from tests.support.daemons import PATIENCE, ROOT, daemon_environment
from tests.support.databases import TestDatabase

PAGE = ROOT / "docs" / "log-events.md"

#: What every security event has, besides its name.
SHAPE = {"reason", "room", "user", "client", "code"}


def written(format_name: str, event: str, **fields: object) -> str:
    """Return what an event is written as."""
    stream = io.StringIO()
    Logger("source", observer=log_observer("info", stream, FORMATS[format_name])).info(event, **fields)
    return stream.getvalue()


def test_text_has_the_fields_of_json_on_one_line() -> None:
    fields = {"room": "diagram-1", "count": 2, "user": None, "isOn": True}
    event = json.loads(written("json", "connection opened", **fields))
    text = written("text", "connection opened", **fields)
    assert re.fullmatch(
        r"\S+  info      connection opened source=source room=diagram-1 count=2 user=null isOn=true\n", text
    )
    assert set(event) == {"time", "level", "event", "source", *fields}


@pytest.mark.parametrize(
    "value", ["", "two words", "a=b", '"', "\\", "\n\r\t", "\x1b[31m", "\x7f", "\x9b31m", "\u2028"]
)
def test_text_quotes_what_would_be_ambiguous_or_move_the_cursor(value: str) -> None:
    line = written("text", "connection denied", room=value).removesuffix("\n")
    assert line.isprintable()
    assert json.loads(line.partition(" room=")[2]) == value


@pytest.mark.parametrize("format_name", FORMATS)
def test_half_of_a_surrogate_pair_can_be_written(format_name: str) -> None:
    line = written(format_name, "connections kicked", user="Größe \ud800")
    assert r"\ud800" in line.encode().decode()
    if format_name == "json":
        assert json.loads(line)["user"] == "Größe \ud800"


def test_text_keeps_names_that_are_printable_and_a_failure_on_its_line() -> None:
    assert written("text", "connection denied", room="diagram-Größe").endswith(" room=diagram-Größe\n")
    stream = io.StringIO()
    logger = Logger("source", observer=log_observer("info", stream, FORMATS["text"]))
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logger.failure("handshake failed", level=LogLevel.critical)
    assert stream.getvalue().count("\n") == 1
    assert "Traceback" in stream.getvalue()


def test_the_daemon_writes_the_format_that_is_set_and_json_unless_it_is_on_a_terminal(
    empty_database: TestDatabase, start_daemon: StartDaemon
) -> None:
    empty_database.create_auth_tables()
    [serving] = start_daemon(empty_database).events("serving")
    names = [f"{migration.number:04}_{migration.name}" for migration in available_migrations()]
    assert serving["migrations"].split() == names
    [serving] = start_daemon(empty_database, LOG_FORMAT="json").events("serving")
    assert serving["migrations"] == ""
    daemon = start_daemon(empty_database, LOG_FORMAT="text")
    assert daemon.events() == []
    assert re.search(
        r'^\S+  info      serving source=.* settings=".*DATABASE_URL=\(hidden\)', daemon.output, re.MULTILINE
    )


def test_on_a_terminal_it_is_text(database: TestDatabase) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "tests.support.twistd", "--nodaemon", "--pidfile=", "canvas-collab"]
    with subprocess.Popen(
        command, cwd=ROOT, env=daemon_environment(database), stdin=theirs, stdout=theirs, stderr=theirs
    ) as daemon:
        os.close(theirs)
        with open(ours, encoding="utf-8", errors="replace") as terminal:
            timer = threading.Timer(PATIENCE, daemon.kill)
            timer.start()
            try:
                line = next(line for line in terminal if " serving " in line)
            finally:
                timer.cancel()
                daemon.terminate()
    assert re.match(r"\S+  info      serving source=", line)


def security_events() -> set[str]:
    """Return the names in the table of security events."""
    section = PAGE.read_text(encoding="utf-8").split("\n## Security events\n", 1)[1].split("\n## ", 1)[0]
    return set(re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE))


def test_every_security_event_is_logged_with_the_documented_fields() -> None:
    found: dict[str, set[str]] = {}
    for path in (ROOT / "canvas_collab").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                name = node.args[0].value
                if isinstance(node.func, ast.Attribute) and name in security_events():
                    assert {keyword.arg for keyword in node.keywords} >= SHAPE, (path, name)
                    found.setdefault(name, set()).add(path.name)
    assert set(found) == security_events()


def test_the_filter_for_fail2ban_matches_the_client_of_a_denial_or_a_violation_and_nothing_else() -> None:
    [pattern] = re.findall(r"^failregex = (.*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    # What fail2ban puts in place of the tag, shortened.
    expression = re.compile(pattern.replace("<ADDR>", r"(?P<address>[\d.]+|[\da-f:]+)"))

    def address(event: str, client: str, reason: str = "x", **codes: object) -> str | None:
        line = written("json", event, reason=reason, room="diagram-1", user=None, client=client, **codes)
        found = expression.search(line)
        return found["address"] if found else None

    assert address("connection denied", "192.0.2.7:4711", code=4401, status=401) == "192.0.2.7"
    assert address("connection denied", "2001:db8::1", code=4403, status=403) == "2001:db8::1"
    assert address("connection ended", "192.0.2.7", code=4400) == "192.0.2.7"
    assert address("connection denied", "192.0.2.7", code=4503, status=503) is None
    assert address("connection ended", "192.0.2.7", code=4401) is None
    assert address("connection closed", "192.0.2.7", code=4400) is None
    forged = 'x", "room": "", "user": null, "client": "198.51.100.1", "code": 4401, "status": 401}'
    assert address("connection denied", "192.0.2.7", forged, code=4401, status=401) == "192.0.2.7"
    assert address("connection closed", "192.0.2.7", f'"event": "connection denied", {forged}', code=1000) is None


def test_the_setting_is_read_in_any_case() -> None:
    assert Settings.from_environment({"LOG_FORMAT": "Text"}).process.log_format == "text"
