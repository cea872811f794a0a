"""The build of a wheel: setuptools', on request after the loops were compiled (core/compiled.py).

`pip wheel . --config-settings compile-ahead=yes` asks for what the package itself needs, which takes minutes, compiles
the loops and puts their machine code into the wheel. Otherwise each loop is compiled at its first call and
kept. Interface: https://peps.python.org/pep-0517/
"""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from setuptools import build_meta  # type: ignore[import-untyped]  # it has no annotations
from setuptools.build_meta import (  # type: ignore[import-untyped]  # as above
    build_editable,
    build_sdist,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    Settings = Mapping[str, str | list[str] | None] | None

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

ROOT = Path(__file__).parents[1]
MACHINE_CODE = ROOT / "mlimages_dataset" / "core" / "machine_code"


def get_requires_for_build_wheel(config_settings: Settings = None) -> list[str]:
    """Return what setuptools needs, and to compile ahead what the package needs."""
    if not _compiles_ahead(config_settings):
        return list(build_meta.get_requires_for_build_wheel(config_settings))
    package = configparser.ConfigParser()
    package.read(ROOT / "setup.cfg", encoding="utf-8")
    needed = package["options"]["install_requires"].split("\n")
    return [*build_meta.get_requires_for_build_wheel(config_settings), *filter(None, needed)]


def build_wheel(wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None) -> str:
    """Return the name of the wheel that setuptools makes of the package, on request with its machine code."""
    _remove_machine_code()
    if _compiles_ahead(config_settings):
        compile_ahead(MACHINE_CODE)
    try:
        return str(build_meta.build_wheel(wheel_directory, config_settings, metadata_directory))
    finally:
        _remove_machine_code()


def _remove_machine_code() -> None:
    """Remove what this or an earlier build left in the sources, and where setuptools gathers a wheel's files."""
    for folder in (MACHINE_CODE, *ROOT.glob(f".setuptools/lib*/{MACHINE_CODE.relative_to(ROOT)}")):
        shutil.rmtree(folder, ignore_errors=True)


def _compiles_ahead(config_settings: Settings) -> bool:
    return (config_settings or {}).get("compile-ahead") == "yes"


def compile_ahead(folder: Path) -> None:
    """Write the machine code of all loops into a folder that is not there yet, or say why there is none."""
    with tempfile.TemporaryDirectory() as kept:
        # A new cache: what Numba finds in one cannot be written again.
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "NUMBA_CACHE_DIR": kept}
        command = [sys.executable, "-m", "mlimages_dataset.recipes.compile_ahead", str(folder)]
        done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - our own module
    if done.returncode:
        shutil.rmtree(folder, ignore_errors=True)
        reason = done.stderr.strip().rpartition("\n")[2]
        print(f"No machine code in this wheel; loops are compiled at their first call ({reason})", file=sys.stderr)
