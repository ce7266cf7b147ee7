"""twistd as it is, but for its very end: it leaves instead of dying of the signal that stopped it.

The signal would take the coverage measurement with it.
"""

import sys
from typing import NoReturn

from twisted.application import app
from twisted.scripts.twistd import run


def leave(signal: int) -> NoReturn:
    """What a shell makes of a process that died of a signal."""
    sys.exit(128 + signal)


app._exitWithSignal = leave
run()
