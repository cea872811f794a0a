"""Detectors of the world: their run files, their training by the package's own command, and what they find."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import torch
from torch.utils.data import DataLoader

from mlimages_dataset.core.locations import location
from mlimages_dataset.evaluation.detection_scores import evaluate_regions
from mlimages_dataset.loaders.boxes import BoxedImages, BoxTransform
from mlimages_dataset.tables.parquet import read_table
from mlimages_dataset.tables.schemas import PAIR_COUNTS, REGIONS
from mlimages_dataset.train.__main__ import main as train
from mlimages_dataset.train.checkpoint import found_checkpoint, read_checkpoint
from mlimages_dataset.train.detection.found import found_boxes
from mlimages_dataset.train.losses.concurrent_softmax import concurrent_probabilities
from mlimages_dataset.train.losses.detection import with_background
from mlimages_dataset.train.losses.pair_rates import rates_of_table, with_relatives
from mlimages_dataset.train.tasks.detection import Detecting, region_rows
from mlimages_dataset.train.tasks.registry import task_of_checkpoint
from tests.benchmarks.detection_world.world import SIDE, World, all_labels

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

EPOCHS = 4
RUN = """
task = "detection"
epochs = {epochs}
evaluate_epochs = 0
seed = {seed}
[model]
name = "resnet18"
batch_norm_epsilon = 1e-5
[loss]
prior_bias = false
{loss}
[optimizer]
momentum = 0.9
weight_decay = 1e-4
clip_norm = 5.0
[schedule]
learning_rate = 0.01
batch_size = 4
decay = "cosine"
staircase = false
[[phases]]
batch_size = 4
image_size = {side}
{sampler}
[detection]
pyramid = true
pyramid_channels = 32
head_features = 128
anchor_sizes = [12, 24, 48, 96, 192]
anchors_of_image = 64
regions_of_image = 32
candidates = [100, 100]
proposals = [60, 30]
long_side = {side}
frozen_norms = false
suppression_overlap = 0.5
least_score = 0.001
[execution]
device = "cpu"
precision = "float32"
threads = 1
[data]
workers = 0
"""
LOSSES = {
    "softmax": 'name = "softmax"',
    "concurrent": 'name = "concurrent-softmax"\npair_counts = "{pairs}"',
    "relatives": 'name = "concurrent-softmax"\npair_counts = "{pairs}"\nrelatives_concur = true',
    "focal": 'name = "focal"\nsum_classes = true',
    "BCE": 'name = "binary-cross-entropy"\nsum_classes = true',
}
"""Those of table 1 that run files have; `softmax` learns several labels of a box as their shares (dist-CE)."""

SEPARATE = ("focal", "BCE")
"""Losses of each class for itself, whose scores are sigmoids."""


@dataclass(frozen=True, slots=True)
class Job:
    """A detector to train.

    Attributes:
        loss: of `LOSSES`.
        balance: lambda of soft balance; 0 for every picture once an epoch.
        seed: of the run.
        epochs: of the run.
    """

    loss: str
    balance: float
    seed: int
    epochs: int = EPOCHS

    @property
    def name(self) -> str:
        """The name of its folder."""
        return f"{self.loss}-{self.balance}-{self.seed}"


def learn(world: World, pairs: Path, job: Job, folder: Path) -> dict[str, dict[str, float]]:
    """Train a detector, and return the average precision of each class by how scores are made of its logits.

    Args:
        world: what it learns from, and what it is measured on.
        pairs: the table of `mlimages-build region-pairs`.
        job: loss, sampler, seed and epochs.
        folder: to write into; it is deleted in the end.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sampler = f'sampler = "soft-balance"\nbalance = {job.balance}' if job.balance else ""
    loss = LOSSES[job.loss].format(pairs=pairs)
    run, out = folder / "run.toml", folder / "out"
    run.write_text(RUN.format(epochs=job.epochs, seed=job.seed, side=SIDE, loss=loss, sampler=sampler))
    data = ["--images", world.images, "--labels", world.learnt, "--vocabulary", world.vocabulary_folder, "--out", out]
    train(["pretrain", str(run), *map(str, data)], standalone_mode=False)
    found = measured(world, pairs, out, job.loss)
    shutil.rmtree(folder)
    return found


@torch.inference_mode()
def measured(world: World, pairs: Path, out: Path, loss: str) -> dict[str, dict[str, float]]:
    """Return the average precision of each class on the held-out pictures, by how scores are made."""
    path = found_checkpoint(location(str(out)))
    checkpoint = read_checkpoint(path)
    task = task_of_checkpoint(checkpoint)
    assert isinstance(task, Detecting)
    network = task.network(checkpoint, path).eval()
    transform = BoxTransform(image_size=SIDE, long_side=SIDE)
    data = BoxedImages(world.images, world.held_out, n_classes=len(world.vocabulary), transform=transform)
    ways = _scores(world, pairs, separate=loss in SEPARATE)
    rows: dict[str, list[pa.Table]] = {name: [] for name in ways}
    for batch in DataLoader(data, batch_size=25, collate_fn=data.collate):
        outputs = network(data.finish(batch.images), batch.sizes)
        for name, scores_of in ways.items():
            rows[name].append(region_rows(found_boxes(outputs, scores_of, task.options), batch.image_ids, "detector"))
    return {name: precision(world, pa.concat_tables(tables)) for name, tables in rows.items()}


def _scores(world: World, pairs: Path, *, separate: bool) -> dict[str, Callable[[Tensor], Tensor]]:
    """Return the ways to make scores of logits: of separate classes one, otherwise softmax and equation 5."""
    if separate:
        return {"sigmoid": lambda logits: logits.sigmoid()[:, 1:]}
    closure = world.vocabulary.closure
    apart = rates_of_table(read_table(location(str(pairs)), PAIR_COUNTS), closure)
    concurrent = {"concurrent": apart, "relatives": with_relatives(apart, closure)}
    ways = {name: _concurrent(with_background(rates)) for name, rates in concurrent.items()}
    return {"softmax": lambda logits: logits.softmax(1)[:, 1:], **ways}


def _concurrent(rates: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda logits: concurrent_probabilities(logits, rates)[:, 1:].float()


def precision(world: World, found: pa.Table) -> dict[str, float]:
    """Return the challenge's average precision of each class, of boxes found on the held-out pictures."""
    truth = read_table(location(str(world.held_out / "part-00000.parquet")), REGIONS)
    scores = evaluate_regions(truth, all_labels(truth, world.vocabulary), found, world.vocabulary)
    by_name = zip(scores.names, scores.average_precisions, strict=True)
    return {world.name_of[name]: float(value) for name, value in by_name if value == value}  # noqa: PLR0124 - NaN
