"""Training runs as users make them, on real shards: `python -m tests.gpu.program SPECIFICATIONS`, also under torchrun.

Nothing but the feed differs from `mlimages_dataset.train pretrain`: it repeats the pictures for as many steps as are
asked for, and may kill its process.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import torch

from mlimages_dataset.core.locations import location
from mlimages_dataset.loaders.orders import RepeatFactor
from mlimages_dataset.loaders.samplers import OrderSampler
from mlimages_dataset.train import distributed, stage
from mlimages_dataset.train.config import (
    Checkpoints,
    Data,
    Device,
    Execution,
    Logs,
    Loss,
    LossName,
    Model,
    Phase,
    Precision,
    Run,
    Schedule,
)
from mlimages_dataset.train.feed import ImageFeed
from tests.gpu.pictures import SHARDS, TABLE, VOCABULARY

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mlimages_dataset.loaders.batch import ImageBatch
    from mlimages_dataset.loaders.dataset import CataloguedImages
    from mlimages_dataset.train.tasks.task import AnyTask


@dataclass(frozen=True, slots=True, kw_only=True)
class Specification:
    """A run.

    Attributes:
        folder: where shards, labels and vocabulary lie.
        out: the run's folder.
        device: `cuda` or `cpu`.
        steps: how many.
        learning_rate: for 512 images: small, for curves grow apart by rounding alone where it is large.
        die_after: kill this process before the step of this number is read; -1 for never.
        scaling_steps: time so many steps alone and together first.
        threads: of CPU operations; 0 for what torch chooses.
    """

    folder: str
    out: str
    device: str
    steps: int = 20
    batch_size: int = 32
    image_size: int = 64
    model: str = "resnet18"
    loss: str = "released"
    learning_rate: float = 0.001
    precision: str = "float32"
    channels_last: bool = True
    compile: bool = False
    fused_loss: bool = False
    deterministic: bool = False
    frozen: bool = False
    workers: int = 2
    prefetch: int = 2
    save_every: int = 0
    log_every: int = 1
    die_after: int = -1
    scaling_steps: int = 0
    threads: int = 0

    def run(self) -> Run:
        """Return the run."""
        place = {name: location(str(Path(self.folder, name))) for name in (SHARDS, TABLE, VOCABULARY)}
        return Run(
            epochs=1,
            evaluate_epochs=0,
            data=Data(
                images=place[SHARDS],
                labels=place[TABLE],
                vocabulary=place[VOCABULARY],
                workers=self.workers,
                prefetch=self.prefetch,
            ),
            model=Model(name=self.model, frozen_statistics=self.frozen),
            loss=Loss(name=LossName(self.loss)),
            schedule=Schedule(learning_rate=self.learning_rate, batch_size=512),
            phases=(Phase(batch_size=self.batch_size, image_size=self.image_size),),
            execution=Execution(
                device=Device(self.device),
                precision=Precision(self.precision),
                channels_last=self.channels_last,
                compile=self.compile,
                fused_loss=self.fused_loss,
                deterministic=self.deterministic,
                timeout_seconds=120,
                threads=self.threads,
            ),
            checkpoints=Checkpoints(every_steps=self.save_every, keep=9, asynchronous=False),
            logs=Logs(every_steps=self.log_every, scaling_steps=self.scaling_steps),
        )


class CutFeed(ImageFeed):
    """A feed of as many steps as a specification asks for, which repeats the pictures and may kill its process."""

    def __init__(
        self,
        asked: Specification,
        run: Run,
        task: AnyTask,
        data: CataloguedImages[Any, Any],
        device: torch.device,
    ) -> None:
        super().__init__(run, task, data, device)
        self._asked = asked
        times = -(-asked.steps * asked.batch_size // len(data))
        self._order = OrderSampler(RepeatFactor(np.full(len(data), times, np.float32), threshold=1.0, seed=run.seed))

    def n_steps(self, epoch: int) -> int:  # noqa: ARG002 - there is one epoch
        """See `Feed`."""
        return self._asked.steps

    def steps(self, epoch: int, first_step: int) -> Iterator[Sequence[ImageBatch]]:
        """See `Feed`."""
        steps = itertools.islice(super().steps(epoch, first_step), self._asked.steps - first_step)
        for number, batches in enumerate(steps, first_step):
            if number == self._asked.die_after:
                os.kill(os.getpid(), signal.SIGKILL)
            yield batches

    def _sampler(self, phase: Phase) -> OrderSampler:  # noqa: ARG002 - there is one phase
        return self._order


def train(asked: Specification) -> None:
    """Train, and leave the rank's peak memory beside the run's own files."""
    on_gpu = asked.device == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    with mock.patch.object(stage, "make_feed", functools.partial(CutFeed, asked)):  # all that differs
        taken = stage.pretrain(asked.run(), Path(asked.out)).total_steps
    if taken != asked.steps:
        raise RuntimeError(f"the run took {taken} steps, not {asked.steps}")
    peak = torch.cuda.max_memory_allocated() if on_gpu else 0
    rank = distributed.rank_of_machine()
    Path(f"{asked.out}.rank{rank}.json").write_text(json.dumps({"peak": peak}))


def main() -> None:
    """Train one specification after the other."""
    given: list[dict[str, Any]] = json.loads(sys.argv[1])
    for values in given:
        train(Specification(**values))


def as_argument(asked: Sequence[Specification]) -> str:
    """Return specifications as this program is given them."""
    return json.dumps([dataclasses.asdict(one) for one in asked])


if __name__ == "__main__":
    main()
