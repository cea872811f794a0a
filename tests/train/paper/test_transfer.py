"""Whole rows on small folders: the command prepares, trains, measures, and resumes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import torch
from torchvision.models import resnet18

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.train.apply import Application
from mlimages_dataset.train.checkpoint import newest_checkpoint
from mlimages_dataset.train.config import Device, Execution, Precision
from mlimages_dataset.train.evaluation import EvaluationSummary
from mlimages_dataset.train.judge import evaluate
from mlimages_dataset.train.paper.imagenet import prepare_imagenet
from tests.train.paper.kits import write_imagenet, write_kit, write_maps
from tests.train.test_main import called, refusal

if TYPE_CHECKING:
    from pathlib import Path

COMMON = """
[model]
name = "resnet18"
batch_norm_epsilon = 1e-5
frozen_statistics = true
[loss]
name = "softmax"
prior_bias = false
[schedule]
learning_rate = 0.001
batch_size = 2
[[phases]]
batch_size = 2
image_size = 64
[execution]
device = "cpu"
precision = "float32"
channels_last = false
threads = 1
[data]
workers = 0
"""
WNIDS = ("n01440764", "n02084071")
DETECTION = f"""
epochs = 1
steps = 3
task = "detection"
evaluate_epochs = 0
{COMMON}
[detection]
long_side = 96
anchor_sizes = [16, 32, 64]
candidates = [100, 100]
proposals = [50, 20]
regions_of_image = 16
"""
SEGMENTATION = f"""
epochs = 1
steps = 3
task = "segmentation"
evaluate_epochs = 0
{COMMON}
"""
IMAGENET = f"""
epochs = 1
{COMMON}
[checkpoints]
best = "top1"
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "run.toml"
    path.write_text(text, encoding="utf-8")
    return path


def weights(folder: Path) -> Path:
    """Write weights as torchvision has them."""
    torch.manual_seed(0)
    path = folder / "resnet18.pth"
    torch.save(resnet18().state_dict(), path)
    return path


def test_a_row_of_imagenet_is_measured_at_both_sizes_and_resumes(tmp_path: Path) -> None:
    data, out = write_imagenet(tmp_path / "imagenet", WNIDS), tmp_path / "out"
    arguments = ("transfer", "imagenet-1", "--data", data, "--out", out, "--run", written(tmp_path, IMAGENET))
    first = called(*arguments)
    assert first.exit_code == 0, first.output
    assert "learnt from 4 images (the paper: 1,281,167), measured on 4 (the paper: 50,000)" in first.output
    assert "there are 2 classes, and ImageNet has 1,000" in first.output
    result = json.loads((out / "result.json").read_text())
    assert set(result["measures"]) == {"224", "299"}
    for size, found in result["measures"].items():
        application = Application(
            checkpoint=out / "run",
            vocabulary=out / "data" / "vocabulary",
            images=data / "val",
            execution=Execution(device=Device.CPU, precision=Precision.FLOAT32),
            workers=0,
            image_size=int(size),
        )
        summary = evaluate(application, out / "data" / "annotations" / "val")
        assert isinstance(summary, EvaluationSummary)
        assert found["top1"] == summary.top[1]
        assert found["map"] == pytest.approx(summary.mean_average_precision)
    again = called(*arguments)
    assert again.exit_code == 0, again.output
    assert json.loads((out / "result.json").read_text()) == result
    assert first.output.partition("here")[2].split("%")[0] in again.output


@pytest.mark.slow
@pytest.mark.parametrize("row", ["voc-detection", "voc-segmentation"])
def test_a_row_of_voc_is_trained_from_foreign_weights_and_measured(row: str, tmp_path: Path) -> None:
    kit, out = write_kit(tmp_path), tmp_path / "out"
    write_maps(kit, ["a", "b"], ["c"])
    run = written(tmp_path, DETECTION if row == "voc-detection" else SEGMENTATION)
    ended = called("transfer", row, "--weights", weights(tmp_path), "--data", kit, "--out", out, "--run", run)
    assert ended.exit_code == 0, ended.output
    result = json.loads((out / "result.json").read_text())
    assert result["row"] == row
    assert all(0 <= one["here"] <= 100 for one in result["figures"])
    assert newest_checkpoint(out / "run") == out / "run" / "checkpoints" / "step-000000003.pt"
    # A checkpoint of this task is no start for the next.
    told = refusal(2, "transfer", row, "--weights", out / "run", "--data", kit, "--out", tmp_path / "o", "--run", run)
    assert f"it is a checkpoint of the task {row.removeprefix('voc-')}; name weights of a classifier" in told
    assert not (tmp_path / "o" / "run").exists()


def test_a_class_of_val_that_train_lacks_is_refused(tmp_path: Path) -> None:
    data = write_imagenet(tmp_path, WNIDS)
    (data / "train" / WNIDS[1]).rename(data / "train" / "n02121808")
    with pytest.raises(DataError, match=f"val: has {WNIDS[1]}, of which .*train has no folder; use the same classes"):
        prepare_imagenet(data, tmp_path / "out")


def test_a_class_that_wordnet_does_not_know_is_refused(tmp_path: Path) -> None:
    data = write_imagenet(tmp_path, (*WNIDS, "n99999999"))
    with pytest.raises(DataError, match=r"train: n99999999 are no nouns of WordNet 3\.0"):
        prepare_imagenet(data, tmp_path / "out")


@pytest.mark.parametrize("missing", ["train", "val"])
def test_a_folder_without_classes_is_refused(tmp_path: Path, missing: str) -> None:
    data = write_imagenet(tmp_path, WNIDS)
    (data / missing).rename(data / "elsewhere")
    with pytest.raises(UsageError, match=f"{missing}: holds no folder of pictures called by a wnid"):
        prepare_imagenet(data, tmp_path / "out")


def test_shards_bring_their_own_annotations(tmp_path: Path) -> None:
    of_folders = prepare_imagenet(write_imagenet(tmp_path / "imagenet", WNIDS), tmp_path / "out")
    build = tmp_path / "build"
    (build / "shards").mkdir(parents=True)
    (build / "annotations").symlink_to(tmp_path / "out" / "annotations")
    prepared = prepare_imagenet(build, tmp_path / "other")
    assert (prepared.n_images, prepared.n_measured) == (of_folders.n_images, of_folders.n_measured) == (4, 4)
    assert (prepared.images, prepared.vocabulary) == (build / "shards", build / "vocabulary")
