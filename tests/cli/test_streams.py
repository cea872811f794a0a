"""Standard streams that are closed, full, or read by nobody: as daemons, cron jobs and pipes have them."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.images.fault_server import picture

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Command

PROGRAM = f"{shlex.quote(sys.executable)} -m mlimages_dataset"
CLOSED = ["2>&-", "<&- >&- 2>&-"]


def shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(line, shell=True, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S602 - redirections are what is tested


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, run_script: Command) -> Path:
    """Return a folder with a vocabulary, statements and a picture."""
    folder = tmp_path_factory.mktemp("streams")
    (folder / "synsets.txt").write_text("n02084071\nn02121808\n")
    (folder / "labels.csv").write_text("image_id,label\na,n02084071\nb,n02121808\n")
    (folder / "pictures").mkdir()
    (folder / "pictures/a.jpg").write_bytes(picture(0))
    made = run_script("vocab", "--imagenet", "synsets.txt", "--out", "vocabulary", cwd=folder)
    assert made.code == 0, made.err
    return folder


@pytest.mark.parametrize("closed", CLOSED)
def test_a_build_with_closed_streams_is_as_any_other(folder: Path, tmp_path: Path, closed: str) -> None:
    vocabulary = f"--vocab {shlex.quote(str(folder / 'vocabulary'))}"
    steps = [
        f"annotate {vocabulary} --format csv {folder / 'labels.csv'} --out annotations --workers 2",
        f"labels {vocabulary} --annotations annotations --out labels --workers 1",
        f"export {vocabulary} --format csv labels --out exported --workers 1",
        f"images ingest {folder / 'pictures'} --out images --workers 1",
        "verify labels",
    ]
    for step in steps:
        assert shell(f"{PROGRAM} {step} {closed}", tmp_path).returncode == 0, step
    assert '"a","n02084071"' in (tmp_path / "exported/train.csv").read_text()
    assert json.loads((tmp_path / "images/manifest.json").read_text())


@pytest.mark.parametrize("program", ["mlimages_dataset", "mlimages_dataset.train", "mlimages_dataset.loaders"])
def test_every_program_works_with_closed_streams_and_tells_of_a_full_output(folder: Path, program: str) -> None:
    call = f"{shlex.quote(sys.executable)} -m {program}"
    for closed in (">&-", "<&-", ">&- 2>&-"):
        assert shell(f"{call} --version {closed}", folder).returncode == 0
    for option in ("--help", "--version"):
        ran = shell(f"{call} {option} >/dev/full", folder)
        assert ran.returncode == 1
        assert ran.stderr.startswith("Error: standard output: cannot be written (")
        assert ran.stderr.count("\n") == 1


@pytest.mark.parametrize("buffered", ["", "PYTHONUNBUFFERED=1 "])
def test_a_full_output_is_told_and_one_that_nobody_reads_has_its_own_code(folder: Path, buffered: str) -> None:
    for call in ("verify vocabulary --json", "fetch --list"):
        full = shell(f"{buffered}{PROGRAM} {call} >/dev/full", folder)
        assert (full.returncode, full.stderr.count("Error: standard output: cannot be written")) == (1, 1), full.stderr
        assert "Traceback" not in full.stderr
        unread = shell(f"({buffered}{PROGRAM} {call}; echo $? >code) | true", folder)
        assert (folder / "code").read_text() == "141\n"
        assert "Error" not in unread.stderr


@pytest.mark.parametrize(
    "call",
    [
        "annotate --vocab vocabulary --format csv - --out closed",
        "tally --format csv - --out closed.csv",
        "vocab --classes mine=- --out closed",
    ],
)
def test_closed_input_is_told_where_it_is_named(folder: Path, call: str) -> None:
    ran = shell(f"{PROGRAM} {call} <&-", folder)
    assert ran.returncode == 2
    assert ran.stderr.endswith("Error: standard input: is closed; name a file, or give it one with <FILE\n")


def test_a_removed_working_folder_is_told(folder: Path) -> None:
    call = f"annotate --vocab {folder / 'vocabulary'} --format csv {folder / 'labels.csv'} --out annotations"
    ran = shell(f"mkdir gone; cd gone; rmdir ../gone; {PROGRAM} {call}", folder)
    assert ran.returncode == 2
    assert "Error: the working folder was removed; change to a folder that exists, with cd\n" in ran.stderr


def test_the_module_of_the_command_is_the_command(folder: Path) -> None:
    called = f"{shlex.quote(sys.executable)} -m mlimages_dataset.cli.main"
    assert shell(f"{called} verify vocabulary", folder).stdout == shell(f"{PROGRAM} verify vocabulary", folder).stdout
    assert shell(f"{called} verify nowhere", folder).returncode == 2
