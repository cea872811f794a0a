"""Shared memory in which a worker sends the images of its batches, and which it uses again.

torch sends each tensor in new shared memory, whose pages the system has to find and clear: 0.17 ms for an image of 224
pixels on a virtual machine, a tenth of what decoding takes. Here a worker has some blocks of shared memory. It lends
one to the loop with a batch, and uses it again when nothing in the loop's process uses the images of that batch.
"""

from __future__ import annotations

import math
import os
import weakref
from dataclasses import dataclass
from multiprocessing.reduction import ForkingPickler
from typing import TYPE_CHECKING

import torch
from torch.utils.data import get_worker_info

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

_MOST = 8
"""Blocks of a worker at most; while all are lent, batches have memory of their own."""
_MARK = 64
"""Bytes of a block before the images; the first is 1 while the block is lent."""


@dataclass(slots=True, eq=False)
class _Block:
    """Shared memory of this process.

    Attributes:
        memory: the mark and room for images, uint8, shape (N,).
        here: the array by which this process uses it.
    """

    memory: Tensor
    here: weakref.ref[NDArray[np.uint8]]

    @property
    def is_free(self) -> bool:
        """Whether no process uses it."""
        return not self.memory[0] and self.here() is None

    def holds(self, images: Tensor) -> bool:
        """Return whether images are the beginning of its own."""
        begins = images.data_ptr() == self.memory.data_ptr() + _MARK
        return begins and images.dtype == torch.uint8 and images.is_contiguous()


_blocks: list[_Block] = []
if hasattr(os, "register_at_fork"):  # POSIX
    os.register_at_fork(after_in_child=_blocks.clear)  # they are the parent's


def room(shape: tuple[int, ...]) -> Tensor:
    """Return a uint8 tensor to be filled; in a worker, if a block is free, one that is sent without a copy."""
    size = math.prod(shape)
    if get_worker_info() is None or size == 0:
        return torch.empty(shape, dtype=torch.uint8)
    free = [block for block in _blocks if block.is_free]
    fitting = [block for block in free if len(block.memory) >= _MARK + size]
    if not fitting:
        if free:
            _blocks.remove(free[0])
        elif len(_blocks) == _MOST:
            return torch.empty(shape, dtype=torch.uint8)
        storage = torch.UntypedStorage._new_shared(_MARK + size)  # noqa: SLF001 - as torch's own `default_collate`
        memory = torch.empty(0, dtype=torch.uint8).set_(storage)  # the system fills new memory with zeros
    else:
        block = min(fitting, key=lambda block: len(block.memory))
        _blocks.remove(block)
        memory = block.memory
    array, images = _images_in(memory, shape)
    _blocks.append(_Block(memory, weakref.ref(array)))
    return images


def _images_in(memory: Tensor, shape: tuple[int, ...]) -> tuple[NDArray[np.uint8], Tensor]:
    """Return the images in a block as an array, which lives as long as anything uses them, and as a tensor."""
    array = memory.numpy()[_MARK : _MARK + math.prod(shape)]
    return array, torch.from_numpy(array).view(shape)


@dataclass(frozen=True, slots=True)
class Sent:
    """The images of a batch on their way to another process, where they are a tensor."""

    images: Tensor

    def __reduce__(self) -> tuple[Callable[..., Tensor], tuple[object, ...]]:
        return _same, (self.images,)


def _same(images: Tensor) -> Tensor:
    return images


def _lend(sent: Sent) -> tuple[Callable[..., Tensor], tuple[object, ...]]:
    """Return what makes the tensor in the other process."""
    for block in _blocks:
        if block.holds(sent.images) and not block.memory[0]:
            block.memory[0] = 1
            return _borrow, (block.memory, tuple(sent.images.shape))
    return sent.__reduce__()


ForkingPickler.register(Sent, _lend)  # by which torch sends what workers made, and which shares memory


def _borrow(memory: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return the images in a block that a worker has lent, which is given back when nothing uses them."""
    array, images = _images_in(memory, shape)
    weakref.finalize(array, _give_back, memory, os.getpid()).atexit = False
    return images


def _give_back(memory: Tensor, borrower: int) -> None:
    if os.getpid() == borrower:  # a process that was forked meanwhile has the same objects
        memory[0] = 0
