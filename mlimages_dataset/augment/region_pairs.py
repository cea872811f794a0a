"""How often objects of one class are labelled with another: the concurrent rates of Peng et al. 2020 (4.1.1).

An object is a box of an image; equal boxes of an image are one object with several labels, as Open Images states them.
The table is that of co-occurrence, with objects in place of images: the rate of a pair is `n_both / n_left`.

Legend: K objects, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from mlimages_dataset.augment.cooccurrence_stage import PAIR_COUNTS_FILE
from mlimages_dataset.core import sparse as sp
from mlimages_dataset.core.errors import DataError
from mlimages_dataset.pipeline.records import StageResult
from mlimages_dataset.pipeline.stage import Stage
from mlimages_dataset.tables.batches import region_batches
from mlimages_dataset.tables.equal_boxes import SIDES, objects_of
from mlimages_dataset.tables.parquet import table_digests, table_parts, write_table
from mlimages_dataset.tables.schemas import PAIR_COUNTS, REGIONS, Origin
from mlimages_dataset.vocab.folder import read_vocabulary, refuse_other_vocabulary, vocabulary_digests

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.stage import Workplace
    from mlimages_dataset.vocab.vocabulary import Vocabulary

REGION_PAIRS = "region-pairs"
_LISTED_PAIRS = 20


@dataclass(frozen=True, slots=True)
class ObjectPairs:
    """Counts of objects; those of parts of the images add up.

    Attributes:
        both: objects that have both classes, on the diagonal those that have the class, int64, shape (C, C).
        objects: K.
        several: objects with several labels.
    """

    both: sp.csr_array
    objects: int = 0
    several: int = 0

    def __add__(self, other: ObjectPairs) -> ObjectPairs:
        return ObjectPairs(self.both + other.both, self.objects + other.objects, self.several + other.several)

    def table(self) -> pa.Table:
        """Return the `pair_counts` table, by ascending pair."""
        of_class = self.both.diagonal()
        pairs = self.both.tocoo()
        left, right = pairs.coords
        apart = (left != right) & (pairs.data > 0)
        order = np.lexsort((right[apart], left[apart]))
        left, right, n_both = (array[apart][order] for array in (left, right, pairs.data))
        columns = [left.astype(np.int32), right.astype(np.int32), of_class[left], n_both]
        return pa.table([pa.array(column) for column in columns], schema=PAIR_COUNTS.arrow)


@dataclass(frozen=True, slots=True)
class RegionPairSummary:
    """The objects and pairs that were counted.

    Attributes:
        objects: boxes, of which equal ones count once.
        several: objects with several labels.
        pairs: pairs of classes that some object has, each in both directions.
        strongest: the pairs with the highest rates whose classes are not related, as lines.
    """

    objects: int
    several: int
    pairs: int
    strongest: tuple[str, ...]

    def lines(self) -> list[str]:
        """Return the counts as lines."""
        return [
            f"{self.objects:>12,}  objects",
            f"{self.several:>12,}  with several stated labels",
            f"{self.pairs:>12,}  pairs of classes that some object has",
            *self.strongest,
        ]


def region_pairs_stage(vocabulary: Location, regions: Location) -> Stage[RegionPairSummary]:
    """Return the stage that counts the pairs of classes of objects.

    Args:
        vocabulary: its folder.
        regions: a folder of parts of a `regions` table.

    Raises:
        UsageError: there is none, or it was made with another vocabulary.
    """
    refuse_other_vocabulary(vocabulary_digests(vocabulary), [regions])
    return Stage(
        name=REGION_PAIRS,
        parameters={},
        inputs={**vocabulary_digests(vocabulary), **table_digests("regions", regions)},
        work=lambda at: _counted(read_vocabulary(vocabulary), regions, at),
        summary=RegionPairSummary,
    )


def _counted(vocabulary: Vocabulary, regions: Location, at: Workplace) -> StageResult[RegionPairSummary]:
    pairs = object_pairs(table_parts(regions), len(vocabulary))
    if not pairs.objects:
        raise DataError("holds no box of a category", where=regions, remedy="name a table of regions")
    table = pairs.table()
    summary = RegionPairSummary(pairs.objects, pairs.several, table.num_rows, tuple(_strongest(table, vocabulary)))
    return StageResult((write_table(at.out / PAIR_COUNTS_FILE, table, PAIR_COUNTS, at.inputs),), summary)


def object_pairs(parts: Sequence[Location], n_classes: int) -> ObjectPairs:
    """Return the counts over all parts of a `regions` table; boxes added for ancestors do not count.

    Raises:
        DataError, SchemaError: a part is damaged, or a class is not in 0..C-1.
    """
    total = ObjectPairs(sp.csr_array((n_classes, n_classes), dtype=np.int64))
    for part in parts:
        rows = pa.Table.from_batches(list(region_batches(part, n_classes)), REGIONS.arrow)
        total += _of_rows(rows, n_classes)
    return total


def _of_rows(rows: pa.Table, n_classes: int) -> ObjectPairs:
    """Return the counts of whole images."""
    stated = (rows["origin"].to_numpy() != Origin.ANCESTOR) & (rows["confidence"].to_numpy() > 0)
    rows = rows.filter(pa.array(stated))
    image = rows["image_id"].combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
    sides = np.stack([rows[side].to_numpy() for side in SIDES])
    number = objects_of(image.astype(np.int64), sides)
    n_objects = int(number.max(initial=-1)) + 1
    labels = np.unique(np.stack([number, rows["class_index"].to_numpy().astype(np.int64)], axis=1), axis=0)
    has = sp.coo_array((np.ones(len(labels), np.int64), (labels[:, 0], labels[:, 1])), (n_objects, n_classes)).tocsr()
    several = int((np.bincount(labels[:, 0], minlength=n_objects) > 1).sum())
    return ObjectPairs(sp.csr_array(has.T @ has), n_objects, several)


def _strongest(table: pa.Table, vocabulary: Vocabulary) -> list[str]:
    """Return lines of the pairs with the highest rates of which neither is an ancestor of the other."""
    left, right, n_left, n_both = (table[name].to_numpy() for name in PAIR_COUNTS.arrow.names)
    if not len(left):
        return []
    related = np.asarray((vocabulary.closure + vocabulary.closure.T)[left, right], bool)
    order = np.lexsort((right, left, -(n_both / n_left)))
    chosen = [k for k in order.tolist() if not related[k]][:_LISTED_PAIRS]
    names = [category.name.partition(",")[0] for category in vocabulary.categories]
    return [
        f"{n_both[k] / n_left[k]:>12.3f}  ({n_both[k]:,} of {n_left[k]:,} objects)  "
        f"{names[left[k]]} is also labelled {names[right[k]]}"
        for k in chosen
    ]
