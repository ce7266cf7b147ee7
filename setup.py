"""Build in a new directory each time: setup.cfg has everything else.

Setuptools copies the package to ``build/lib``, packs what is there, and never deletes from it what has left the source
tree. A wheel that is built in a checkout would contain modules and migrations that were removed since the last build.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile

from setuptools import setup
from setuptools.command.build import build


class BuildInNewDirectory(build):
    """The command ``build``, and those that use its directories, in one that is deleted at exit."""

    def initialize_options(self) -> None:
        """Replace the default of ``--build-base``."""
        super().initialize_options()
        self.build_base = tempfile.mkdtemp(prefix="canvas-collab-build-")
        atexit.register(shutil.rmtree, self.build_base, ignore_errors=True)


setup(cmdclass={"build": BuildInNewDirectory})
