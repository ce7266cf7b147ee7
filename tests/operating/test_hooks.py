"""The hooks of pre-commit and `make lint` run the same commands."""

from __future__ import annotations

import re

from tests.support.daemons import ROOT


def lint_commands() -> list[str]:
    """The commands of the Makefile's target ``lint``, with the default of ``VENV``."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    venv = re.search(r"^VENV \?= (.*)$", makefile, re.MULTILINE)
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    assert venv
    assert recipe
    return [line.strip().replace("$(VENV)", venv[1]) for line in recipe[1].splitlines()]


def test_the_hooks_run_what_make_lint_runs_and_nothing_else() -> None:
    config = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert re.findall(r"^ +entry: (.*)$", config, re.MULTILINE) == lint_commands()


def test_the_hooks_download_nothing_and_check_everything() -> None:
    config = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    count = len(re.findall(r"^ +- id: ", config, re.MULTILINE))
    assert re.findall(r"repo: (.*)$", config, re.MULTILINE) == ["local"]
    for line in ("language: system", "pass_filenames: false", "always_run: true"):
        assert len(re.findall(rf"^ +{line}$", config, re.MULTILINE)) == count
    assert "://" not in config
