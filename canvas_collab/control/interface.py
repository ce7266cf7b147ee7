"""What the daemon and the commands agree on: where the control socket is, and the limits of requests."""

from __future__ import annotations

from collections.abc import Mapping

#: The bounds of the time that draining may take, in seconds.
MAX_DRAIN_TIME = 3600.0


def control_path(configured: str, environment: Mapping[str, str]) -> str:
    """Return the path of the control socket: the configured one, or one in systemd's runtime directory, or none."""
    if configured:
        return configured
    directory = environment.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    return f"{directory}/control.sock" if directory else ""
