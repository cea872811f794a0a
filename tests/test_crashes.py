"""Whatever stops a build, what is finished stays, nothing unfinished counts, and the next run finishes it."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.crashes import PROGRAM, RECIPE, SYNSETS, check, check_end, digests, kill_often

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

pytestmark = pytest.mark.slow


def test_a_build_killed_at_random_moments_is_finished_by_the_next(tmp_path: Path) -> None:
    assert kill_often(tmp_path, kills=15, seed=15).kills == 15


@pytest.fixture(name="project", scope="module")
def _project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a recipe, the program that builds it, and its build in `whole`."""
    folder = tmp_path_factory.mktemp("project")
    for name, text in {"synsets.txt": "\n".join(SYNSETS) + "\n", "recipe.toml": RECIPE, "program.py": PROGRAM}.items():
        (folder / name).write_text(text)
    assert run(folder, folder / "whole").returncode == 0
    return folder


@pytest.fixture(name="expected", scope="module")
def _expected(project: Path) -> Mapping[str, str]:
    """Return the digests of the undisturbed build."""
    return digests(project / "whole")


def run(
    project: Path, out: Path, *, workers: int = 1, largest_file: int | None = None
) -> subprocess.CompletedProcess[str]:
    """Return what a build left, in which no file may grow beyond a number of bytes."""

    def limited() -> None:
        if largest_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    command = [sys.executable, "program.py", "run", "recipe.toml", "--out", str(out), "--workers", str(workers)]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, check=False, preexec_fn=limited)


def check_sentence(ran: subprocess.CompletedProcess[str], told: str) -> None:
    """Check that a run ended with one sentence that says what to do."""
    assert ran.returncode in {1, 2}
    (sentence,) = ran.stderr.strip().splitlines()
    assert sentence.startswith("Error: ")
    assert told in sentence


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("largest_file", [100, 4_000, 16_000])
def test_a_file_that_may_not_grow_is_a_sentence_and_a_rerun_finishes(
    project: Path, expected: Mapping[str, str], tmp_path: Path, largest_file: int, workers: int
) -> None:
    out = tmp_path / "out"
    check_sentence(run(project, out, largest_file=largest_file, workers=workers), "cannot be written (File too large)")
    check(out, expected)
    assert run(project, out).returncode == 0
    check_end(out, expected)


@pytest.fixture(name="small_disk")
def _small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a disk of a quarter of a megabyte, which grows when it is mounted again."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0 or not _mounted(disk, "size=256k"):
        pytest.skip("a small disk can be mounted by root only")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def _mounted(disk: Path, options: str) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_a_full_disk_is_a_sentence_and_a_rerun_finishes(
    project: Path, expected: Mapping[str, str], small_disk: Path
) -> None:
    out = small_disk / "out"
    check_sentence(run(project, out), "No space left on device")
    check(out, expected)
    assert digests(out), "what was finished is kept"
    assert _mounted(small_disk, "remount,size=64m")
    assert run(project, out).returncode == 0
    check_end(out, expected)


def test_an_input_that_vanished_is_a_sentence_and_a_rerun_finishes(
    project: Path, expected: Mapping[str, str], tmp_path: Path
) -> None:
    other = tmp_path / "project"
    shutil.copytree(project, other, ignore=shutil.ignore_patterns("whole"))
    (other / "synsets.txt").rename(other / "gone.txt")
    check_sentence(run(other, other / "out"), "synsets.txt: there is no such file")
    (other / "gone.txt").rename(other / "synsets.txt")
    assert run(other, other / "out").returncode == 0
    check_end(other / "out", expected)
