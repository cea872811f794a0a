"""Streaming: shards read in long stretches, for disks that seek slowly and for object stores.

Rows come in the order of `orders.BlockShuffled`: the blocks of a window are read from end to end, and their pictures
are given in random order. So memory is bounded by a window, the order is a pure function of the seed, and an
interrupted epoch continues without reading again the samples that it had given.
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
from mlimages_dataset.loaders.samplers import check_place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from mlimages_dataset.loaders.dataset import MLImages


class _CutEpoch(NamedTuple):
    """An epoch to be continued: the samples that each worker of this rank has given, and the next worker."""

    epoch: int
    given: tuple[int, ...]
    first_worker: int


class StreamPlace(TypedDict):
    """The position of one worker of one rank: the number of samples of the epoch that it has given."""

    epoch: int
    given: int


class StreamedImages(IterableDataset[Sample]):
    """The samples of a data set as a stream, an iterable-style data set of PyTorch.

    Each rank gets a stretch of the epoch's order, and each worker a stretch of that. All ranks get the same number of
    samples, so some of the first rows may come twice. With one rank and one process the samples are those of
    `ShuffledSampler(block_rows=...)`. With torchdata's StatefulDataLoader an interrupted epoch continues, if the
    numbers of ranks and workers are the same.

    Args:
        data: the data set.
        seed: of the order.
        block_rows: neighbouring rows that are read together.
        blocks_of_window: blocks that are shuffled together and kept in memory.
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
        # In shared memory, so that persistent workers see the next epoch.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        self._start = self._given = 0

    def __len__(self) -> int:
        return len(share(len(self.data), 0, self.world, self.rank, padded=True))

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next iteration."""
        self._epoch.fill_(epoch)

    def go_on_after(self, batches: int, *, batch_size: int, workers: int) -> None:
        """Skip the first batches of the current epoch, as a plain `DataLoader` gives them.

        The loader then yields the batches that would have come next, in the same order. Later epochs are whole.

        Args:
            batches: the number of batches of the epoch that this rank has received.
            batch_size: of the loader.
            workers: of the loader; 0 for none.
        """
        given, first_worker = given_after(len(self), batches, batch_size, max(workers, 1))
        self._cut = _CutEpoch(int(self._epoch), given, first_worker)

    def __iter__(self) -> Iterator[Sample]:
        epoch = int(self._epoch)
        # Each worker has its own copy of this object, so the epoch decides whether the cut applies.
        cut = self._cut if self._cut is not None and self._cut.epoch == epoch else None
        self._first_worker = 0 if cut is None else cut.first_worker
        if cut is not None:
            self._start = cut.given[self._worker()[0]]
        begin, end = self._share()
        self._given, self._start = self._start, 0  # a saved place is used once
        for start, stop in self._windows(epoch, begin + self._given, end):
            rows = self.order.rows(epoch, start % len(self.data), (stop - 1) % len(self.data) + 1)
            contents = self._read(rows)
            for position, row in enumerate(rows.tolist(), start):
                self._given += 1
                yield self.data.sample(Draw(row, epoch, position), contents.pop(row))
        self._given = 0

    def _share(self) -> tuple[int, int]:
        """Return begin and end of this worker's positions; positions beyond the epoch's length mean its first rows."""
        number, workers = self._worker()
        first = self.rank * len(self)
        begin, end = _stretch(len(self), number, workers)
        return first + begin, first + end

    def _worker(self) -> tuple[int, int]:
        """Return the number of this process's stretch in its rank, and the number of stretches."""
        worker = get_worker_info()
        if worker is None:
            return 0, 1
        return (worker.id + self._first_worker) % worker.num_workers, worker.num_workers

    def _windows(self, epoch: int, begin: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield the windows of positions begin..end-1, the first and the last perhaps in part."""
        n = len(self.data)
        bounds = self.order.windows(epoch)
        cuts = np.unique(np.concatenate([bounds + turn * n for turn in range(begin // n, -(-end // n) + 1)]))
        cuts = np.concatenate(([begin], cuts[(cuts > begin) & (cuts < end)], [end]))
        return ((start, stop) for start, stop in itertools.pairwise(cuts.tolist()) if start < stop)

    def _read(self, rows: NDArray[np.int64]) -> dict[int, bytes | None]:
        ascending = np.sort(rows)
        return dict(zip(ascending.tolist(), self.data.catalogue.contents(ascending), strict=True))

    def state_dict(self) -> StreamPlace:
        """Return the place after the last sample that was given."""
        return StreamPlace(epoch=int(self._epoch), given=self._given)

    def load_state_dict(self, state: StreamPlace) -> None:
        """Go to a saved place.

        Raises:
            UsageError: it is no place.
        """
        check_place(state, {"epoch": int, "given": int})
        self.set_epoch(state["epoch"])
        self._start = self._given = state["given"]


def batch_sizes(length: int, batch_size: int, workers: int) -> list[int]:
    """Return the sizes of the batches of one epoch of one rank with a plain `DataLoader`, in order.

    Each worker makes batches of its own stretch, the last of which may be smaller, and the loader takes one batch of
    each worker in turn.

    Args:
        length: samples of the rank.
        batch_size: of the loader.
        workers: number of workers, at least 1.
    """
    return [size for size, _ in _batches(length, batch_size, workers)]


def given_after(length: int, batches: int, batch_size: int, workers: int) -> tuple[tuple[int, ...], int]:
    """Return the samples that each worker has given after some batches, and the worker of the next batch."""
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
    """Return begin and end of the samples of one worker among those of its rank."""
    return length * number // workers, length * (number + 1) // workers
