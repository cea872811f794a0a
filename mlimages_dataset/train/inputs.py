"""Inputs of runs and trained networks: the classes of a vocabulary, images and their labels, concurrent rates.

Legend: C classes.
"""

from __future__ import annotations

import hashlib
import shlex
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from mlimages_dataset.core.errors import ConfigError, UsageError
from mlimages_dataset.loaders import MLImages
from mlimages_dataset.tables.parquet import read_table
from mlimages_dataset.tables.schemas import CATEGORIES, PAIR_COUNTS
from mlimages_dataset.train import distributed
from mlimages_dataset.train.losses.pair_rates import rates_of_table, with_relatives
from mlimages_dataset.train.losses.prior_bias import prior_bias
from mlimages_dataset.vocab.folder import categories_file, read_vocabulary, refuse_other_vocabulary, vocabulary_digests

if TYPE_CHECKING:
    from torch import Tensor

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.loaders.dataset import CataloguedImages
    from mlimages_dataset.train.config import Run


@dataclass(frozen=True, slots=True)
class Classes:
    """The classes of a vocabulary.

    Attributes:
        wnids: wnid of each class, by class index.
        digest: SHA-256 of the wnids: a network fits any vocabulary with the same classes in the same order.
    """

    wnids: tuple[str, ...]
    digest: str

    def __len__(self) -> int:
        return len(self.wnids)


def read_classes(vocabulary: Location) -> Classes:
    """Return the classes of the vocabulary in a folder.

    Raises:
        UsageError: there is no vocabulary.
        SchemaError, DataError: its table is of another version, or damaged.
    """
    wnids = tuple(read_table(categories_file(vocabulary), CATEGORIES)["wnid"].to_pylist())
    return Classes(wnids, hashlib.sha256("\n".join(wnids).encode()).hexdigest())


def check_labels(labels: Location, vocabulary: Location) -> None:
    """Raise `UsageError` if a folder holds several splits, or a table was made with another vocabulary."""
    if (labels / "train").is_dir():
        raise UsageError(
            "holds the labels of several splits", where=labels, remedy=f"name {labels / 'train'} or another"
        )
    refuse_other_vocabulary(vocabulary_digests(vocabulary), [labels])


@dataclass(frozen=True, slots=True)
class LabelledPlaces:
    """Where images and their labels are."""

    images: Location
    labels: Location


def labelled_places(run: Run, *, training: bool) -> LabelledPlaces:
    """Return the places that a run trains on, or those that it is evaluated on.

    Raises:
        ConfigError: it names none.
    """
    data = run.data
    if training:
        return LabelledPlaces(named_place(data.images, "images"), named_place(data.labels, "labels"))
    images = named_place(data.validation_images or data.images, "images")
    return LabelledPlaces(images, named_place(data.validation_labels, "validation_labels"))


@dataclass(frozen=True, slots=True)
class Unpictured:
    """Labelled images that have no picture, beside those that have one.

    Attributes:
        images: labelled images that have a picture.
        without_picture: those that have none.
        places: where both were looked for.
        told_by_verify: whether `images verify` takes the labels.
    """

    images: int
    without_picture: int
    places: LabelledPlaces
    told_by_verify: bool

    def sentence(self) -> str:
        """Return the counts in words, with the command that names the images."""
        images, labels = self.places.images, self.places.labels
        both = self.images + self.without_picture
        told = f"{self.without_picture:,} of {both:,} labelled images in {labels} have no picture in {images}; "
        which = shlex.join(["mlimages-build", "images", "verify", str(images), "--labels", str(labels)])
        return f"{told}{self.images:,} are used" + (f" ({which} names some)" if self.told_by_verify else "")

    def values(self) -> dict[str, int]:
        """Return the counts for a log."""
        return {"images": self.images, "without picture": self.without_picture}


def unpictured(run: Run, data: CataloguedImages[Any, Any], *, training: bool) -> tuple[Unpictured, ...]:
    """Return a run's labelled images without picture; nothing if there are none."""
    n_without = data.catalogue.facts.without_picture
    if not n_without:
        return ()
    places = labelled_places(run, training=training)
    return (Unpictured(len(data), n_without, places, told_by_verify=isinstance(data, MLImages)),)


def warn_of_unpictured(run: Run, data: CataloguedImages[Any, Any], *, training: bool) -> None:
    """Warn, on rank 0, of labelled images without picture, for commands that write no log."""
    for found in unpictured(run, data, training=training) if distributed.rank() == 0 else ():
        warnings.warn(found.sentence(), stacklevel=2)


def class_bias(data: MLImages) -> Tensor:
    """Return the log-odds of each class's share of the training images, shape (C,)."""
    return prior_bias(torch.from_numpy(data.rows_of_class.sizes), len(data))


def pair_rates(run: Run) -> Tensor | None:
    """Return the concurrent rates of a run's `pair_counts` table; None if its loss takes none.

    Raises:
        UsageError, DataError: there is no such table, it was made with another vocabulary, or it is damaged.
    """
    table = run.loss.pair_counts
    if table is None:
        return None
    if table.is_dir():
        raise UsageError("is a folder", where=table, remedy="name the file pair_counts.parquet in it")
    vocabulary = named_place(run.data.vocabulary, "vocabulary")
    check_labels(table, vocabulary)
    closure = read_vocabulary(vocabulary).closure
    rates = rates_of_table(read_table(table, PAIR_COUNTS), closure, where=table)
    return with_relatives(rates, closure) if run.loss.lets_relatives_concur else rates


def named_place(place: Location | None, name: str) -> Location:
    """Return the location that a run names under `[data]`.

    Raises:
        ConfigError: it names no location.
    """
    if place is None:
        raise ConfigError(f"no data.{name}", remedy=f"write it under [data], or pass --{name.replace('_', '-')}")
    return place
