"""How the text of a variable is read.  Each function takes the text, or returns one that does, and raises ValueError
with what the variable must be.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urlsplit

#: The longest path of a unix socket on every system, in bytes.
MAX_SOCKET_PATH = 103


def text(value: str) -> str:
    """Any text."""
    return value


def one_of(*choices: str) -> Callable[[str], str]:
    """One of these words, in any case."""

    def parse(value: str) -> str:
        if value.lower() not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return value.lower()

    return parse


def number(least: float, most: float) -> Callable[[str], float]:
    """A number within these bounds."""

    def parse(value: str) -> float:
        try:
            number = float(value)
        except ValueError:
            number = float("nan")
        if not least <= number <= most:
            raise ValueError(f"must be a number from {least:g} to {most:g}")
        return number

    return parse


def integer(least: int, most: int) -> Callable[[str], int]:
    """A whole number within these bounds."""

    def parse(value: str) -> int:
        if not value.isascii() or not value.isdigit() or not least <= int(value) <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(value)

    return parse


def limit(least: int, most: int) -> Callable[[str], int]:
    """A whole number within these bounds, or 0 for no limit."""

    def parse(value: str) -> int:
        if value == "0":
            return 0
        try:
            return integer(least, most)(value)
        except ValueError as error:
            raise ValueError(f"{error}, or 0 for no limit") from None

    return parse


def switch(value: str) -> bool:
    """``on`` or ``off``."""
    return one_of("on", "off")(value) == "on"


def schema_name(value: str) -> str:
    """The name of a schema, which needs no quotes."""
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", value) or value.startswith("pg_"):
        raise ValueError("must be a name of lower-case letters, digits and _ that does not begin with pg_")
    return value


def http_url(value: str) -> str:
    """The URL of a site."""
    if origin_of(value) is None or urlsplit(value).scheme not in ("http", "https"):
        raise ValueError("must be an http:// or https:// URL")
    return value


def origins(value: str) -> tuple[str, ...]:
    """Origins of pages, separated by commas."""
    origins = []
    for part in filter(None, (part.strip() for part in value.split(","))):
        origin = origin_of(part)
        if origin is None or urlsplit(part).path not in ("", "/"):
            raise ValueError("must be origins such as https://app.example.com, separated by commas")
        origins.append(origin)
    return tuple(origins)


def path_prefix(value: str) -> str:
    """The beginning of a URL path, without a slash at its end."""
    if value and not value.startswith("/"):
        raise ValueError("must be empty or begin with a slash, such as /collab")
    return value.rstrip("/")


def path(value: str) -> str:
    """A URL path."""
    if not value.startswith("/"):
        raise ValueError("must begin with a slash, such as /hocuspocus")
    return value


def socket_path(value: str) -> str:
    """The path of a unix socket."""
    if len(value.encode()) > MAX_SOCKET_PATH or "\0" in value:
        raise ValueError(f"must be a path of at most {MAX_SOCKET_PATH} bytes")
    return value


def origin_of(url: str) -> str | None:
    """The origin (``scheme://host[:port]``, in lower case) of a URL, or None if it has none."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if not parts.scheme or not parts.hostname:
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    if port is None or port == {"http": 80, "https": 443}.get(parts.scheme):
        return f"{parts.scheme}://{host}"
    return f"{parts.scheme}://{host}:{port}"
