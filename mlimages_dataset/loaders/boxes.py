"""Pictures with boxes, for detection: samples, batches, and the transform that keeps boxes and pixels together.

Legend: B samples, K boxes in all of them, L labels of boxes, H/W pixels of an image.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch

from mlimages_dataset.core.errors import ConfigError
from mlimages_dataset.core.locations import location
from mlimages_dataset.images.orientation import UPRIGHT, upright_pixels
from mlimages_dataset.loaders.batch import ImageBatch, common_fields, one_batch
from mlimages_dataset.loaders.dataset import CataloguedImages, ImageSample
from mlimages_dataset.loaders.decoding import decode, read_header, read_orientation
from mlimages_dataset.loaders.geometry import Box, resize
from mlimages_dataset.loaders.region_index import Boxes, open_regions
from mlimages_dataset.loaders.transforms import to_unit_range

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from mlimages_dataset.core.locations import Location


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxTransform:
    """Resizes a picture so that its short side has a given length, and may exchange left and right.

    The long side has at most `long_side` pixels: then the short side is shorter (Girshick 2015, Fast R-CNN, 2.4).

    Attributes:
        image_size: pixels of the short side, or several lengths of which one is drawn for each picture.
        long_side: most pixels of the long side.
        flip: probability of exchanging left and right.
        upright: turn pictures as their metadata say.
    """

    image_size: int = 600
    long_side: int = 1000
    sizes: tuple[int, ...] = ()
    flip: float = 0.0
    upright: bool = False

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            ConfigError: a side is below 1, or the long side is below the short one.
        """
        for size in (self.image_size, *self.sizes):
            if not 1 <= size <= self.long_side:
                raise ConfigError(
                    f"a short side of {size} pixels beside a long side of at most {self.long_side}",
                    remedy="set image_size, and each of detection.short_sides, from 1 to detection.long_side",
                )

    def __call__(self, content: bytes, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Return a picture's planes without boxes, uint8, shape (3, H, W)."""
        return self.with_flip(content, rng)[0]

    def with_flip(self, content: bytes, rng: np.random.Generator) -> tuple[NDArray[np.uint8], bool]:
        """Return a picture's planes, uint8, shape (3, H, W), and whether left and right are exchanged.

        Raises:
            DataError: the bytes are not a picture, are damaged, or have too many pixels.
        """
        header = read_header(content)
        pixels = decode(content, header)
        if self.upright and (orientation := read_orientation(content)) != UPRIGHT:
            pixels = np.ascontiguousarray(upright_pixels(pixels, orientation))
        flipped = bool(rng.random() < self.flip)
        short = self.sizes[rng.integers(len(self.sizes))] if self.sizes else self.image_size
        picture = Box(0, 0, *pixels.shape[:2])
        height, width = resized(pixels.shape[0], pixels.shape[1], short, self.long_side)
        return resize(pixels, picture, (height, width), limits=picture, flip=flipped), flipped

    def finish(self, images: Tensor) -> Tensor:
        """Return a batch of planes as float32 in [-1, 1], of the same shape and on the same device."""
        return to_unit_range(images)

    def at_size(self, image_size: int) -> Self:
        """Return the same transform with another short side."""
        return dataclasses.replace(self, image_size=image_size)


def resized(height: int, width: int, short_side: int, long_side: int) -> tuple[int, int]:
    """Return the height and width of a picture whose short side becomes `short_side`, the long one at most another.

    >>> resized(375, 500, 600, 1000), resized(200, 500, 600, 1000)
    ((600, 800), (400, 1000))
    """
    scale = min(short_side / min(height, width), long_side / max(height, width))
    return max(round(height * scale), 1), max(round(width * scale), 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxSample(ImageSample):
    """One picture and its boxes; as `Boxes`, with sides in pixels of the image."""

    boxes: Boxes


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxBatch(ImageBatch):
    """B samples with boxes; images are padded with middle grey at the right and at the bottom.

    Attributes:
        sizes: height and width of each image without its padding, int64, shape (B, 2).
        box_sample: the sample of each box, ascending, int64, shape (K,).
        sides: xmin, ymin, xmax, ymax in pixels, float32, shape (K, 4).
        label_box: the box of each label, ascending, int64, shape (L,).
        class_index: int64, shape (L,).
        special: whether a metric neither demands the object nor forbids it, bool, shape (L,).
    """

    sizes: Tensor
    box_sample: Tensor
    sides: Tensor
    label_box: Tensor
    class_index: Tensor
    special: Tensor


def collate_boxes(samples: Sequence[BoxSample]) -> BoxBatch:
    """Return the batch of some samples, for `DataLoader(collate_fn=...)`."""
    boxes = [sample.boxes for sample in samples]
    n_boxes = [len(of_sample.sides) for of_sample in boxes]
    first_box = np.cumsum([0, *n_boxes])
    images, sizes = one_batch([sample.image for sample in samples])
    return BoxBatch(
        images=images,
        sizes=sizes,
        box_sample=torch.repeat_interleave(torch.arange(len(samples)), torch.tensor(n_boxes)),
        sides=torch.from_numpy(np.concatenate([of_sample.sides for of_sample in boxes])),
        label_box=torch.from_numpy(
            np.concatenate([of_sample.box + first for of_sample, first in zip(boxes, first_box, strict=False)])
        ),
        class_index=torch.from_numpy(np.concatenate([one.class_index for one in boxes]).astype(np.int64)),
        special=torch.from_numpy(np.concatenate([one.special for one in boxes])),
        **common_fields(samples),
    )


class BoxedImages(CataloguedImages[BoxSample, BoxBatch]):
    """The pictures of image folders that have boxes in a `regions` table.

    Args:
        images: a folder that `mlimages-build images` wrote, a folder of image files, or several of these.
        regions: a folder that `mlimages-build annotate` wrote a `regions` table into, or one part.
        n_classes: C.
        transform: decodes and resizes a picture.
        ancestors: also take the boxes of categories above those stated.
        seed: of the random draws of samples.
        cache: the folder for the catalogue; None for the user's cache.

    Raises:
        UsageError, DataError: as `open_catalogue`; or no box can be learnt, or the seed is below 0.
    """

    def __init__(
        self,
        images: str | Path | Location | Sequence[str | Path | Location],
        regions: str | Path | Location,
        *,
        n_classes: int,
        transform: BoxTransform,
        ancestors: bool = False,
        seed: int = 0,
        cache: str | Path | None = None,
    ) -> None:
        folders = images if isinstance(images, (list, tuple)) else [images]
        catalogue, self.index = open_regions(
            [location(str(folder)) for folder in folders],
            location(str(regions)),
            n_classes=n_classes,
            ancestors=ancestors,
            cache=cache,
        )
        super().__init__(catalogue, seed)
        self.transform = transform

    def make(self, row: int, content: bytes, rng: np.random.Generator, common: dict[str, Any]) -> BoxSample:
        """See `CataloguedImages`."""
        planes, flipped = self.transform.with_flip(content, rng)
        boxes = self.index.boxes(row)
        sides = boxes.sides
        if flipped:
            sides = np.stack([1 - sides[:, 2], sides[:, 1], 1 - sides[:, 0], sides[:, 3]], axis=1)
        _, height, width = planes.shape
        in_pixels = sides * np.array([width, height, width, height], np.float32)
        return BoxSample(image=planes, boxes=dataclasses.replace(boxes, sides=in_pixels), **common)

    @staticmethod
    def collate(samples: Sequence[BoxSample]) -> BoxBatch:
        """See `CataloguedImages`."""
        return collate_boxes(samples)

    def finish(self, images: Tensor) -> Tensor:
        """See `CataloguedImages`."""
        return self.transform.finish(images)
