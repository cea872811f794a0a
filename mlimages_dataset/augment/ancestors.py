"""Labels that follow from other labels: ancestors, strongly co-occurring categories, and descendants of absent ones.

Tencent ML-Images, section 3.2, with confidences. Per image, in this order:

1. Every ancestor of a present label is present. Its confidence is the maximum over the labels below it and its own.
2. Every descendant of a verified-absent category is absent, unless it is present. An absent category with a present
   descendant is present by rule 1; such conflicts are counted.
3. For each strong implication i -> j, every present original label i adds j with confidence(i) * P(j | i), and j's
   ancestors (rule 1), unless j is verified absent by rule 2; such blocked implications are counted. Confidence(i) is
   that of the annotation, before rule 1, so the order of the implications does not matter.

If a label has several origins, it keeps the lowest (`schemas.Origin`). The present labels that result include all their
ancestors, and no ancestor has a lower confidence than its descendants.

Legend: N images, L labels in, M labels out, C categories.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from mlimages_dataset.core.compiled import compiled, sort_in_place
from mlimages_dataset.tables.confidences import LEAST
from mlimages_dataset.tables.label_columns import LabelColumns
from mlimages_dataset.tables.schemas import Origin

if TYPE_CHECKING:
    import scipy.sparse as sp
    from numpy.typing import NDArray

_ORIGINAL, _ANCESTOR, _CO_OCCURRENCE = int(Origin.ORIGINAL), int(Origin.ANCESTOR), int(Origin.CO_OCCURRENCE)
_MOST_LABELS = int(np.iinfo(np.int32).max)  # the most that the offsets of a list array can count
_MOST_MERGED = 16
"""Labels of an image whose ascending lists of ancestors are merged: without marks, and without sorting."""


_Integer: TypeAlias = int | np.int64
"""What compiled code holds as 64 bits."""


class Absences(enum.Enum):
    """How verified-absent labels are listed."""

    EXPAND = "expand"
    """Every descendant of an absent category is listed as absent (rule 2)."""
    KEEP = "keep"
    """Only annotated absences that no present descendant contradicts are listed; a reader can expand them."""
    DROP = "drop"
    """No absence is listed."""


@dataclass(frozen=True, slots=True)
class AugmentationRules:
    """The rules of augmentation as compressed sparse rows over C categories.

    Attributes:
        ancestors: `indptr`, `indices` of the reflexive closure: row c lists c's ancestors and c.
        descendants: the same for its transpose: row c lists c's descendants and c.
        implications: `indptr`, `indices`, `data` of the strong implications: row i lists each j with P(j | i).
        absences: how verified-absent labels are listed.
    """

    ancestors: tuple[NDArray[np.int32], NDArray[np.int32]]
    descendants: tuple[NDArray[np.int32], NDArray[np.int32]]
    implications: tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]
    absences: Absences = Absences.EXPAND

    @property
    def n_classes(self) -> int:
        """Number of categories."""
        return len(self.ancestors[0]) - 1


@dataclass(frozen=True, slots=True)
class AugmentationCounts:
    """Counts of events during augmentation; counts of parts add up.

    Attributes:
        images: images seen.
        conflicts: verified absences that a present descendant contradicts; the category is kept as present.
        blocked: implications that were not applied because the implied category is verified absent.
        unpredicted: images without the predictions that rules read.
    """

    images: int = 0
    conflicts: int = 0
    blocked: int = 0
    unpredicted: int = 0

    def __add__(self, other: AugmentationCounts) -> AugmentationCounts:
        return AugmentationCounts(
            self.images + other.images,
            self.conflicts + other.conflicts,
            self.blocked + other.blocked,
            self.unpredicted + other.unpredicted,
        )


def augmentation_rules(
    closure: sp.csr_array, implications: sp.csr_array | None = None, absences: Absences = Absences.EXPAND
) -> AugmentationRules:
    """Return the rules for a closure, shape (C, C), true at (category, ancestor), and implications, shape (C, C).

    Args:
        closure: reflexive ancestor matrix.
        implications: P(consequent | antecedent) at (antecedent, consequent), None for no implications.
        absences: how verified-absent labels are listed.

    Raises:
        ValueError: the implications are not of the closure's shape.
    """
    if implications is not None and implications.shape != closure.shape:
        raise ValueError(f"implications of shape {implications.shape} are not over the closure's {closure.shape}")
    if not closure.has_sorted_indices:
        closure = closure.sorted_indices()
    below = closure.T.tocsr()
    below.sort_indices()
    indptr = np.zeros(closure.shape[0] + 1, np.int32) if implications is None else implications.indptr
    indices, data = ([], []) if implications is None else (implications.indices, implications.data)
    return AugmentationRules(
        ancestors=(closure.indptr.astype(np.int32), closure.indices.astype(np.int32)),
        descendants=(below.indptr.astype(np.int32), below.indices.astype(np.int32)),
        implications=(indptr.astype(np.int32), np.asarray(indices, np.int32), np.asarray(data, np.float32)),
        absences=absences,
    )


def augment(labels: LabelColumns, rules: AugmentationRules) -> tuple[LabelColumns, AugmentationCounts]:
    """Return the augmented labels of N images, in their order, and the counts of events.

    Raises:
        IndexError: a class index is not in 0..C-1.
        ValueError: a confidence or an origin is outside its range.
        OverflowError: the images could have more labels than the offsets of one array count.
    """
    labels.check(rules.n_classes)
    room = _room(labels, rules)
    if room > _MOST_LABELS:
        raise OverflowError(f"{len(labels)} images could have {room} labels, more than {_MOST_LABELS}; augment fewer")
    out_offsets = np.empty(len(labels) + 1, np.int32)
    out_class, out_confidence = np.empty(room, np.int32), np.empty(room, np.float32)
    out_origin = np.empty(room, np.uint8)
    n = rules.n_classes
    # Made here: Numba takes longer to compile the making of an array than a loop over it.
    marks, best, lowest = np.full((3, n), -1, np.int64), np.empty(n, np.float32), np.empty(n, np.uint8)
    conflicts, blocked = _augment(
        labels.offsets,
        labels.class_index,
        labels.confidence,
        labels.origin,
        rules.ancestors[0],
        rules.ancestors[1],
        rules.descendants[0],
        rules.descendants[1],
        rules.implications[0],
        rules.implications[1],
        rules.implications[2],
        rules.absences is Absences.EXPAND,
        rules.absences is not Absences.DROP,
        marks[0],
        marks[1],
        marks[2],
        best,
        lowest,
        np.empty(n, np.int32),
        out_offsets,
        out_class,
        out_confidence,
        out_origin,
    )
    end = out_offsets[-1]
    columns = LabelColumns(out_offsets, out_class[:end], out_confidence[:end], out_origin[:end])
    return columns, AugmentationCounts(len(labels), conflicts, blocked)


def _room(labels: LabelColumns, rules: AugmentationRules) -> int:
    """Return an upper bound on the number of output labels."""
    n_ancestors = np.diff(rules.ancestors[0]).astype(np.int64)
    implied_ptr, implied, _ = rules.implications
    sums = np.concatenate(([0], np.cumsum(n_ancestors[implied])))
    n_implied = n_ancestors + sums[implied_ptr[1:]] - sums[implied_ptr[:-1]]
    n_below = np.diff(rules.descendants[0]) if rules.absences is Absences.EXPAND else np.ones_like(n_ancestors)
    present = labels.confidence > 0
    of_present = np.bincount(labels.class_index[present], minlength=rules.n_classes) @ n_implied
    of_absent = np.bincount(labels.class_index[~present], minlength=rules.n_classes) @ n_below
    return min(int(of_present + of_absent), len(labels) * rules.n_classes)


@compiled
def _way(origin: _Integer, itself: bool) -> _Integer:  # noqa: FBT001 - compiled code takes no keywords
    """Return the origin of a category that follows from a label: the label's own for the label `itself`."""
    return origin if itself else max(origin, _ANCESTOR)


@compiled
def _list(  # noqa: PLR0917 - compiled code takes no keywords
    category: int,
    image: int,
    confidence: float | np.float32,
    origin: _Integer,
    listed_in: NDArray[np.int64],
    best: NDArray[np.float32],
    lowest: NDArray[np.uint8],
    out_class: NDArray[np.int32],
    end: _Integer,
) -> _Integer:
    """Give an image a category, listed once with its highest confidence and lowest origin; return the list's end."""
    if listed_in[category] != image:
        listed_in[category] = image
        best[category] = confidence
        lowest[category] = origin
        out_class[end] = category
        return end + 1
    best[category] = max(best[category], confidence)
    lowest[category] = min(lowest[category], origin)
    return end


@compiled
def _list_all(  # noqa: PLR0917 - compiled code takes no keywords
    up_ptr: NDArray[np.int32],
    up: NDArray[np.int32],
    category: int,
    image: int,
    confidence: float | np.float32,
    origin: _Integer,
    present_in: NDArray[np.int64],
    best: NDArray[np.float32],
    lowest: NDArray[np.uint8],
    out_class: NDArray[np.int32],
    end: _Integer,
) -> _Integer:
    """Give an image a category and the categories above it; return the list's end."""
    for y in range(up_ptr[category], up_ptr[category + 1]):
        a = up[y]
        end = _list(a, image, confidence, _way(origin, a == category), present_in, best, lowest, out_class, end)
    return end


@compiled
def _are_few_and_present(  # noqa: PLR0917 - compiled code takes no keywords
    first: _Integer,
    last: _Integer,
    class_index: NDArray[np.int32],
    confidence: NDArray[np.float32],
    origin: NDArray[np.uint8],
    implied_ptr: NDArray[np.int32],
) -> bool:
    """Return whether only rule 1 is about an image's labels, and they are few enough for `_merge`."""
    if last - first > _MOST_MERGED:
        return False
    for k in range(first, last):
        c = class_index[k]
        if confidence[k] <= 0 or (origin[k] == _ORIGINAL and implied_ptr[c] < implied_ptr[c + 1]):
            return False
    return True


@compiled
def _merge(  # noqa: PLR0917 - compiled code takes no keywords
    up_ptr: NDArray[np.int32],
    up: NDArray[np.int32],
    category: int,
    confidence: np.float32,
    origin: np.uint8,
    held: NDArray[np.int32],
    held_best: NDArray[np.float32],
    held_lowest: NDArray[np.uint8],
    classes: NDArray[np.int32],
    best: NDArray[np.float32],
    lowest: NDArray[np.uint8],
    start: np.uint64,
    end: np.uint64,
) -> np.uint64:
    """Give an image a category and those above it, ascending, beside its list from `start`; return the list's end.

    Without a branch for each step (which list has the next category cannot be predicted), without signed places (which
    Numba checks), and without slices (which count references, for which threads wait). `held` has room for the list.
    """
    one = np.uint64(1)
    n = end - start
    for k in range(n):
        held[k], held_best[k], held_lowest[k] = classes[start + k], best[start + k], lowest[start + k]
    x, at = np.uint64(0), start
    y, last = np.uint64(up_ptr[category]), np.uint64(up_ptr[category + 1])
    way = max(origin, np.uint8(_ANCESTOR))
    while x < n and y < last:
        a, b = held[x], up[y]
        classes[at] = min(a, b)
        best[at] = max(held_best[x] if a <= b else np.float32(0), confidence if b <= a else np.float32(0))
        way_of_b = origin if b == category else way
        lowest[at] = min(held_lowest[x] if a <= b else np.uint8(255), way_of_b if b <= a else np.uint8(255))
        x += np.uint64(a <= b)
        y += np.uint64(b <= a)
        at += one
    while x < n:
        classes[at], best[at], lowest[at] = held[x], held_best[x], held_lowest[x]
        x += one
        at += one
    while y < last:
        b = up[y]
        classes[at], best[at], lowest[at] = b, confidence, origin if b == category else way
        y += one
        at += one
    return at


@compiled
def _augment(  # noqa: C901, PLR0912, PLR0917 - one compiled loop over images; the comments number the rules
    offsets: NDArray[np.int32],
    class_index: NDArray[np.int32],
    confidence: NDArray[np.float32],
    origin: NDArray[np.uint8],
    up_ptr: NDArray[np.int32],
    up: NDArray[np.int32],
    down_ptr: NDArray[np.int32],
    down: NDArray[np.int32],
    implied_ptr: NDArray[np.int32],
    implied: NDArray[np.int32],
    probability: NDArray[np.float32],
    expand_absences: bool,  # noqa: FBT001 - compiled code takes no keywords
    keep_absences: bool,  # noqa: FBT001 - as above
    present_in: NDArray[np.int64],
    absent_in: NDArray[np.int64],
    listed_in: NDArray[np.int64],
    best: NDArray[np.float32],
    lowest: NDArray[np.uint8],
    held: NDArray[np.int32],
    out_offsets: NDArray[np.int32],
    out_class: NDArray[np.int32],
    out_confidence: NDArray[np.float32],
    out_origin: NDArray[np.uint8],
) -> tuple[int, int]:
    # Arguments of one type each: Numba compiles a function again for every other combination of types.
    # `present_in`, `absent_in` and `listed_in` hold the last image that marked each category, -1 at first, so nothing
    # needs clearing between images; `best` and `lowest`, what it has of its labels; `_merge` holds a list there.
    conflicts = blocked = out_offsets[0] = 0
    end: _Integer = np.int64(0)
    for image in range(len(offsets) - 1):
        start, first, last, n_absent = end, offsets[image], offsets[image + 1], 0
        if _are_few_and_present(first, last, class_index, confidence, origin, implied_ptr):
            stop = np.uint64(start)
            for k in range(first, last):
                stop = _merge(
                    up_ptr, up, class_index[k], confidence[k], origin[k], held, best, lowest,
                    out_class, out_confidence, out_origin, np.uint64(start), stop,
                )  # fmt: skip
            end = out_offsets[image + 1] = np.int64(stop)
            continue
        for k in range(first, last):  # rule 1
            if confidence[k] <= 0:
                n_absent += 1
                continue
            c = class_index[k]
            way: _Integer = np.int64(origin[k])
            end = _list_all(up_ptr, up, c, image, confidence[k], way, present_in, best, lowest, out_class, end)
        if n_absent:
            for k in range(first, last):  # rule 2
                if confidence[k] > 0:
                    continue
                c = class_index[k]
                conflicts += present_in[c] == image
                for d in down[down_ptr[c] : down_ptr[c + 1]]:
                    if present_in[d] == image:
                        continue
                    absent_in[d] = image
                    if keep_absences and (d == c or expand_absences):
                        way = _way(np.int64(origin[k]), d == c)
                        end = _list(d, image, np.float32(0), way, listed_in, best, lowest, out_class, end)
        for k in range(first, last):  # rule 3
            if confidence[k] <= 0 or origin[k] != _ORIGINAL:
                continue
            i = class_index[k]
            for at in range(implied_ptr[i], implied_ptr[i + 1]):
                j = implied[at]
                if absent_in[j] == image:
                    blocked += 1
                    continue
                # 0 would mean verified absence.
                value = np.float32(max(np.float32(confidence[k] * probability[at]), LEAST))
                way = np.int64(_CO_OCCURRENCE)
                end = _list_all(up_ptr, up, j, image, value, way, present_in, best, lowest, out_class, end)
        sort_in_place(out_class[start:end])
        for x in range(start, end):
            out_confidence[x] = best[out_class[x]]
            out_origin[x] = lowest[out_class[x]]
        out_offsets[image + 1] = end
    return conflicts, blocked
