"""The systemd units: systemd accepts them, they are sandboxed, and the service starts what its unit says."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from canvas_collab.config.settings import Settings
from tests.support.daemons import ROOT

UNITS = sorted(path for path in (ROOT / "systemd").iterdir() if path.suffix in (".service", ".socket", ".timer"))

#: What `systemd-analyze security` may say at most: 0 is a perfect sandbox, 10 none.
EXPOSURE = {"canvas-collab.service": 1.5, "canvas-collab-backup.service": 1.5}


@pytest.fixture
def systemd_analyze() -> str:
    path = shutil.which("systemd-analyze")
    if path is None:
        if "CI" in os.environ:
            pytest.fail("systemd-analyze is not installed")
        pytest.skip("systemd-analyze is not installed")
    return path


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units with programs that exist on this machine, since systemd looks for these."""
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for path in UNITS:
        text = re.sub(r"/opt/canvas-collab/venv/bin/\S+", str(program), path.read_text(encoding="utf-8"))
        (tmp_path / path.name).write_text(text, encoding="utf-8")
    folder = tmp_path / "canvas-collab.service.d"
    folder.mkdir()
    text = (ROOT / "systemd" / "socket-activation.conf").read_text(encoding="utf-8")
    (folder / "socket-activation.conf").write_text(
        re.sub(r"/opt/canvas-collab/venv/bin/\S+", str(program), text), encoding="utf-8"
    )
    return tmp_path


def test_systemd_finds_nothing_wrong_with_the_units(systemd_analyze: str, units: Path) -> None:
    found = subprocess.run(
        [systemd_analyze, "verify", "--man=no", *(str(units / path.name) for path in UNITS)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{units}:"},
    )
    ours = [line for line in found.stderr.splitlines() if "canvas-collab" in line]
    assert ours == []
    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize("name", EXPOSURE)
def test_the_services_are_sandboxed(systemd_analyze: str, units: Path, name: str) -> None:
    found = subprocess.run(
        [systemd_analyze, "security", "--offline=true", "--no-pager", str(units / name)],
        capture_output=True,
        text=True,
        check=False,
    )
    overall = re.search(r"exposure level for \S+: ([\d.]+)", found.stdout)
    assert overall, found.stdout + found.stderr
    assert float(overall[1]) <= EXPOSURE[name], found.stdout


def service(name: str) -> dict[str, list[str]]:
    """The settings of a unit's [Service], each with all its values."""
    found: dict[str, list[str]] = {}
    section = ""
    for line in (ROOT / "systemd" / name).read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = line
        elif section == "[Service]" and "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


@pytest.mark.parametrize("name", EXPOSURE)
def test_the_environment_of_the_services_is_one_for_production(name: str, tmp_path: Path) -> None:
    unit = service(name)
    environment = dict(line.split("=", 1) for line in unit["Environment"])
    for credential in unit["LoadCredential"]:
        (tmp_path / credential.split(":")[0]).write_text(
            "postgresql://collab@db/app" if "url" in credential else "x" * 32
        )
    environment = {key: value.replace("%d", str(tmp_path)) for key, value in environment.items()}
    settings = Settings.from_environment({**environment, "BETTER_AUTH_URL": "https://app.example.com"})
    assert settings.process.production
    assert settings.database.url == "postgresql://collab@db/app"


def test_stopping_is_given_more_time_than_it_takes() -> None:
    [seconds] = service("canvas-collab.service")["TimeoutStopSec"]
    assert int(seconds) > 5


def test_the_backup_runs_every_night_even_after_the_machine_was_off() -> None:
    timer = configparser.ConfigParser()
    timer.read(ROOT / "systemd" / "canvas-collab-backup.timer", encoding="utf-8")
    assert timer["Timer"]["Persistent"] == "yes"
