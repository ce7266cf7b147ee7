"""The build backend: that of setuptools, which compiles the modules of compiled_modules.txt where that is possible.

mypy is required for a build only if there is a C compiler, and compiled modules are wanted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import compilation
from setuptools import build_meta

build_sdist = build_meta.build_sdist
build_wheel = build_meta.build_wheel
build_editable = build_meta.build_editable
get_requires_for_build_sdist = build_meta.get_requires_for_build_sdist
prepare_metadata_for_build_wheel = build_meta.prepare_metadata_for_build_wheel
prepare_metadata_for_build_editable = build_meta.prepare_metadata_for_build_editable


def get_requires_for_build_wheel(config_settings: Mapping[str, Any] | None = None) -> list[str]:
    """Return what a build of a wheel needs beside setuptools."""
    return [*build_meta.get_requires_for_build_wheel(config_settings), *compilation.requirements()]


def get_requires_for_build_editable(config_settings: Mapping[str, Any] | None = None) -> list[str]:
    """Return what an editable installation needs beside setuptools."""
    return [*build_meta.get_requires_for_build_editable(config_settings), *compilation.requirements()]
