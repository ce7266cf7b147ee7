"""What the measured server was built from: the interpreter, and whether its modules are compiled."""

from __future__ import annotations

import platform
import sysconfig
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any


def interpreter() -> str:
    """The interpreter, its version, and how it was built."""
    arguments = str(sysconfig.get_config_var("CONFIG_ARGS") or "")
    if sysconfig.get_config_var("prefix") == "/usr":
        kind = "of the system"
    elif "--enable-optimizations" in arguments:
        kind = "built with --enable-optimizations"
    else:
        kind = "built without --enable-optimizations"
    return f"{platform.python_implementation()} {platform.python_version()} {kind} ({platform.python_compiler()})"


def mode(health: Mapping[str, Any]) -> str:
    """Whether a daemon runs compiled or interpreted, from what its ``/health`` reports.

    Daemons that do not report it are judged by the file that the codec is imported from.
    """
    for value in health.values():
        if isinstance(value, str) and value.startswith(("compiled", "interpreted")):
            return value
    spec = find_spec("canvas_collab.protocol.update")
    return "compiled" if spec is not None and str(spec.origin).endswith(".so") else "interpreted"
