"""Choosing a subset of images within a budget.

The draw of an image is a fixed random number made of its id and a seed (`augment.splits.draws_of`). Images are put in
an order by rules and draws, and a subset is as much of the beginning as the budget allows. So no budget is exceeded, a
larger one only adds images, and adding or removing an image changes little.

Legend: N images in ascending order of their draws, C categories, L labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import scipy.sparse as sp

from mlimages_dataset.core.compiled import compiled
from mlimages_dataset.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from mlimages_dataset.vocab.vocabulary import Vocabulary

_Pointers: TypeAlias = "tuple[NDArray[np.int64], NDArray[np.int32]]"
"""Where each row (or column) of a sparse matrix begins, and its indices."""

_COUNTED_AT_ONCE = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Which images a subset has.

    Attributes:
        images: at most so many images; None for any number.
        bytes: at most so many bytes of pictures; None for any number.
        under: names or wnids of categories: only images of these or their descendants; empty for all.
        min_per_category: first take so many images of each category, or all it has.
        balanced: keep the numbers of images per category as equal as possible.
        seed: another seed chooses other images.
    """

    images: int | None = None
    bytes: int | None = None
    under: tuple[str, ...] = ()
    min_per_category: int = 0
    balanced: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.balanced and self.images is None and self.bytes is None:
            raise ValueError("--balanced needs a budget; pass --max-images or --max-bytes")
        if not (self.balanced or self.min_per_category or self.under) and self.images is None and self.bytes is None:
            raise ValueError("no rule is given; pass --max-images, --max-bytes, --under or --min-per-category")

    @property
    def by_category(self) -> bool:
        """Whether the order depends on labels."""
        return self.balanced or self.min_per_category > 0

    @property
    def salt(self) -> str:
        """The salt of draws; another one than that of the validation split, which would favour its images."""
        return f"subset {self.seed}"


def subtree(vocabulary: Vocabulary, names: Sequence[str]) -> NDArray[np.bool_]:
    """Return whether each category is a named one or a descendant of one, bool, shape (C,).

    Raises:
        UsageError: no category has a name, or several have it.
    """
    named = [_category(vocabulary, name) for name in names]
    return np.asarray(vocabulary.closure[:, named].sum(axis=1) > 0).reshape(-1)


def _category(vocabulary: Vocabulary, name: str) -> int:
    """Return the class index of a wnid, or of a name as in WordNet, in upper or lower case."""
    if name in vocabulary.index_of_wnid:
        return vocabulary.index_of_wnid[name]
    wanted = name.casefold().replace("_", " ")
    found = [
        index
        for index, category in enumerate(vocabulary.categories)
        if wanted in {lemma.strip().casefold().replace("_", " ") for lemma in category.name.split(",")}
    ]
    if not found:
        raise UsageError(f"no category has the wnid or the name {name!r}", remedy="look into categories.parquet")
    if len(found) > 1:
        many = ", ".join(f"{vocabulary.categories[i].wnid} ({vocabulary.categories[i].name})" for i in found[:5])
        raise UsageError(f"{name!r} is the name of {len(found)} categories", remedy=f"pass one of {many}")
    return found[0]


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of a table that may be chosen.

    Attributes:
        draws: the draw of each row's image, uint64, shape (R,); an image may have several rows.
        sizes: bytes of its picture, 0 if unknown, int64, shape (R,).
        labels: the number of labels of each row, int32, shape (R,), and their categories, row after row, int32, shape
            (L,); None if the order does not depend on labels.
    """

    draws: NDArray[np.uint64]
    sizes: NDArray[np.int64]
    labels: tuple[NDArray[np.int32], NDArray[np.int32]] | None = None


@dataclass(frozen=True, slots=True)
class Candidates:
    """The images that may be chosen.

    Attributes:
        draws: ascending, uint64, shape (N,).
        sizes: bytes of each image's picture, int64, shape (N,).
        categories: whether each image has each category, bool, shape (N, C), indices ascending; None if the order does
            not depend on labels.
    """

    draws: NDArray[np.uint64]
    sizes: NDArray[np.int64]
    categories: sp.csr_array | None

    @classmethod
    def of(cls, rows: Iterable[Rows]) -> Candidates:
        """Return the images of some rows.

        Most of the memory is for labels: 4 bytes each, twice while images are sorted.
        """
        parts = list(rows)
        every = np.concatenate([np.empty(0, np.uint64), *(part.draws for part in parts)])
        draws, first, image_of_row = np.unique(every, return_index=True, return_inverse=True)
        sizes = np.concatenate([np.empty(0, np.int64), *(part.sizes for part in parts)])[first]
        labels = [part.labels for part in parts if part.labels is not None]
        if not labels:
            return cls(draws, sizes, None)
        n_labels = np.concatenate([n for n, _ in labels])
        class_index = np.concatenate([classes for _, classes in labels])
        del parts, labels, every
        return cls(draws, sizes, memberships(image_of_row, n_labels, class_index, len(draws)))


def memberships(
    image_of_row: NDArray[np.int64], n_labels: NDArray[np.int32], class_index: NDArray[np.int32], n_images: int
) -> sp.csr_array:
    """Return whether each image has each category, bool, shape (N, C), with ascending indices.

    Args:
        image_of_row: the image of each row, int64, shape (R,); an image may have several rows.
        n_labels: the number of labels of each row, int32, shape (R,).
        class_index: the categories of the labels, row after row, with or without repeats, int32, shape (L,).
        n_images: N.
    """
    rows = np.argsort(image_of_row, kind="stable")
    row_starts = np.concatenate([[0], np.cumsum(n_labels, dtype=np.int64)])
    image_starts = np.concatenate([[0], np.cumsum(np.bincount(image_of_row, minlength=n_images))])
    starts, classes = _categories_of_images((image_starts, rows), (row_starts, class_index))
    if len(classes) <= np.iinfo(np.int32).max:
        starts = starts.astype(np.int32)  # else scipy converts the categories to the type of the starts
    shape = (n_images, int(class_index.max(initial=-1)) + 1)
    return sp.csr_array((np.ones(len(classes), np.bool_), classes, starts), shape=shape)


@compiled
def _categories_of_images(
    rows_of_image: tuple[NDArray[np.int64], NDArray[np.int64]], labels_of_row: _Pointers
) -> _Pointers:
    image_starts, rows = rows_of_image
    row_starts, class_index = labels_of_row
    starts = np.zeros(len(image_starts), np.int64)
    found = np.empty(len(class_index), np.int32)
    n = 0
    for image in range(len(image_starts) - 1):
        first = n
        for row in rows[image_starts[image] : image_starts[image + 1]]:
            for label in range(row_starts[row], row_starts[row + 1]):
                found[n] = class_index[label]
                n += 1
        found[first:n].sort()
        end, n = n, first
        for at in range(first, end):
            if n == first or found[at] != found[n - 1]:
                found[n] = found[at]
                n += 1
        starts[image + 1] = n
    return starts, found[:n]


def by_minimum(categories: sp.csr_array, minimum: int, most: int) -> NDArray[np.int64]:
    """Return images, in order, so that each category has `minimum` of them or all it has, int64.

    Round r takes one image, that with the lowest draw, of every category that has fewer than r images so far; rare
    categories come first. So any beginning of the order is as balanced as its length allows.

    Args:
        categories: see `Candidates`.
        minimum: images of each category.
        most: the largest number of images.
    """
    columns = categories.tocsc()
    columns.sort_indices()
    rarest_first = np.argsort(np.diff(columns.indptr), kind="stable")
    order = np.empty(min(categories.shape[0], most), np.int64)
    n = _rounds(_pointers(columns), _pointers(categories), rarest_first, minimum, order)
    return order[:n]


def _pointers(matrix: sp.csr_array | sp.csc_array) -> _Pointers:
    return matrix.indptr.astype(np.int64, copy=False), matrix.indices.astype(np.int32, copy=False)


@compiled
def _rounds(
    of_class: _Pointers, of_image: _Pointers, waiting: NDArray[np.int64], minimum: int, order: NDArray[np.int64]
) -> int:
    class_starts, images = of_class
    image_starts, classes = of_image
    taken = np.zeros(len(image_starts) - 1, np.bool_)
    counts = np.zeros(len(class_starts) - 1, np.int64)
    at = class_starts[:-1].copy()
    n_waiting, wanted, n = len(waiting), 0, 0
    while n_waiting > 0 and wanted < minimum and n < len(order):
        wanted += 1
        kept = 0
        for j in range(n_waiting):
            c = waiting[j]
            while at[c] < class_starts[c + 1] and taken[images[at[c]]]:
                at[c] += 1
            if at[c] == class_starts[c + 1]:
                continue  # it has no more
            waiting[kept] = c
            kept += 1
            if counts[c] >= wanted or n == len(order):
                continue
            image = images[at[c]]
            taken[image] = True
            order[n] = image
            n += 1
            for k in range(image_starts[image], image_starts[image + 1]):
                counts[classes[k]] += 1
        n_waiting = kept
    return n


def chosen_images(rules: Rules, candidates: Candidates) -> NDArray[np.int64]:
    """Return the images of a subset in the order of choice, int64; `rules.under` must have been applied before."""
    sizes = candidates.sizes
    most = len(sizes) if rules.images is None else min(rules.images, len(sizes))
    order = np.arange(len(sizes))
    if rules.by_category:
        assert candidates.categories is not None
        first = by_minimum(candidates.categories, len(sizes) if rules.balanced else rules.min_per_category, most)
        # With a minimum and no budget, no other images are chosen.
        others = np.full(len(sizes), rules.images is not None or rules.bytes is not None)
        others[first] = False
        order = np.concatenate([first, np.flatnonzero(others)])
    order = order[:most]
    if rules.bytes is not None:
        order = order[: np.searchsorted(np.cumsum(sizes[order]), rules.bytes, side="right")]
    return order


def images_of_class(categories: sp.csr_array, images: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of images of each category among some images, int64, shape (C,)."""
    counts = np.zeros(categories.shape[1], np.int64)
    for first in range(0, len(images), _COUNTED_AT_ONCE):
        some = categories[images[first : first + _COUNTED_AT_ONCE]]
        counts += np.bincount(some.indices, minlength=len(counts))
    return counts
