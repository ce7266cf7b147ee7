"""Building with and without compiled modules, and choosing between them and their sources."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from importlib.util import source_hash
from pathlib import Path

import pytest

from canvas_collab import compilation
from tests.operating.test_packaging import copy_checkout
from tests.support.checkouts import write_script
from tests.support.daemons import PATIENCE

#: A listed module that imports no other of the package; compiling it alone takes a few seconds.
MODULE = "canvas_collab/protocol/lib0.py"

SUFFIX = str(sysconfig.get_config_var("EXT_SUFFIX"))

#: Prints where the module was loaded from, and how the package runs.
SHOW = (
    "from canvas_collab import compilation; from canvas_collab.protocol import lib0;"
    "print(lib0.__file__, compilation.description(), sep='\\n')"
)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with one module, compiled in place; and something that an earlier list of modules left."""
    checkout = small_checkout(tmp_path_factory.mktemp("compiled"))
    (checkout / f"canvas_collab/clock{SUFFIX}").touch()
    build(checkout, "build_ext", "--inplace")
    return checkout


def small_checkout(directory: Path) -> Path:
    """A copy of the checkout that lists a single module."""
    checkout = copy_checkout(directory)
    (checkout / "build_backend/compiled_modules.txt").write_text(f"# Why.\n\n{MODULE} why\n", encoding="utf-8")
    return checkout


def run(checkout: Path, *arguments: str, status: int = 0, **variables: str) -> str:
    """Run Python in a checkout, and return its output."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "CANVAS_COLLAB", "COV"))
    }
    ended = subprocess.run(
        [sys.executable, *arguments],
        cwd=checkout,
        env={**kept, "PYTHONPATH": str(checkout), **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=4 * PATIENCE,
    )
    assert ended.returncode == status, ended.stdout
    return ended.stdout


def build(checkout: Path, *command: str, status: int = 0, **variables: str) -> str:
    return run(checkout, "setup.py", "--quiet", *command, status=status, **variables)


def built(checkout: Path) -> set[str]:
    """What a build consists of that was not copied: compiled modules and their record."""
    found = (path for pattern in (f"*{SUFFIX}", "compiled.*.txt") for path in (checkout / "built").rglob(pattern))
    return {path.relative_to(checkout / "built").as_posix() for path in found}


def test_compiled_modules_are_used_where_there_are_some(compiled: Path) -> None:
    path, how = run(compiled, "-c", SHOW).splitlines()
    assert path == str(compiled / f"canvas_collab/protocol/lib0{SUFFIX}")
    assert how == "compiled"
    assert run(compiled, "-m", "canvas_collab", "--version").rstrip().endswith(", compiled")


def test_a_variable_chooses_the_sources(compiled: Path) -> None:
    path, how = run(compiled, "-c", SHOW, CANVAS_COLLAB_PURE="1").splitlines()
    assert path == str(compiled / MODULE)
    assert how == "interpreted (CANVAS_COLLAB_PURE is set)"


def test_compiled_modules_of_changed_sources_are_not_used(compiled: Path) -> None:
    source = compiled / MODULE
    original = source.read_bytes()
    try:
        source.write_bytes(original + b"\nCHANGED = True\n")
        path, how = run(compiled, "-c", SHOW).splitlines()
    finally:
        source.write_bytes(original)
    assert path == str(source)
    assert how == f"interpreted ({MODULE} was changed after it was compiled)"


def test_compiling_in_place_removes_what_an_earlier_list_left(compiled: Path) -> None:
    assert not (compiled / f"canvas_collab/clock{SUFFIX}").exists()


def test_a_compiled_wheel_is_for_one_platform_and_has_the_record(tmp_path: Path) -> None:
    checkout = small_checkout(tmp_path)
    run(checkout, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", "dist", ".", CANVAS_COLLAB_PURE="0")
    [wheel] = (checkout / "dist").iterdir()
    assert not wheel.name.endswith("-any.whl")
    record = f"canvas_collab/{compilation.RECORD.name}"
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if name.endswith(SUFFIX)}
        assert archive.read(record).decode() == f"{source_hash((checkout / MODULE).read_bytes()).hex()} {MODULE}\n"
    assert names == {f"canvas_collab/protocol/lib0{SUFFIX}", f"canvas_collab/compiled__mypyc{SUFFIX}"}


def test_where_nothing_can_be_compiled_a_build_says_so_and_is_without(tmp_path: Path) -> None:
    checkout = small_checkout(tmp_path / "checkout")
    broken = write_script(tmp_path / "broken", "exit 1")
    (tmp_path / "mypyc").mkdir()
    (tmp_path / "mypyc/__init__.py").write_text("raise ImportError('it is not here')\n", encoding="utf-8")
    wrong = "\n\nWRONG: int = ''\n"
    for expected, variables in (
        ("CANVAS_COLLAB_PURE is set", {"CANVAS_COLLAB_PURE": "1"}),
        ("there is no C compiler no-such-compiler", {"CC": "no-such-compiler -pthread"}),
        ("mypyc is not installed (it is not here)", {"PYTHONPATH": str(tmp_path)}),
        ("compiling failed: ", {"CC": str(broken)}),
        ("mypyc refuses the sources, see above", {}),
    ):
        if not variables:
            with (checkout / MODULE).open("a", encoding="utf-8") as source:
                source.write(wrong)
        output = build(checkout, "build", "--build-lib", "built", status=0, **variables)
        assert f"canvas-collab is built without compiled modules: {expected}" in output
        assert (checkout / "built" / MODULE).exists()
        assert not built(checkout)
        if variables.get("CANVAS_COLLAB_PURE") != "1":
            # A release that must be compiled is not built without.
            output = build(checkout, "build_ext", status=1, CANVAS_COLLAB_PURE="0", **variables)
            assert f"canvas-collab cannot be compiled: {expected}" in output


def test_every_listed_module_is_there_and_has_a_reason() -> None:
    lines = (compilation.RECORD.parents[1] / "build_backend/compiled_modules.txt").read_text(encoding="utf-8")
    listed = [line.split(maxsplit=1) for line in lines.splitlines() if line and not line.startswith("#")]
    assert len(listed) > 10
    for path, reason in listed:
        assert (compilation.RECORD.parents[1] / path).is_file(), path
        assert reason


def test_a_package_without_a_record_or_a_source_is_interpreted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(compilation.VARIABLE, raising=False)
    record = tmp_path / "record"
    assert compilation.obstacle(record, tmp_path) == "built without compiled modules"
    record.write_text(f"{source_hash(b'').hex()} gone.py\n", encoding="ascii")
    assert compilation.obstacle(record, tmp_path) == "gone.py was changed after it was compiled"
    (tmp_path / "gone.py").write_bytes(b"")
    assert compilation.obstacle(record, tmp_path) is None
    monkeypatch.setenv(compilation.VARIABLE, "1")
    assert compilation.obstacle(record, tmp_path) == "CANVAS_COLLAB_PURE is set"


def test_the_tests_run_as_they_were_told_to() -> None:
    wanted = os.environ.get(compilation.VARIABLE)
    if wanted is not None:
        assert (wanted == "0") == (compilation.OBSTACLE is None)
