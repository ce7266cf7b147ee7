"""Which origins may connect with a cookie."""

from __future__ import annotations

from canvas_collab.access.origins import OriginPolicy
from canvas_collab.config.variables import origin_of, origins


def test_the_applications_own_origin_is_allowed() -> None:
    policy = OriginPolicy(application_url="https://app.example.com")
    assert policy.allows("https://app.example.com")
    assert policy.allows("https://APP.example.com:443")
    for foreign in ("http://app.example.com", "https://app.example.com:444", "https://evil.example", "null", "x"):
        assert not policy.allows(foreign)
    assert not policy.allows("http://localhost:3000")


def test_in_development_any_origin_on_localhost_is_allowed() -> None:
    policy = OriginPolicy(allows_localhost=True)
    for origin in ("http://localhost:3000", "http://127.0.0.1:8080", "http://[::1]:1"):
        assert policy.allows(origin)
    assert not policy.allows("http://localhost.evil.example")


def test_a_list_of_origins_replaces_the_default() -> None:
    policy = OriginPolicy(
        origins("https://a.example, https://b.example:8443/"), "https://app.example.com", allows_localhost=True
    )
    assert policy.allows("https://b.example:8443")
    assert not policy.allows("https://app.example.com")


def test_an_origin_is_scheme_host_and_port() -> None:
    assert origin_of("https://Host:8443/path?q#f") == "https://host:8443"
    assert origin_of("http://[::1]:80/") == "http://[::1]"
    assert origin_of("capacitor://localhost") == "capacitor://localhost"
    assert origin_of("null") is None
    assert origin_of("http://[bad") is None
