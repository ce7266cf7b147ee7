"""The settings: what is read, what is refused, and how."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from canvas_collab.config import ConfigurationError, Settings
from canvas_collab.variables import origin_of

PRODUCTION = {
    "APP_ENV": "production",
    "DATABASE_URL": "postgresql://app@db/app",
    "BETTER_AUTH_SECRET": "x" * 32,
    "BETTER_AUTH_URL": "https://app.example.com",
}


def problems(**environment: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        Settings.from_environment(environment)
    return caught.value.problems


def test_an_empty_environment_is_one_for_development() -> None:
    settings = Settings.from_environment({})
    assert not settings.production
    assert (settings.ws_host, settings.ws_port, settings.health_port) == ("127.0.0.1", 3001, 3002)
    assert settings.data_dir == Path(".canvas-collab")


def test_what_is_set_is_read_with_its_type() -> None:
    settings = Settings.from_environment(
        {"WS_PORT": " 4000 ", "SNAPSHOT_DEBOUNCE": "0.5", "MIGRATE": "off", "WS_PATH_PREFIX": "/collab/"}
    )
    assert settings.ws_port == 4000
    assert settings.snapshot_debounce == 0.5
    assert settings.migrate is False
    assert settings.ws_path_prefix == "/collab"


def test_an_empty_variable_counts_as_not_set() -> None:
    assert Settings.from_environment({"WS_PORT": "", "LOG_LEVEL": "  "}) == Settings()


def test_node_env_is_honoured_and_app_env_counts_more() -> None:
    assert Settings.from_environment({**PRODUCTION, "APP_ENV": "", "NODE_ENV": "production"}).production
    assert not Settings.from_environment({"APP_ENV": "development", "NODE_ENV": "production"}).production


def test_every_problem_is_reported_at_once_with_its_variable() -> None:
    found = problems(WS_PORT="http", LOG_LEVEL="loud", SNAPSHOT_DEBOUNCE="soon", NODE_ENV="test")
    assert [sentence.split()[0] for sentence in found] == ["NODE_ENV", "LOG_LEVEL", "WS_PORT", "SNAPSHOT_DEBOUNCE"]
    assert "development, production" in found[0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WS_PORT", "65536"),
        ("WS_PORT", "-1"),
        ("WS_PORT", "²"),
        ("DATABASE_URL", "mysql://db/app"),
        ("BETTER_AUTH_URL", "app.example.com"),
        ("BETTER_AUTH_URL", "https://app.example.com:port"),
        ("ALLOWED_ORIGINS", "https://a.example, b.example"),
        ("ALLOWED_ORIGINS", "https://a.example/path"),
        ("MIGRATE", "yes"),
        ("REJECT_WITH", "silence"),
        ("WS_PATH_PREFIX", "collab"),
        ("SESSION_RECHECK", "0"),
        ("SESSION_RECHECK", "nan"),
        ("FANOUT_SHARE", "1"),
        ("MAX_MESSAGE_SIZE", "1e6"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_name(name: str, value: str) -> None:
    [sentence] = problems(**{name: value})
    assert sentence.startswith(f"{name} must be")


@pytest.mark.parametrize("missing", ["DATABASE_URL", "BETTER_AUTH_SECRET", "BETTER_AUTH_URL"])
def test_production_does_not_start_without(missing: str) -> None:
    [sentence] = problems(**{**PRODUCTION, missing: ""})
    assert sentence.startswith(f"{missing} must")


def test_production_does_not_start_with_a_short_secret() -> None:
    [sentence] = problems(**{**PRODUCTION, "BETTER_AUTH_SECRET": "x" * 31})
    assert "32 characters" in sentence


def test_a_database_of_the_application_needs_its_secret() -> None:
    [sentence] = problems(DATABASE_URL="postgresql://db/app")
    assert sentence.startswith("BETTER_AUTH_SECRET")


def test_a_snapshot_cannot_be_due_before_the_document_rests() -> None:
    [sentence] = problems(SNAPSHOT_DEBOUNCE="5", SNAPSHOT_MAX_WAIT="1")
    assert sentence.startswith("SNAPSHOT_MAX_WAIT")


def test_the_applications_own_origin_may_come_in() -> None:
    settings = Settings.from_environment(PRODUCTION)
    assert settings.origin_allowed("https://app.example.com")
    assert settings.origin_allowed("https://APP.example.com:443")
    for foreign in ("http://app.example.com", "https://app.example.com:444", "https://evil.example", "null", "x"):
        assert not settings.origin_allowed(foreign)
    assert not settings.origin_allowed("http://localhost:3000")


def test_in_development_any_page_on_localhost_may_come_in() -> None:
    settings = Settings()
    for origin in ("http://localhost:3000", "http://127.0.0.1:8080", "http://[::1]:1"):
        assert settings.origin_allowed(origin)
    assert not settings.origin_allowed("http://localhost.evil.example")


def test_a_list_of_origins_replaces_the_default() -> None:
    settings = Settings.from_environment(
        {**PRODUCTION, "ALLOWED_ORIGINS": "https://a.example, https://b.example:8443/"}
    )
    assert settings.origin_allowed("https://b.example:8443")
    assert not settings.origin_allowed("https://app.example.com")


def test_an_origin_is_scheme_host_and_port() -> None:
    assert origin_of("https://Host:8443/path?q#f") == "https://host:8443"
    assert origin_of("http://[::1]:80/") == "http://[::1]"
    assert origin_of("capacitor://localhost") == "capacitor://localhost"
    assert origin_of("null") is None
    assert origin_of("http://[bad") is None


def test_every_setting_says_what_it_is_for() -> None:
    for field in attrs.fields(Settings):
        assert field.metadata["purpose"].endswith(".")
