"""The check of the ``Origin`` header, for handshakes with the session cookie that a browser adds for any page."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from attrs import frozen

from canvas_collab.config.variables import origin_of

_LOCALHOST = ("localhost", "127.0.0.1", "::1")


@frozen
class OriginPolicy:
    """The origins whose pages may connect with a cookie.

    :ivar allowed: if not empty, exactly these origins are allowed.
    :ivar application_url: if not empty and `allowed` is empty, the origin of this URL is allowed.
    :ivar allows_localhost: whether pages on localhost are allowed as well if `allowed` is empty.
    """

    allowed: Sequence[str] = ()
    application_url: str = ""
    allows_localhost: bool = False

    def allows(self, origin: str) -> bool:
        """Return whether pages of `origin`, the value of an ``Origin`` header, may connect."""
        candidate = origin_of(origin)
        if candidate is None:
            return False
        if self.allowed:
            return candidate in self.allowed
        if self.application_url and candidate == origin_of(self.application_url):
            return True
        return self.allows_localhost and urlsplit(candidate).hostname in _LOCALHOST
