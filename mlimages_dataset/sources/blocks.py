"""Delimited files in blocks of whole rows."""

from __future__ import annotations

import codecs
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mlimages_dataset.core.ahead import ahead
from mlimages_dataset.sources.pieces import bytes_of, is_packed, read_to_its_end, whole_rows
from mlimages_dataset.sources.places import opened
from mlimages_dataset.sources.quotes import are_well_formed, with_newlines

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mlimages_dataset.sources.pieces import Piece
    from mlimages_dataset.sources.rejects import RejectLog


@dataclass(frozen=True, slots=True)
class Block:
    """Whole rows of a delimited file.

    Attributes:
        content: lines that end in a newline, except perhaps the last.
        lines: where each line is in the piece, from 1.
        header: whether the first line names the columns.
    """

    content: bytes
    lines: Sequence[int]
    header: bool

    def amid(self, delimiter: str, n_columns: int) -> Block:
        """Return this block, without a header, as one that does not begin its file.

        DuckDB leaves out a byte-order mark at the beginning: below a made header, it is a sign like others.
        """
        if not self.content.startswith(codecs.BOM_UTF8):
            return self
        above = delimiter.encode() * (n_columns - 1) + b"\n"
        return Block(above + self.content, (0, *self.lines), header=True)


def blocks_of(piece: Piece, log: RejectLog) -> Iterator[Block]:
    """Yield a piece in blocks of whole rows; `log.lines` are those of the blocks before.

    Raises:
        DataError: it cannot be read to its end.
    """
    for content in itertools.chain.from_iterable(
        _apart(with_newlines(one, piece.delimiter), piece.delimiter) for one in _contents(piece)
    ):
        newlines = int(np.count_nonzero(np.frombuffer(content, np.uint8) == ord("\n")))  # `count` takes twice as long
        lines = range(log.lines + 1, log.lines + 1 + newlines + (not content.endswith(b"\n")))
        if piece.start == log.lines == 0:
            yield Block(content, lines, header=piece.header)
        else:
            yield Block(content, lines, header=False).amid(piece.delimiter, len(piece.columns))
        log.lines += newlines


def _apart(content: bytes, delimiter: str) -> list[bytes]:
    """Return whole rows, the line with a quote that is never closed apart from the others: it damages that line only.

    It is taken to be the last line with an odd number of quotes.
    """
    if b'"' not in content or content.count(b'"') % 2 == 0 or are_well_formed(content, delimiter):
        return [content]
    start = end = len(content)
    while content.count(b'"', start, end) % 2 == 0:
        at = content.rfind(b'"', 0, start)
        start, end = content.rfind(b"\n", 0, at) + 1, content.find(b"\n", at) + 1 or len(content)
    return [part for part in (content[:start], content[start:end], content[end:]) if part]


def _contents(piece: Piece) -> Iterator[bytes]:
    with read_to_its_end(piece.path):
        if piece.stop is not None:
            yield bytes_of(piece)
            return
        with opened(piece.path) as stream:
            rows = whole_rows(stream, piece.delimiter)
            yield from ahead(rows) if is_packed(piece.path) else rows
