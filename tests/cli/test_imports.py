"""Commands start quickly: they import nothing of the daemon's that they do not use."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.support.daemons import ROOT

#: What takes longest to import of what only the daemon needs.
FORBIDDEN = {"twisted", "txpostgres", "autobahn", "OpenSSL", "cryptography", "prometheus_client", "asyncio"}


def test_the_commands_do_without_twisted() -> None:
    program = "import json, sys, canvas_collab.cli.main; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=True)
    imported = set(json.loads(done.stdout))
    assert "canvas_collab.cli.rebuild" in imported
    assert not imported & FORBIDDEN
