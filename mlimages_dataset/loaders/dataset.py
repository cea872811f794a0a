"""The data set: labelled pictures as a network sees them, by row.

`MLImages` is a map-style data set of PyTorch (https://pytorch.org/docs/stable/data.html#map-style-datasets). What is
random about a sample is drawn from a generator of its own, seeded by the run, the epoch and the position in the epoch,
so it is the same whichever process makes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from torch.utils.data import Dataset

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.core.locations import location
from mlimages_dataset.loaders.catalogue import open_catalogue, split_folder

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.loaders.catalogue import Catalogue
    from mlimages_dataset.loaders.orders import RowsOfClass
    from mlimages_dataset.loaders.transforms import Transform

ATTEMPTS = 100
"""Bad pictures in a row, after which something else is wrong than a picture."""


class Draw(int):
    """A row of a data set as a sampler drew it: an int that knows its epoch and its position there.

    It indexes any map-style data set. `MLImages` needs the two numbers for the random draws of the sample, which two
    draws of one row must not share, and they come back with the batch, which says how far an epoch is done.
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
    """A picture that could not be used: its row and id, and why."""

    row: int
    image_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture and what is known of it.

    Attributes:
        image: uint8, shape (3, S, S).
        class_index: of its labels, ascending, int32, shape (k,).
        confidence: 1 verified present, 0 verified absent, between them a machine's, float32, shape (k,).
        origin: a `schemas.Origin`, uint8, shape (k,).
        absent_unless_listed: whether its source says that a class which is not listed is absent.
        n_classes: C.
        row: of the picture, which is not the one asked for where that is bad.
        image_id: its id.
        epoch: of the draw.
        position: of the draw in the epoch.
        replaced: the bad pictures that it stands for.
    """

    image: NDArray[np.uint8]
    class_index: NDArray[np.int32]
    confidence: NDArray[np.float32]
    origin: NDArray[np.uint8]
    absent_unless_listed: bool
    n_classes: int
    row: int
    image_id: str
    epoch: int
    position: int
    replaced: tuple[BadImage, ...] = ()


class MLImages(Dataset[Sample]):
    """The pictures of image folders with the labels of a table.

    A picture that cannot be read or decoded is replaced by that of the next row, and the sample says so.

    Args:
        images: a folder that `mlimages-build images` wrote, or of image files that the column `location` names, or
            several of these.
        labels: a folder that `mlimages-build labels` wrote; with `split=None` any table of labels.
        split: `train` or `val`.
        transform: makes planes of a picture's bytes; `at_size` of it may be assigned between epochs.
        seed: of the random draws of samples.
        absent_unless_listed: the sources that list all their classes, so that others are absent; True for all.
            Elsewhere an unlisted class is unknown.
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
        if seed < 0:
            raise UsageError(f"{seed} is no seed", remedy="give 0 or more")
        folders = [images] if not isinstance(images, (list, tuple)) else images
        self.catalogue: Catalogue = open_catalogue(
            [location(str(folder)) for folder in folders],
            split_folder(location(str(labels)), split),
            n_classes=n_classes,
            cache=cache,
        )
        self.transform = transform
        self.seed = seed
        self.epoch = 0
        self._all_listed = _all_listed(self.catalogue.facts.sources, chosen=absent_unless_listed)

    def mark_complete(self, sources: Collection[str]) -> None:
        """Say which sources list all their classes, in place of what was said before.

        Unlike for `absent_unless_listed`, names of sources that the table has no image of are passed over.
        """
        self._all_listed = _all_listed(
            self.catalogue.facts.sources, chosen=set(sources) & set(self.catalogue.facts.sources)
        )

    def __len__(self) -> int:
        return len(self.catalogue)

    @property
    def n_classes(self) -> int:
        """C, the length of a row of targets."""
        return self.catalogue.facts.n_classes

    @property
    def rows_of_class(self) -> RowsOfClass:
        """In which rows each class is present: what samplers by class need."""
        return self.catalogue.rows_of_class

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch it is, for samplers that do not say it themselves.

        Workers that persist through epochs do not learn of it; the samplers of this package need no such call.
        """
        self.epoch = epoch

    def __getitem__(self, index: int) -> Sample:
        """Return a sample.

        Raises:
            IndexError: there is no such row.
            DataError: a hundred rows from there on are bad.
            UsageError: a shard cannot be read.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"row {int(index)} of {len(self)}")
        if isinstance(index, Draw):
            return self.sample(index)
        return self.sample(Draw(index, self.epoch, index))

    def sample(self, draw: Draw, content: bytes | None = None) -> Sample:
        """Return the sample of a draw; errors as for an index.

        Args:
            draw: the draw.
            content: the picture of its row as it is stored, where it was read already.
        """
        replaced: list[BadImage] = []
        for row in range(draw, draw + min(ATTEMPTS, len(self))):
            sample = self._made(row % len(self), draw, replaced, None if replaced else content)
            if isinstance(sample, Sample):
                return sample
            replaced.append(sample)
        raise DataError(
            f"{len(replaced)} pictures in a row cannot be used, the first because: {replaced[0].reason}",
            where=replaced[0].image_id,
            remedy="check the folder of images with mlimages-build images verify",
        )

    def _made(self, row: int, draw: Draw, replaced: Sequence[BadImage], content: bytes | None) -> Sample | BadImage:
        """Return the sample of a row in place of some bad ones, or why there is none."""
        image_id = self.catalogue.image_id(row)
        try:
            stored = self.catalogue.content(row) if content is None else content
            image = self.transform(stored, np.random.default_rng([self.seed, draw.epoch, draw.position]))
        except DataError as error:
            return BadImage(row, image_id, error.what)
        class_index, confidence, origin = self.catalogue.labels(row)
        return Sample(
            image=image,
            class_index=class_index,
            confidence=confidence,
            origin=origin,
            absent_unless_listed=self.catalogue.source(row) in self._all_listed,
            n_classes=self.n_classes,
            row=row,
            image_id=image_id,
            epoch=draw.epoch,
            position=draw.position,
            replaced=tuple(replaced),
        )


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
    """How many samples were made, and which pictures were bad.

    Attributes:
        most: the share of bad pictures above which training is stopped.
        samples: samples so far.
        count: bad pictures so far.
        first: the first of them.
    """

    most: float = 0.05
    samples: int = 0
    count: int = 0
    first: tuple[BadImage, ...] = ()

    LISTED = 20
    SETTLED = 1000

    def __post_init__(self) -> None:
        if not 0 <= self.most <= 1:
            raise UsageError(f"max_bad_share is {self.most}", remedy="set it within 0 to 1")

    def add(self, samples: int, replaced: Sequence[BadImage]) -> None:
        """Count the samples of a batch and the pictures that were replaced in it.

        Raises:
            DataError: there are more bad pictures than the set share, of at least a thousand samples.
        """
        self.samples += samples
        self.count += len(replaced)
        self.first += tuple(replaced[: self.LISTED - len(self.first)])
        if self.count > self.most * max(self.samples, self.SETTLED):
            raise DataError(
                f"{self.count:,} pictures among {self.samples:,} cannot be used, more than {self.most:.1%}; the first "
                f"is {self.first[0].image_id}: {self.first[0].reason}",
                remedy="check the folder of images with mlimages-build images verify, or raise max_bad_share",
            )

    def __str__(self) -> str:
        listed = "; ".join(f"{bad.image_id} ({bad.reason})" for bad in self.first)
        more = f"; and {self.count - len(self.first):,} more" if self.count > len(self.first) else ""
        return f"{self.count:,} bad pictures in {self.samples:,} samples" + (f": {listed}{more}" if listed else "")
