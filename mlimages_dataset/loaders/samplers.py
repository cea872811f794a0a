"""Samplers for PyTorch's loaders: an order, divided among ranks, that can be continued at any position.

Every sampler yields `Draw`s, ints with their position in the epoch. Batches carry the positions, so the place of a run
is that of the last batch in the training loop, whatever workers have prefetched: `sampler.state_after(batch)`.
torchdata's StatefulDataLoader asks the iterator instead, by `state_dict` and `load_state_dict`. A place is an epoch and
the number of positions that all ranks together have read, so a run may continue with another number of ranks.

`WeightedRandomSampler` takes at most 2^24 weights (torch.multinomial); these samplers draw a class first, for any N.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, TypedDict

from torch.utils.data import Sampler

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.loaders.dataset import Draw
from mlimages_dataset.loaders.orders import (
    BALANCE,
    REPEAT_BELOW,
    BlockShuffled,
    Hybrid,
    InOrder,
    Order,
    RepeatFactor,
    RowsOfClass,
    Shuffled,
    SoftBalance,
    repeat_factors,
)
from mlimages_dataset.loaders.partition import current_rank, share

if TYPE_CHECKING:
    from collections.abc import Iterator, Sized

    from mlimages_dataset.loaders.batch import ImageBatch
    from mlimages_dataset.loaders.partition import Share

_STRETCH = 1 << 14
"""Positions that are computed together."""


class Labelled(Protocol):
    """What samplers by class need of a data set; `MLImages` has both."""

    def __len__(self) -> int: ...

    @property
    def rows_of_class(self) -> RowsOfClass:
        """In which rows each class is present."""
        ...


def _rows_of_class(data: Labelled) -> RowsOfClass:
    """Return in which rows of a data set each class is present; `UsageError` if it does not tell."""
    if not hasattr(data, "rows_of_class"):
        raise UsageError(
            f"a {type(data).__name__} does not tell which of its rows have a class",
            remedy="pass a data set of mlimages_dataset; for some of its images write a smaller table of labels",
        )
    return data.rows_of_class


class SamplerState(TypedDict):
    """The saved position of a run.

    Attributes:
        epoch: from 0.
        position: the first position that no rank has read.
        order: the name of the order; the position is valid only in this order.
    """

    epoch: int
    position: int
    order: str


def check_place(state: object, kinds: Mapping[str, type]) -> None:
    """Raise `UsageError` if a place lacks a value, or one is of another kind or below 0."""
    given = state if isinstance(state, Mapping) else {}
    for name, kind in kinds.items():
        value = given.get(name)
        if not isinstance(value, kind) or isinstance(value, bool) or (isinstance(value, int) and value < 0):
            raise UsageError(
                f"{state!r} is no place in an epoch: {name} is {'missing' if name not in given else repr(value)}",
                remedy="pass what state_dict() returned",
            )


class OrderSampler(Sampler[int]):
    """One rank's share of an order, from any place on.

    Args:
        order: the rows of each epoch.
        world: the number of ranks; None for torch.distributed's.
        rank: this one; None for torch.distributed's.
        padded: give every rank the same number of samples, so that some ranks read the epoch's first rows again; if
            false, nothing is repeated and some ranks have one sample less.
    """

    def __init__(self, order: Order, *, world: int | None = None, rank: int | None = None, padded: bool = True) -> None:
        here = current_rank() if world is None or rank is None else (world, rank)
        self.order = order
        self.world = here[0] if world is None else world
        self.rank = here[1] if rank is None else rank
        self.padded = padded
        self.epoch = 0
        self.start = 0
        self.share()  # raises if there is no such rank

    def share(self) -> Share:
        """Return the positions that the next iterator will read."""
        return share(self.order.length(self.epoch), self.start, self.world, self.rank, padded=self.padded)

    def __len__(self) -> int:
        return len(self.share())

    def __iter__(self) -> PlacedIterator:
        mine, self.start = self.share(), 0  # a saved place is used once
        return PlacedIterator(self, mine)

    def set_epoch(self, epoch: int) -> None:
        """Go to the beginning of an epoch, unless the saved place is in it."""
        if epoch != self.epoch:
            self.epoch, self.start = epoch, 0

    def place(self, epoch: int, position: int) -> SamplerState:
        """Return a place to be saved; the end of an epoch is the beginning of the next."""
        if position >= self.order.length(epoch):
            epoch, position = epoch + 1, 0
        return SamplerState(epoch=epoch, position=position, order=self.order.name)

    def state_after(self, batch: ImageBatch) -> SamplerState:
        """Return the place after a batch of a loader with this sampler."""
        # After the last sample of this rank every rank has read the same number of samples.
        return self.place(batch.epoch, int(batch.positions[-1]) - self.rank + self.world)

    def load_state_dict(self, state: SamplerState) -> None:
        """Go to a saved place.

        Raises:
            UsageError: it belongs to another order, or it is no place.
        """
        check_place(state, {"epoch": int, "position": int, "order": str})
        if state["order"] != self.order.name:
            raise UsageError(
                f"the place is in another order ({state['order']}, but this is {self.order.name})",
                remedy="resume with the data, the sampler and the seed of the run that was saved",
            )
        self.epoch, self.start = state["epoch"], state["position"]


class PlacedIterator:
    """The draws of one rank's share of an epoch, with the protocol of torchdata's StatefulDataLoader."""

    def __init__(self, sampler: OrderSampler, mine: Share) -> None:
        self._sampler = sampler
        self._begin(mine)

    def _begin(self, mine: Share) -> None:
        self._epoch = self._sampler.epoch
        self._share = mine
        self._given = 0
        self._draws = self._all_draws()

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        draw = next(self._draws)
        self._given += 1
        return draw

    def _all_draws(self) -> Iterator[int]:
        order, epoch, mine = self._sampler.order, self._epoch, self._share
        length = order.length(epoch)
        for first in range(mine.start, mine.stop, _STRETCH * mine.world):
            last = min(first + _STRETCH * mine.world, mine.stop)
            rows = order.rows(epoch, first, min(last, length))[mine.rank :: mine.world].tolist()
            positions = range(first + mine.rank, last, mine.world)
            if len(positions) > len(rows):  # padded beyond the end: the epoch's first rows again
                beyond = positions[-1] - length
                rows.append(int(order.rows(epoch, beyond % length, beyond % length + 1)[0]))
            for row, position in zip(rows, positions, strict=True):
                yield Draw(row, epoch, position)

    def state_dict(self) -> SamplerState:
        """Return the place after the last draw that was given."""
        return SamplerState(epoch=self._epoch, position=self._share.done(self._given), order=self._sampler.order.name)

    def load_state_dict(self, state: SamplerState) -> None:
        """Go to a saved place; errors as `OrderSampler.load_state_dict`."""
        self._sampler.load_state_dict(state)
        mine, self._sampler.start = self._sampler.share(), 0
        self._begin(mine)


class EvaluationSampler(OrderSampler):
    """Every row once over all ranks, ascending; some ranks may have one sample less.

    Args:
        data: the data set.
        world: see `OrderSampler`.
        rank: see `OrderSampler`.
    """

    def __init__(self, data: Sized, *, world: int | None = None, rank: int | None = None) -> None:
        super().__init__(InOrder(len(data)), world=world, rank=rank, padded=False)


class ShuffledSampler(OrderSampler):
    """Every row once per epoch, in random order.

    Args:
        data: the data set.
        seed: of the order.
        block_rows: shuffle blocks of so many neighbouring rows, and rows within windows of blocks, for disks that
            read neighbouring rows faster (see `orders.BlockShuffled`); None to shuffle all rows.
        blocks_of_window: blocks that are shuffled together.
        world: see `OrderSampler`.
        rank: see `OrderSampler`.
    """

    def __init__(
        self,
        data: Sized,
        *,
        seed: int = 0,
        block_rows: int | None = None,
        blocks_of_window: int = 16,
        world: int | None = None,
        rank: int | None = None,
    ) -> None:
        order = (
            Shuffled(len(data), seed)
            if block_rows is None
            else BlockShuffled(len(data), seed, block_rows, blocks_of_window)
        )
        super().__init__(order, world=world, rank=rank)


class SoftBalanceSampler(OrderSampler):
    """Rows drawn with replacement, with partly balanced classes: soft-balance sampling of Peng et al. 2020 (eq. 6-8).

    Args:
        data: the data set.
        balance: the paper's lambda: 0 draws classes by their number of images, 1 uniformly; 0.7 is the paper's best.
        seed: of the draws.
        length: draws per epoch; None for the number of rows.
        world: see `OrderSampler`.
        rank: see `OrderSampler`.

    Raises:
        UsageError: no row has a class, the data set does not tell which rows have one, the balance is negative or not
            finite, or the length is negative.
    """

    def __init__(
        self,
        data: Labelled,
        *,
        balance: float = BALANCE,
        seed: int = 0,
        length: int | None = None,
        world: int | None = None,
        rank: int | None = None,
    ) -> None:
        n = len(data) if length is None else length
        super().__init__(SoftBalance(_rows_of_class(data), n, balance, seed), world=world, rank=rank)


class ClassAwareSampler(SoftBalanceSampler):
    """Rows drawn with replacement: first a class, then one of its rows, both uniformly.

    This is `SoftBalanceSampler` with a balance of 1, with the same arguments.
    """

    def __init__(
        self,
        data: Labelled,
        *,
        seed: int = 0,
        length: int | None = None,
        world: int | None = None,
        rank: int | None = None,
    ) -> None:
        super().__init__(data, balance=1.0, seed=seed, length=length, world=world, rank=rank)


class RepeatFactorSampler(OrderSampler):
    """Every row at least once per epoch, rows of rare classes more often, in random order (`orders.RepeatFactor`).

    Args:
        data: the data set.
        threshold: rows of classes in a smaller share of all rows are repeated.
        seed: of the order and of the repeats.
        world: see `OrderSampler`.
        rank: see `OrderSampler`.
    """

    def __init__(
        self,
        data: Labelled,
        *,
        threshold: float = REPEAT_BELOW,
        seed: int = 0,
        world: int | None = None,
        rank: int | None = None,
    ) -> None:
        factors = repeat_factors(_rows_of_class(data), len(data), threshold)
        super().__init__(RepeatFactor(factors, threshold, seed), world=world, rank=rank)


class HybridSampler(OrderSampler):
    """Every row once per epoch in the first epochs, then soft-balance sampling (Peng et al. 2020, section 4.2).

    Args:
        data: the data set.
        unbalanced_epochs: the number of shuffled epochs; the paper trains 20, then 7 balanced ones (table 4).
        balance: see `SoftBalanceSampler`.
        seed: of the order and the draws.
        length: draws per balanced epoch; None for the number of rows.
        world: see `OrderSampler`.
        rank: see `OrderSampler`.
    """

    def __init__(
        self,
        data: Labelled,
        *,
        unbalanced_epochs: int = 20,
        balance: float = BALANCE,
        seed: int = 0,
        length: int | None = None,
        world: int | None = None,
        rank: int | None = None,
    ) -> None:
        n = len(data) if length is None else length
        balanced = SoftBalance(_rows_of_class(data), n, balance, seed)
        super().__init__(Hybrid(Shuffled(len(data), seed), balanced, unbalanced_epochs), world=world, rank=rank)
