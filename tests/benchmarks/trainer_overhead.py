"""The whole training loop against a bare ResNet-101: forward, backward and step on images that are always there.

    python -m tests.benchmarks.trainer_overhead --folder DIR

Both train torchvision's ResNet-101 with the same head in bfloat16, channels last, by momentum. The bare loop has one
batch of noise and binary cross-entropy; the trainer reads JPEGs through the loader, with the six training steps, and
has the paper's loss, the watch over it, the schedule and the log. They take turns of a few steps, so that what else the
machine does touches both alike, and the figure is the median of the turns' ratios.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torchvision
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from mlimages_dataset import samples
from mlimages_dataset.loaders import MLImages, train_transform
from mlimages_dataset.recipes.build import build_recipe
from mlimages_dataset.recipes.recipe import read_recipe
from mlimages_dataset.train.computing import computing
from mlimages_dataset.train.config import Checkpoints, Data, Execution, Logs, Phase, Precision, Run
from mlimages_dataset.train.feed import ImageFeed
from mlimages_dataset.train.inputs import read_classes
from mlimages_dataset.train.learner import make_learner
from mlimages_dataset.train.losses.registry import make_loss
from mlimages_dataset.train.stage import initial_model, train_in
from mlimages_dataset.train.stopping import StopRequest
from mlimages_dataset.train.tasks.registry import task_of_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mlimages_dataset.loaders.batch import ImageBatch
    from mlimages_dataset.train.checkpoint import StateDict

RECIPE = """
[vocabulary]
imagenet = "wnids.txt"
[[annotations]]
name = "photographs"
format = "csv"
files = ["labels.csv"]
"""


@dataclass(slots=True)
class Turns:
    """Seconds of each turn of the bare loop and of the trainer."""

    bare: list[float] = field(default_factory=list)
    trainer: list[float] = field(default_factory=list)


@dataclass(slots=True)
class TakingTurns:
    """A feed that lets the bare loop take its turn after every few steps of the trainer."""

    feed: ImageFeed
    bare: Callable[[], None]
    steps_of_turn: int
    turns: Turns

    def n_steps(self, epoch: int) -> int:
        """See `Feed`."""
        return self.feed.n_steps(epoch)

    def finish(self, images: Tensor) -> Tensor:
        """See `Feed`."""
        return self.feed.finish(images)

    def state(self, epoch: int, step: int) -> StateDict:
        """See `Feed`."""
        return self.feed.state(epoch, step)

    def steps(self, epoch: int, first_step: int) -> Iterator[Sequence[ImageBatch]]:
        """See `Feed`."""
        began = time.perf_counter()
        for number, batches in enumerate(self.feed.steps(epoch, first_step), 1):
            yield batches
            if number % self.steps_of_turn == 0:
                self.turns.trainer.append(time.perf_counter() - began)
                began = time.perf_counter()
                for _ in range(self.steps_of_turn):
                    self.bare()
                self.turns.bare.append(time.perf_counter() - began)
                began = time.perf_counter()


def bare_step(n_classes: int, batch_size: int, image_size: int) -> Callable[[], None]:
    """Return a function that takes one step of a bare ResNet-101."""
    model = torchvision.models.resnet101(num_classes=n_classes).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-4, fused=True)
    images = torch.randn(batch_size, 3, image_size, image_size).contiguous(memory_format=torch.channels_last)
    targets = (torch.rand(batch_size, n_classes) < 0.05).float()

    def step() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(images)
        binary_cross_entropy_with_logits(logits.float(), targets).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def write_photographs(folder: Path, n_images: int) -> None:
    """Write n copies of the packaged photographs under names of their own, and a recipe with their labels."""
    with samples.labels_csv().open(encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["label"].startswith("n")]
    files = sorted({row["location"] for row in rows})
    (folder / "wnids.txt").write_text("".join(sorted({f"{row['label']}\n" for row in rows})))
    (folder / "images").mkdir(exist_ok=True)
    with (folder / "labels.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["image_id", "location", "label"])
        for number in range(n_images):
            file = files[number % len(files)]
            shutil.copy(samples.photographs() / file, folder / "images" / f"{number:05d}.jpg")
            labels = [row["label"] for row in rows if row["location"] == file]
            writer.writerows([f"{number:05d}", f"{number:05d}.jpg", label] for label in labels)
    (folder / "recipe.toml").write_text(RECIPE)


def measured(
    folder: Path, *, batch_size: int, image_size: int, steps_of_turn: int, n_turns: int, workers: int
) -> Turns:
    """Return the seconds of both loops' turns; the first turn of each is left out."""
    steps = steps_of_turn * (n_turns + 1)
    write_photographs(folder, steps * batch_size)
    build_recipe(read_recipe(folder / "recipe.toml"), folder / "build", overwrite=True, ended=lambda *_: None)
    classes = read_classes(folder / "build" / "vocabulary")
    run = Run(
        epochs=1,
        data=Data(workers=workers),
        phases=(Phase(batch_size=batch_size, image_size=image_size),),
        execution=Execution(precision=Precision.BFLOAT16),
        checkpoints=Checkpoints(every_steps=0),
        logs=Logs(every_steps=steps_of_turn),
    )
    with tempfile.TemporaryDirectory(dir=folder) as out, computing(run.execution, run.seed) as device:
        data = MLImages(
            folder / "images",
            folder / "build" / "labels" / "train",
            split=None,
            transform=train_transform(image_size),
            n_classes=len(classes),
            cache=folder / "cache",
        )
        turns = Turns()
        feed = TakingTurns(
            ImageFeed(run, task_of_run(run), data, device),
            bare_step(len(classes), batch_size, image_size),
            steps_of_turn,
            turns,
        )
        learner = make_learner(run, initial_model(run, classes), make_loss(run, len(classes)), device)
        with StopRequest() as stop:
            train_in(Path(out), run, learner, feed, classes, evaluate=None, stop=stop)
    return Turns(turns.bare[1:], turns.trainer[1:])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--folder", type=Path, required=True, help="for some hundred photographs; new or an earlier one"
    )
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--steps", type=int, default=3, help="of a turn")
    parser.add_argument("--turns", type=int, default=16)
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    turns = measured(
        given.folder,
        batch_size=given.batch_size,
        image_size=given.image_size,
        steps_of_turn=given.steps,
        n_turns=given.turns,
        workers=given.workers,
    )
    images = given.batch_size * given.steps
    ratios = [bare / trainer for bare, trainer in zip(turns.bare, turns.trainer, strict=True)]
    quartiles = statistics.quantiles(ratios, n=4)
    print(f"{os.cpu_count()} processors, torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(f"bare:    {images / statistics.median(turns.bare):6.2f} images/s")
    print(f"trainer: {images / statistics.median(turns.trainer):6.2f} images/s")
    print(f"ratio:   {statistics.median(ratios):6.3f} (quartiles {quartiles[0]:.3f} to {quartiles[2]:.3f})")


if __name__ == "__main__":
    main()
