"""Pipes, sockets and devices where files are wanted: told in a sentence, and never waited for."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.cli.conftest import Command

WANTED = "is a pipe, and a file is wanted"


@pytest.fixture(autouse=True)
def _no_wait() -> Iterator[None]:
    """Fail a test that waits for the other end of a pipe."""

    def stop(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(10)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, command: Command) -> Path:
    """Return a folder with a vocabulary and labels."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "synsets.txt").write_text("n02084071\n")
    (folder / "labels.csv").write_text("image_id,label\na,n02084071\n")
    vocab = ("--vocab", folder / "vocabulary")
    for call in (
        ("vocab", "--imagenet", folder / "synsets.txt", "--out", folder / "vocabulary"),
        ("annotate", *vocab, "--format", "csv", folder / "labels.csv", "--out", folder / "annotations"),
        ("labels", *vocab, "--annotations", folder / "annotations", "--out", folder / "labels"),
    ):
        ran = command(*call, *(() if call[0] == "vocab" else ("--workers", "1")))
        assert ran.code == 0, ran.err
    return folder


@pytest.mark.parametrize("name", [".unfinished-labels", "manifest.json", "train/manifest.json", "train/.unfinished-x"])
def test_marks_and_manifests_that_are_pipes_are_told(made: Path, tmp_path: Path, command: Command, name: str) -> None:
    labels = tmp_path / "labels"
    shutil.copytree(made / "labels", labels)
    (labels / name).unlink(missing_ok=True)
    if "unfinished-x" in name:
        shutil.copy(labels / "manifest.json", labels / "train")
    os.mkfifo(labels / name)
    out = tmp_path / "out"
    ran = command("export", "--vocab", made / "vocabulary", "--format", "csv", labels, "--out", out, "--workers", "1")
    assert ran.code == 2
    assert f"{labels / name}: {WANTED}; write what it gives into a file, or remove it" in ran.err


@pytest.mark.parametrize(("form", "suffix"), [("labelme", ".json"), ("voc", ".xml"), ("yolo", ".txt")])
def test_a_pipe_in_a_folder_of_annotations_is_told(
    made: Path, tmp_path: Path, command: Command, form: str, suffix: str
) -> None:
    (tmp_path / "in").mkdir()
    os.mkfifo(tmp_path / f"in/x{suffix}")
    out = tmp_path / "out"
    call = ("annotate", "--vocab", made / "vocabulary", "--format", form, tmp_path / "in", "--out", out)
    ran = command(*call, "--workers", "1")
    assert ran.code == 2
    assert f"x{suffix}: {WANTED}" in ran.err


@pytest.mark.parametrize("name", ["x.csv", "x.tar", "x.zip", "x.gz", "x.parquet", "x.json", "x"])
@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
def test_an_input_that_is_no_file_is_told_with_standard_input_where_that_is_read(  # noqa: PLR0917 - fixtures
    made: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch, name: str, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    with socket.socket(socket.AF_UNIX) as other:
        if kind == "pipe":
            os.mkfifo(name)
        elif kind == "socket":
            other.bind(name)
        else:
            (tmp_path / name).symlink_to("/dev/zero")
        told = f"{name}: is a {kind}, and a file is wanted; "
        vocab = ("--vocab", made / "vocabulary")
        for call in (
            ("annotate", *vocab, "--format", "csv", name, "--out", "out", "--workers", "1"),
            ("tally", "--format", "csv", name, "--out", "counts.csv", "--workers", "1"),
            ("vocab", "--classes", f"mine={name}", "--out", "out"),
            ("vocab", "--imagenet", name, "--out", "out"),
        ):
            ran = command(*call)
            assert (ran.code, ran.err.startswith("Error: " + told)) == (2, True), ran.err
            assert "pipe it into this command, and name - for it" in ran.err
        for other_call in (("audit", *vocab, name), ("images", "ingest", name, "--out", "out", "--workers", "1")):
            ran = command(*other_call)
            assert (ran.code, told in ran.err, "name - for it" in ran.err) == (2, True, False), ran.err


def test_a_finished_part_that_is_a_pipe_is_told(made: Path, tmp_path: Path, command: Command) -> None:
    out = tmp_path / "out"
    out.mkdir()
    os.mkfifo(out / ".partial-done-x")
    call = ("annotate", "--vocab", made / "vocabulary", "--format", "csv", made / "labels.csv", "--out", out)
    ran = command(*call, "--workers", "1")
    assert ran.code == 2
    assert f".partial-done-x: {WANTED}" in ran.err
