"""Running the commands of documentation pages."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from canvas_collab.embedded_cluster import PACKAGE
from tests.support.checkouts import PYTHON, write_script
from tests.support.daemons import PATIENCE, ROOT


def read_page(name: str) -> str:
    """Return a page of docs/."""
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def shell_blocks(page: str, heading: str = "") -> list[str]:
    """Return the shell commands of a page, or of its section with this heading, a text for each block."""
    section = re.split(r"^## ", page.partition(f"\n## {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    blocks = re.findall(r"^( *)```sh\n(.*?)^\1```$", section if heading else page, re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{indentation}", "", text, flags=re.MULTILINE) for indentation, text in blocks]


class Shell:
    """A shell in which ``canvas-collab`` and PostgreSQL's programs are on the path."""

    def __init__(self, directory: Path, **environment: str) -> None:
        """:param directory: the working directory."""
        [package] = [Path(entry) / PACKAGE for entry in sys.path if (Path(entry) / PACKAGE / "pginstall18").is_dir()][
            :1
        ]
        self.programs = directory / "programs"
        write_script(self.programs / "canvas-collab", f'exec {PYTHON} -m canvas_collab "$@"')
        self._directory = directory
        self._environment = {
            **{name: value for name, value in os.environ.items() if name in ("HOME", "TMPDIR")},
            "PATH": f"{self.programs}:{package}/pginstall18/bin:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "BETTER_AUTH_SECRET": "x" * 32,
            **environment,
        }

    def run(self, commands: str, *, replacing: Mapping[str, str] | None = None) -> str:
        """Run commands until one fails, which fails the test; return what they print.

        :param replacing: what is different in the test, such as a port.
        """
        for old, new in (replacing or {}).items():
            assert old in commands, old
            commands = commands.replace(old, new)
        done = subprocess.run(
            ["/bin/sh", "-euc", commands],
            cwd=self._directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=4 * PATIENCE,
            check=False,
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout}"
        return done.stdout
