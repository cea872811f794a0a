"""Batches of samples; labels stay sparse until they are on the device.

Legend: B samples, L labels of all of them, C classes, S side of an image.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from mlimages_dataset.loaders.dataset import BadImage, Sample


@dataclass(frozen=True, slots=True)
class Batch:
    """B samples. `targets` and `known` are computed on the batch's device, anew at each access.

    Attributes:
        images: uint8, shape (B, 3, S, S).
        sample_index: the sample of each label in the batch, ascending, int64, shape (L,).
        class_index: int64, shape (L,).
        confidence: 1 verified present, 0 verified absent, between them a machine confidence, float32, shape (L,).
        origin: a `schemas.Origin`, uint8, shape (L,).
        absent_unless_listed: samples whose unlisted classes are absent rather than unknown, bool, shape (B,).
        rows: the samples' rows in the data set, int64, shape (B,).
        positions: their positions in the epoch, int64, shape (B,).
        epoch: the epoch of the samples.
        n_classes: C.
        image_ids: of the samples.
        replaced: bad pictures that were replaced by others.
    """

    images: Tensor
    sample_index: Tensor
    class_index: Tensor
    confidence: Tensor
    origin: Tensor
    absent_unless_listed: Tensor
    rows: Tensor
    positions: Tensor
    epoch: int
    n_classes: int
    image_ids: tuple[str, ...]
    replaced: tuple[BadImage, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    def __reduce__(self) -> tuple[Callable[..., Batch], tuple[object, ...]]:
        # Every tensor from a worker holds a file descriptor, of which a process has 1,024 by default: only the images,
        # the one large tensor, are sent as a tensor.
        values = (getattr(self, field.name) for field in dataclasses.fields(self))
        return _received, tuple(
            value.numpy()
            if isinstance(value, torch.Tensor) and value is not self.images and value.device.type == "cpu"
            else value
            for value in values
        )

    @property
    def targets(self) -> Tensor:
        """The confidence that each class is present, 0 for unlisted classes, float32, shape (B, C)."""
        dense = torch.zeros(len(self), self.n_classes, device=self.images.device)
        dense[self.sample_index, self.class_index] = self.confidence
        return dense

    @property
    def known(self) -> Tensor:
        """Whether it is known if each class is present or absent, bool, shape (B, C).

        Listed classes are known, present or verified absent. If a source lists all its classes, the unlisted classes of
        its samples are known to be absent.
        """
        dense = self.absent_unless_listed[:, None].repeat(1, self.n_classes)
        dense[self.sample_index, self.class_index] = True
        return dense

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Batch:
        """Return the batch on a device."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        """Return the batch in pinned memory; `DataLoader(pin_memory=True)` calls this."""
        return self._each(lambda tensor: tensor.pin_memory())

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        return dataclasses.replace(
            self,
            images=change(self.images),
            sample_index=change(self.sample_index),
            class_index=change(self.class_index),
            confidence=change(self.confidence),
            origin=change(self.origin),
            absent_unless_listed=change(self.absent_unless_listed),
            rows=change(self.rows),
            positions=change(self.positions),
        )


def _received(*values: Any) -> Batch:
    """Return a batch received from a worker: arrays become tensors again."""
    columns: list[Any] = [torch.from_numpy(value) if isinstance(value, np.ndarray) else value for value in values]
    return Batch(*columns)


def collate(samples: Sequence[Sample]) -> Batch:
    """Return the batch of some samples, whose images have one size, for `DataLoader(collate_fn=...)`."""
    sizes = [len(sample.class_index) for sample in samples]
    return Batch(
        images=torch.from_numpy(np.stack([sample.image for sample in samples])),
        sample_index=torch.repeat_interleave(torch.arange(len(samples)), torch.tensor(sizes)),
        class_index=torch.from_numpy(np.concatenate([sample.class_index for sample in samples]).astype(np.int64)),
        confidence=torch.from_numpy(np.concatenate([sample.confidence for sample in samples])),
        origin=torch.from_numpy(np.concatenate([sample.origin for sample in samples])),
        absent_unless_listed=torch.tensor([sample.absent_unless_listed for sample in samples]),
        rows=torch.tensor([sample.row for sample in samples]),
        positions=torch.tensor([sample.position for sample in samples]),
        epoch=samples[0].epoch,
        n_classes=samples[0].n_classes,
        image_ids=tuple(sample.image_id for sample in samples),
        replaced=tuple(bad for sample in samples for bad in sample.replaced),
    )
