"""Streaming: the same shards read in long stretches, for disks that seek slowly and for object stores.

Rows are read in the order of `orders.BlockShuffled`: the blocks of a window are read from one end to the other, and
their pictures are given in random order. So memory is bounded by a window, the order is a pure function of the seed,
and a cut epoch goes on without reading again what it had given.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple, TypedDict

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from mlimages_dataset.loaders.dataset import Draw, Sample
from mlimages_dataset.loaders.orders import BlockShuffled
from mlimages_dataset.loaders.partition import current_rank, share

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from mlimages_dataset.loaders.dataset import MLImages


class _CutEpoch(NamedTuple):
    """An epoch that is gone on with: what each of a rank's stretches has given, and the one whose turn is next."""

    epoch: int
    given: tuple[int, ...]
    first_worker: int


class StreamPlace(TypedDict):
    """Where one worker of one rank is: how many of its samples of an epoch were given."""

    epoch: int
    given: int


class StreamedImages(IterableDataset[Sample]):
    """The samples of a data set as a stream, an iterable-style data set of PyTorch.

    Every rank gets a stretch of the epoch's order and every worker a stretch of that, all ranks equally many samples;
    some of the first rows come twice for it. With one rank and one process the samples are those of
    `ShuffledSampler(block_rows=...)`. With torchdata's StatefulDataLoader a cut epoch goes on with as many ranks and
    workers as before.

    Args:
        data: the data set.
        seed: of the order.
        block_rows: neighbouring rows that are read at once.
        blocks_of_window: blocks that are shuffled together and held in memory.
        world: the number of ranks; None for torch.distributed's.
        rank: this one; None for torch.distributed's.
    """

    def __init__(
        self,
        data: MLImages,
        *,
        seed: int = 0,
        block_rows: int = 256,
        blocks_of_window: int = 8,
        world: int | None = None,
        rank: int | None = None,
    ) -> None:
        super().__init__()
        here = current_rank() if world is None or rank is None else (world, rank)
        self.data = data
        self.order = BlockShuffled(len(data), seed, block_rows, blocks_of_window)
        self.world = here[0] if world is None else world
        self.rank = here[1] if rank is None else rank
        self._first_worker = 0
        self._cut: _CutEpoch | None = None
        # Shared, so that workers that persist through epochs learn of the next one.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        self._start = self._given = 0

    def __len__(self) -> int:
        return len(share(len(self.data), 0, self.world, self.rank, padded=True))

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch the next iteration is."""
        self._epoch.fill_(epoch)

    def go_on_after(self, batches: int, *, batch_size: int, workers: int) -> None:
        """Let a plain `DataLoader` go on behind its first batches of the epoch that is set.

        Its batches are then those that the loader would have yielded next, in the same order. Later epochs are whole.

        Args:
            batches: that this rank has had of the epoch.
            batch_size: of the loader.
            workers: of the loader; 0 for none.
        """
        given, first_worker = given_after(len(self), batches, batch_size, max(workers, 1))
        self._cut = _CutEpoch(int(self._epoch), given, first_worker)

    def __iter__(self) -> Iterator[Sample]:
        epoch = int(self._epoch)
        # Each worker has its own copy of this object: so the epoch says whether the cut counts.
        cut = self._cut if self._cut is not None and self._cut.epoch == epoch else None
        self._first_worker = 0 if cut is None else cut.first_worker
        if cut is not None:
            self._start = cut.given[self._worker()[0]]
        begin, end = self._share()
        self._given, self._start = self._start, 0  # a place is gone on from once
        for start, stop in self._windows(epoch, begin + self._given, end):
            rows = self.order.rows(epoch, start % len(self.data), (stop - 1) % len(self.data) + 1)
            contents = self._read(rows)
            for position, row in enumerate(rows.tolist(), start):
                self._given += 1
                yield self.data.sample(Draw(row, epoch, position), contents.pop(row))
        self._given = 0

    def _share(self) -> tuple[int, int]:
        """Return where this worker's positions begin and end; those beyond the epoch's length are its first again."""
        number, workers = self._worker()
        first = self.rank * len(self)
        begin, end = _stretch(len(self), number, workers)
        return first + begin, first + end

    def _worker(self) -> tuple[int, int]:
        """Return which of the rank's stretches this process reads, and how many there are."""
        worker = get_worker_info()
        if worker is None:
            return 0, 1
        return (worker.id + self._first_worker) % worker.num_workers, worker.num_workers

    def _windows(self, epoch: int, begin: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield the stretches of positions that are read at once: a window, or what of it is in begin..end-1."""
        n = len(self.data)
        bounds = self.order.windows(epoch)
        cuts = np.unique(np.concatenate([bounds + turn * n for turn in range(begin // n, -(-end // n) + 1)]))
        cuts = np.concatenate(([begin], cuts[(cuts > begin) & (cuts < end)], [end]))
        return ((start, stop) for start, stop in itertools.pairwise(cuts.tolist()) if start < stop)

    def _read(self, rows: NDArray[np.int64]) -> dict[int, bytes | None]:
        ascending = np.sort(rows)
        return dict(zip(ascending.tolist(), self.data.catalogue.contents(ascending), strict=True))

    def state_dict(self) -> StreamPlace:
        """Return the place behind the last sample that was given."""
        return StreamPlace(epoch=int(self._epoch), given=self._given)

    def load_state_dict(self, state: StreamPlace) -> None:
        """Go to a saved place."""
        self.set_epoch(state["epoch"])
        self._start = self._given = state["given"]


def batch_sizes(length: int, batch_size: int, workers: int) -> list[int]:
    """Return the sizes of the batches that a plain `DataLoader` makes of one rank's samples of an epoch, in order.

    Each worker makes batches of a stretch of its own, of which the last may be smaller, and the loader takes one of
    each worker in turn.

    Args:
        length: samples of the rank.
        batch_size: of the loader.
        workers: stretches, at least 1.
    """
    return [size for size, _ in _batches(length, batch_size, workers)]


def given_after(length: int, batches: int, batch_size: int, workers: int) -> tuple[tuple[int, ...], int]:
    """Return how many samples each worker has given after some batches, and whose turn is next; see `batch_sizes`."""
    in_order = _batches(length, batch_size, workers)
    given = [0] * workers
    for size, worker in in_order[:batches]:
        given[worker] += size
    return tuple(given), in_order[batches][1] if batches < len(in_order) else 0


def _batches(length: int, batch_size: int, workers: int) -> list[tuple[int, int]]:
    """Return the size and the worker of each batch, in order."""
    sizes = [stop - first for first, stop in (_stretch(length, number, workers) for number in range(workers))]
    return [
        (min(batch_size, size - begun), worker)
        for begun in range(0, max(sizes), batch_size)
        for worker, size in enumerate(sizes)
        if begun < size
    ]


def _stretch(length: int, number: int, workers: int) -> tuple[int, int]:
    """Return where the samples of one of the workers begin and end among those of its rank."""
    return length * number // workers, length * (number + 1) // workers
