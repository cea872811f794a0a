"""Boxes in a Parquet table: the columns image_id, label, xmin, ymin, xmax, ymax, and confidence, flags and mask if any.

Their names may be in any case.

Sides are shares of the image's width and height.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import pyarrow as pa
import pyarrow.compute as pc

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.core.locations import as_text, reason, system_errors
from mlimages_dataset.sources.boxes import BoxSource, Instance, number_of
from mlimages_dataset.sources.entries import JUDGING_FLAGS, confidence_of, fault_of_flags, flag_of
from mlimages_dataset.sources.pieces import Piece, group_ends, read_to_its_end
from mlimages_dataset.sources.rows import NAME_CONFIDENCE, refuse_other_confidence
from mlimages_dataset.sources.source import BOX
from mlimages_dataset.tables.parquet import open_parquet
from mlimages_dataset.tables.schemas import REGION_FLAGS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.sources.rejects import RejectLog

NAMES = ("image_id", "label")
WANTED = (*NAMES, *BOX)
MORE = ("confidence", "mask", *REGION_FLAGS)
_JUDGING = tuple(flag for flag in JUDGING_FLAGS if flag in REGION_FLAGS)
_BATCH_ROWS = 1 << 14


class BoxTables(BoxSource):
    """Tables of boxes, such as a user's frame."""

    name: ClassVar[str] = "boxes"

    def piece(self, path: Location) -> Piece:
        """See `Source.piece`."""
        super().piece(path)
        try:
            with system_errors(path), open_parquet(path) as parquet:
                schema = parquet.schema_arrow
        except (OSError, pa.ArrowException) as error:
            raise DataError(
                f"cannot be read as a Parquet file ({reason(error)})", where=path, remedy="obtain it again"
            ) from error
        names = _ours(schema.names)
        repeated = [name for name in (*WANTED, *MORE) if names.count(name) > 1]
        if repeated:
            raise DataError(f"has two columns {repeated[0]}", where=path, remedy="name each differently")
        missing = [name for name in WANTED if name not in names]
        if missing:
            raise DataError(
                f"no column {', '.join(missing)}",
                where=path,
                remedy="name them image_id, label, xmin, ymin, xmax and ymax, in shares of the image",
            )
        refuse_other_confidence(names, path, NAME_CONFIDENCE, each="box")
        for name, field in zip(names, schema, strict=True):
            _check_type(name, field.type, path)
        return Piece(path, tuple(schema.names[names.index(name)] for name in (*WANTED, *MORE) if name in names))

    def cut(self, piece: Piece) -> list[Piece]:
        """See `Source.cut`: a table is cut between its row groups."""
        with read_to_its_end(piece.path), open_parquet(piece.path) as parquet:
            metadata = parquet.metadata
            sizes = [metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups)]
        return piece.cut_at(group_ends(sizes))

    def instances(self, piece: Piece, log: RejectLog) -> Iterator[Instance]:  # noqa: ARG002 - rows are told by `boxes`
        """See `BoxSource.instances`."""
        at = 0
        with read_to_its_end(piece.path), open_parquet(piece.path) as parquet:
            before = sum(parquet.metadata.row_group(group).num_rows for group in range(piece.start))
            groups = list(range(piece.start, piece.stop or 0))
            for batch in parquet.iter_batches(_BATCH_ROWS, groups, list(piece.columns)):
                for row in _texts(batch).to_pylist():
                    yield _instance(row, f"row {before + at}", as_text(str(piece.path)))
                    at += 1


def _texts(batch: pa.RecordBatch) -> pa.Table:
    """Return a batch by our names of columns, in which names of images and labels are texts."""
    table = pa.Table.from_batches([batch])
    table = table.rename_columns(_ours(table.column_names))
    for name in NAMES:
        table = table.set_column(table.schema.get_field_index(name), name, pc.cast(table[name], pa.string()))
    return table


def _ours(names: Sequence[str]) -> list[str]:
    """Return the names of columns, ours where they only differ in case or in blanks."""
    plain = [name.strip().casefold() for name in names]
    return [
        own if own in (*WANTED, *MORE) and own not in names else name for name, own in zip(names, plain, strict=True)
    ]


def _check_type(name: str, kind: pa.DataType, path: Location) -> None:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    numbers = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    texts = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    good = {
        **dict.fromkeys(NAMES, texts or pa.types.is_integer(kind)),
        **dict.fromkeys((*BOX, "confidence"), numbers),
        **dict.fromkeys(REGION_FLAGS, pa.types.is_boolean(kind) or pa.types.is_integer(kind)),
        "mask": texts,
    }
    if not good.get(name, True):
        raise DataError(f"its column {name} is of the type {kind}", where=path, remedy="convert it")


def _instance(row: Mapping[str, object], place: str, where: str) -> Instance:
    xmin, ymin, xmax, ymax = (number_of(row[side]) for side in BOX)
    stated = row.get("confidence", 1)
    return Instance(
        image=str(row["image_id"] or ""),
        class_id=str(row["label"] or ""),
        where=where,
        place=place,
        box=fault_of_flags(row, _JUDGING) or (xmin, ymin, xmax, ymax),
        confidence=confidence_of({"confidence": "" if stated is None else stated}),  # as a cell of a label table
        flags=frozenset(flag for flag in REGION_FLAGS if flag_of(row.get(flag))),
        mask=str(row.get("mask") or ""),
    )
