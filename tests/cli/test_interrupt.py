"""An interrupt ends a command with 130, also while DuckDB works, which raises another error then."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import click

    from tests.cli.conftest import Command

TOLD = "run the same command again to go on.\n"
QUERY = """
import signal

import duckdb
from cli.main import main

signal.signal(signal.SIGINT, signal.default_int_handler)  # who started this process may ignore it

def query(*_):
    with duckdb.connect() as connection:
        print("begun", flush=True)
        connection.execute("SELECT sum(hash(range)) FROM range(100000000000)").fetchall()

type(main).__mro__[1].invoke = query
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


@pytest.mark.slow
def test_an_interrupt_while_duckdb_works_ends_with_130() -> None:
    """In a process of its own, and alone on the machine: beside other work, DuckDB sometimes loses each signal."""
    with subprocess.Popen(
        [sys.executable, "-c", QUERY], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        time.sleep(2)  # DuckDB loses a signal that comes while a query begins, and all after it
        for _ in range(10):
            process.send_signal(signal.SIGINT)
            try:
                _, said = process.communicate(timeout=2)
            except subprocess.TimeoutExpired:
                continue
            break
        else:
            process.kill()
            pytest.fail("the query ran on")
    assert process.returncode == 130
    assert said.endswith(TOLD)


def test_other_runtime_errors_are_not_hidden(
    command: Command, main_command: click.Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a defect of ours")

    monkeypatch.setattr(type(main_command).__mro__[1], "invoke", fail)
    with pytest.raises(RuntimeError, match="a defect of ours"):
        command("verify", "x")
