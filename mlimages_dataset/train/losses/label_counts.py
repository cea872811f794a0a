"""Counts the labels of a batch: for each class, the images that have it and the images in which it is known.

Legend: B images in a batch, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mlimages_dataset.train import distributed
from mlimages_dataset.train.losses.fused_loss import compiled, present_counts
from mlimages_dataset.train.losses.row_chunks import row_chunks

_BLOCK = 64
"""Entries that are searched together for labels: a cache line of bytes, or four of float32."""


@dataclass(frozen=True, slots=True)
class LabelCounts:
    """Label counts of some images; counts of micro-batches and of ranks add up.

    Attributes:
        present: images with the class present, int64, shape (C,).
        known: images in which the class is known, int64, shape (C,).
        n_images: number of images.
    """

    present: Tensor
    known: Tensor
    n_images: int

    def __add__(self, other: LabelCounts) -> LabelCounts:
        return LabelCounts(self.present + other.present, self.known + other.known, self.n_images + other.n_images)


def count_labels(
    targets: Tensor, known: Tensor | None, presence_threshold: float, *, fused: bool = False
) -> LabelCounts:
    """Return the images with each class present, target >= threshold and known, and with each class known."""
    n_images, n_classes = targets.shape
    labelled = labelled_entries(targets)
    if labelled is None and fused:
        present = compiled(present_counts)(targets, known, presence_threshold)
    elif labelled is None:
        present = _count_in_chunks(targets, known, presence_threshold)
    else:
        is_present = targets.reshape(-1)[labelled].to(torch.float32) >= presence_threshold
        if known is not None:
            is_present &= known.reshape(-1)[labelled]
        present = torch.bincount(labelled[is_present] % n_classes, minlength=n_classes)
    if known is None:
        return LabelCounts(present, torch.full_like(present, n_images), n_images)
    # As bytes: a sum over booleans takes several times as long.
    return LabelCounts(present, known.view(torch.uint8).sum(0, dtype=torch.int32).to(torch.int64), n_images)


def counts_over_ranks(counts: LabelCounts) -> tuple[LabelCounts, int]:
    """Return the counts of the global batch, and the position of this rank's first image in it."""
    if distributed.n_ranks() == 1:
        return counts, 0
    rank = distributed.rank()
    images_of_rank = torch.zeros(distributed.n_ranks(), dtype=torch.int64, device=counts.present.device)
    images_of_rank[rank] = counts.n_images
    # One message: a small reduction costs latency, not bandwidth.
    total = distributed.sum_over_ranks(torch.cat((counts.present, counts.known, images_of_rank)))
    n_classes = len(counts.present)
    present, known, images = total.split((n_classes, n_classes, len(images_of_rank)))
    n_images = images.tolist()
    return LabelCounts(present, known, sum(n_images)), sum(n_images[:rank])


def labelled_entries(targets: Tensor) -> Tensor | None:
    """Return the entries above 0 as row * C + class, int64, ascending; None where listing them would not pay.

    Labels are few: most blocks of 64 entries hold none, and one pass that takes the maximum of each block tells which.
    It pays where at most half of the blocks hold any, on a CPU: a GPU's host would wait for the number of entries. NaN
    is listed.
    """
    if targets.device.type != "cpu":
        return None
    flat = targets.reshape(-1)
    n_blocks = len(flat) // _BLOCK
    tail = n_blocks * _BLOCK
    blocks = flat[:tail].view(n_blocks, _BLOCK)
    (kept,) = _above_zero(blocks.amax(1))
    if 2 * len(kept) > n_blocks:
        return None
    nth, within = _above_zero(blocks[kept])
    (behind,) = _above_zero(flat[tail:])
    return torch.cat((kept[nth] * _BLOCK + within, behind + tail))


def _count_in_chunks(targets: Tensor, known: Tensor | None, presence_threshold: float) -> Tensor:
    """Return the images with each class present, int64, shape (C,), by looking at every entry."""
    present = torch.zeros(targets.shape[1], dtype=torch.int64, device=targets.device)
    for rows in row_chunks(targets, targets.shape[1]):
        # In place on floats: comparisons that write booleans, and sums over booleans, take several times as long.
        is_present = targets[rows].to(torch.float32, copy=True).ge_(presence_threshold)
        if known is not None:
            is_present *= known[rows].to(torch.float32)
        present += is_present.sum(0).to(torch.int64)
    return present


def _above_zero(values: Tensor) -> tuple[Tensor, ...]:
    return torch.nonzero(~(values <= 0), as_tuple=True)  # so written, NaN is above
