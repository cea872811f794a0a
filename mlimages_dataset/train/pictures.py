"""The pictures of a folder without their labels, in batches that never change: for prediction and features.

The last bits of a network's output depend on which pictures share a batch. So the pictures' numbers alone decide how
they are divided into parts and batches, and a rank works on whole parts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np
from torch.utils.data import DataLoader, Dataset

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.core.locations import as_text, relative
from mlimages_dataset.images.file_store import FileStore
from mlimages_dataset.images.files import one_image
from mlimages_dataset.images.registry import open_store
from mlimages_dataset.images.store import pictures_of
from mlimages_dataset.loaders.batch import one_batch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.images.store import ImageStore

_BATCHES_OF_PART = 256
_LEAST_PARTS = 16


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture: its number, and its planes, uint8, shape (3, S, S), or why there are none."""

    number: int
    planes: np.ndarray[tuple[int, ...], np.dtype[np.uint8]] | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class PictureBatch:
    """B usable pictures, and the unusable ones of the batch.

    Attributes:
        numbers: numbers of the pictures, shape (B,).
        images: uint8, shape (B, 3, S, S); of another shape where the view gives pictures of several sizes.
        sizes: height and width of each image without padding, int64, shape (B, 2).
        bad: number and reason of each unusable picture.
    """

    numbers: tuple[int, ...]
    images: Tensor
    sizes: Tensor
    bad: tuple[tuple[int, str], ...]

    def pin_memory(self) -> PictureBatch:
        """Return the batch in pinned memory, from which a GPU can copy directly."""
        return replace(self, images=self.images.pin_memory())


class PictureView(Protocol):
    """What a network sees of a picture."""

    def __call__(self, content: bytes, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Return a picture's planes, uint8, shape (3, H, W)."""
        ...

    def finish(self, images: Tensor) -> Tensor:
        """Return a batch as the network's input, float32, of the same shape."""
        ...


class Pictures(Dataset[Picture]):
    """The numbered pictures of a location: of shards in their order, of files in the order of paths; or one file."""

    def __init__(self, place: Location, transform: PictureView) -> None:
        """Open a folder of shards, ours or others', a folder of picture files, or one such file.

        Raises:
            UsageError: there is no such location, or it holds no picture, or two pictures with the same id.
            DataError: a table of the shards is damaged.
        """
        if not place.exists():
            raise UsageError(
                "there is no such file or folder", where=place, remedy="name pictures, or a folder of shards"
            )
        self._transform = transform
        self._store = open_store(place) if place.is_dir() else FileStore.of(place.parent, [place.name])
        if len(self) == 0:
            raise UsageError("holds no picture", where=place, remedy="name a folder of images or of shards")
        if repeated := self._store.repeated_ids():
            raise one_image(self._store.folder, repeated[0], pictures_of(self._store, repeated[0]))

    def __len__(self) -> int:
        return len(self._store)

    def image_id(self, number: int) -> str:
        """Return a picture's id; that of a file is made by `image_ids` from its path below the folder."""
        return self._store.image_id(number)

    def location(self, number: int) -> str:
        """Return a file's path below the folder; empty for a picture in a shard."""
        return location_in(self._store, number)

    def finish(self, images: Tensor) -> Tensor:
        """Return the images as the network's input."""
        return self._transform.finish(images)

    def __getitem__(self, number: int) -> Picture:
        """Return a picture.

        Raises:
            UsageError: a shard cannot be read.
        """
        try:
            return Picture(number, self._transform(self.content(number), np.random.default_rng(0)))
        except DataError as error:
            return Picture(number, None, error.what)

    def content(self, number: int) -> bytes:
        """Return the bytes of a picture as stored.

        Raises:
            UsageError: a shard cannot be read.
            DataError: a file cannot be read.
        """
        return self._store.read(number)


def location_in(store: ImageStore, number: int) -> str:
    """Return a file's path below the folder of a store; empty for a picture in a shard."""
    place = store.place(number)
    is_file = place.offset == 0 and place.length < 0
    return as_text(relative(place.path, store.folder)) if is_file else ""


@dataclass(frozen=True, slots=True)
class Part:
    """The pictures first..stop-1, whose rows are written to one file."""

    number: int
    first: int
    stop: int

    @property
    def name(self) -> str:
        """Return the file's name."""
        return f"part-{self.number:05d}.parquet"

    def starts(self, batch_size: int) -> range:
        """Return the first picture of each of the part's batches."""
        return range(self.first, self.stop, batch_size)

    @classmethod
    def all_of(cls, n_pictures: int, batch_size: int) -> tuple[Self, ...]:
        """Return the parts of a folder, of at most 256 whole batches each, and usually at least 16 parts."""
        n_batches = -(-n_pictures // batch_size)
        size = batch_size * max(1, min(_BATCHES_OF_PART, n_batches // _LEAST_PARTS))
        starts = range(0, n_pictures, size)
        return tuple(cls(number, first, min(first + size, n_pictures)) for number, first in enumerate(starts))


def picture_batches(
    pictures: Pictures, parts: Sequence[Part], *, batch_size: int, workers: int, pin: bool
) -> Iterator[tuple[Part, Iterator[PictureBatch]]]:
    """Yield each part with its batches; read all batches of a part before the next part."""
    ranges = [range(first, min(first + batch_size, part.stop)) for part in parts for first in part.starts(batch_size)]
    loader = iter(
        DataLoader(
            pictures,
            batch_sampler=[list(numbers) for numbers in ranges],
            num_workers=workers,
            collate_fn=_collate,
            pin_memory=pin,
        )
    )
    for part in parts:
        yield part, (next(loader) for _ in part.starts(batch_size))


def _collate(pictures: Sequence[Picture]) -> PictureBatch:
    good = [(picture.number, picture.planes) for picture in pictures if picture.planes is not None]
    images, sizes = one_batch([planes for _, planes in good])
    return PictureBatch(
        numbers=tuple(number for number, _ in good),
        images=images,
        sizes=sizes,
        bad=tuple((picture.number, picture.reason) for picture in pictures if picture.planes is None),
    )
