"""An interrupt ends a command with 130, also while DuckDB works, and a lack of memory with a sentence."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import click

    from tests.cli.conftest import Command

TOLD = "run the same command again to go on.\n"
QUERY = """
import signal, sys
from mlimages_dataset.cli.main import main
from mlimages_dataset.tables.database import database

signal.signal(signal.SIGINT, signal.default_int_handler)  # who started this process may ignore it

def query(*_):
    with database() as connection:
        print("begun", flush=True)
        connection.execute("SELECT sum(hash(range)) FROM range(100000000000)").fetchall()

type(main).__mro__[1].invoke = query
main(["verify", "x"])
"""
JOBS = """
import signal, time
from mlimages_dataset.cli.main import main
from mlimages_dataset.pipeline.engine import local

signal.signal(signal.SIGINT, signal.default_int_handler)

def run(*_):
    with local(2) as mapper:
        list(mapper(say_and_sleep, [1, 2, 3]))

def say_and_sleep(_):
    print("begun", flush=True)
    time.sleep(600)

if __name__ == "__main__":
    type(main).__mro__[1].invoke = run
    main(["verify", "x"])
"""


def test_an_interrupt_is_told_and_ends_with_130(
    command: Command, main_command: click.Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(type(main_command).__mro__[1], "invoke", interrupted)
    ran = command("verify", "x")
    assert ran.code == 130
    assert ran.err.endswith(TOLD)


@pytest.mark.parametrize("seconds", [0, 0.001, 0.01, 0.1, 0.5])
def test_one_interrupt_while_duckdb_works_ends_with_130(seconds: float) -> None:
    """However soon it comes: DuckDB itself does not see one that comes while a query begins."""
    with interrupted([sys.executable, "-c", QUERY], begun=1, seconds=seconds) as (code, said):
        assert code == 130
        assert said == f"\nInterrupted. Nothing half-written counts: {TOLD}"


@pytest.mark.parametrize("to_all", [True, False], ids=["to all processes", "to the command"])
def test_an_interrupt_ends_the_jobs_of_workers(tmp_path: Path, *, to_all: bool) -> None:
    script = tmp_path / "jobs.py"
    script.write_text(JOBS, encoding="utf-8")
    with interrupted([sys.executable, str(script)], begun=2, to_all=to_all) as (code, said):
        assert code == 130
        assert said == f"\nInterrupted. Nothing half-written counts: {TOLD}"


@contextlib.contextmanager
def interrupted(
    command: Sequence[str], *, begun: int, seconds: float = 0, to_all: bool = False
) -> Iterator[tuple[int, str]]:
    """Yield the exit code and the messages of a command that is interrupted once it has printed so many lines."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        for _ in range(begun):
            assert process.stdout.readline() == "begun\n"
        time.sleep(seconds)
        (os.killpg if to_all else os.kill)(process.pid, signal.SIGINT)
        try:
            _, said = process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            pytest.fail("it ran on")
        yield process.returncode, said


@pytest.mark.parametrize(
    "error", [MemoryError(), MemoryError("19 GiB"), pa.ArrowMemoryError("malloc of size 9 failed")]
)
def test_a_lack_of_memory_is_one_sentence(
    command: Command, main_command: click.Command, monkeypatch: pytest.MonkeyPatch, error: MemoryError
) -> None:
    def lack(*_: object) -> None:
        raise error

    monkeypatch.setattr(type(main_command).__mro__[1], "invoke", lack)
    ran = command("verify", "x")
    told = f" ({error})" if str(error) else ""
    remedy = "free some, or use fewer --workers where the command has them"
    assert (ran.code, ran.err) == (1, f"Error: there is not enough memory{told}; {remedy}\n")


def test_other_runtime_errors_are_not_hidden(
    command: Command, main_command: click.Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a defect of ours")

    monkeypatch.setattr(type(main_command).__mro__[1], "invoke", fail)
    with pytest.raises(RuntimeError, match="a defect of ours"):
        command("verify", "x")
