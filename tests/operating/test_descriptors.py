"""The limit of file descriptors is raised as far as the system allows."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from canvas_collab.config.connections import WebSocketSettings
from canvas_collab.counters import Counters
from canvas_collab.descriptors import OTHER_DESCRIPTORS, raise_descriptor_limit
from canvas_collab.websocket import monitor
from canvas_collab.websocket.monitor import ConnectionMonitor
from canvas_collab.websocket.server import ServerFactory


@pytest.fixture
def low_limit() -> Iterator[int]:
    """Lower the soft limit of open files during the test; yields the hard limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_soft_limit_is_raised_to_the_hard_limit(low_limit: int) -> None:
    assert raise_descriptor_limit() == low_limit
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (low_limit, low_limit)


def test_a_system_that_refuses_leaves_the_limit_as_it_is(low_limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("not allowed to raise maximum limit")

    with monkeypatch.context() as patch:
        patch.setattr(resource, "setrlimit", refuse)
        assert raise_descriptor_limit() == 256


def test_too_few_descriptors_are_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "raise_descriptor_limit", lambda: 100)
    settings = WebSocketSettings(max_connections=50)
    factory = ServerFactory(Clock(), settings, None, None, None, Counters(), None, None)  # type: ignore[arg-type]
    monitoring = ConnectionMonitor(Clock(), factory, 20)
    with capturedLogs() as events:
        monitoring.startService()
    assert [(event["log_format"], event["allowed"], event["wanted"]) for event in events] == [
        ("too few file descriptors", 100, 50 + OTHER_DESCRIPTORS)
    ]
