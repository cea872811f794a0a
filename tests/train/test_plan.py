"""A plan says for how many classes it counts, and tries whether a run's first steps learn."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
import torch
from torchvision.models import resnet18, resnet101

from mlimages_dataset.train.plan_stage import PUBLISHED_CLASSES
from mlimages_dataset.train.run_files import read_run, run_file
from mlimages_dataset.train.science import science
from mlimages_dataset.train.tasks.detection import Detecting
from mlimages_dataset.train.tasks.registry import task_of_run
from mlimages_dataset.vocab.folder import CATEGORIES_FILE
from tests.train.test_main import RUN, called, files, refusal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import nn

    from tests.train.conftest import Photographs

NO_PACE = ("--dataset-size", "1281167", "--images-per-second", "1000")


def parameters(network: Callable[..., nn.Module], n_classes: int) -> int:
    """Return the parameters of torchvision's own network."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in network(num_classes=n_classes).parameters())


def first_line(*arguments: str | Path) -> str:
    result = called("plan", *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()[0]


@pytest.fixture(name="small")
def _small(tmp_path: Path) -> Path:
    (tmp_path / "run.toml").write_text(RUN)
    return tmp_path / "run.toml"


@pytest.mark.slow
def test_fine_tuning_on_imagenet_has_a_thousand_classes() -> None:
    assert parameters(resnet101, 1000) == 44_549_160
    told = first_line("packaged:imagenet-4.toml", *NO_PACE)
    assert told == "44,549,160 parameters, with a head of 1,000 classes (model.classes)"


@pytest.mark.parametrize("n_classes", [1, 7, 1000, 21_841])
def test_the_number_of_classes_can_be_given(small: Path, n_classes: int) -> None:
    told = first_line(small, *NO_PACE, "--classes", str(n_classes))
    assert (
        told == f"{parameters(resnet18, n_classes):,} parameters, with a head of {n_classes:,} classes (model.classes)"
    )


def test_classes_that_nobody_names_are_said_to_be_assumed(small: Path) -> None:
    told = first_line(small, *NO_PACE)
    assert told.startswith(f"{parameters(resnet18, PUBLISHED_CLASSES):,} parameters, with a head of 11,166 classes")
    assert told.endswith("(assumed, those of Tencent ML-Images: give --classes or --vocabulary)")


def test_the_vocabulary_decides(small: Path, photographs: Photographs) -> None:
    import pyarrow.parquet as pq  # noqa: PLC0415 - here alone

    n_classes = pq.read_metadata(photographs.vocabulary / CATEGORIES_FILE).num_rows
    told = first_line(small, *NO_PACE, "--vocabulary", photographs.vocabulary)
    assert told.endswith(f"with a head of {n_classes:,} classes (of the vocabulary)")
    small.write_text(RUN.replace("[model]\n", "[model]\nclasses = 1000\n"))
    told = first_line(small, *NO_PACE, "--vocabulary", photographs.vocabulary)
    assert told.endswith(f"{n_classes:,} classes (of the vocabulary, but model.classes is 1,000)")


def test_two_numbers_of_classes_are_refused(small: Path, photographs: Photographs) -> None:
    told = refusal(2, "plan", small, *NO_PACE, "--vocabulary", photographs.vocabulary, "--classes", "5")
    assert told == "--classes and --vocabulary both give the number of classes; give one of them"


def test_the_classes_of_a_run_file_are_no_matter_of_science() -> None:
    run = read_run(run_file("packaged:imagenet-4.toml"))
    assert run.model.classes == 1000
    assert "model.classes" not in science(run)


def test_a_negative_number_of_classes_is_refused(small: Path) -> None:
    small.write_text(RUN.replace("[model]\n", "[model]\nclasses = -1\n"))
    assert "model.classes is -1" in refusal(2, "plan", small, *NO_PACE)


def test_a_run_for_gpus_is_planned_without_any(small: Path) -> None:
    told = first_line(small, *NO_PACE, "--classes", "7")
    small.write_text(RUN.replace("[model]\n", "[model]\nsync_batch_norm = true\n"))
    assert first_line(small, *NO_PACE, "--classes", "7") == told


def test_a_detector_is_planned_for_its_longest_side() -> None:
    task = task_of_run(read_run(run_file("packaged:open-images-natural.toml")))
    assert isinstance(task, Detecting)
    assert task.canvas(800) == (800, 1333)
    multi_scale = dataclasses.replace(task.options, short_sides=(600, 1000))
    assert dataclasses.replace(task, options=multi_scale).canvas(800) == (1000, 1333)
    assert task_of_run(read_run(run_file("packaged:imagenet-4.toml"))).canvas(224) == (224, 224)


def written(folder: Path, loss: str, rate: float) -> Path:
    """Write a run of 60 steps and return its file."""
    text = RUN.replace("epochs = 1", "epochs = 30").replace("learning_rate = 0.001", f"learning_rate = {rate}")
    (folder / "run.toml").write_text(f'{text}[loss]\nname = "{loss}"\n')
    return folder / "run.toml"


@pytest.mark.slow
def test_a_dry_run_that_learns_says_so_and_writes_nothing(photographs: Photographs, tmp_path: Path) -> None:
    run_toml = written(tmp_path, "softmax", 0.01)
    before = sorted(tmp_path.rglob("*"))
    result = called("plan", run_toml, *files(photographs), "--images-per-second", "10", "--dry-run-steps", "20")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1].startswith("dry run: 20 steps give no warning: logits changed by ")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.slow
def test_a_dry_run_that_does_not_learn_warns(photographs: Photographs, tmp_path: Path) -> None:
    run_toml = written(tmp_path, "binary-cross-entropy", 1e-6)
    result = called("plan", run_toml, *files(photographs), "--images-per-second", "10", "--dry-run-steps", "20")
    assert result.exit_code == 0, result.output
    told = result.stdout.splitlines()[-1]
    assert told.startswith("warning: after 20 steps, the logits do not change: logits changed by ")
    assert told.endswith("this loss is a mean over the classes: write loss.sum_classes = true")


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "told"), [("float32", False), ("bfloat16", True)])
def test_a_cpu_paced_in_half_precision_says_that_it_is_slow(tmp_path: Path, precision: str, told: bool) -> None:  # noqa: FBT001 - a parameter
    run_toml = tmp_path / "run.toml"
    run_toml.write_text(RUN.replace('precision = "float32"', f'precision = "{precision}"'))
    result = called("plan", run_toml, "--classes", "3", "--dataset-size", "100", "--dry-run-steps", "0")
    assert result.exit_code == 0, result.output
    assert ('write execution.precision = "float32"' in result.stdout) is told


def test_no_steps_are_tried_where_nobody_wants_them(photographs: Photographs, tmp_path: Path) -> None:
    run_toml = written(tmp_path, "softmax", 0.01)
    result = called("plan", run_toml, *files(photographs), "--images-per-second", "10", "--dry-run-steps", "0")
    assert "dry run" not in result.output
    assert "warning" not in result.output


def test_too_few_steps_to_tell_are_refused(photographs: Photographs, tmp_path: Path) -> None:
    run_toml = written(tmp_path, "softmax", 0.01)
    given = ("plan", run_toml, *files(photographs), "--images-per-second", "10", "--dry-run-steps")
    assert refusal(2, *given, "5").startswith("a dry run of 5 steps cannot tell whether a run learns; try 20 or more")
    places = files(photographs)
    without = [places[at] for at in range(len(places)) if "--vocabulary" not in places[max(at - 1, 0) : at + 1]]
    told = refusal(2, "plan", run_toml, *without, "--dry-run-steps", "50")
    assert told == "no data.vocabulary; write it under [data], or pass --vocabulary"


def test_a_run_that_is_over_before_one_can_tell_is_planned_without_trying(
    small: Path, photographs: Photographs
) -> None:
    result = called("plan", small, *files(photographs), "--images-per-second", "10")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == "no dry run: the run's 2 steps are too few to tell whether it learns"


def test_a_dry_run_without_images_is_refused(small: Path, photographs: Photographs) -> None:
    told = refusal(2, "plan", small, *NO_PACE, "--vocabulary", photographs.vocabulary, "--dry-run-steps", "20")
    assert told.startswith("no data.images; write it under [data], or pass --images")
