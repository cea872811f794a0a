"""Batches of samples; labels stay sparse until they are on the device.

Legend: B samples, L labels of all of them, C classes, S side of an image.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from mlimages_dataset.loaders.dataset import BadImage, ImageSample, Sample


_GREY = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageBatch:
    """B samples: what a batch of any task has. Subclasses add the labels.

    Attributes:
        images: uint8, shape (B, 3, S, S), or (B, 3, H, W) for tasks whose images are no squares.
        rows: the samples' rows in the data set, int64, shape (B,).
        positions: their positions in the epoch, int64, shape (B,).
        epoch: the epoch of the samples.
        n_classes: C.
        image_ids: of the samples.
        replaced: the bad pictures among those that were drawn, which others replace; so each is listed once in an epoch
            that draws each picture once.
    """

    images: Tensor
    rows: Tensor
    positions: Tensor
    epoch: int
    n_classes: int
    image_ids: tuple[str, ...]
    replaced: tuple[BadImage, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    def __reduce__(self) -> tuple[Callable[..., ImageBatch], tuple[object, ...]]:
        # Every tensor from a worker holds a file descriptor, of which a process has 1,024 by default: only the images,
        # the one large tensor, are sent as a tensor.
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        sent = {
            name: value.numpy()
            if isinstance(value, torch.Tensor) and value is not self.images and value.device.type == "cpu"
            else value
            for name, value in values.items()
        }
        return _received, (type(self), sent)

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> Self:
        """Return the batch on a device."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Self:
        """Return the batch in pinned memory; `DataLoader(pin_memory=True)` calls this."""
        return self._each(lambda tensor: tensor.pin_memory())

    def _each(self, change: Callable[[Tensor], Tensor]) -> Self:
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        changed: dict[str, Any] = {n: change(value) for n, value in values.items() if isinstance(value, torch.Tensor)}
        return dataclasses.replace(self, **changed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch(ImageBatch):
    """B samples with labels. `targets` and `known` are computed on the batch's device, anew at each access.

    Attributes:
        sample_index: the sample of each label in the batch, ascending, int64, shape (L,).
        class_index: int64, shape (L,).
        confidence: 1 verified present, 0 verified absent, between them a machine confidence, float32, shape (L,).
        origin: a `schemas.Origin`, uint8, shape (L,).
        absent_unless_listed: samples whose unlisted classes are absent rather than unknown, bool, shape (B,).
    """

    sample_index: Tensor
    class_index: Tensor
    confidence: Tensor
    origin: Tensor
    absent_unless_listed: Tensor

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


def _received(kind: type[ImageBatch], sent: dict[str, Any]) -> ImageBatch:
    """Return a batch received from a worker: arrays become tensors again."""
    fields: dict[str, Any] = {
        name: torch.from_numpy(value) if isinstance(value, np.ndarray) else value for name, value in sent.items()
    }
    return kind(**fields)


def common_fields(samples: Sequence[ImageSample]) -> dict[str, Any]:
    """Return what a batch has of its samples besides images and labels, by the names of `ImageBatch`."""
    return {
        "rows": torch.tensor([sample.row for sample in samples]),
        "positions": torch.tensor([sample.position for sample in samples]),
        "epoch": samples[0].epoch,
        "n_classes": samples[0].n_classes,
        "image_ids": tuple(sample.image_id for sample in samples),
        # The first of a sample is the one that was drawn. The others stood in its place, and have a draw of their own.
        "replaced": tuple(sample.replaced[0] for sample in samples if sample.replaced),
    }


def one_batch(planes: Sequence[NDArray[np.uint8]]) -> tuple[Tensor, Tensor]:
    """Return images as one batch, uint8, shape (B, 3, H, W), and their sizes, int64, shape (B, 2).

    Images of several sizes are padded to the largest height and width, at the right and at the bottom, with middle
    grey, which is nearly 0 for a network.
    """
    if len({image.shape for image in planes}) == 1:
        images = torch.from_numpy(np.stack(planes))
        return images, torch.tensor([images.shape[2:]] * len(planes))
    sizes = torch.tensor([image.shape[1:] for image in planes], dtype=torch.int64).reshape(-1, 2)
    height, width = sizes.amax(0).tolist() if planes else (0, 0)
    images = torch.full((len(planes), 3, height, width), _GREY, dtype=torch.uint8)
    for image, one in zip(images, planes, strict=True):
        image[:, : one.shape[1], : one.shape[2]] = torch.from_numpy(one)
    return images, sizes


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
        **common_fields(samples),
    )
