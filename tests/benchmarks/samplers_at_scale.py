"""What samplers of 20 million images cost: building, an epoch's order, memory, going on in its midst; and torch's own.

    python -m tests.benchmarks.samplers_at_scale [--rows 20000000]

Labels are drawn with the published imbalance (a power law over 11,166 classes, 195 million labels). torch's samplers
do the same in the same process: RandomSampler, and WeightedRandomSampler, which refuses more than 2^24 weights.
"""

from __future__ import annotations

import os
import platform
import time
import tracemalloc
from typing import TYPE_CHECKING

import click
import numpy as np
import torch
from torch.utils.data import RandomSampler, WeightedRandomSampler

from mlimages_dataset.loaders import (
    ClassAwareSampler,
    HybridSampler,
    RepeatFactorSampler,
    ShuffledSampler,
    SoftBalanceSampler,
)
from mlimages_dataset.loaders.orders import RowsOfClass

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlimages_dataset.loaders.samplers import OrderSampler

CLASSES = 11_166
STRETCH = 1 << 14
MEASURED = 4_000_000


class Data:
    """A data set as samplers see it."""

    def __init__(self, rows: int, labels: int) -> None:
        rng = np.random.default_rng(0)
        share = 1 / np.arange(1, CLASSES + 1)
        sizes = np.minimum(np.maximum(share / share.sum() * labels, 1), rows * 0.75).astype(np.int64)
        offsets = np.concatenate(([0], np.cumsum(sizes)))
        self.rows = rows
        self.rows_of_class = RowsOfClass(offsets, rng.integers(0, rows, int(offsets[-1]), np.int32))

    def __len__(self) -> int:
        return self.rows


def figures(name: str, build: Callable[[], OrderSampler]) -> None:
    """Print what a sampler costs."""
    tracemalloc.start()
    start = time.perf_counter()
    sampler = build()
    length = sampler.order.length(0)
    built = time.perf_counter() - start
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    middle = length // 2
    start = time.perf_counter()
    next(iter(sampler))
    first = time.perf_counter() - start
    sampler.load_state_dict(sampler.place(0, middle))
    start = time.perf_counter()
    next(iter(sampler))
    resumed = time.perf_counter() - start
    start = time.perf_counter()
    for begin in range(0, min(MEASURED, length), STRETCH):
        sampler.order.rows(0, begin, min(begin + STRETCH, length))
    epoch = (time.perf_counter() - start) * length / min(MEASURED, length)
    print(
        f"{name:16} {built:8.2f} {held / 1e6:10.1f} {peak / 1e6:10.1f} {epoch:12.2f} {first * 1e3:12.1f} "
        f"{resumed * 1e3:12.1f}"
    )


def torchs_own(rows: int) -> None:
    """Print what torch's samplers cost; memory is that of their permutations and weights, 8 bytes a row and more."""
    start = time.perf_counter()
    next(iter(RandomSampler(range(rows))))
    print(f"torch's RandomSampler: first index after {time.perf_counter() - start:.2f} s (as after any cut)")
    try:
        _first_weighted(rows)
    except RuntimeError as error:
        print(f"torch's WeightedRandomSampler, {rows:,} weights: {str(error).splitlines()[0]}")
    most = min(rows, 1 << 24)
    start = time.perf_counter()
    _first_weighted(most)
    print(f"torch's WeightedRandomSampler, {most:,} weights: first index after {time.perf_counter() - start:.2f} s")


def _first_weighted(rows: int) -> int:
    weights = torch.ones(rows, dtype=torch.float64)
    return next(iter(WeightedRandomSampler(weights, rows)))  # type: ignore[arg-type]  # torch takes its own tensors


@click.command()
@click.option("--rows", default=20_000_000, show_default=True)
@click.option("--labels", default=195_000_000, show_default=True)
def main(rows: int, labels: int) -> None:
    """Print the figures."""
    data = Data(rows, labels)
    print(
        f"{platform.machine()}, {os.cpu_count()} processors; {rows:,} rows, {data.rows_of_class.offsets[-1]:,} labels"
    )
    print(
        f"{'sampler':16} {'built, s':>8} {'holds, MB':>10} {'peak, MB':>10} {'an epoch, s':>12} {'first, ms':>12} "
        f"{'resumed, ms':>12}"
    )
    ranks = {"world": 1, "rank": 0}
    figures("shuffled", lambda: ShuffledSampler(data, **ranks))
    figures("in blocks", lambda: ShuffledSampler(data, block_rows=4096, **ranks))
    figures("class-aware", lambda: ClassAwareSampler(data, **ranks))
    figures("soft-balance", lambda: SoftBalanceSampler(data, **ranks))
    figures("hybrid", lambda: HybridSampler(data, unbalanced_epochs=0, **ranks))
    figures("repeat-factor", lambda: RepeatFactorSampler(data, **ranks))
    torchs_own(rows)


if __name__ == "__main__":
    main()
