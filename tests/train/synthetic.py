"""A tiny data set in memory, a tiny network and a program that trains them, for tests of the loop."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mlimages_dataset.loaders import Batch
from mlimages_dataset.train import distributed
from mlimages_dataset.train.computing import computing
from mlimages_dataset.train.config import (
    Checkpoints,
    Device,
    Execution,
    Logs,
    Loss,
    LossName,
    Model,
    Optimizer,
    Phase,
    Precision,
    Run,
    Schedule,
)
from mlimages_dataset.train.inputs import Classes
from mlimages_dataset.train.learner import Learner, make_learner
from mlimages_dataset.train.losses.registry import make_loss
from mlimages_dataset.train.stage import train_in
from mlimages_dataset.train.stopping import StopRequest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CLASSES = Classes(("n1", "n2", "n3", "n4", "n5"), "synthetic")
N_IMAGES, N_CLASSES, SIZE = 64, 5, 8


def batch_of(images: Tensor, targets: Tensor, image_ids: Sequence[str]) -> Batch:
    """Return a batch of images that are real numbers already, with dense targets of which every class is known."""
    sample_index, class_index = targets.nonzero(as_tuple=True)
    return Batch(
        images=images,
        sample_index=sample_index,
        class_index=class_index,
        confidence=targets[sample_index, class_index],
        origin=torch.zeros(len(sample_index), dtype=torch.uint8),
        absent_unless_listed=torch.ones(len(images), dtype=torch.bool),
        rows=torch.arange(len(images)),
        positions=torch.arange(len(images)),
        epoch=0,
        n_classes=targets.shape[1],
        image_ids=tuple(image_ids),
    )


@dataclass(frozen=True, slots=True)
class TensorFeed:
    """A feed of random images whose labels a linear rule gives; rank r has every n-th position of the order."""

    batch_size: int
    passes: int = 1
    broken_at: int = -1

    def _rows(self, epoch: int, step: int) -> list[int]:
        order = torch.randperm(N_IMAGES, generator=torch.Generator().manual_seed(epoch)).tolist()
        whole = order[step * self.batch_size : (step + 1) * self.batch_size]
        share = len(whole) // distributed.n_ranks()
        return whole[distributed.rank() * share : (distributed.rank() + 1) * share]

    def n_steps(self, epoch: int) -> int:  # noqa: ARG002 - each epoch is as long
        """See `Feed`."""
        return -(-N_IMAGES // self.batch_size)

    def steps(self, epoch: int, first_step: int) -> Iterator[Sequence[Batch]]:
        """See `Feed`."""
        images, targets = dataset()
        for step in range(first_step, self.n_steps(epoch)):
            rows = torch.tensor(self._rows(epoch, step)).chunk(self.passes)
            seen = [images[part] for part in rows]
            if step == self.broken_at:
                seen[0] = seen[0].clone()
                seen[0][0] = torch.inf
            yield [
                batch_of(part, targets[mine], [f"image-{row}" for row in mine.tolist()])
                for part, mine in zip(seen, rows, strict=True)
            ]

    def finish(self, images: Tensor) -> Tensor:
        """See `Feed`."""
        return images

    def state(self, epoch: int, step: int) -> dict[str, int]:
        """See `Feed`."""
        return {"epoch": epoch, "step": step}


def dataset() -> tuple[Tensor, Tensor]:
    """Return images (64, 3, 8, 8) and targets (64, 5)."""
    generator = torch.Generator().manual_seed(7)
    images = torch.randn(N_IMAGES, 3, SIZE, SIZE, generator=generator)
    rule = torch.randn(3 * SIZE * SIZE, N_CLASSES, generator=generator)
    return images, (images.flatten(1) @ rule > 0).float()


def network() -> nn.Module:
    """Return a convolution, batch normalisation and a head."""
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8 * SIZE * SIZE, N_CLASSES),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What a process is to do.

    Attributes:
        out: the run's folder.
        epochs: how many, of 64 / batch_size steps.
        batch_size: of all ranks.
        passes: passes of a step.
        frozen: batch normalisation uses its running statistics.
        every: steps from a checkpoint to the next.
        die_after: kill this process without warning after so many steps; -1 for never.
        ask_after: send this process SIGTERM after so many steps; -1 for never.
        broken_at: the step of an epoch whose images are not finite; -1 for none.
        loss: which.
        rate: of learning.
        without_labels: no image has any.
        precision: of the network.
        average: decay of the moving average; 0 for none.
        dying_rank: the rank that is killed or sent SIGTERM.
        steps: after how many the run ends, before its last epoch; 0 for none.
    """

    out: str
    epochs: int = 5
    batch_size: int = 16
    passes: int = 1
    frozen: bool = False
    every: int = 10
    die_after: int = -1
    ask_after: int = -1
    broken_at: int = -1
    loss: str = "binary-cross-entropy"
    rate: float = 0.05
    without_labels: bool = False
    precision: str = "float32"
    average: float = 0.0
    dying_rank: int = 0
    steps: int = 0

    def run(self) -> Run:
        """Return the run."""
        return Run(
            epochs=self.epochs,
            steps=self.steps,
            model=Model(frozen_statistics=self.frozen),
            loss=Loss(name=LossName(self.loss)),
            optimizer=Optimizer(average_decay=self.average),
            schedule=Schedule(learning_rate=self.rate, batch_size=16),
            phases=(Phase(batch_size=self.batch_size, image_size=SIZE),),
            execution=Execution(
                device=Device.CPU,
                precision=Precision(self.precision),
                threads=1,
                deterministic=True,
                timeout_seconds=60,
            ),
            checkpoints=Checkpoints(every_steps=self.every, keep=9),
            logs=Logs(every_steps=1),
        )


@dataclass(frozen=True, slots=True)
class MortalFeed(TensorFeed):
    """A feed that kills its process, or sends it SIGTERM, before the step of a number is read."""

    program: Program = Program(out="")

    def steps(self, epoch: int, first_step: int) -> Iterator[Sequence[Batch]]:
        """See `Feed`."""
        for step, batches in enumerate(TensorFeed.steps(self, epoch, first_step), first_step):
            done = epoch * self.n_steps(epoch) + step
            if distributed.rank() == self.program.dying_rank and done == self.program.die_after:
                os.kill(os.getpid(), signal.SIGKILL)
            if distributed.rank() == self.program.dying_rank and done == self.program.ask_after:
                os.kill(os.getpid(), signal.SIGTERM)
            if self.program.without_labels:
                yield [batch_of(batch.images, torch.zeros(len(batch), N_CLASSES), batch.image_ids) for batch in batches]
            else:
                yield batches


def train_synthetic(program: Program) -> Learner:
    """Train as `stage.pretrain` does, and return what was learnt."""
    run = program.run()
    with computing(run.execution, run.seed) as device, StopRequest() as stop:
        learner = make_learner(run, network(), make_loss(run, N_CLASSES), device)
        feed = MortalFeed(program.batch_size, program.passes, program.broken_at, program)
        train_in(Path(program.out), run, learner, feed, CLASSES, evaluate=None, stop=stop)
    return learner


def main() -> None:
    """Do what the first argument, a program as JSON, says."""
    train_synthetic(Program(**json.loads(sys.argv[1])))


if __name__ == "__main__":
    main()
