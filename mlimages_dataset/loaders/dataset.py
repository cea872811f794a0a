"""The data set: labelled pictures as a network sees them, by row.

`MLImages` is a map-style data set of PyTorch (https://pytorch.org/docs/stable/data.html#map-style-datasets);
`CataloguedImages` is what it has in common with those of boxes and of label maps.

Each sample has a random generator of its own, seeded by the run's seed, the epoch and the position in the epoch, so it
is the same whichever process makes it.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

import numpy as np
from torch.utils.data import Dataset

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.core.locations import location
from mlimages_dataset.loaders.batch import Batch, ImageBatch, collate
from mlimages_dataset.loaders.catalogue import open_catalogue, split_folder

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    import torch
    from numpy.typing import NDArray

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.loaders.catalogue import Catalogue
    from mlimages_dataset.loaders.orders import RowsOfClass
    from mlimages_dataset.loaders.transforms import Transform

ATTEMPTS = 100
"""After so many bad pictures in a row, the cause is not the pictures."""
VERIFY = "mlimages-build images verify"


class Draw(int):
    """A row that a sampler drew: an int with its epoch and its position in the epoch.

    It indexes any map-style data set. `MLImages` seeds the sample's random draws with the two numbers, so that two
    draws of the same row differ. The batch returns them, and so tells the progress of the epoch.
    """

    epoch: int
    position: int

    def __new__(cls, row: int, epoch: int, position: int) -> Self:
        """Return the draw of a row."""
        draw = super().__new__(cls, row)
        draw.epoch = epoch
        draw.position = position
        return draw

    def __reduce__(self) -> tuple[type[Draw], tuple[int, int, int]]:
        return type(self), (int(self), self.epoch, self.position)


@dataclass(frozen=True, slots=True)
class BadImage:
    """A picture that could not be used: its row, its id, and the reason."""

    row: int
    image_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSample:
    """One picture: what a sample of any task has. Subclasses add the labels.

    Attributes:
        image: uint8, shape (3, S, S), or (3, H, W) for tasks whose images are no squares.
        n_classes: C.
        row: the row of the picture; not the one that was drawn if that picture is bad.
        image_id: its id.
        epoch: of the draw.
        position: of the draw in the epoch.
        replaced: the bad pictures that it replaces.
    """

    image: NDArray[np.uint8]
    n_classes: int
    row: int
    image_id: str
    epoch: int
    position: int
    replaced: tuple[BadImage, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample(ImageSample):
    """One picture and its labels.

    Attributes:
        class_index: the classes of its labels, ascending, int32, shape (k,).
        confidence: 1 verified present, 0 verified absent, between them a machine confidence, float32, shape (k,).
        origin: a `schemas.Origin`, uint8, shape (k,).
        absent_unless_listed: whether unlisted classes are absent rather than unknown.
    """

    class_index: NDArray[np.int32]
    confidence: NDArray[np.float32]
    origin: NDArray[np.uint8]
    absent_unless_listed: bool


_Sample = TypeVar("_Sample", bound=ImageSample)
_Batch = TypeVar("_Batch", bound=ImageBatch)


class CataloguedImages(Dataset[_Sample], abc.ABC, Generic[_Sample, _Batch]):
    """The pictures of a catalogue, with labels of any kind.

    A picture that cannot be read or decoded is replaced by that of the next row, and listed in `replaced`.

    Attributes:
        catalogue: the pictures, and the classes that are in each.
        seed: of the random draws of samples.
        epoch: of draws that have none.
    """

    def __init__(self, catalogue: Catalogue, seed: int) -> None:
        if seed < 0:
            raise UsageError(f"{seed} is not a seed", remedy="give 0 or more")
        self.catalogue = catalogue
        self.seed = seed
        self.epoch = 0

    @abc.abstractmethod
    def make(self, row: int, content: bytes, rng: np.random.Generator, common: dict[str, Any]) -> _Sample:
        """Return the sample of a row.

        Args:
            row: the row.
            content: the bytes of its picture.
            rng: the source of all random draws.
            common: the fields of `ImageSample` besides the image.

        Raises:
            DataError: the picture, or what is known of it, cannot be used.
        """

    @staticmethod
    @abc.abstractmethod
    def collate(samples: Sequence[_Sample]) -> _Batch:
        """Return the batch of some samples, for `DataLoader(collate_fn=...)`."""

    @abc.abstractmethod
    def finish(self, images: torch.Tensor) -> torch.Tensor:
        """Return the images of a batch as the network's input, float32, of the same shape, on the same device."""

    def __len__(self) -> int:
        return len(self.catalogue)

    @property
    def n_classes(self) -> int:
        """The number of classes, C."""
        return self.catalogue.facts.n_classes

    @property
    def rows_of_class(self) -> RowsOfClass:
        """The rows in which each class is present, for samplers by class."""
        return self.catalogue.rows_of_class

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, for samplers whose draws have none; the samplers of this package need no such call.

        Persistent workers do not see the change.
        """
        self.epoch = epoch

    def __getitem__(self, index: int) -> _Sample:
        """Return a sample.

        Raises:
            IndexError: there is no such row.
            DataError: the next hundred rows are bad.
            UsageError: a shard cannot be read.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"row {int(index)} of {len(self)}")
        if isinstance(index, Draw):
            return self.sample(index)
        return self.sample(Draw(index, self.epoch, index))

    def sample(self, draw: Draw, content: bytes | None = None) -> _Sample:
        """Return the sample of a draw; errors as for an index.

        Args:
            draw: the draw.
            content: the encoded picture of its row, if it was read already; else None.
        """
        replaced: list[BadImage] = []
        for row in range(draw, draw + min(ATTEMPTS, len(self))):
            sample = self._made(row % len(self), draw, replaced, None if replaced else content)
            if not isinstance(sample, BadImage):
                return sample
            replaced.append(sample)
        raise DataError(
            f"{len(replaced)} pictures in a row cannot be used, the first because: {replaced[0].reason}",
            where=replaced[0].image_id,
            remedy=f"mend or remove them ({VERIFY} FOLDER lists all bad pictures)",
        )

    def _made(self, row: int, draw: Draw, replaced: Sequence[BadImage], content: bytes | None) -> _Sample | BadImage:
        """Return the sample of a row, or why it cannot be used."""
        common = {
            "n_classes": self.n_classes,
            "row": row,
            "image_id": self.catalogue.image_id(row),
            "epoch": draw.epoch,
            "position": draw.position,
            "replaced": tuple(replaced),
        }
        try:
            stored = self.catalogue.content(row) if content is None else content
            return self.make(row, stored, np.random.default_rng([self.seed, draw.epoch, draw.position]), common)
        except DataError as error:
            return BadImage(row, self.catalogue.image_id(row), error.what)


class MLImages(CataloguedImages[Sample, Batch]):
    """The pictures of image folders with the labels of a table.

    A picture that cannot be read or decoded is replaced by that of the next row, and listed in `Sample.replaced`.

    Args:
        images: a folder that `mlimages-build images` wrote, a folder of image files, or several of these.
        labels: a folder that `mlimages-build labels` wrote; with `split=None` any table of labels.
        split: `train` or `val`.
        transform: decodes and crops a picture; it may be replaced between epochs, for example by its `at_size`.
        seed: of the random draws of samples.
        absent_unless_listed: the sources that list all classes of their images, so that unlisted ones are absent; True
            for all sources. In other sources unlisted classes are unknown.
        n_classes: C; None for what the manifest of the labels says.
        cache: the folder for the catalogue; None for the user's cache.

    Raises:
        UsageError, DataError: as `open_catalogue`; or there is no such split or source, or the seed is below 0.
    """

    def __init__(
        self,
        images: str | Path | Location | Sequence[str | Path | Location],
        labels: str | Path | Location,
        *,
        split: str | None,
        transform: Transform,
        seed: int = 0,
        absent_unless_listed: Collection[str] | bool = False,
        n_classes: int | None = None,
        cache: str | Path | None = None,
    ) -> None:
        folders = [images] if not isinstance(images, (list, tuple)) else images
        catalogue = open_catalogue(
            [location(str(folder)) for folder in folders],
            split_folder(location(str(labels)), split),
            n_classes=n_classes,
            cache=cache,
        )
        super().__init__(catalogue, seed)
        self.transform = transform
        self._all_listed = _all_listed(self.catalogue.facts.sources, chosen=absent_unless_listed)

    def mark_complete(self, sources: Collection[str]) -> None:
        """Set the sources that list all classes of their images, replacing `absent_unless_listed`.

        Here names of sources without any image in the table are ignored.
        """
        self._all_listed = _all_listed(
            self.catalogue.facts.sources, chosen=set(sources) & set(self.catalogue.facts.sources)
        )

    def make(self, row: int, content: bytes, rng: np.random.Generator, common: dict[str, Any]) -> Sample:
        """See `CataloguedImages`."""
        class_index, confidence, origin = self.catalogue.labels(row)
        return Sample(
            image=self.transform(content, rng),
            class_index=class_index,
            confidence=confidence,
            origin=origin,
            absent_unless_listed=self.catalogue.source(row) in self._all_listed,
            **common,
        )

    @staticmethod
    def collate(samples: Sequence[Sample]) -> Batch:
        """See `CataloguedImages`."""
        return collate(samples)

    def finish(self, images: torch.Tensor) -> torch.Tensor:
        """See `CataloguedImages`."""
        return self.transform.finish(images)


def _all_listed(sources: Sequence[str], *, chosen: Collection[str] | bool) -> frozenset[int]:
    """Return the numbers of the sources whose unlisted classes are absent."""
    if isinstance(chosen, bool):
        return frozenset(range(len(sources))) if chosen else frozenset()
    if isinstance(chosen, str):
        chosen = (chosen,)
    if unknown := sorted(set(chosen) - set(sources)):
        raise UsageError(f"no source is called {unknown[0]!r}", remedy=f"use some of {', '.join(sources)}")
    return frozenset(sources.index(name) for name in chosen)


@dataclass(slots=True)
class BadImages:
    """A count of samples and of bad pictures; the counts of several ranks are added with `+`.

    Attributes:
        most: the share of samples with a bad picture, 0 to 1, above which `add` raises.
        least: the number of samples over which the share is counted at least.
        option: the setting of `most`, for the message.
        samples: the number of samples so far.
        replaced: the number of samples so far whose picture was bad.
        rows: the rows of the bad pictures so far.
        first: the first bad pictures, each once.
    """

    SETTLED = 1000
    LISTED = 20

    most: float = 0.05
    least: int = SETTLED
    option: str = "max_bad_share"
    samples: int = 0
    replaced: int = 0
    rows: set[int] = field(default_factory=set)
    first: tuple[BadImage, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.most <= 1:
            raise UsageError(f"{self.option} is {self.most}", remedy="set it within 0 to 1")

    @property
    def count(self) -> int:
        """The number of bad pictures so far, each counted once."""
        return len(self.rows)

    def __add__(self, other: BadImages) -> BadImages:
        new = tuple(bad for bad in other.first if bad.row not in self.rows)
        return replace(
            self,
            samples=self.samples + other.samples,
            replaced=self.replaced + other.replaced,
            rows=self.rows | other.rows,
            first=(self.first + new)[: self.LISTED],
        )

    def add(self, samples: int, replaced: Sequence[BadImage]) -> None:
        """Count the samples of a batch, and those of them whose picture was bad, which `ImageBatch.replaced` lists.

        Raises:
            DataError: the share of bad pictures is too large, counted over at least `least` samples.
        """
        self.samples += samples
        self.replaced += len(replaced)
        for bad in replaced:
            if bad.row not in self.rows and len(self.first) < self.LISTED:
                self.first += (bad,)
            self.rows.add(bad.row)
        self.check(max(self.samples, self.least))

    def check(self, samples: int) -> None:
        """Raise `DataError` if the bad pictures so far are a too large share of a number of samples."""
        if self.replaced > self.most * samples:
            raise DataError(
                f"{self.replaced:,} of {self.samples:,} pictures cannot be used, more than {self.most:.1%}; the first "
                f"is {self.first[0].image_id}: {self.first[0].reason}",
                remedy=f"mend or remove them ({VERIFY} FOLDER lists them), or raise {self.option}",
            )

    def __str__(self) -> str:
        listed = "; ".join(f"{bad.image_id} ({bad.reason})" for bad in self.first)
        more = f"; and {self.count - len(self.first):,} more" if self.count > len(self.first) else ""
        pictures = "bad picture" if self.count == 1 else "bad pictures"
        return f"{self.count:,} {pictures} in {self.samples:,} samples" + (f": {listed}{more}" if listed else "")
