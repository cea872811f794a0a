"""Choosing a subset of images within a budget.

The draw of an image is a fixed random number made of its id and a seed (`augment.splits.draws_of`). Images are put in
an order by rules and draws, and a subset is as much of the beginning as the budget allows. So no budget is exceeded, a
larger one only adds images, and adding or removing an image changes little.

Legend: N images in ascending order of their draws, C categories, L labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mlimages_dataset.core.compiled import compiled, sort_in_place
from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.core.listed import first_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from mlimages_dataset.vocab.vocabulary import Vocabulary

_FIRST_AT_ONCE = 1 << 8
"""Images of a category that are looked at first; four times as many each time that these are not enough."""

_COUNTED_AT_ONCE = 1 << 20
_NAMED = 5


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
        many = first_of([f"{vocabulary.categories[i].wnid} ({vocabulary.categories[i].name})" for i in found], _NAMED)
        raise UsageError(f"{name!r} is the name of {len(found)} categories", remedy=f"pass one of {many}")
    return found[0]


@dataclass(frozen=True, slots=True)
class Rows:
    """Some rows of a table that may be chosen.

    Attributes:
        draws: the draw of each row's image, uint64, shape (R,); an image may have several rows.
        sizes: bytes of its picture, int64, shape (R,); None if no size is known.
        labels: the number of labels of each row, int32, shape (R,), and their categories, row after row, int32, shape
            (L,); None if the order does not depend on labels.
    """

    draws: NDArray[np.uint64]
    sizes: NDArray[np.int64] | None
    labels: tuple[NDArray[np.int32], NDArray[np.int32]] | None = None


@dataclass(frozen=True, slots=True)
class Memberships:
    """The categories of each of N images.

    Attributes:
        starts: the index of each image's first category, and the end, int64, shape (N + 1,).
        classes: class indices, each image's ascending without repeats, uint16, or int32 if there are more, shape (L,).
        n_classes: C, one more than the greatest class index.
    """

    starts: NDArray[np.int64]
    classes: NDArray[np.uint16] | NDArray[np.int32]
    n_classes: int

    def __len__(self) -> int:
        return len(self.starts) - 1

    def counts(self, images: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
        """Return the number of images of each category, among some images or all, int64, shape (C,)."""
        counts = np.zeros(self.n_classes, np.int64)
        if images is not None:
            _count(self.starts, self.classes, images, counts)
            return counts
        for first in range(0, len(self), _COUNTED_AT_ONCE):
            _count(self.starts, self.classes, np.arange(first, min(first + _COUNTED_AT_ONCE, len(self))), counts)
        return counts


@dataclass(frozen=True, slots=True)
class Candidates:
    """The images that may be chosen.

    Attributes:
        draws: ascending, uint64, shape (N,).
        sizes: bytes of each image's picture, int64, shape (N,).
        categories: of each image; None if the order does not depend on labels.
    """

    draws: NDArray[np.uint64]
    sizes: NDArray[np.int64]
    categories: Memberships | None

    @classmethod
    def of(cls, read: Callable[[], Iterable[Rows]], most_rows: int) -> Candidates:
        """Return the images of the rows that a function reads, which are at most so many.

        Rows with labels are read twice, so that labels are in memory once: 2 bytes each for up to 65,536 categories.
        """
        # Memory that nobody writes into is not taken.
        draws, sizes = np.empty(most_rows, np.uint64), np.empty(most_rows, np.int64)
        n_labels = np.empty(most_rows, np.int32)
        n, most, has_sizes, has_labels = 0, -1, False, False
        for part in read():
            rows = slice(n, n := n + len(part.draws))
            draws[rows] = part.draws
            if part.sizes is not None:
                has_sizes, sizes[rows] = True, part.sizes
            if part.labels is not None:
                has_labels, n_labels[rows] = True, part.labels[0]
                most = max(most, int(part.labels[1].max(initial=-1)))
        order = np.argsort(draws[:n], kind="stable")
        order = order.astype(np.int32) if n < 1 << 31 else order
        draws = draws[order]
        is_first = np.concatenate([np.ones(min(1, n), np.bool_), draws[1:] != draws[:-1]])
        draws = draws[is_first]
        sizes = sizes[order[is_first]] if has_sizes else np.zeros(len(draws), np.int64)
        if not has_labels:
            return cls(draws, sizes, None)
        image_of_row = np.empty_like(order)
        image_of_row[order] = np.cumsum(is_first, dtype=order.dtype) - 1
        del order, is_first
        starts = starts_of(image_of_row, n_labels[:n], len(draws))
        del n_labels
        labels = (part.labels for part in read() if part.labels is not None)
        return cls(draws, sizes, memberships(image_of_row, starts, labels, most + 1))


def starts_of(image_of_row: NDArray[np.integer], n_labels: NDArray[np.int32], n_images: int) -> NDArray[np.int64]:
    """Return where the labels of each image begin if they lie image after image, and their end, int64, shape (N + 1,).

    Args:
        image_of_row: the image of each row, int32 or int64, shape (R,).
        n_labels: the number of labels of each row, int32, shape (R,).
        n_images: N.
    """
    starts = np.zeros(n_images + 1, np.int64)
    _add(image_of_row, n_labels, starts[1:])
    return np.cumsum(starts, out=starts)


def memberships(
    image_of_row: NDArray[np.integer],
    starts: NDArray[np.int64],
    labels: Iterable[tuple[NDArray[np.int32], NDArray[np.int32]]],
    n_classes: int,
) -> Memberships:
    """Return the categories of images.

    Args:
        image_of_row: the image of each row, int32 or int64, shape (R,).
        starts: see `starts_of`; is overwritten.
        labels: of some rows after others, their labels as in `Rows`, with or without repeats.
        n_classes: C.
    """
    found = np.empty(starts[-1], np.uint16 if n_classes <= 1 << 16 else np.int32)
    # Where the next label of each image belongs; in the end, where the labels of the image after it begin.
    starts[1:] = starts[:-1]
    row = 0
    for n_of_row, classes in labels:
        same = classes.view()
        same.flags.writeable = False  # as Arrow's are: for both kinds, Numba would compile twice
        _put(image_of_row[row : row + len(n_of_row)], n_of_row, same, starts[1:], found)
        row += len(n_of_row)
    n = _without_repeats(starts, found)
    return Memberships(starts, found[:n], n_classes)


@compiled
def _count(
    starts: NDArray[np.int64],
    classes: NDArray[np.uint16] | NDArray[np.int32],
    images: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> None:
    for image in images:
        for k in range(starts[image], starts[image + 1]):
            counts[classes[k]] += 1


@compiled
def _add(image_of_row: NDArray[np.integer], n_labels: NDArray[np.int32], sums: NDArray[np.int64]) -> None:
    """Add the numbers of labels of rows to those of their images."""
    for row in range(len(n_labels)):
        sums[image_of_row[row]] += n_labels[row]


@compiled
def _put(
    image_of_row: NDArray[np.integer],
    n_labels: NDArray[np.int32],
    classes: NDArray[np.int32],
    ends: NDArray[np.int64],
    found: NDArray[np.uint16] | NDArray[np.int32],
) -> None:
    """Add the labels of rows to those of their images, which end at `ends` so far."""
    k = 0
    for row in range(len(n_labels)):
        image = image_of_row[row]
        for _ in range(n_labels[row]):
            found[ends[image]] = classes[k]
            ends[image] += 1
            k += 1


@compiled
def _without_repeats(starts: NDArray[np.int64], found: NDArray[np.uint16] | NDArray[np.int32]) -> int:
    """Sort the categories of each image and remove repeats, in place; return how many are left."""
    n, first = 0, np.int64(0)
    for image in range(len(starts) - 1):
        end = starts[image + 1]
        for x in range(first + 1, end):
            if found[x] < found[x - 1]:
                sort_in_place(found[first:end])
                break
        starts[image] = n
        for x in range(first, end):
            if n == starts[image] or found[x] != found[n - 1]:
                found[n] = found[x]
                n += 1
        first = end
    starts[-1] = n
    return n


def by_minimum(categories: Memberships, minimum: int, most: int) -> NDArray[np.int64]:
    """Return images, in order, so that each category has `minimum` of them or all it has, int64.

    Round r takes one image, that with the lowest draw, of every category that has fewer than r images so far; rare
    categories come first. So any beginning of the order is as balanced as its length allows.

    When a category is given its rth image, it has fewer than r of those taken, so that image is among its r first: only
    so many images of each category are listed, and more where the rounds need them.

    Args:
        categories: see `Candidates`.
        minimum: images of each category.
        most: the largest number of images.
    """
    n_images = categories.counts()
    rarest_first = np.argsort(n_images, kind="stable")
    order = np.empty(min(len(categories), most), np.int64)
    listed = _FIRST_AT_ONCE
    while True:
        listed = min(listed, int(n_images.max(initial=0)))
        rounds = min(minimum, listed)
        first = np.concatenate([[0], np.cumsum(np.minimum(n_images, listed))])
        images = np.empty(first[-1], np.int32)
        _list_first(categories.starts, categories.classes, first, images)
        n = _rounds((first, images), (categories.starts, categories.classes), rarest_first.copy(), rounds, order)
        if n == len(order) or rounds == minimum or listed == n_images.max(initial=0):
            return order[:n]
        listed *= 4


@compiled
def _list_first(
    starts: NDArray[np.int64],
    classes: NDArray[np.uint16] | NDArray[np.int32],
    first: NDArray[np.int64],
    images: NDArray[np.int32],
) -> None:
    """List the first images of each category between its starts."""
    at = first[:-1].copy()
    for image in range(len(starts) - 1):
        for k in range(starts[image], starts[image + 1]):
            c = classes[k]
            if at[c] < first[c + 1]:
                images[at[c]] = image
                at[c] += 1


@compiled
def _rounds(
    of_class: tuple[NDArray[np.int64], NDArray[np.int32]],
    of_image: tuple[NDArray[np.int64], NDArray[np.uint16] | NDArray[np.int32]],
    waiting: NDArray[np.int64],
    minimum: int,
    order: NDArray[np.int64],
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
    if rules.by_category and most:  # of no rows nobody knows the categories
        assert candidates.categories is not None
        order = by_minimum(candidates.categories, len(sizes) if rules.balanced else rules.min_per_category, most)
        # With a minimum and no budget, no other images are chosen.
        if len(order) < most and (rules.images is not None or rules.bytes is not None):
            others = np.ones(len(sizes), np.bool_)
            others[order] = False
            order = np.concatenate([order, np.flatnonzero(others)[: most - len(order)]])
    else:
        order = np.arange(most)
    if rules.bytes is not None:
        order = order[: np.searchsorted(np.cumsum(sizes[order]), rules.bytes, side="right")]
    return order
