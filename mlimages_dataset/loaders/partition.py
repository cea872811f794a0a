"""Which positions of an epoch each rank reads: every `world`-th.

So step k reads the same rows for any `world`, if the batch size of all ranks together is the same.

Legend: rank r of `world` ranks; n positions in an epoch, numbered from 0.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from mlimages_dataset.core.errors import UsageError


@dataclass(frozen=True, slots=True)
class Share:
    """One rank's positions: start + rank, start + rank + world, ... below stop.

    Attributes:
        start: the first position that any rank reads.
        stop: the end of the positions of all ranks; beyond the end of the epoch if ranks are padded to equal length.
        world: the number of ranks.
        rank: the rank, in 0..world-1.
    """

    start: int
    stop: int
    world: int
    rank: int

    def __len__(self) -> int:
        return max(0, -(-(self.stop - self.start - self.rank) // self.world))

    def position(self, k: int) -> int:
        """Return the k-th position of the rank."""
        return self.start + self.rank + k * self.world

    def done(self, k: int) -> int:
        """Return the position up to which everything is read when each rank has read k of its positions."""
        return min(self.start + k * self.world, self.stop)


def share(n: int, start: int, world: int, rank: int, *, padded: bool) -> Share:
    """Return one rank's share of the positions start..n-1.

    Args:
        n: positions of the epoch.
        start: the first position that was not read yet.
        world: the number of ranks.
        rank: the rank.
        padded: give every rank the same number of positions; the last ranks may read positions beyond n.

    Raises:
        UsageError: there is no such rank.
    """
    if not 0 <= rank < world:
        raise UsageError(f"there is no rank {rank} among {world}", remedy="count ranks from 0")
    left = max(n - start, 0)
    return Share(start, start + (-(-left // world) * world if padded else left), world, rank)


def current_rank() -> tuple[int, int]:
    """Return the number of ranks and this rank: of torch.distributed if it runs, else of torchrun, else (1, 0)."""
    import torch.distributed as dist  # noqa: PLC0415 - this module's arithmetic needs no torch

    if dist.is_available() and dist.is_initialized():
        return dist.get_world_size(), dist.get_rank()
    return int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
