"""Which web pages may connect with the session cookie that the browser adds by itself."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from attrs import frozen

from canvas_collab.config.variables import origin_of

_LOCALHOST = ("localhost", "127.0.0.1", "::1")


@frozen
class OriginPolicy:
    """The origins whose pages may connect with a cookie.

    :ivar allowed: these origins and no others, if there are any.
    :ivar application_url: else the origin of this URL, if it is not empty.
    :ivar allows_localhost: whether pages on localhost may connect too, where `allowed` is empty.
    """

    allowed: Sequence[str] = ()
    application_url: str = ""
    allows_localhost: bool = False

    def allows(self, origin: str) -> bool:
        """Whether pages of `origin`, as the ``Origin`` header has it, may connect."""
        candidate = origin_of(origin)
        if candidate is None:
            return False
        if self.allowed:
            return candidate in self.allowed
        if self.application_url and candidate == origin_of(self.application_url):
            return True
        return self.allows_localhost and urlsplit(candidate).hostname in _LOCALHOST
