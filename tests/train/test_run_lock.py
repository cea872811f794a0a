"""Two trainers never write one folder, and a run that was killed bars the way to nobody."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from upath import UPath

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.train import run_lock
from mlimages_dataset.train.run_lock import LOCK_FILE, only_run_in
from tests.train.processes import ROOT, on_ranks
from tests.train.synthetic import Program, train_synthetic

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOLD = """
import os, sys, time
from pathlib import Path
from mlimages_dataset.train.run_lock import only_run_in
with only_run_in(Path(sys.argv[1])):
    worker = os.fork()  # as a loader's worker, which outlives a killed run
    if worker:
        print(worker, flush=True)
    time.sleep(600)
"""
REFUSED = r"another run is writing here; wait until it has ended, or name another --out$"


@contextlib.contextmanager
def another_run(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Hold a folder in another process, with a forked worker that outlives it."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    worker = int(process.stdout.readline())
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        os.kill(worker, signal.SIGKILL)


@pytest.mark.slow
def test_a_second_trainer_is_refused_and_goes_on_once_the_first_is_killed(tmp_path: Path) -> None:
    program = Program(out=str(tmp_path / "run"), epochs=1)
    with another_run(tmp_path / "run") as first:
        with pytest.raises(UsageError, match=REFUSED):
            train_synthetic(program)
        assert [path.name for path in (tmp_path / "run").iterdir()] == [LOCK_FILE], "nothing was written"
        first.kill()
        first.wait()
        train_synthetic(program)  # beside the worker of the killed run
    assert (tmp_path / "run" / "checkpoints").is_dir()


@pytest.mark.slow
def test_a_run_lets_go_of_its_folder_at_its_end(tmp_path: Path) -> None:
    with only_run_in(tmp_path):
        pass
    with another_run(tmp_path):
        pass


@pytest.mark.slow
def test_every_rank_is_refused_alike(tmp_path: Path) -> None:
    program = Program(out=str(tmp_path), epochs=1)
    with another_run(tmp_path):
        ranks = on_ranks(2, "-m", "tests.train.synthetic", json.dumps(dataclasses.asdict(program)))
    assert [done.code for done in ranks] == [1, 1]
    assert all("another run is writing here" in done.err for done in ranks)


def test_without_locks_a_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with only_run_in(UPath("memory://bucket/run")):
        pass
    monkeypatch.setattr(run_lock, "fcntl", None)
    with only_run_in(tmp_path):
        assert not (tmp_path / LOCK_FILE).exists()


def test_a_file_system_without_locks_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(descriptor: int, operation: int) -> None:  # noqa: ARG001 - as it is called
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.lockf", no_locks)
    with only_run_in(tmp_path):
        pass


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    with pytest.raises(UsageError, match="is a file where a folder should be"), only_run_in(tmp_path / "run"):
        pass
