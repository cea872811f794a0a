"""Detection and segmentation are runs like any other: they resume bit for bit, and two ranks learn what one does."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner

from cli.main import main as build
from mlimages_dataset.tables.parquet import read_table
from mlimages_dataset.tables.schemas import LABEL_MAPS, REGIONS
from mlimages_dataset.train.__main__ import main
from tests.train.detection.shapes import write_shapes
from tests.train.processes import on_ranks

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

    from tests.train.conftest import Photographs

COMMON = """
epochs = 2
evaluate_epochs = 2
[model]
name = "resnet18"
frozen_statistics = true
[loss]
name = "softmax"
[schedule]
learning_rate = 0.01
batch_size = 4
decay = "poly"
staircase = false
[optimizer]
clip_norm = 5.0
[[phases]]
batch_size = 4
image_size = 64
[execution]
device = "cpu"
precision = "float32"
deterministic = true
threads = 1
[checkpoints]
every_steps = 1
keep = 9
asynchronous = false
best = "BEST"
[data]
workers = 0
[logs]
every_steps = 1
"""
DETECTION = """
[detection]
long_side = 64
pyramid = true
pyramid_channels = 16
head_features = 32
anchor_sizes = [8, 16, 32, 64, 128]
anchors_of_image = 32
regions_of_image = 16
candidates = [100, 50]
proposals = [40, 20]
"""


@dataclass(frozen=True, slots=True)
class Task:
    """A task with its data: the options that name them, and its measures and table."""

    run_toml: Path
    options: tuple[str, ...]
    measures: tuple[str, ...]
    schema: Any


@pytest.fixture(params=["detection", "segmentation"])
def task(request: pytest.FixtureRequest, photographs: Photographs, tmp_path: Path) -> Task:
    """Return a task on six pictures of one size."""
    shapes = write_shapes(tmp_path / "shapes", 6, sides=(64, 65))
    name = str(request.param)
    is_detection = name == "detection"
    labels = shapes.regions if is_detection else shapes.maps
    measures = ("map50", "map50_11_points") if is_detection else ("miou", "pixel_accuracy")
    run_toml = tmp_path / "run.toml"
    text = f'task = "{name}"' + COMMON.replace("BEST", measures[0]) + (DETECTION if is_detection else "")
    run_toml.write_text(text, encoding="utf-8")
    options = ["--images", str(shapes.images), "--labels", str(labels), "--validation-labels", str(labels)]
    options += ["--vocabulary", str(photographs.vocabulary)] if is_detection else []
    return Task(run_toml, tuple(options), measures, REGIONS if is_detection else LABEL_MAPS)


def train(task: Task, out: Path) -> Result:
    """Run `pretrain`."""
    done = CliRunner().invoke(main, ["pretrain", str(task.run_toml), *task.options, "--out", str(out)])
    assert done.exit_code == 0, done.output
    return done


def weights(out: Path, step: int) -> dict[str, torch.Tensor]:
    """Return the weights of a checkpoint."""
    found: dict[str, torch.Tensor] = torch.load(out / "checkpoints" / f"step-{step:09}.pt")["model"]
    return found


def test_a_run_resumes_bit_for_bit_and_is_evaluated_and_applied(task: Task, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    said = train(task, whole).output
    assert all(measure in said for measure in task.measures)
    cut.mkdir()
    shutil.copy(whole / "run.json", cut)
    (cut / "checkpoints").mkdir()
    shutil.copy(whole / "checkpoints" / "step-000000001.pt", cut / "checkpoints")
    train(task, cut)
    first, second = weights(whole, 4), weights(cut, 4)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], weights(whole, 1)[name]) for name in first)
    images, labels = task.options[1], task.options[3]
    vocabulary = task.options[-2:] if "--vocabulary" in task.options else ()
    applied = [str(whole), "--images", images, *vocabulary, "--device", "cpu", "--workers", "0"]
    evaluated = CliRunner().invoke(main, ["evaluate", *applied, "--labels", labels])
    assert evaluated.exit_code == 0, evaluated.output
    assert all(measure in evaluated.output for measure in task.measures)
    out = tmp_path / "predictions"
    words, maps = ["predict", *applied, "--out", str(out), "--above", "0.01"], ["--maps", str(tmp_path / "maps")]
    if task.schema is LABEL_MAPS:
        words += maps
    else:
        assert "it is no segmenter" in CliRunner().invoke(main, [*words, *maps]).output
    predicted = CliRunner().invoke(main, words)
    assert predicted.exit_code == 0, predicted.output
    (part,) = out.glob("*.parquet")
    table = read_table(part, task.schema)
    assert set(table["image_id"].to_pylist()) <= {f"p{k}" for k in range(6)}
    assert pq.read_metadata(part).num_rows > 0
    if task.schema is LABEL_MAPS:
        written = {path.stem: path.read_bytes() for path in (tmp_path / "maps").iterdir()}
        assert written == dict(zip(table["image_id"].to_pylist(), table["map"].to_pylist(), strict=True))
    if task.schema is REGIONS:
        larger = CliRunner().invoke(
            main, ["predict", *applied, "--out", str(tmp_path / "larger"), "--above", "0.01", "--image-size", "128"]
        )
        assert larger.exit_code == 0, larger.output  # of its own size, the longest side is 64
        tables = [str(out), str(tmp_path / "larger")]
        both = CliRunner().invoke(build, ["fuse-detections", *tables, "--out", str(tmp_path / "both")])
        assert both.exit_code == 0, both.output


def test_what_a_network_cannot_say_is_refused(task: Task, tmp_path: Path) -> None:
    train(task, tmp_path / "run")
    vocabulary = task.options[-2:] if "--vocabulary" in task.options else ()
    applied = [str(tmp_path / "run"), "--images", task.options[1], *vocabulary, "--device", "cpu", "--workers", "0"]
    for command in (
        ["extract", *applied, "--out", str(tmp_path / "features")],
        ["calibrate", *applied, "--labels", task.options[3], "--out", str(tmp_path / "fit.pt")],
        ["predict", *applied],
        ["predict", str(tmp_path / "run"), task.options[1]],
    ):
        refused = CliRunner().invoke(main, command)
        assert refused.exit_code == 2, refused.output
        assert "classifier" in refused.output
    unheeded = {"--view": "resize256"} if task.schema is REGIONS else {"--view": "resize256", "--image-size": "32"}
    for option, value in unheeded.items():
        for command in (["evaluate", *applied, "--labels", task.options[3]], ["predict", *applied, "--out", "nowhere"]):
            refused = CliRunner().invoke(main, [*command, option, value])
            assert refused.exit_code == 2, refused.output
            assert f"{option} changes nothing of what this network sees" in refused.output


def test_a_plan_counts_memory_and_steps(task: Task) -> None:
    planned = CliRunner().invoke(
        main, ["plan", str(task.run_toml), *task.options, "--images-per-second", "10", "--dry-run-steps", "0"]
    )
    assert planned.exit_code == 0, planned.output
    assert "4 steps" in planned.output
    assert "MiB each" in planned.output


@pytest.mark.slow
def test_two_ranks_learn_what_one_does(task: Task, tmp_path: Path) -> None:
    train(task, tmp_path / "one")
    arguments = ["-m", "mlimages_dataset.train", "pretrain", str(task.run_toml), *task.options]
    for rank in on_ranks(2, *arguments, "--out", str(tmp_path / "two")):
        assert rank.code == 0, rank.err
    first, second = weights(tmp_path / "one", 1), weights(tmp_path / "two", 1)
    for name, value in first.items():
        assert torch.allclose(value.float(), second[name].float(), rtol=1e-4, atol=1e-6), name
