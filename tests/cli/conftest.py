"""The installed command, and one build of the golden inputs that it made."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import pytest
from click.testing import CliRunner

from tests.golden.inputs_and_tables import write_inputs

if TYPE_CHECKING:
    import click


class Ran(NamedTuple):
    """What a command left: its exit code and what it wrote."""

    code: int
    out: str
    err: str


class Command(Protocol):
    """Calls `mlimages-build` with arguments."""

    def __call__(self, *arguments: str | Path, cwd: Path | None = None) -> Ran:
        """Return what it left."""


@pytest.fixture(scope="session")
def script() -> str:
    """Return the installed console script."""
    found = shutil.which("mlimages-build", path=str(Path(sys.executable).parent)) or shutil.which("mlimages-build")
    if found is None:
        pytest.skip("mlimages-build is not installed: pip install -e .")
    return found


@pytest.fixture(scope="session")
def run_script(script: str) -> Command:
    """Return a caller of the console script in a process of its own."""

    def call(*arguments: str | Path, cwd: Path | None = None) -> Ran:
        done = subprocess.run(
            [script, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=False, env=_environment()
        )
        return Ran(done.returncode, done.stdout, _without_start(done.stderr))

    return call


@pytest.fixture(scope="session")
def main_command() -> click.Command:
    """Return the command that the entry point names."""
    found = importlib.metadata.entry_points(group="console_scripts", name="mlimages-build")
    if not found:
        pytest.skip("mlimages-build is not installed: pip install -e .")
    command: click.Command = next(iter(found)).load()
    return command


@pytest.fixture(scope="session")
def command(main_command: click.Command) -> Command:
    """Return a caller of the entry point in this process; an exception that is no exit is raised."""

    def call(*arguments: str | Path, cwd: Path | None = None) -> Ran:
        assert cwd is None
        done = CliRunner().invoke(main_command, [str(a) for a in arguments], catch_exceptions=False)
        return Ran(done.exit_code, done.stdout, _without_start(done.stderr))

    return call


@pytest.fixture(scope="session")
def golden_inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the golden recipe and its files."""
    return write_inputs(tmp_path_factory.mktemp("golden") / "inputs").parent


@pytest.fixture(scope="session")
def golden_build(golden_inputs: Path, run_script: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a whole golden build; copy it before changing it."""
    folder = tmp_path_factory.mktemp("built") / "out"
    ran = run_script("run", golden_inputs / "recipe.toml", "--out", folder, "--workers", "1")
    assert ran.code == 0, ran.err
    return folder


def _environment() -> dict[str, str]:
    """Return this process's environment, in which no terminal is simulated."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("FORCE_COLOR", "COLUMNS"))}


def _without_start(errors: str) -> str:
    """Return what a command wrote to stderr after the line that tells what it reads, see `tell_start`."""
    first, _, rest = errors.partition("\n")
    return rest if first.startswith("Reading ") and first.endswith(" ...") else errors
