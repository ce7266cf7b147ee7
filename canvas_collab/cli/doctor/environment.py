"""Checks of the environment variables."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs

from canvas_collab.cli.doctor.finding import Finding, ok, problem, warning
from canvas_collab.config.application import AuthSettings
from canvas_collab.config.setting import Variable, variable_of
from canvas_collab.config.settings import Settings
from canvas_collab.tracing.problems import tracing_problems

CHECK = "environment"

#: How similar to the name of a setting the name of another variable has to be, to be taken for a misspelling.
SIMILARITY = 0.87

#: The secrets that Better Auth uses if an application sets none begin with this.
DEFAULT_SECRET = "better-auth-secret-"

_CORRECT = "Correct it in the daemon's environment; docs/configuration.md describes every setting."
_SECRET = (
    "Copy the value of BETTER_AUTH_SECRET (or of the first entry of BETTER_AUTH_SECRETS) from the application's "
    "environment."
)
_REMEDIES = {
    "BETTER_AUTH_SECRET": _SECRET,
    "DATABASE_URL": "Set it to the URL of the application's database, postgresql://user:password@host/name.",
    "BETTER_AUTH_URL": "Set it to the URL that users open in the browser, such as https://app.example.com.",
}


def check_environment(environment: Mapping[str, str]) -> list[Finding]:
    """Check the variables that the daemon would read."""
    settings, sentences = Settings.read(environment)
    sentences += tracing_problems(settings.process.tracing, environment)
    findings = [
        problem(CHECK, sentence, _REMEDIES.get(sentence.split(maxsplit=1)[0], _CORRECT)) for sentence in sentences
    ]
    findings += _misspelled(environment)
    findings += _secret_findings(settings.auth)
    findings += _file_findings(environment)
    findings += _process_findings(settings.process.production, bool(settings.database.url))
    return findings or [ok(CHECK, "Every setting can be used.")]


def _variables() -> list[Variable]:
    groups = [field.metadata["group"] for field in attrs.fields(Settings)]
    return [variable_of(field) for group in groups for field in attrs.fields(group)]


def _misspelled(environment: Mapping[str, str]) -> Iterator[Finding]:
    known = {name for each in _variables() for name in (each.name, *each.aliases)}
    known |= {each.file_name for each in _variables() if each.is_secret}
    for name in sorted(set(environment) - known):
        if similar := difflib.get_close_matches(name, known - set(environment), 1, SIMILARITY):
            yield warning(
                CHECK,
                f"{name} is not a setting, and looks like {similar[0]}, which is not set.",
                f"Rename it to {similar[0]}, or ignore this if another program reads it.",
            )


def _secret_findings(auth: AuthSettings) -> Iterator[Finding]:
    if auth.secret[:1] in ("'", '"'):
        yield problem(
            CHECK,
            "BETTER_AUTH_SECRET begins with a quotation mark, which counts as a part of the secret.",
            "Remove the quotation marks: what reads this environment file does not.",
        )
    if auth.secret.startswith(DEFAULT_SECRET):
        yield problem(
            CHECK,
            "BETTER_AUTH_SECRET is Better Auth's default, which everybody knows: anyone can sign session cookies.",
            "Generate a secret with `openssl rand -base64 32`, and set it for the application and for the daemon.",
        )


def _file_findings(environment: Mapping[str, str]) -> Iterator[Finding]:
    for variable in _variables():
        path = environment.get(variable.file_name, "").strip() if variable.is_secret else ""
        try:
            mode = Path(path).stat().st_mode if path else 0
        except OSError:
            # That the file cannot be read is among the problems of the settings.
            continue
        if mode & 0o007:
            yield warning(
                CHECK,
                f"Every user of this machine can read {path}, the file of {variable.file_name}.",
                f"Run `chmod o-rwx {path}`.",
            )


def _process_findings(is_production: bool, has_database: bool) -> Iterator[Finding]:
    if has_database and not is_production:
        yield warning(
            CHECK,
            "APP_ENV is development: pages on localhost may connect with users' cookies, and less is required.",
            "Set APP_ENV=production on a server.",
        )
