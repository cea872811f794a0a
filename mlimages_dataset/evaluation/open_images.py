"""The metric of Open Images' challenge: average precision over a hierarchy of classes and verified labels.

Semantics, which are those of the official evaluator (TensorFlow Object Detection API, `oid_challenge_evaluation.py`):

* True boxes and positive labels of images hold for all ancestors too, the root left out; labels of absence hold for all
  descendants. A class's ancestors are those on its paths over subcategories. Equal boxes after that all count.
* A detection counts only if its class is verified in its image: present, absent, or with a box.
* It is compared, at an intersection over union of 0.5, with the one box that it overlaps most and that is no group.
* What remains and lies within a group (intersection over the detection's own area, 0.5) belongs to it: a group gives
  one true positive, with its best score; a group without a detection is missed.
* The area under the curve of precision; the mean over classes that have boxes.

https://storage.googleapis.com/openimages/web/evaluation.html
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mlimages_dataset.core import sparse as sp
from mlimages_dataset.evaluation.detection import Detections, Judged, Rule, TrueBoxes, judged, refuse_other_classes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from mlimages_dataset.vocab.vocabulary import Vocabulary

CHALLENGE = Rule(groups=True, most=10_000)


@dataclass(frozen=True, eq=False)  # no slots: the matrix below is computed on first use
class Hierarchy:
    """Classes and which of them hold wherever another one does.

    Attributes:
        names: the class of each number, shape (C,).
        ancestors: true at (class, ancestor), shape (C, C); no class is its own ancestor.
    """

    names: tuple[str, ...]
    ancestors: sp.csr_array

    @classmethod
    def of_paths(cls, ancestors_of: Mapping[str, frozenset[str]]) -> Hierarchy:
        """Return the hierarchy of classes with their ancestors."""
        names = tuple(sorted(ancestors_of))
        number = {name: at for at, name in enumerate(names)}
        pairs = [(number[name], number[above]) for name in names for above in sorted(ancestors_of[name])]
        rows, columns = np.array(pairs, np.int64).reshape(-1, 2).T
        shape = (len(names), len(names))
        return cls(names, sp.csr_array((np.ones(len(pairs), np.bool_), (rows, columns)), shape=shape))

    @classmethod
    def of_vocabulary(cls, vocabulary: Vocabulary) -> Hierarchy:
        """Return that of a vocabulary, whose roots are left out as ancestors; a class is named by its wnid."""
        above = vocabulary.closure.tocoo()
        roots = np.array([not category.parents for category in vocabulary.categories])
        kept = (above.row != above.col) & ~roots[above.col]
        shape = vocabulary.closure.shape
        pairs = (np.ones(kept.sum(), np.bool_), (above.row[kept], above.col[kept]))
        return cls(tuple(one.wnid for one in vocabulary.categories), sp.csr_array(pairs, shape=shape))

    def __len__(self) -> int:
        return len(self.names)

    @functools.cached_property
    def descendants(self) -> sp.csr_array:
        """True at (class, descendant), shape (C, C)."""
        return self.ancestors.T.tocsr()


@dataclass(frozen=True, slots=True)
class ImageLabels:
    """Classes that people looked for in images.

    Attributes:
        image: number of each label's image, shape (L,).
        label: its class, shape (L,).
        present: whether it is there; else it is verified to be absent, shape (L,).
    """

    image: NDArray[np.int64]
    label: NDArray[np.int64]
    present: NDArray[np.bool_]


def with_ancestors(truth: TrueBoxes, hierarchy: Hierarchy) -> TrueBoxes:
    """Return true boxes, each followed by one more for each of its ancestors.

    The order decides between groups that a detection lies in equally: the first takes it, as in the official evaluator,
    whose expansion writes these rows in this order.
    """
    rows, label = _expanded(truth.label, hierarchy.ancestors)
    order = np.argsort(rows, kind="stable")
    rows, label = rows[order], label[order]
    return TrueBoxes(truth.image[rows], label, truth.sides[rows], truth.special[rows])


def verified(labels: ImageLabels, hierarchy: Hierarchy) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the image and the class of each verified label, with what follows from the hierarchy."""
    found = []
    for present, matrix in ((True, hierarchy.ancestors), (False, hierarchy.descendants)):
        of_kind = labels.present == present
        rows, label = _expanded(labels.label[of_kind], matrix)
        found.append((labels.image[of_kind][rows], label))
    images, classes = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return images, classes


def judged_by_challenge(
    truth: TrueBoxes, labels: ImageLabels, found: Detections, hierarchy: Hierarchy
) -> tuple[Judged, int]:
    """Return detections compared with what is stated of their images, and how many had no verified class.

    Args:
        truth: boxes as stated, before any expansion; `special` says which are groups.
        labels: labels of images as stated.
        found: detections.
        hierarchy: the classes.

    Raises:
        DataError: a class is not in the hierarchy.
    """
    refuse_other_classes(len(hierarchy), truth.label, labels.label, found.label)
    truth = with_ancestors(truth, hierarchy)
    images, classes = verified(labels, hierarchy)
    known = np.unique(np.concatenate([images, truth.image]) * len(hierarchy) + np.concatenate([classes, truth.label]))
    keys = found.image * len(hierarchy) + found.label
    is_known = known[np.minimum(np.searchsorted(known, keys), len(known) - 1)] == keys if len(known) else keys < 0
    counted = judged(truth, found.select(is_known), len(hierarchy), CHALLENGE)
    return counted, int(len(found) - is_known.sum())


def _expanded(label: NDArray[np.int64], above: sp.csr_array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return rows and classes: each row with its own class, and once more with each class that `above` gives it."""
    counts = np.diff(above.indptr)[label]
    rows = np.repeat(np.arange(len(label)), counts)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    more = above.indices[above.indptr[label][rows] + within].astype(np.int64)
    return np.concatenate([np.arange(len(label)), rows]), np.concatenate([label, more])
