"""Detectors of the world: trunks that the package's own command trains, and box heads that are compared on them.

A trunk is a detector without its box heads: network, pyramid and proposals. It is trained once a seed, with softmax and
every picture once an epoch (the first phase of Peng et al. 2020, 4.2), and does not change afterwards. So what it says
of each picture is computed once, and box heads, which all losses and samplers concern, learn in seconds.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.utils.data import DataLoader

from mlimages_dataset.core.locations import location
from mlimages_dataset.evaluation.detection_scores import evaluate_regions
from mlimages_dataset.loaders import ShuffledSampler, SoftBalanceSampler
from mlimages_dataset.loaders.boxes import BoxedImages, BoxTransform
from mlimages_dataset.tables.parquet import read_table
from mlimages_dataset.tables.schemas import PAIR_COUNTS, REGIONS
from mlimages_dataset.train.__main__ import main as train
from mlimages_dataset.train.checkpoint import found_checkpoint, read_checkpoint
from mlimages_dataset.train.config import Data, Loss, LossName, Run
from mlimages_dataset.train.detection.detector import Detector, Learnt
from mlimages_dataset.train.detection.found import found_boxes
from mlimages_dataset.train.detection.proposals import Compared
from mlimages_dataset.train.detection.targets import TrueBoxes
from mlimages_dataset.train.inputs import pair_rates
from mlimages_dataset.train.losses.concurrent_softmax import concurrent_probabilities
from mlimages_dataset.train.losses.detection import with_background
from mlimages_dataset.train.losses.pair_rates import rates_of_table, with_relatives
from mlimages_dataset.train.run_files import read_run
from mlimages_dataset.train.tasks.detection import region_rows
from mlimages_dataset.train.tasks.registry import task_of_checkpoint, task_of_run
from tests.benchmarks.detection_world.world import SIDE, World, all_labels

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.train.detection.box_heads import BoxHeads

TRUNK_EPOCHS, EPOCHS = 8, 8
"""Of trunks, and of box heads."""
RUN = f"""
task = "detection"
epochs = {{epochs}}
evaluate_epochs = 0
seed = {{seed}}
[model]
name = "resnet18"
batch_norm_epsilon = 1e-5
[loss]
prior_bias = false
name = "softmax"
[optimizer]
momentum = 0.9
weight_decay = 1e-4
clip_norm = 5.0
[schedule]
learning_rate = 0.02
batch_size = 8
decay = "cosine"
staircase = false
[[phases]]
batch_size = 8
image_size = {SIDE}
[detection]
pyramid = true
pyramid_channels = 32
head_features = 128
anchor_sizes = [12, 24, 48, 96, 192]
anchors_of_image = 64
regions_of_image = 32
candidates = [100, 100]
proposals = [60, 40]
long_side = {SIDE}
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
    "softmax": Loss(name=LossName.SOFTMAX),
    "concurrent": Loss(name=LossName.CONCURRENT_SOFTMAX, pair_counts=location("pairs"), relatives_concur=False),
    "relatives": Loss(name=LossName.CONCURRENT_SOFTMAX, pair_counts=location("pairs")),
    "focal": Loss(name=LossName.FOCAL, sum_classes=True),
    "BCE": Loss(name=LossName.BINARY_CROSS_ENTROPY, sum_classes=True),
    "co-BCE": Loss(
        name=LossName.CO_BINARY_CROSS_ENTROPY, sum_classes=True, pair_counts=location("pairs"), relatives_concur=False
    ),
}
"""Those of table 1; `softmax` learns several labels of a box as their shares (dist-CE). The table is named later."""

SEPARATE = ("focal", "BCE", "co-BCE")
"""Losses of each class for itself, whose scores are sigmoids."""
_BATCH, _RATE = 8, 0.02
_READ_AT_ONCE = 25


@dataclass(frozen=True, slots=True)
class Job:
    """Box heads to train.

    Attributes:
        loss: of `LOSSES`.
        balance: lambda of soft balance; 0 for every picture once an epoch.
        seed: of the trunk and of the box heads.
        epochs: of the box heads.
    """

    loss: str
    balance: float
    seed: int
    epochs: int = EPOCHS


@dataclass(frozen=True, slots=True)
class Seen:
    """What a trunk says of some pictures, and what is true of them.

    Attributes:
        data: the pictures.
        levels: features of each level of the pyramid, shape (pictures, D, height, width).
        proposals: sides of the proposed boxes of each picture, in pixels.
        truth: the true boxes of each picture.
    """

    data: BoxedImages
    levels: Mapping[str, Tensor]
    proposals: Sequence[Tensor]
    truth: Sequence[TrueBoxes]

    def of(self, rows: Sequence[int]) -> tuple[dict[str, Tensor], list[Tensor]]:
        """Return the features and proposals of some pictures."""
        return {name: level[rows] for name, level in self.levels.items()}, [self.proposals[row] for row in rows]


@dataclass(frozen=True, slots=True)
class Trunk:
    """A trained trunk, and what it says of the pictures of a world."""

    world: World
    run: Run
    learnt: Seen
    held_out: Seen


def trunk(world: World, seed: int, folder: Path, epochs: int = TRUNK_EPOCHS) -> Trunk:
    """Return a trunk; it is trained if the folder does not have it yet, or not to its end.

    Args:
        world: what it learns from.
        seed: of the run.
        folder: of the run.
        epochs: of the run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    run, out = folder / "run.toml", folder / "out"
    run.write_text(RUN.format(epochs=epochs, seed=seed))
    data = ["--images", world.images, "--labels", world.learnt, "--vocabulary", world.vocabulary_folder, "--out", out]
    train(["pretrain", str(run), *map(str, data)], standalone_mode=False)
    path = found_checkpoint(location(str(out)))
    checkpoint = read_checkpoint(path)
    detector = task_of_checkpoint(checkpoint).network(checkpoint, path).eval()
    assert isinstance(detector, Detector)
    detector.register_module("roi_heads", _Handed())
    return Trunk(
        world, read_run(location(str(run))), *(_seen(detector, world, of) for of in (world.learnt, world.held_out))
    )


class _Handed(nn.Module):
    """Stands where box heads are, and returns what they are given."""

    def predict(
        self, levels: Mapping[str, Tensor], proposals: Sequence[Tensor], sizes: list[tuple[int, int]]
    ) -> tuple[Mapping[str, Tensor], Sequence[Tensor], list[tuple[int, int]]]:
        return levels, proposals, sizes


@torch.no_grad()
def _seen(detector: Detector, world: World, regions: Path) -> Seen:
    transform = BoxTransform(image_size=SIDE, long_side=SIDE)
    data = BoxedImages(world.images, regions, n_classes=len(world.vocabulary), transform=transform)
    levels: list[Mapping[str, Tensor]] = []
    proposals: list[Tensor] = []
    truth: list[TrueBoxes] = []
    for batch in DataLoader(data, batch_size=_READ_AT_ONCE, collate_fn=data.collate):
        found, proposed, _ = detector(data.finish(batch.images), batch.sizes)
        levels.append(found)
        proposals += proposed
        labels = torch.zeros(len(batch.sides), len(world.vocabulary), dtype=torch.bool)
        labels[batch.label_box, batch.class_index] = True
        counts = torch.bincount(batch.box_sample, minlength=len(batch.images)).tolist()
        truth += [TrueBoxes(*both) for both in zip(batch.sides.split(counts), labels.split(counts), strict=True)]
    joined = {name: torch.cat([of_batch[name] for of_batch in levels]) for name in levels[0]}
    return Seen(data, joined, proposals, truth)


def learn(of_trunk: Trunk, pairs: Path, job: Job) -> dict[str, dict[str, float]]:
    """Train box heads, and return the average precision of each class by how scores are made of their logits.

    Args:
        of_trunk: what the heads are put on.
        pairs: the table of `mlimages-build region-pairs`.
        job: loss, sampler, seed and epochs.
    """
    world, table = of_trunk.world, location(str(pairs))
    loss = LOSSES[job.loss]
    loss = dataclasses.replace(loss, pair_counts=None if loss.pair_counts is None else table)
    run = dataclasses.replace(
        of_trunk.run, loss=loss, data=Data(vocabulary=location(str(world.vocabulary_folder))), seed=job.seed
    )
    return measured(of_trunk, _trained(of_trunk, run, job), _scores(world, table, separate=job.loss in SEPARATE))


def _trained(of_trunk: Trunk, run: Run, job: Job) -> BoxHeads:
    """Return box heads after their training: the package's own, its losses and its samplers."""
    torch.manual_seed(job.seed)
    task, n_classes, seen = task_of_run(run), len(of_trunk.world.vocabulary), of_trunk.learnt
    model = task.model(run, n_classes, "")
    assert isinstance(model, Detector)
    heads: BoxHeads = model.roi_heads
    loss = task.loss(run, n_classes, pair_rates(run))
    sampler = (
        SoftBalanceSampler(seen.data, balance=job.balance, seed=job.seed)
        if job.balance
        else ShuffledSampler(seen.data, seed=job.seed)
    )
    steps_of_epoch = len(sampler) // _BATCH
    optimizer = torch.optim.SGD(heads.parameters(), lr=_RATE, momentum=0.9, weight_decay=1e-4)
    schedule = CosineAnnealingLR(optimizer, steps_of_epoch * job.epochs)
    draws = np.random.default_rng([job.seed, 1])
    heads.train()
    for epoch in range(job.epochs):
        sampler.set_epoch(epoch)
        rows = torch.tensor([int(row) for row in sampler])[: steps_of_epoch * _BATCH]
        for of_step in rows.view(-1, _BATCH).tolist():
            heads.fg_bg_sampler.seeds = draws.integers(1 << 62, size=_BATCH).tolist()
            levels, proposals = seen.of(of_step)
            classes = heads.learn(levels, proposals, [seen.truth[row] for row in of_step], [(SIDE, SIDE)] * _BATCH)
            optimizer.zero_grad()
            loss(Learnt(_NOTHING, classes)).backward()
            nn.utils.clip_grad_norm_(heads.parameters(), 5.0)
            optimizer.step()
            schedule.step()
    heads.eval()
    return heads


_NOTHING = Compared(*(torch.zeros(0),) * 2, (), torch.zeros(0), torch.zeros(0, 4), torch.zeros(0, 4), torch.zeros(0))
"""Of the proposals, nothing is learnt."""


@torch.inference_mode()
def measured(
    of_trunk: Trunk, heads: BoxHeads, ways: Mapping[str, Callable[[Tensor], Tensor]]
) -> dict[str, dict[str, float]]:
    """Return the average precision of each class on the held-out pictures, by how scores are made."""
    seen, options = of_trunk.held_out, of_trunk.run.detection
    levels, proposals = seen.of(range(len(seen.proposals)))
    outputs = heads.predict(levels, proposals, [(SIDE, SIDE)] * len(proposals))
    ids = [seen.data.catalogue.image_id(row) for row in range(len(proposals))]
    found = {name: region_rows(found_boxes(outputs, way, options), ids, "detector") for name, way in ways.items()}
    return {name: precision(of_trunk.world, table) for name, table in found.items()}


def _scores(world: World, pairs: Location, *, separate: bool) -> dict[str, Callable[[Tensor], Tensor]]:
    """Return the ways to make scores of logits: of separate classes one, otherwise softmax and equation 5."""
    if separate:
        return {"sigmoid": lambda logits: logits.sigmoid()[:, 1:]}
    closure = world.vocabulary.closure
    apart = rates_of_table(read_table(pairs, PAIR_COUNTS), closure)
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
