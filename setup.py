"""Build in a new directory each time, and compile modules where that is possible: setup.cfg has everything else.

Setuptools copies the package to ``build/lib``, packs what is there, and never deletes from it what has left the source
tree. A wheel that is built in a checkout would contain modules and migrations that were removed since the last build.
"""

from __future__ import annotations

import atexit
import shutil
import sys
import tempfile
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build import build

sys.path.insert(0, str(Path(__file__).resolve().parent / "build_backend"))

import compilation


class BuildInNewDirectory(build):
    """The command ``build``, and those that use its directories, in one that is deleted at exit."""

    def initialize_options(self) -> None:
        """Replace the default of ``--build-base``."""
        super().initialize_options()
        self.build_base = tempfile.mkdtemp(prefix="canvas-collab-build-")
        atexit.register(shutil.rmtree, self.build_base, ignore_errors=True)


def build_with(extensions: list[Extension]) -> None:
    """Run the commands that the command line names."""
    setup(
        cmdclass={"build": BuildInNewDirectory, "build_ext": compilation.BuildExtensions},
        ext_modules=extensions,
    )


try:
    build_with(compilation.extensions() if compilation.is_wanted() else [])
except compilation.CannotCompile as reason:
    if compilation.is_required():
        sys.exit(f"canvas-collab cannot be compiled: {reason}")
    # The commands run again from the start: whether a wheel is for one platform is decided before anything is compiled.
    print(f"canvas-collab is built without compiled modules: {reason}", file=sys.stderr)
    build_with([])
