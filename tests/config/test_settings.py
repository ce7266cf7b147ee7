"""Reading the settings from the environment, and refusing invalid ones."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from canvas_collab.config.setting import variable_of
from canvas_collab.config.settings import ConfigurationError, Settings

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


def test_an_empty_environment_is_valid_for_development() -> None:
    settings = Settings.from_environment({})
    assert not settings.process.production
    assert (settings.listen.ws_host, settings.listen.ws_port, settings.listen.health_port) == ("127.0.0.1", 3001, 3002)
    assert settings.process.data_dir == Path(".canvas-collab")


def test_what_is_set_is_read_with_its_type() -> None:
    settings = Settings.from_environment(
        {"WS_PORT": " 4000 ", "SNAPSHOT_DEBOUNCE": "0.5", "MIGRATE": "off", "WS_PATH_PREFIX": "/collab/"}
    )
    assert settings.listen.ws_port == 4000
    assert settings.snapshots.debounce == 0.5
    assert settings.database.migrate is False
    assert settings.routing.ws_path_prefix == "/collab"


def test_0_is_no_limit_where_that_makes_sense_and_a_refusal_says_so() -> None:
    settings = Settings.from_environment({"MAX_BYTES_PER_SECOND": "0", "MAX_ROOMS_PER_USER": "0"})
    assert (settings.rates.max_bytes, settings.user_limits.max_rooms) == (0, 0)
    assert problems(MAX_MESSAGES_PER_SECOND="5") == [
        "MAX_MESSAGES_PER_SECOND must be a whole number from 10 to 1000000000, or 0 for no limit."
    ]


def test_an_empty_variable_counts_as_not_set() -> None:
    assert Settings.from_environment({"WS_PORT": "", "LOG_LEVEL": "  "}) == Settings()


def test_the_prefix_of_rooms_may_be_empty() -> None:
    assert Settings.from_environment({"ROOM_PREFIX": ""}).routing.room_prefix == ""
    assert Settings.from_environment({}).routing.room_prefix == "diagram-"


def test_app_env_takes_precedence_over_node_env() -> None:
    assert Settings.from_environment({**PRODUCTION, "APP_ENV": "", "NODE_ENV": "production"}).process.production
    assert not Settings.from_environment({"APP_ENV": "development", "NODE_ENV": "production"}).process.production


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
        ("MAX_BYTES_PER_SECOND", "1024"),
        ("MAX_ROOMS_PER_USER", "-1"),
    ],
)
def test_an_invalid_value_is_refused_with_the_variables_name(name: str, value: str) -> None:
    [sentence] = problems(**{name: value})
    assert sentence.startswith(f"{name} must be")


@pytest.mark.parametrize("missing", ["DATABASE_URL", "BETTER_AUTH_SECRET", "BETTER_AUTH_URL"])
def test_production_does_not_start_without(missing: str) -> None:
    [sentence] = problems(**{**PRODUCTION, missing: ""})
    assert sentence.startswith(f"{missing} must")


def test_production_does_not_start_with_a_short_secret() -> None:
    [sentence] = problems(**{**PRODUCTION, "BETTER_AUTH_SECRET": "x" * 31})
    assert "32 characters" in sentence


def test_a_database_url_requires_the_secret() -> None:
    [sentence] = problems(DATABASE_URL="postgresql://db/app")
    assert sentence.startswith("BETTER_AUTH_SECRET")


@pytest.mark.parametrize("environment", [{}, {"APP_ENV": "production"}])
def test_commands_need_the_url_of_the_database_and_nothing_else(environment: dict[str, str]) -> None:
    settings = Settings.from_environment({**environment, "DATABASE_URL": "postgresql://db/app"}, for_daemon=False)
    assert settings.database.url == "postgresql://db/app"


def test_commands_refuse_a_variable_that_cannot_be_used() -> None:
    with pytest.raises(ConfigurationError, match="WS_PORT must be"):
        Settings.from_environment({"WS_PORT": "http"}, for_daemon=False)


def test_what_cannot_be_used_is_read_as_its_default_beside_the_problems() -> None:
    settings, found = Settings.read({"WS_PORT": "http", "HEALTH_PORT": "4002"})
    assert (settings.listen.ws_port, settings.listen.health_port) == (3001, 4002)
    assert [sentence.split()[0] for sentence in found] == ["WS_PORT"]


def test_the_longest_wait_for_a_snapshot_is_not_shorter_than_the_debounce() -> None:
    [sentence] = problems(SNAPSHOT_DEBOUNCE="5", SNAPSHOT_MAX_WAIT="1")
    assert sentence.startswith("SNAPSHOT_MAX_WAIT")


def test_every_setting_says_what_it_is_for() -> None:
    for group in attrs.fields(Settings):
        for field in attrs.fields(group.metadata["group"]):
            assert variable_of(field).doc.endswith(".")


def test_no_two_settings_have_the_same_variable() -> None:
    names = [
        name
        for group in attrs.fields(Settings)
        for field in attrs.fields(group.metadata["group"])
        for name in (variable_of(field).name, *variable_of(field).aliases)
    ]
    assert len(names) == len(set(names))


def test_a_secret_can_be_in_a_file_and_the_variable_itself_counts_more(tmp_path: Path) -> None:
    url, secret = tmp_path / "url", tmp_path / "secret"
    url.write_text("postgresql://app@db/app\n")
    secret.write_text("y" * 40 + "\n")
    environment = {**PRODUCTION, "DATABASE_URL": "", "BETTER_AUTH_SECRET": ""}
    environment.update(DATABASE_URL_FILE=str(url), BETTER_AUTH_SECRET_FILE=str(secret))
    settings = Settings.from_environment(environment)
    assert (settings.database.url, settings.auth.secret) == ("postgresql://app@db/app", "y" * 40)
    assert Settings.from_environment({**environment, "BETTER_AUTH_SECRET": "z" * 40}).auth.secret == "z" * 40


def test_a_file_with_a_secret_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    found = problems(DATABASE_URL_FILE=str(tmp_path / "none"), BETTER_AUTH_SECRET_FILE=str(binary))
    assert found == [
        "DATABASE_URL_FILE must name a file that can be read: No such file or directory.",
        "BETTER_AUTH_SECRET_FILE must name a text file in UTF-8.",
    ]


def test_only_secrets_can_be_in_files() -> None:
    assert Settings.from_environment({"WS_PORT_FILE": "/no/such/file"}) == Settings()


def test_secrets_are_in_no_representation_of_the_settings() -> None:
    settings = Settings.from_environment({**PRODUCTION, "DATABASE_URL": "postgresql://app:hush@db/app"})
    assert "hush" not in repr(settings)
    assert PRODUCTION["BETTER_AUTH_SECRET"] not in repr(settings)


@pytest.mark.parametrize("written", ["1234567", "1234567.5", "0.05", "10000000000"])
def test_a_number_is_listed_as_it_was_set(written: str) -> None:
    settings = Settings.from_environment({"HISTORY_RETENTION": written})
    assert settings.changed() == {"HISTORY_RETENTION": written}


def test_what_is_not_at_its_default_is_listed_and_secrets_are_hidden() -> None:
    settings = Settings.from_environment({**PRODUCTION, "MIGRATE": "off", "WS_PORT": "3001", "FLUSH_MAX_MS": "5"})
    assert settings.changed() == {
        "DATABASE_URL": "(hidden)",
        "MIGRATE": "off",
        "BETTER_AUTH_SECRET": "(hidden)",
        "BETTER_AUTH_URL": "https://app.example.com",
        "APP_ENV": "production",
        "FLUSH_MAX_MS": "5",
    }
