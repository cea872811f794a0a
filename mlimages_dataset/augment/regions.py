"""Boxes in images, mapped onto a vocabulary: one row a box and category.

Legend: R boxes.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlimages_dataset.augment.annotation_counts import RENAMED, shown_class
from mlimages_dataset.augment.annotations import DROPPED, NAMELESS, UNKNOWN, codes_of
from mlimages_dataset.augment.region_order import by_image, in_order
from mlimages_dataset.core.image_ids import image_ids
from mlimages_dataset.sources.rejects import first_lines
from mlimages_dataset.sources.source import BOX
from mlimages_dataset.tables.arrays import arrow_of, filtered, numpy_of, repeated
from mlimages_dataset.tables.schemas import REGION_FLAGS, REGIONS, Origin, TableSchema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import duckdb
    import scipy.sparse as sp
    from numpy.typing import NDArray

    from mlimages_dataset.sources.rejects import RejectLog

BATCH_REGIONS = 1 << 16
_KEPT_COLUMNS = ("image_id", "class_index", *BOX, "confidence", *REGION_FLAGS, "mask")
_OF_SOURCE = ("clipped", "outline")
STATED_REGIONS = TableSchema(
    "stated_regions",
    1,
    pa.schema(
        [
            *(REGIONS.arrow.field(name) for name in _KEPT_COLUMNS),
            *(pa.field(name, pa.bool_(), nullable=False) for name in _OF_SOURCE),
        ]
    ),
)
"""What travels from the first pass to the second: a box that a file states, by its image's id. `class_index` is below 0
for a class of which there is no category (`annotations.DROPPED` and so on)."""


@dataclass(frozen=True, slots=True)
class RegionCounts:
    """What became of boxes; counts of parts add up.

    Attributes:
        images: images with a region.
        regions: boxes that became a row.
        ancestors: rows of parent categories, where these are asked for.
        clipped: regions that reached beyond their image, and were cut at its edge.
        outlines: regions with an outline that the table does not have.
        below_confidence: boxes of a machine, below the least confidence asked for.
        dropped: boxes of a class that was left out of the vocabulary.
        unknown: boxes of a class that is not in the mapping.
        malformed: boxes without an image or a class.
    """

    images: int = 0
    regions: int = 0
    ancestors: int = 0
    clipped: int = 0
    outlines: int = 0
    below_confidence: int = 0
    dropped: int = 0
    unknown: int = 0
    malformed: int = 0

    def __add__(self, other: RegionCounts) -> RegionCounts:
        return RegionCounts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(RegionCounts)))


_TEXTS = {
    "images": "images with regions",
    "regions": "regions",
    "ancestors": "regions of parent categories, over the same boxes",
    "clipped": "regions that reached beyond their image: cut at its edge",
    "outlines": "regions with an outline of which no mask can be made: only their box is kept",
    "below_confidence": "machine boxes below the least confidence asked for",
    "dropped": "boxes of classes that the vocabulary dropped",
    "unknown": "boxes of unknown classes",
    "malformed": "boxes without an image or a class",
    "rejected_rows": "entries that cannot be used",
    RENAMED.field: RENAMED.text,
}
"""In the order in which people are told: the worst last."""


@dataclass(frozen=True, slots=True)
class RegionSummary(RegionCounts):
    """What became of boxes and of entries of files.

    Attributes:
        rejected_rows: entries, rows or files that cannot be used.
        first_rejected_rows: the first of them, each with its reason.
        most_frequent_unknown_classes: those with the most boxes, and how many these are.
        renamed: files of one picture that name another picture than their own names do, by which they are read.
        first_renamed: the first of these, each with the name that it states.
    """

    rejected_rows: int = 0
    first_rejected_rows: tuple[str, ...] = ()
    most_frequent_unknown_classes: tuple[tuple[str, int], ...] = ()
    renamed: int = 0
    first_renamed: tuple[str, ...] = ()

    @classmethod
    def of(cls, counts: RegionCounts, rejects: RejectLog, unknown: Sequence[tuple[str, int]]) -> RegionSummary:
        """Return the summary of counts, rejects, and the most frequent unknown classes."""
        values = {one.name: getattr(counts, one.name) for one in fields(RegionCounts)}
        return cls(
            **values,
            rejected_rows=rejects.count,
            first_rejected_rows=tuple(one.by_name for one in rejects.first),
            most_frequent_unknown_classes=tuple(unknown),
            renamed=rejects.n_renamed,
            first_renamed=tuple(one.by_name for one in rejects.renamed),
        )

    def line(self) -> str:
        """Return the numbers of images and boxes."""
        return f"{self.images:,} images, {self.regions:,} boxes"

    def findings(self) -> list[str]:
        """Return a sentence for each kind of loss."""
        return self.losses()

    def lines(self) -> list[str]:
        """Return what became of boxes, worst things last, and examples."""
        counts = {name: getattr(self, name) for name in _TEXTS}
        unknown = ", ".join(f"{shown_class(name)} ({n:,})" for name, n in self.most_frequent_unknown_classes)
        return [
            *(f"{n:>12,}  {_TEXTS[name]}" for name, n in counts.items() if n or name in {"images", "regions"}),
            *first_lines("rejected", self.first_rejected_rows, self.rejected_rows),
            *first_lines("another name", self.first_renamed, self.renamed),
            *([f"unknown classes: {unknown}"] if unknown else []),
        ]

    def losses(self) -> list[str]:
        """Return what was stated and is in no row, each with its count."""
        lost = ("rejected_rows", "malformed", "unknown", "dropped")
        return [f"{_TEXTS[name]}: {getattr(self, name):,}" for name in lost if getattr(self, name)]


def stated_regions(regions: pa.Table, lookup: pa.Table) -> Iterator[pa.RecordBatch]:
    """Yield boxes by ascending image id, in the columns of `STATED_REGIONS` and `unknown`, raw classes not looked up.

    Args:
        regions: the columns of `source.REGION`, R rows.
        lookup: the columns that `annotations.lookup_table` makes.
    """
    images = regions["image_id"].fill_null("").combine_chunks()
    classes = regions["class_id"].fill_null("").combine_chunks().dictionary_encode()
    code = codes_of(classes.dictionary, lookup).astype(np.int32)[numpy_of(classes.indices)]
    columns = {name: regions[name] for name in (*_KEPT_COLUMNS[2:], *_OF_SOURCE)}
    table = pa.table(
        {
            "image_id": _ids_of(images),
            "class_index": arrow_of(code),
            **columns,
            "unknown": _listed(classes, code == UNKNOWN),
        }
    )
    yield from by_image(table).to_batches(BATCH_REGIONS)


def _ids_of(names: pa.StringArray) -> pa.StringArray:
    """Return the id of each row's image; rows of an image mostly follow one another."""
    runs = pc.run_end_encode(names)
    return pc.run_end_decode(pa.RunEndEncodedArray.from_arrays(runs.run_ends, image_ids(runs.values)))


def _listed(texts: pa.DictionaryArray, chosen: NDArray[np.bool_]) -> pa.ListArray:
    """Return a list of one text in each chosen row, and an empty one in any other."""
    offsets = np.append(0, np.cumsum(chosen)).astype(np.int32)
    return pa.ListArray.from_arrays(arrow_of(offsets), texts.take(arrow_of(np.flatnonzero(chosen))).dictionary_decode())


def closure_table(closure: sp.csr_array) -> pa.Table:
    """Return a reflexive ancestor matrix, shape (C, C), as the columns class_index and ancestor, a row each pair."""
    below, above = closure.nonzero()
    return pa.table({"class_index": pa.array(below, pa.int32()), "ancestor": pa.array(above, pa.int32())})


def region_batches(
    connect: Callable[[], duckdb.DuckDBPyConnection],
    stated: pa.Table,
    below: str,
    *,
    source: str,
    min_confidence: float,
    closure: pa.Table | None,
) -> tuple[list[pa.RecordBatch], RegionCounts]:
    """Return rows of a `regions` table in their one order, see `region_order`, and what became of the boxes.

    Args:
        connect: returns a connection, which ancestors need.
        stated: all rows of `STATED_REGIONS` that there are of some images.
        below: only images whose id is less are taken.
        source: name for the table's source column.
        min_confidence: machines' boxes below this are left out.
        closure: the columns that `closure_table` makes, to add the ancestors of each box's categories: with the
            highest confidence of what is below them and their own, and each flag that anything below them has. None for
            what is stated alone.
    """
    inside = filtered(stated, pc.less(stated["image_id"], below))
    kept, counts = _kept(inside, float(np.float32(min_confidence)))
    rows = kept.append_column("origin", pa.repeat(pa.scalar(int(Origin.ORIGINAL), pa.uint8()), len(kept)))
    if closure is not None:
        connection = connect()
        connection.register("kept", kept)
        connection.register("closure", closure)
        connection.execute(_UPWARDS)
        rows = connection.sql(f"{_RAISED} UNION ALL {_ADDED}").to_arrow_table()
        counts = replace(counts, ancestors=len(rows) - len(kept))
    named = in_order(rows).append_column("source", repeated(source, len(rows)))
    return named.select(REGIONS.arrow.names).to_batches(BATCH_REGIONS), counts


def _kept(stated: pa.Table, least: float) -> tuple[pa.Table, RegionCounts]:
    """Return the boxes of categories from a confidence on, and what became of all."""
    code, confidence = (stated[name].to_numpy() for name in ("class_index", "confidence"))
    has_image = pc.not_equal(stated["image_id"], "").to_numpy()
    named = has_image & (code != NAMELESS)
    likely = confidence >= least
    chosen = named & (code >= 0) & likely
    kept = filtered(stated, pa.chunked_array([arrow_of(chosen)]))
    return kept, RegionCounts(
        images=pc.count_distinct(pc.run_end_encode(kept["image_id"].combine_chunks()).values).as_py(),
        regions=kept.num_rows,
        clipped=pc.sum(kept["clipped"]).as_py() or 0,
        outlines=pc.sum(kept["outline"]).as_py() or 0,
        malformed=int((~named).sum()),
        dropped=int((named & (code == DROPPED)).sum()),
        unknown=int((named & (code == UNKNOWN)).sum()),
        below_confidence=int((named & (code >= 0) & ~likely).sum()),
    )


_PLACE = ", ".join(("image_id", *BOX, "mask"))
_FLAGS = ", ".join(REGION_FLAGS)
_UPWARDS = (
    f"CREATE OR REPLACE TEMP TABLE upwards AS SELECT {_PLACE}, ancestor AS class_index, "
    f"max(confidence) AS confidence, {', '.join(f'bool_or({flag}) AS {flag}' for flag in REGION_FLAGS)} "
    f"FROM kept JOIN closure USING (class_index) GROUP BY {_PLACE}, ancestor"
)
_RAISED = (
    f"SELECT {_PLACE}, class_index, upwards.confidence, {', '.join(f'kept.{flag}' for flag in REGION_FLAGS)}, "
    f"{int(Origin.ORIGINAL)}::UTINYINT AS origin FROM kept JOIN upwards USING ({_PLACE}, class_index)"
)
_ADDED = (
    f"SELECT {_PLACE}, class_index, confidence, {_FLAGS}, {int(Origin.ANCESTOR)}::UTINYINT AS origin "
    f"FROM upwards ANTI JOIN kept USING ({_PLACE}, class_index)"
)
