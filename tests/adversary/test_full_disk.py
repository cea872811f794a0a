"""A disk that fills while a command writes: one sentence, `verify` says what was cut, and a rerun finishes it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from mlimages_dataset.tables.files import PARTIAL_PREFIX
from mlimages_dataset.tables.parts import MANIFEST_NAME
from tests.adversary.each_command import COMMANDS, run, write_given
from tests.benchmarks.measurement import COMMAND
from tests.crashes import digests

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow


@pytest.fixture(name="given", scope="module")
def _given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with what the commands read."""
    folder = tmp_path_factory.mktemp("given")
    write_given(folder)
    return folder


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_full_disk_is_a_sentence_and_verify_and_a_rerun_know(given: Path, tmp_path: Path, name: str) -> None:
    whole = tmp_path / "whole"
    ran = run(given, whole, name)
    assert ran.returncode == 0, ran.stderr
    expected = digests(whole)
    sizes = sorted(path.stat().st_size for path in whole.rglob("*") if path.is_file())
    cut = 0
    for largest_file in {60, sizes[len(sizes) // 2] - 1, sizes[-1] - 1}:
        out = tmp_path / str(largest_file)
        ran = run(given, out, name, largest_file=largest_file)
        if ran.returncode == 0:  # what grew beyond is a cache, which a command can do without
            continue
        cut += 1
        assert ran.returncode in {1, 2}
        (sentence,) = [line for line in ran.stderr.splitlines() if line.startswith("Error: ")]
        assert "File too large" in sentence
        assert "Traceback" not in ran.stderr
        if (out / MANIFEST_NAME).exists():
            verified = subprocess.run(
                [sys.executable, "-c", COMMAND, "verify", str(out)], capture_output=True, text=True, check=False
            )
            recorded = digests(out)
            assert verified.returncode == 1 or recorded == expected, verified.stdout
            assert all(recorded[path] == expected[path] for path in recorded)
        again = run(given, out, name)
        assert again.returncode == 0, again.stderr
        assert digests(out) == expected
        assert not list(out.rglob(f"{PARTIAL_PREFIX}*"))
    assert cut
