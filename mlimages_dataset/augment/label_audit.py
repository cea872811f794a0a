"""The audit of label lists: the published text form, or tables."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlimages_dataset.augment.audit import AuditCounts, audit_rows
from mlimages_dataset.augment.splits import draws_of
from mlimages_dataset.core.image_ids import image_ids
from mlimages_dataset.sources.pieces import Piece
from mlimages_dataset.sources.registry import pieces_of
from mlimages_dataset.sources.rejects import RejectLog, joined_rejects
from mlimages_dataset.sources.tencent import Tencent, tencent_lines
from mlimages_dataset.tables.label_columns import LabelColumns, columns_of
from mlimages_dataset.tables.parquet import scan_table, schema_of, table_parts
from mlimages_dataset.tables.schemas import ANNOTATIONS, LABELS, PREDICTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import scipy.sparse as sp
    from numpy.typing import NDArray

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.engine import Mapper
    from mlimages_dataset.vocab.vocabulary import Vocabulary

TABLE_SUFFIX = ".parquet"


@dataclass(frozen=True, slots=True)
class Audit:
    """The result of an audit of label lists.

    Attributes:
        counts: counts over all rows.
        repeated_images: rows whose image has an earlier row.
        rejects: malformed rows, which no other count includes.
    """

    counts: AuditCounts
    repeated_images: int
    rejects: RejectLog


def audit(vocabulary: Vocabulary, files: Sequence[Location], *, mapper: Mapper = map) -> Audit:
    """Return the audit of label lists in the published text format, or of `labels` and `annotations` tables.

    Raises:
        UsageError, DataError: a file is missing or damaged.
    """
    pieces = [piece for path in files for piece in _label_pieces(path.absolute(), mapper)]
    counts = AuditCounts.empty(vocabulary.closure)
    draws, logs = [np.empty(0, np.uint64)], []
    for of_piece, draws_of_piece, rejects in mapper(functools.partial(_audit_of, closure=vocabulary.closure), pieces):
        counts += of_piece
        draws.append(draws_of_piece)
        logs.append(rejects)
    every = np.concatenate(draws)
    return Audit(
        counts,
        len(every) - len(np.unique(every)),
        joined_rejects((piece.start, log) for piece, log in zip(pieces, logs, strict=True)),
    )


def _label_pieces(path: Location, mapper: Mapper) -> list[Piece]:
    if path.is_dir():
        return [Piece(part) for part in table_parts(path)]
    if path.suffix == TABLE_SUFFIX:
        return [Piece(path)]
    return pieces_of(Tencent.name, [path], mapper)


def _audit_of(piece: Piece, *, closure: sp.csr_array) -> tuple[AuditCounts, NDArray[np.uint64], RejectLog]:
    """Return the counts of a piece, the draw of the image of each row, and the malformed rows."""
    rejects = RejectLog()
    counts = AuditCounts.empty(closure)
    draws = [np.empty(0, np.uint64)]
    for ids, columns in _label_rows(piece, rejects):
        counts += audit_rows(columns, closure)
        draws.append(draws_of(ids, ""))
    return counts, np.concatenate(draws), rejects


def _label_rows(piece: Piece, rejects: RejectLog) -> Iterator[tuple[pa.StringArray, LabelColumns]]:
    path = piece.path
    if path.suffix == TABLE_SUFFIX:
        for batch in scan_table(path, schema_of(path, (LABELS, ANNOTATIONS, PREDICTIONS))):
            yield batch.column("image_id"), columns_of(batch.column("labels"))
        return
    for every_line in tencent_lines(piece, rejects):
        lines = every_line.without_malformed(path, rejects)
        confidence = lines.confidence.to_numpy(zero_copy_only=False)
        yield (
            image_ids(lines.urls),
            LabelColumns(
                lines.offsets.astype(np.int32),
                pc.cast(lines.class_ids, pa.int64())
                .to_numpy(zero_copy_only=False)
                .clip(-1, 2**31 - 1)
                .astype(np.int32),
                confidence,
                np.zeros(len(confidence), np.uint8),
            ),
        )
