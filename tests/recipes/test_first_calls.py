"""Loops compiled in another process: all that a build needs, kept for it, once."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from mlimages_dataset.recipes import first_calls
from tests.golden.inputs_and_tables import write_inputs

if TYPE_CHECKING:
    from pathlib import Path

_BUILD = """
import sys
from mlimages_dataset.api.builds import run
from mlimages_dataset.core import compiled
run(sys.argv[1], sys.argv[2])
print(sorted(loop.py_func.__name__ for loop in compiled._loops if loop.stats.cache_misses))
"""


def compiled_by_build(recipe: Path, out: Path, environment: dict[str, str]) -> str:
    """Return the names of the loops that a new process compiles itself while it builds a recipe."""
    command = [sys.executable, "-c", _BUILD, str(recipe), str(out)]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.slow
def test_a_build_compiles_none_of_the_loops_that_were_called_before(tmp_path: Path) -> None:
    recipe, new = write_inputs(tmp_path / "inputs"), {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "loops")}
    (tmp_path / "calls").mkdir()
    called = [sys.executable, "-c", first_calls.CODE, str(tmp_path / "calls"), *first_calls.STAGES]
    subprocess.run(called, env=new, check=True, stdout=subprocess.DEVNULL)
    assert compiled_by_build(recipe, tmp_path / "out", new) == "[]"
    kept = "from mlimages_dataset.recipes import first_calls as f; assert not f.without_machine_code(f.STAGES)"
    subprocess.run([sys.executable, "-c", kept], env=new, check=True)


@pytest.mark.slow
def test_where_nothing_was_compiled_yet_the_build_waits_for_it(tmp_path: Path) -> None:
    recipe, new = write_inputs(tmp_path / "inputs"), {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "loops")}
    assert compiled_by_build(recipe, tmp_path / "out", new) == "[]"


@pytest.mark.slow
@pytest.mark.parametrize("stage", first_calls.STAGES)
def test_the_loops_of_a_stage_are_kept_once_they_were_called_for_it_alone(stage: str, tmp_path: Path) -> None:
    new = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "loops")}
    (tmp_path / "calls").mkdir()
    called = [sys.executable, "-c", first_calls.CODE, str(tmp_path / "calls"), stage]
    subprocess.run(called, env=new, check=True, stdout=subprocess.DEVNULL)
    kept = f"from mlimages_dataset.recipes import first_calls as f; assert not f.without_machine_code([{stage!r}])"
    subprocess.run([sys.executable, "-c", kept], env=new, check=True)


@pytest.mark.parametrize("code", ["raise SystemExit(3)", "import no_such_module", "print('annotations')"])
def test_a_process_that_fails_delays_no_stage(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_calls, "are_kept", lambda modules: not modules)
    monkeypatch.setattr(first_calls, "CODE", code)
    with first_calls.compiled_meanwhile(first_calls.STAGES) as await_loops:
        for stage in ("vocabulary", "annotations/one", "annotations/two", "labels", "labels"):
            await_loops(stage)


def test_a_build_that_ends_early_leaves_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_calls, "are_kept", lambda modules: not modules)
    monkeypatch.setattr(first_calls, "CODE", "import time; time.sleep(600)")
    with first_calls.compiled_meanwhile(first_calls.STAGES) as await_loops:
        await_loops("vocabulary")


def test_without_an_interpreter_to_start_loops_are_compiled_when_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_calls, "are_kept", lambda modules: not modules)
    monkeypatch.setattr(sys, "executable", "/no/such/interpreter")
    with first_calls.compiled_meanwhile(first_calls.STAGES) as await_loops:
        await_loops("labels")
