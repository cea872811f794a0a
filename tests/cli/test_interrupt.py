"""An interrupt ends a command with 130, also while DuckDB works, which raises another error then."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING

import duckdb
import pytest

if TYPE_CHECKING:
    import click

    from tests.cli.conftest import Command


def _interrupted_query() -> None:
    """Run a query that would take minutes; on a busy machine, it may not have begun when the first signal comes."""
    ended = threading.Event()

    def interrupt() -> None:
        for seconds in (0.3, 5, 10, 20):
            if ended.wait(seconds):
                return
            os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    try:
        with duckdb.connect() as connection:
            connection.execute("SELECT sum(hash(range)) FROM range(100000000000)").fetchall()
    finally:
        ended.set()


def _interrupted() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("end", [_interrupted_query, _interrupted])
def test_an_interrupt_is_told_and_ends_with_130(
    end: object, command: Command, main_command: click.Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert callable(end)
    monkeypatch.setattr(type(main_command).__mro__[1], "invoke", lambda *_: end())
    ran = command("verify", "x")
    assert ran.code == 130
    assert ran.err.endswith("run the same command again to go on.\n")


def test_other_runtime_errors_are_not_hidden(
    command: Command, main_command: click.Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a defect of ours")

    monkeypatch.setattr(type(main_command).__mro__[1], "invoke", fail)
    with pytest.raises(RuntimeError, match="a defect of ours"):
        command("verify", "x")
