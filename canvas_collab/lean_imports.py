"""Imports Twisted's networking and Autobahn without what they bring along and the daemon does not use: TLS, and WAMP.

They take a fifth of the daemon's memory when it is idle, and of the time that it takes to start.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from types import ModuleType
from typing import Any, cast

import autobahn

#: The command of twistd, after which the daemon's own arguments follow.
COMMAND = "canvas-collab"

#: The modules of Twisted that import OpenSSL if it is installed, and do without it otherwise.
NETWORKING = ("twisted.internet.tcp", "twisted.internet.posixbase", "twisted.internet.endpoints")

#: The types of endpoints that need no TLS. Any other may: plugins can add types.
PLAIN_ENDPOINTS = frozenset({"tcp", "tcp4", "tcp6", "unix", "systemd", "fd"})


def import_networking(command_line: Sequence[str]) -> None:
    """Import Twisted's networking and Autobahn, as if OpenSSL were not installed if the command line allows it.

    Connections to PostgreSQL are encrypted by libpq, which has an OpenSSL of its own.

    :param command_line: twistd's.
    """
    with nullcontext() if may_need_tls(command_line) else _hidden("OpenSSL"):
        for name in NETWORKING:
            importlib.import_module(name)
        _import_autobahn()


def may_need_tls(command_line: Sequence[str]) -> bool:
    """Return whether an endpoint on the command line may need TLS."""
    if COMMAND not in command_line:
        return True
    arguments = command_line[command_line.index(COMMAND) + 1 :]
    # With "--ws-endpoint=tcp:80", the endpoint follows the first equals sign.
    endpoints = (argument.partition("=")[2] if argument.startswith("--") else argument for argument in arguments)
    return any(endpoint and endpoint.partition(":")[0] not in PLAIN_ENDPOINTS for endpoint in endpoints)


def _import_autobahn() -> None:
    """Import Autobahn's WebSockets without WAMP and the cryptography that it needs, which the package itself imports.

    If that fails, as it may with another version, the package is imported as usual when it is used.
    """
    name = "autobahn.twisted"
    if name in sys.modules:
        return
    package = ModuleType(name)
    package.__path__ = [f"{directory}/twisted" for directory in autobahn.__path__]
    sys.modules[name] = package
    with suppress(ImportError, AttributeError):
        importlib.import_module(f"{name}.websocket")
        return
    for module in [module for module in sys.modules if module.startswith(name)]:
        del sys.modules[module]


@contextmanager
def _hidden(name: str) -> Iterator[None]:
    """Let imports of a module fail, unless it was imported already."""
    if name in sys.modules:
        yield
        return
    # Python's documented way to prevent an import.
    cast("dict[str, Any]", sys.modules)[name] = None
    try:
        yield
    finally:
        del sys.modules[name]
