"""The daemon's metrics, as a scraper reads them."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Mapping

_SAMPLE = re.compile(r"^(\w+(?:\{[^}]*\})?) (\S+)$", re.MULTILINE)


def parse(text: str) -> dict[str, float]:
    """The samples of a page in Prometheus's text format, by name, with the labels if there are some."""
    return {name: float(value) for name, value in _SAMPLE.findall(text)}


def scrape(health_url: str) -> Mapping[str, float]:
    """Request the metrics of a daemon.

    :raises OSError: if it does not answer.
    """
    with urllib.request.urlopen(f"{health_url}/metrics", timeout=10) as response:
        return parse(response.read().decode())
