"""The trainer where the disk fills, and where there are more ranks than images."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mlimages_dataset.train.checkpoint import newest_checkpoint, read_checkpoint
from tests.adversary.each_command import write_given
from tests.adversary.kills import RUN
from tests.benchmarks.measurement import COMMAND
from tests.train.processes import on_ranks

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
LARGER_THAN_LOGS = 1 << 20


@pytest.fixture(name="given", scope="module")
def _given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("given")
    write_given(folder)
    (folder / "run.toml").write_text(RUN)
    return folder


def _words(given: Path, out: Path) -> list[str]:
    data = ["--images", given / "photos", "--labels", given / "labels" / "train", "--vocabulary", given / "vocabulary"]
    return ["-m", "mlimages_dataset.train", "pretrain", str(given / "run.toml"), *map(str, data), "--out", str(out)]


def _trained(given: Path, out: Path, *, largest_file: int | None = None) -> subprocess.CompletedProcess[str]:
    def limited() -> None:
        if largest_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    call = [sys.executable, *_words(given, out)]
    return subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False, preexec_fn=limited)


def _weights(out: Path) -> dict[str, torch.Tensor]:
    path = newest_checkpoint(out)
    assert path is not None
    return read_checkpoint(path).model


def test_a_checkpoint_that_does_not_fit_on_the_disk_is_told_and_the_rerun_ends_alike(
    given: Path, tmp_path: Path
) -> None:
    whole = _trained(given, tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    cut = _trained(given, tmp_path / "cut", largest_file=LARGER_THAN_LOGS)
    assert cut.returncode in {1, 2}
    assert "Traceback" not in cut.stderr
    (sentence,) = [line for line in cut.stderr.splitlines() if line.startswith("Error: ")]
    assert "File too large" in sentence
    assert newest_checkpoint(tmp_path / "cut") is None, "nothing half-written counts"
    again = _trained(given, tmp_path / "cut")
    assert again.returncode == 0, again.stderr
    first, second = _weights(tmp_path / "whole"), _weights(tmp_path / "cut")
    assert all(torch.equal(first[name], value) for name, value in second.items())
    assert not list((tmp_path / "cut").rglob(".partial-*"))


def test_more_ranks_than_images_are_refused_by_all_of_them(given: Path, tmp_path: Path) -> None:
    listed = tmp_path / "one.csv"
    listed.write_text("image_id,label\ndog/000,n02084071\n")
    vocabulary = ("--vocab", given / "vocabulary")
    for words in (
        ("annotate", *vocabulary, "--format", "csv", listed, "--out", tmp_path / "annotations"),
        ("labels", *vocabulary, "--annotations", tmp_path / "annotations", "--out", tmp_path / "labels"),
    ):
        subprocess.run([sys.executable, "-c", COMMAND, *map(str, words)], check=True, stdout=subprocess.DEVNULL)
    named = _words(given, tmp_path / "out")
    named[named.index("--labels") + 1] = str(tmp_path / "labels" / "train")
    ranks = on_ranks(3, *named)
    assert {rank.code for rank in ranks} <= {1, 2}, ranks[0].out + ranks[0].err
    assert not any("Traceback" in rank.err for rank in ranks)
    assert sum("Error: " in rank.err for rank in ranks) >= 1
