"""The stage that puts the boxes of several tables together, a range of images at a time."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.evaluation.box_fusion import Fusion, fused
from mlimages_dataset.pipeline.records import StageResult
from mlimages_dataset.pipeline.stage import Stage
from mlimages_dataset.tables.files import Receipt  # noqa: TC001 - the journal resolves it
from mlimages_dataset.tables.parquet import (
    read_range,
    scan_table,
    table_digests,
    table_inputs,
    table_parts,
    write_table,
)
from mlimages_dataset.tables.schemas import REGIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.stage import Workplace

FUSED = "fused-detections"
RANGE_ROWS = 1 << 22
"""Boxes of all tables that are held in memory, about 0.5 GB while they are put together."""
_VOCABULARY = "vocabulary/categories.parquet"


@dataclass(frozen=True, slots=True)
class FusionSummary:
    """The boxes that were put together.

    Attributes:
        tables: tables read.
        boxes: boxes of all tables.
        images: images with a box.
        fused: boxes written.
    """

    tables: int = 0
    boxes: int = 0
    images: int = 0
    fused: int = 0

    def line(self) -> str:
        """Return the numbers of boxes."""
        return f"{self.boxes:,} boxes of {self.tables:,} tables became {self.fused:,} in {self.images:,} images"

    def lines(self) -> list[str]:
        """Return the numbers of boxes as a list."""
        return [self.line()]

    def findings(self) -> list[str]:
        """Return no sentence."""
        return []


@dataclass(frozen=True, slots=True)
class _Part:
    receipts: tuple[Receipt, ...]
    boxes: int
    images: int


def fusion_stage(tables: Sequence[Location], fusion: Fusion, *, source: str = "ensemble") -> Stage[FusionSummary]:
    """Return the stage that puts the boxes of several detectors' tables together.

    Args:
        tables: folders of `regions` tables that `predict` wrote.
        fusion: how.
        source: value of the column `source`.

    Raises:
        UsageError: there is no table, they are of several vocabularies, or there are not as many weights as tables.
    """
    fusion.of(len(tables))
    parts = [table_parts(folder) for folder in tables]
    every = list(itertools.chain(*parts))
    digests = (table_digests(f"tables/{number}", folder) for number, folder in enumerate(tables))
    return Stage(
        name=FUSED,
        parameters={"fusion": fusion, "source": source},
        inputs=_vocabulary_of(every) | {name: digest for of_table in digests for name, digest in of_table.items()},
        work=lambda at: _fused(parts, fusion, source, at),
        summary=FusionSummary,
        resumes=True,
    )


def _vocabulary_of(parts: Sequence[Location]) -> dict[str, str]:
    """Return the digest of the vocabulary that tables say they were made with, by its name; nothing if none says so.

    Raises:
        UsageError: they name different ones.
    """
    made_with = {part: table_inputs(part).get(_VOCABULARY) for part in parts}
    stated = [(part, digest) for part, digest in made_with.items() if digest is not None]
    for part, digest in stated:
        if digest != stated[0][1]:
            raise UsageError(
                f"it was made with another vocabulary than {stated[0][0]}",
                where=part,
                remedy="name tables of detectors of one vocabulary",
            )
    return {_VOCABULARY: stated[0][1]} if stated else {}


def _fused(
    parts: Sequence[Sequence[Location]], fusion: Fusion, source: str, at: Workplace
) -> StageResult[FusionSummary]:
    ranges = _ranges([part for of_table in parts for part in of_table])
    if not ranges:
        raise DataError("the tables have no box", where=parts[0][0], remedy="name tables of `predict`")
    work = functools.partial(_part_of, parts=parts, fusion=fusion, source=source, at=at)
    made = [
        at.journal.once(f"part-{number:05d}", functools.partial(work, number, one), _Part)
        for number, one in enumerate(ranges)
    ]
    receipts = tuple(receipt for part in made for receipt in part.receipts)
    counts = FusionSummary(
        len(parts),
        sum(part.boxes for part in made),
        sum(part.images for part in made),
        sum(receipt.rows for receipt in receipts),
    )
    return StageResult(receipts, counts)


def _part_of(
    number: int,
    bounds: tuple[str, str],
    *,
    parts: Sequence[Sequence[Location]],
    fusion: Fusion,
    source: str,
    at: Workplace,
) -> _Part:
    """Write the boxes of the images within two bounds, both included."""
    tables = [read_range(of_table, REGIONS, "image_id", *bounds) for of_table in parts]
    rows = fused(tables, fusion, source=source)
    receipt = write_table(at.out / f"part-{number:05d}.parquet", rows, REGIONS, at.inputs)
    images = pc.count_distinct(rows["image_id"]).as_py()
    at.engine.progress(images)
    return _Part((receipt,), sum(map(len, tables)), images)


def _ranges(parts: Sequence[Location]) -> list[tuple[str, str]]:
    """Return the first and the last image of ranges that have about `RANGE_ROWS` boxes each, or one image."""
    counts = pa.table({"image_id": pa.array([], pa.string()), "boxes": pa.array([], pa.int64())})
    for part in parts:
        for batch in scan_table(part, REGIONS, columns=("image_id",)):
            found = batch.column("image_id").value_counts()
            new = pa.table({"image_id": found.field("values"), "boxes": found.field("counts")})
            counts = pa.concat_tables([counts, new])
    summed = counts.group_by("image_id").aggregate([("boxes", "sum")]).sort_by("image_id")
    if not len(summed):
        return []
    of_range = (np.cumsum(summed["boxes_sum"].to_numpy()) - 1) // RANGE_ROWS
    first = np.flatnonzero(np.diff(of_range, prepend=-1))
    names = summed["image_id"]
    return [
        (names[begin].as_py(), names[end - 1].as_py())
        for begin, end in itertools.pairwise([*first.tolist(), len(names)])
    ]
