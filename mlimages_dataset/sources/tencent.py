"""Tencent ML-Images' label lists: a URL, then `class_index:confidence`, tab-separated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlimages_dataset.sources.lines import line_blocks, log_rejects
from mlimages_dataset.sources.pieces import cut_lines
from mlimages_dataset.sources.rejects import LISTED_REJECTS, REJECT_CHARACTERS, Reject
from mlimages_dataset.sources.source import BatchSource, statements
from mlimages_dataset.tables import confidences

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.sources.pieces import Piece
    from mlimages_dataset.sources.rejects import RejectLog


_LINE = r"^ *(?P<url>[^\t]*?\S)(?P<labels>(?:[\t ]+\d{1,9}:[0-9.]+(?:[eE]-?\d+)?)+)\s*$"
"""A URL or a path, which may hold spaces, and its labels. The published separator is a tab; copying through a terminal
turns tabs into spaces."""


class Tencent(BatchSource):
    """Label lists as Tencent ML-Images publishes them."""

    name: ClassVar[str] = "tencent"
    member_suffixes: ClassVar[tuple[str, ...]] = (".txt",)
    by_index: ClassVar[bool] = True

    def cut(self, piece: Piece) -> list[Piece]:
        """See `Source.cut`."""
        return cut_lines(piece)

    def batches(self, piece: Piece, log: RejectLog) -> Iterator[pa.RecordBatch]:
        """See `BatchSource.batches`."""
        for lines in tencent_lines(piece, log):
            url = lines.urls.take(pa.array(lines.rows))
            yield statements(url, lines.class_ids, url, lines.confidence)


@dataclass(frozen=True, slots=True)
class TencentLines:
    """Well-formed lines of a published label list.

    Attributes:
        numbers: number of each line in the file, from 1.
        urls: the image of each line.
        offsets: index of each line's first label, and the end.
        class_ids: class index of each label, as text.
        confidence: confidence of each label, null if it is not a number from 0 to 1.
    """

    numbers: NDArray[np.int64]
    urls: pa.StringArray
    offsets: NDArray[np.int64]
    class_ids: pa.StringArray
    confidence: pa.FloatArray

    @property
    def rows(self) -> NDArray[np.int64]:
        """The line of each label, counted from 0."""
        return np.repeat(np.arange(len(self.urls)), np.diff(self.offsets))

    def without_malformed(self, path: Location, log: RejectLog) -> TencentLines:
        """Return the lines in which every confidence is a number from 0 to 1; log the others."""
        rows = self.rows
        good = np.ones(len(self.urls), bool)
        good[rows[self.confidence.is_null().to_numpy(zero_copy_only=False)]] = False
        if good.all():
            return self
        what, bad = "a confidence is not a number from 0 to 1", np.flatnonzero(~good)
        first = bad[:LISTED_REJECTS].tolist()
        told = [self.urls[i].as_py()[:REJECT_CHARACTERS] for i in first]
        log.add(
            [Reject(str(path), int(self.numbers[i]), what, url) for i, url in zip(first, told, strict=True)], len(bad)
        )
        kept = pa.array(good[rows])
        return TencentLines(
            numbers=self.numbers[good],
            urls=self.urls.filter(pa.array(good)),
            offsets=np.concatenate((np.zeros(1, np.int64), np.cumsum(np.diff(self.offsets)[good]))),
            class_ids=self.class_ids.filter(kept),
            confidence=self.confidence.filter(kept),
        )


def tencent_lines(piece: Piece, log: RejectLog) -> Iterator[TencentLines]:
    """Yield a piece of a published label list in blocks of lines, malformed ones logged.

    Raises:
        DataError: the file is empty, or cannot be read to its end.
    """
    path = piece.path
    for first_line, lines in line_blocks(piece, log):
        found = pc.extract_regex(lines, _LINE)
        good = pc.is_valid(found)
        log_rejects(log, path, first_line, lines, good=good, what="not a URL and class:confidence pairs")
        lists = pc.split_pattern_regex(pc.utf8_trim_whitespace(found.field("labels").filter(good)), r"[\t ]+")
        ends = np.cumsum(pc.list_value_length(lists).to_numpy().astype(np.int64))
        pairs = pc.extract_regex(lists.flatten(), r"^(?P<index>\d+):(?P<confidence>.*)$")
        yield TencentLines(
            numbers=first_line + np.flatnonzero(good.to_numpy(zero_copy_only=False)),
            urls=found.field("url").filter(good),
            offsets=np.concatenate((np.zeros(1, np.int64), ends)),
            class_ids=pairs.field("index"),
            confidence=confidences.of_texts(pairs.field("confidence")),
        )
