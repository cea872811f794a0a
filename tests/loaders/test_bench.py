"""The benchmark runs on any pictures and says what it measured."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from mlimages_dataset.loaders.__main__ import main
from tests.loaders.test_dataset import data_set

if TYPE_CHECKING:
    from pathlib import Path


def arguments(folder: Path, *more: str) -> list[str]:
    images, labels, cache = (str(folder / name) for name in ("images", "labels", "cache"))
    shape = ["--classes", "8", "--image-size", "16", "--batches", "3", "--workers", "0"]
    return ["bench", "--images", images, "--labels", labels, "--cache", cache, *shape, *more]


@pytest.mark.slow
def test_it_measures_reading_and_every_step(tmp_path: Path) -> None:
    data_set(tmp_path, 20, broken=[3])
    done = CliRunner().invoke(main, arguments(tmp_path, "--batch-size", "8", "--json"))
    assert done.exit_code == 0, done.output
    speed = json.loads(done.output)
    assert (speed["pictures"], speed["without_picture"]) == (20, 0)
    assert list(speed["steps"]) == ["read", "decode", "geometry", "colour"]
    assert min(speed["images_per_second"], *speed["steps"].values(), speed["bytes_per_image"]) > 0
    assert 0 < speed["waited"] <= 1
    assert "picture-0003" in speed["bad"]
    done = CliRunner().invoke(main, arguments(tmp_path, "--batch-size", "8"))
    assert "images/s with 0 workers" in done.output


@pytest.mark.slow
def test_one_table_has_no_split(tmp_path: Path) -> None:
    data_set(tmp_path, 8)
    table = ("--labels", str(tmp_path / "labels" / "train"), "--split", "none", "--upright")
    done = CliRunner().invoke(main, arguments(tmp_path, "--batch-size", "8", *table))
    assert done.exit_code == 0, done.output
    assert "8  pictures; 0 labelled images have no picture" in done.output


def test_what_cannot_be_measured_is_one_sentence(tmp_path: Path) -> None:
    data_set(tmp_path, 4)
    done = CliRunner().invoke(main, arguments(tmp_path))
    assert (done.exit_code, done.output) == (
        2,
        "error: 4 pictures make no batch of 64; give a smaller --batch-size\n",
    )


WITHOUT_TORCH = """
import runpy, sys
sys.modules["torch"] = None
sys.argv = ["bench", *sys.argv[1:]]
runpy.run_module("mlimages_dataset.loaders", run_name="__main__")
"""


def test_without_torch_it_says_what_to_install(tmp_path: Path) -> None:
    given = ("bench", "--images", str(tmp_path), "--labels", str(tmp_path))
    ran = subprocess.run([sys.executable, "-c", WITHOUT_TORCH, *given], capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert ran.stderr.splitlines()[0].endswith("run: pip install 'mlimages-dataset[train]'")
    assert "Traceback" not in ran.stderr
    shown = subprocess.run([sys.executable, "-c", WITHOUT_TORCH, "--help"], capture_output=True, text=True, check=False)
    assert "bench" in shown.stdout
