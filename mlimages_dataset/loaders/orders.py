"""Orders: the row of a data set at each position of an epoch, as pure functions of the seed.

An order does not depend on ranks, workers or batches, and any stretch of an epoch is computed by itself. So it is the
same however the work is divided and wherever it begins. Uniform numbers come from Philox, a counter-based generator
(J. K. Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011): position k of an epoch always uses the
k-th counter.

Legend: N rows, C classes, n_c rows in which class c is present.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.loaders.permutation import keys_of, permuted

if TYPE_CHECKING:
    from numpy.typing import NDArray

BALANCE = 0.7
"""The best lambda of Peng et al. 2020 (table 3)."""

REPEAT_BELOW = 1e-3
"""The threshold t of the LVIS paper (appendix B), below which a class's images are repeated."""

_NUMBERS_OF_COUNTER = 4
_PERMUTATION, _DRAWS, _REPEATS, _BLOCKS, _WINDOWS = range(5)
"""The uses of random numbers, each with keys of its own."""


@dataclass(frozen=True, slots=True)
class RowsOfClass:
    """The rows in which each class is present, as a compressed sparse row matrix; the arrays may be mapped files.

    Attributes:
        offsets: the first index of each class in `rows`, and the end, int64, shape (C + 1,).
        rows: ascending within a class, int32 or int64, shape (offsets[-1],).
    """

    offsets: NDArray[np.int64]
    rows: NDArray[np.int32] | NDArray[np.int64]

    @property
    def sizes(self) -> NDArray[np.int64]:
        """The number of rows of each class, n_c, shape (C,)."""
        return np.diff(self.offsets)


class Order(Protocol):
    """The rows of each epoch, in order."""

    @property
    def name(self) -> str:
        """Everything that decides the order, in words; a saved position is valid only in the same order."""

    def length(self, epoch: int) -> int:
        """Return the number of positions of an epoch."""

    def rows(self, epoch: int, start: int, stop: int) -> NDArray[np.int64]:
        """Return the rows at positions start..stop-1 of an epoch, shape (stop - start,)."""


@dataclass(frozen=True, slots=True)
class InOrder:
    """Every row once, ascending: for evaluation."""

    n: int

    @property
    def name(self) -> str:
        """See `Order`."""
        return f"{self.n} rows in their order"

    def length(self, epoch: int) -> int:  # noqa: ARG002 - each epoch is alike
        """See `Order`."""
        return self.n

    def rows(self, epoch: int, start: int, stop: int) -> NDArray[np.int64]:  # noqa: ARG002 - each epoch is alike
        """See `Order`."""
        return np.arange(start, stop)


@dataclass(frozen=True, slots=True)
class Shuffled:
    """Every row once, in random order."""

    n: int
    seed: int = 0

    @property
    def name(self) -> str:
        """See `Order`."""
        return f"{self.n} rows shuffled, seed {self.seed}"

    def length(self, epoch: int) -> int:  # noqa: ARG002 - each epoch is as long
        """See `Order`."""
        return self.n

    def rows(self, epoch: int, start: int, stop: int) -> NDArray[np.int64]:
        """See `Order`."""
        return permuted(np.arange(start, stop), self.n, keys_of(self.seed, epoch, _PERMUTATION))


@dataclass(frozen=True, slots=True)
class BlockShuffled:
    """Every row once, shuffled in two steps that suit a disk.

    Neighbouring rows form blocks. The blocks are shuffled, then the rows within each window of a few consecutive
    blocks. So at any time all reads are in `blocks_of_window` stretches of the shards.
    """

    n: int
    seed: int = 0
    block_rows: int = 4096
    blocks_of_window: int = 16

    def __post_init__(self) -> None:
        for name in ("block_rows", "blocks_of_window"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}", remedy="give at least 1")

    @property
    def name(self) -> str:
        """See `Order`."""
        shape = f"windows of {self.blocks_of_window} blocks of {self.block_rows}"
        return f"{self.n} rows shuffled in {shape}, seed {self.seed}"

    def length(self, epoch: int) -> int:  # noqa: ARG002 - each epoch is as long
        """See `Order`."""
        return self.n

    def rows(self, epoch: int, start: int, stop: int) -> NDArray[np.int64]:
        """See `Order`."""
        blocks, starts = self._blocks(epoch)
        window_starts = self._windows(starts)
        first, last = np.searchsorted(window_starts, [start, stop - 1], "right") - 1
        found = []
        for window in range(int(first), int(last) + 1) if stop > start else ():
            begin, end = int(window_starts[window]), int(window_starts[window + 1])
            within = np.arange(max(start, begin), min(stop, end)) - begin
            found.append(begin + permuted(within, end - begin, keys_of(self.seed, epoch, _WINDOWS, window)))
        positions = np.concatenate([np.zeros(0, np.int64), *found])
        of = np.searchsorted(starts, positions, "right") - 1
        return np.asarray(blocks[of] * self.block_rows + positions - starts[of])

    def windows(self, epoch: int) -> NDArray[np.int64]:
        """Return the positions at which an epoch's windows begin, and the end."""
        return self._windows(self._blocks(epoch)[1])

    def _windows(self, starts: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.append(starts[: -1 : self.blocks_of_window], np.int64(self.n))

    def _blocks(self, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the shuffled blocks, and the first position of each, and the end; the last block may be short."""
        n_blocks = -(-self.n // self.block_rows)
        blocks = permuted(np.arange(n_blocks), n_blocks, keys_of(self.seed, epoch, _BLOCKS))
        sizes = np.minimum(self.block_rows, self.n - blocks * self.block_rows)
        return blocks, np.concatenate(([0], np.cumsum(sizes)))


def soft_balance(sizes: NDArray[np.int64], balance: float) -> NDArray[np.float64]:
    """Return the probability of drawing each class, P_s* of Peng et al. 2020 (eq. 8), shape (C,).

    P_s(c) = (1 / C)^balance * P_n(c)^(1 - balance) with P_n(c) = n_c / sum(n) (eq. 6 and 7). A class without rows
    cannot be drawn and is not counted in C; the factor (1 / C)^balance cancels in the normalisation.

    Args:
        sizes: n_c, shape (C,).
        balance: the paper's lambda; 0 draws classes by their number of rows, 1 uniformly, more favours rare classes.
    """
    present = sizes > 0
    share = np.zeros(len(sizes))
    share[present] = (sizes[present] / sizes.sum()) ** (1 - balance)
    return np.asarray(share / share.sum())


@dataclass(frozen=True)
class SoftBalance:
    """Rows drawn with replacement: a class by `soft_balance`, then one of its rows uniformly.

    Probabilities are exact to 2^-53 for a class and 2^-53 n_c for its rows, whatever N is.

    Attributes:
        rows_of_class: the rows of each class.
        n: the number of positions of an epoch.
        balance: the paper's lambda.
        seed: the seed.
    """

    rows_of_class: RowsOfClass
    n: int
    balance: float = BALANCE
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.balance < np.inf:
            raise UsageError(f"balance is {self.balance}", remedy="give 0 for no balance, 1 for equal classes")
        if self.n < 0:
            raise UsageError(f"an epoch cannot have {self.n} draws", remedy="give a length of 0 or more")
        if not self.rows_of_class.offsets[-1]:
            raise UsageError("no class has an image to draw", remedy="name labels that say what is present")

    @property
    def name(self) -> str:
        """See `Order`."""
        labels = int(self.rows_of_class.offsets[-1])
        return f"{self.n} draws of {labels} labels, balance {self.balance:g}, seed {self.seed}"

    @functools.cached_property
    def _cumulative(self) -> NDArray[np.float64]:
        """The cumulative probability of the classes, shape (C,); exactly 1 from the last drawable class on."""
        total = np.cumsum(soft_balance(self.rows_of_class.sizes, self.balance))
        return np.asarray(total / total[-1])

    def length(self, epoch: int) -> int:  # noqa: ARG002 - each epoch is as long
        """See `Order`."""
        return self.n

    def classes(self, epoch: int, start: int, stop: int) -> NDArray[np.int64]:
        """Return the class that is drawn at each of the positions start..stop-1."""
        return self._drawn(_uniform(self.seed, epoch, _DRAWS, start, stop)[:, 0])

    def rows(self, epoch: int, start: int, stop: int) -> NDArray[np.int64]:
        """See `Order`."""
        uniform = _uniform(self.seed, epoch, _DRAWS, start, stop)
        classes = self._drawn(uniform[:, 0])
        begin, end = self.rows_of_class.offsets[classes], self.rows_of_class.offsets[classes + 1]
        return self.rows_of_class.rows[begin + (uniform[:, 1] * (end - begin)).astype(np.int64)].astype(np.int64)

    def _drawn(self, uniform: NDArray[np.float64]) -> NDArray[np.int64]:
        # "right": a number equal to a bound belongs to the next class, so a class of probability 0 is never drawn.
        return np.searchsorted(self._cumulative, uniform, "right")


def repeat_factors(rows_of_class: RowsOfClass, n: int, threshold: float = REPEAT_BELOW) -> NDArray[np.float32]:
    """Return the mean number of repeats of each row per epoch, at least 1, float32, shape (N,).

    r_row = max over its classes of max(1, sqrt(threshold / f_c)), where f_c = n_c / N (A. Gupta, P. Dollar and
    R. Girshick, "LVIS: A Dataset for Large Vocabulary Instance Segmentation", CVPR 2019, appendix B,
    https://arxiv.org/abs/1908.03195). A row without a class has 1.

    Raises:
        UsageError: the threshold is negative or not finite.
    """
    if not 0 <= threshold < np.inf:
        raise UsageError(f"threshold is {threshold}", remedy="give the share of rows below which a class is repeated")
    factors = np.ones(n, np.float32)
    sizes = rows_of_class.sizes
    rare = np.flatnonzero((sizes > 0) & (sizes < threshold * n))
    of_class = np.sqrt(threshold * n / sizes[rare])
    for c, factor in zip(rare[np.argsort(of_class)], np.sort(of_class), strict=True):
        # In ascending order of factors: the value written last is the maximum.
        factors[rows_of_class.rows[rows_of_class.offsets[c] : rows_of_class.offsets[c + 1]]] = factor
    return factors


@dataclass(frozen=True, slots=True)
class RepeatFactor:
    """Every row at least once, rows of rare classes more often, shuffled.

    In each epoch the number of repeats of a row is its factor, rounded up or down at random so that the mean is right.

    Attributes:
        factors: see `repeat_factors`, shape (N,).
        threshold: that the factors were computed with.
        seed: the seed.
    """

    factors: NDArray[np.float32]
    threshold: float
    seed: int = 0
    _latest: dict[int, NDArray[np.int32]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def name(self) -> str:
        """See `Order`."""
        return f"{len(self.factors)} rows, repeated where rarer than {self.threshold:g}, seed {self.seed}"

    def length(self, epoch: int) -> int:
        """See `Order`."""
        return len(self._repeated(epoch))

    def rows(self, epoch: int, start: int, stop: int) -> NDArray[np.int64]:
        """See `Order`."""
        repeated = self._repeated(epoch)
        positions = permuted(np.arange(start, stop), len(repeated), keys_of(self.seed, epoch, _PERMUTATION))
        return repeated[positions].astype(np.int64)

    def _repeated(self, epoch: int) -> NDArray[np.int32]:
        """Return the rows of an epoch with their repeats, ascending; the result for the latest epoch is cached."""
        if epoch not in self._latest:
            self._latest.clear()
            self._latest[epoch] = self._repeat(epoch)
        return self._latest[epoch]

    def _repeat(self, epoch: int) -> NDArray[np.int32]:
        repeats = np.floor(self.factors).astype(np.int32)
        for start in range(0, len(repeats), 1 << 20):
            part = slice(start, min(start + (1 << 20), len(repeats)))
            uniform = _uniform(self.seed, epoch, _REPEATS, part.start, part.stop)[:, 0]
            repeats[part] += uniform < self.factors[part] - repeats[part]
        return np.repeat(np.arange(len(repeats), dtype=np.int32), repeats)


@dataclass(frozen=True, slots=True)
class Hybrid:
    """One order for the first epochs, another for the rest: the hybrid schedule of Peng et al. 2020 (section 4.2)."""

    first: Order
    then: Order
    first_epochs: int

    @property
    def name(self) -> str:
        """See `Order`."""
        return f"{self.first_epochs} epochs of {self.first.name}; then {self.then.name}"

    def length(self, epoch: int) -> int:
        """See `Order`."""
        return self._of(epoch).length(epoch)

    def rows(self, epoch: int, start: int, stop: int) -> NDArray[np.int64]:
        """See `Order`."""
        return self._of(epoch).rows(epoch, start, stop)

    def _of(self, epoch: int) -> Order:
        return self.first if epoch < self.first_epochs else self.then


def _uniform(seed: int, epoch: int, use: int, start: int, stop: int) -> NDArray[np.float64]:
    """Return four numbers from [0, 1) for each position start..stop-1, shape (stop - start, 4)."""
    raw = np.random.Philox(counter=start, key=keys_of(seed, epoch, use)[:2]).random_raw(
        _NUMBERS_OF_COUNTER * (stop - start)
    )
    bits: NDArray[np.uint64] = raw.reshape(-1, _NUMBERS_OF_COUNTER) >> np.uint64(11)
    return bits.astype(np.float64) * 2.0**-53
