"""Compiles the modules of compiled_modules.txt with mypyc.

The environment variable ``CANVAS_COLLAB_PURE`` says what to build: with ``1`` nothing is compiled, with ``0`` a build
that cannot compile fails.  Without it a build compiles if it can, and otherwise says why not and goes on without.
"""

from __future__ import annotations

import atexit
import importlib.machinery
import importlib.util
import os
import platform
import shlex
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path

from setuptools import Extension
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent.parent

#: What mypy needs to know the types in compiled modules. What it does not find is compiled without its types.
REQUIREMENTS = ["attrs >= 23.1", "mypy[mypyc] >= 1.18"]

#: The mypy options for compiling; `make lint` checks the types more strictly.
OPTIONS = (f"--config-file={ROOT / 'build_backend/mypy.ini'}",)

#: The compiled modules' common library, a module of the package.
LIBRARY = "canvas_collab.compiled"

_SUFFIX = importlib.machinery.EXTENSION_SUFFIXES[0]

#: The record of what was compiled, which canvas_collab/compilation.py reads: a line for each module with the hash and
#: the path of its source. Each Python version has its own, beside its compiled modules.
RECORD = f"canvas_collab/compiled{_SUFFIX.rpartition('.')[0]}.txt"

#: The commands that compile.
COMMANDS = {"bdist_wheel", "build", "build_ext", "develop", "editable_wheel", "install"}


class CannotCompile(BaseException):
    """The modules cannot be compiled; the text says why.

    Not an :exc:`Exception`, for which commands of setuptools would print a traceback.
    """


def modules() -> list[str]:
    """Return the paths of the modules to compile, relative to the root of the sources."""
    lines = (ROOT / "build_backend/compiled_modules.txt").read_text(encoding="utf-8").splitlines()
    return [line.split()[0] for line in lines if line and not line.startswith("#")]


def obstacle() -> str | None:
    """Return why nothing can be compiled, as far as can be seen without trying; None if nothing speaks against it."""
    if os.environ.get("CANVAS_COLLAB_PURE", "0") != "0":
        return "CANVAS_COLLAB_PURE is set"
    if platform.python_implementation() != "CPython":
        return "mypyc compiles for CPython only"
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]
    if os.name == "posix" and shutil.which(compiler) is None:
        return f"there is no C compiler {compiler}"
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        return "Python's header files are not installed"
    return None


def requirements() -> list[str]:
    """Return the packages that a build needs in order to compile; none if it will not."""
    return [] if obstacle() and not is_required() else REQUIREMENTS


def is_required() -> bool:
    """Return whether a build that cannot compile is to fail."""
    return os.environ.get("CANVAS_COLLAB_PURE") == "0"


def extensions() -> list[Extension]:
    """Translate the modules to C, and return the extensions to build.

    :raises CannotCompile: if that is not possible.
    """
    if (reason := obstacle()) is not None:
        raise CannotCompile(reason)
    directory = tempfile.mkdtemp(prefix="canvas-collab-compiling-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    try:
        from mypyc.build import mypycify
    except ImportError as error:
        raise CannotCompile(f"mypyc is not installed ({error})") from error
    try:
        return mypycify(
            [*OPTIONS, f"--cache-dir={directory}/mypy", *modules()], target_dir=directory, group_name=LIBRARY
        )
    except SystemExit as error:
        raise CannotCompile("mypyc refuses the sources, see above") from error
    except Exception as error:
        raise CannotCompile(f"mypyc failed: {error!r}") from error


class BuildExtensions(build_ext):
    """The command ``build_ext``, which also writes the record; every failure is :exc:`CannotCompile`."""

    def run(self) -> None:
        """Build the extensions, and with ``--inplace`` or for an editable installation copy them to the sources."""
        if not self.extensions:
            return
        directory = ROOT if self.inplace or self.editable_mode else Path(self.build_lib)
        before = set((ROOT / "canvas_collab").rglob(f"*{_SUFFIX}"))
        try:
            super().run()
        except Exception as error:
            raise CannotCompile(f"compiling failed: {error}") from error
        if directory == ROOT:
            # Python would still load modules that are not compiled any more.
            for left in before - {ROOT / self.get_ext_filename(extension.name) for extension in self.extensions}:
                left.unlink()
        (directory / RECORD).write_text(record(), encoding="ascii")

    def get_outputs(self) -> list[str]:
        """Return the files that an installation copies."""
        return [*super().get_outputs(), str(Path(self.build_lib, RECORD))] if self.extensions else []


def record() -> str:
    """Return the record of what is compiled from the present sources."""
    sources = ((name, (ROOT / name).read_bytes()) for name in modules())
    return "".join(f"{importlib.util.source_hash(source).hex()} {name}\n" for name, source in sources)


def is_wanted() -> bool:
    """Return whether a command of this run of ``setup.py`` compiles."""
    return not COMMANDS.isdisjoint(sys.argv)
