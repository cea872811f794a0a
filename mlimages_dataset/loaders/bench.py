"""Measuring a loader on the user's own pictures: its speed, and the time of each step."""

from __future__ import annotations

import itertools
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.loaders.loader import Loader
from mlimages_dataset.loaders.orders import RepeatFactor
from mlimages_dataset.loaders.samplers import OrderSampler
from mlimages_dataset.loaders.transforms import timed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlimages_dataset.loaders.dataset import MLImages

SAMPLED = 200
"""Pictures whose steps are timed."""


@dataclass(frozen=True, slots=True)
class Speed:
    """What was measured.

    Attributes:
        pictures: labelled pictures of the data set.
        without_picture: labelled images without a picture.
        workers: worker processes.
        images_per_second: over whole batches, after the warm-up.
        waited: the share of the time that the loop waited for batches, 0 to 1.
        first_batch: seconds until the first batch, including the start of the workers.
        bytes_per_image: the mean encoded size of the timed pictures.
        steps: seconds per picture on one core, by step.
        bad: the bad pictures, in words.
    """

    pictures: int
    without_picture: int
    workers: int
    images_per_second: float
    waited: float
    first_batch: float
    bytes_per_image: float
    steps: Mapping[str, float]
    bad: str

    def lines(self) -> list[str]:
        """Return the measurement as text."""
        alone = sum(self.steps.values())
        return [
            f"{self.pictures:10,}  pictures; {self.without_picture:,} labelled images have no picture",
            f"{self.images_per_second:10,.1f}  images/s with {self.workers} workers on {os.cpu_count()} processors",
            f"{self.waited:10.1%}  of the time waiting for a batch",
            f"{self.first_batch:10.2f}  s until the first batch",
            f"{self.bytes_per_image / 1e3:10,.1f}  kB per encoded picture",
            f"{1 / alone:10,.1f}  images/s in one process without a loader; time per picture:",
            *(f"{seconds * 1e3:10.3f}  ms  {step:10} {seconds / alone:6.1%}" for step, seconds in self.steps.items()),
            f"            {self.bad}",
        ]


def measure(
    data: MLImages, *, batch_size: int, workers: int, batches: int, warm_up: int = 2, step_seconds: float = 0.0
) -> Speed:
    """Return how fast a shuffling loader of a data set is.

    Args:
        data: the data set.
        batch_size: samples of a batch.
        workers: worker processes; 0 for none.
        batches: the number of measured batches; if there are few pictures, they are repeated.
        warm_up: batches before those, which workers may have made in advance.
        step_seconds: the time that the loop spends on each batch, as a network would.

    Raises:
        UsageError: there are fewer pictures than samples in a batch.
        DataError: too many pictures are bad.
    """
    if len(data) < batch_size:
        raise UsageError(f"{len(data):,} pictures make no batch of {batch_size}", remedy="give a smaller --batch-size")
    # One long epoch: loaders prefetch only within an epoch, and few pictures would make short epochs.
    epochs = -(-batch_size * (1 + warm_up + batches) // len(data))
    order = RepeatFactor(np.full(len(data), epochs, np.float32), threshold=1.0)
    loader = Loader(
        data,
        OrderSampler(order, world=1, rank=0),
        batch_size=batch_size,
        workers=workers,
        drop_last=True,
        max_bad_share=0.5,
    )
    start = time.perf_counter()
    stream = iter(loader)
    next(stream)
    first_batch = time.perf_counter() - start
    for _ in itertools.islice(stream, warm_up):
        pass
    waited_before = loader.waited
    start = time.perf_counter()
    for batch in itertools.islice(stream, batches):
        assert len(batch) == batch_size
        time.sleep(step_seconds)
    seconds = time.perf_counter() - start
    steps, size = _steps(data)
    return Speed(
        pictures=len(data),
        without_picture=data.catalogue.facts.without_picture,
        workers=workers,
        images_per_second=batches * batch_size / seconds,
        waited=(loader.waited - waited_before) / seconds,
        first_batch=first_batch,
        bytes_per_image=size,
        steps=steps,
        bad=str(loader.bad),
    )


def _steps(data: MLImages) -> tuple[dict[str, float], float]:
    """Return the mean seconds of each step, reading first, and the mean bytes of a picture."""
    rows = np.random.default_rng(0).integers(0, len(data), min(SAMPLED, len(data))).tolist()
    start = time.perf_counter()
    contents = [data.catalogue.content(row) for row in rows]
    reading = (time.perf_counter() - start) / len(rows)
    good = [content for content in contents if _is_good(data, content)]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in a worker
    try:
        steps = timed(data.transform, good, np.random.default_rng(0))
    finally:
        torch.set_num_threads(threads)
    return {"read": reading, **steps}, float(np.mean([len(content) for content in contents]))


def _is_good(data: MLImages, content: bytes) -> bool:
    try:
        data.transform(content, np.random.default_rng(0))
    except DataError:
        return False
    return True
