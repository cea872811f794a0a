"""Rows that violate a format: all are counted, and the first are listed with file and line.

So are the first statements that have no image id, class or valid confidence; those who map statements count them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence  # noqa: TC003 - the decoder reads it
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import TYPE_CHECKING

from mlimages_dataset.core.locations import as_text

if TYPE_CHECKING:
    from collections.abc import Iterable

LISTED_REJECTS = 10
REJECT_CHARACTERS = 80
"""Characters quoted per rejected row: with an open quote, everything up to the next quote is one row."""


@dataclass(frozen=True, slots=True)
class Reject:
    """One row, or one file of a folder (with `line` 0), that violates its format."""

    path: str
    line: int
    what: str
    text: str

    def __str__(self) -> str:
        place = f"{self.path}, line {self.line}" if self.line else self.path
        return f"{place}: {self.what}: {self.text!r}"

    @property
    def by_name(self) -> str:
        """Return the same with the file's name instead of its path, so that records do not depend on the location."""
        return as_text(str(replace(self, path=PurePath(self.path).name)))


@dataclass(slots=True)
class RejectLog:
    """The number of rejected rows, the first of them, and the number of all lines.

    Attributes:
        count: how many rows are rejected.
        first: the first of these.
        placed: how many of them are no obstacle to absences in other rows: of images that have no row, or that the
            source states as `source.DOUBTED`.
        unplaced: the first of the others, and of the statements without image id: nobody knows their images.
        lines: how many lines there are.
        malformed: the first statements without image id, class or valid confidence, which `count` does not include.
        n_malformed: how many these are, where nobody maps statements and counts them.
        n_renamed: how many files of one picture name another one, see `FileSource.picture_name`; they are no rejects.
        renamed: the first of these.
        n_boxless: how many statements have a box that is none in its image; their classes count, where boxes do not.
        boxless: the first of these.
        places: returns the line and the text of rows of the block that is shown, from their numbers and how many rows
            there are, or None where nobody knows; None itself for a block that is not of lines.
    """

    count: int = 0
    first: list[Reject] = field(default_factory=list)
    placed: int = 0
    unplaced: list[Reject] = field(default_factory=list)
    lines: int = 0
    malformed: list[Reject] = field(default_factory=list)
    n_malformed: int = 0
    n_renamed: int = 0
    renamed: list[Reject] = field(default_factory=list)
    n_boxless: int = 0
    boxless: list[Reject] = field(default_factory=list)
    places: Callable[[Sequence[int], int], list[tuple[int, str]] | None] | None = field(
        default=None, init=False, repr=False, compare=False
    )

    def add(self, rejects: Sequence[Reject], count: int, *, placed: int = 0) -> None:
        """Add `count` rejects, some of which are given, and of which so many are `placed`: all or none."""
        self.count += count
        self.placed += placed
        self.first += rejects[: LISTED_REJECTS - len(self.first)]
        if not placed:
            self.unplaced += rejects[: LISTED_REJECTS - len(self.unplaced)]

    def add_renamed(self, files: Sequence[Reject], count: int) -> None:
        """Add `count` files that name another picture, some of which are given."""
        self.n_renamed += count
        self.renamed += files[: LISTED_REJECTS - len(self.renamed)]

    def add_boxless(self, entries: Sequence[Reject], count: int) -> None:
        """Add `count` statements whose box is none in its image, some of which are given."""
        self.n_boxless += count
        self.boxless += entries[: LISTED_REJECTS - len(self.boxless)]


def first_lines(what: str, first: Sequence[object], count: int) -> list[str]:
    """Return a line for each of the first of some things, and one for the number of the others.

    >>> first_lines("rejected", ["a.csv, line 2"], 3)
    ['rejected: a.csv, line 2', 'rejected: and 2 more']
    """
    return [f"{what}: {text}" for text in with_more(first, count)]


def with_more(first: Sequence[object], count: int) -> list[str]:
    """Return the first of some things as texts, and a last text for the number of the others.

    >>> with_more(["a.csv, line 2"], 3), with_more([], 3)
    (['a.csv, line 2', 'and 2 more'], [])
    """
    more = count - len(first)
    return [*map(str, first), *([f"and {more:,} more"] if first and more > 0 else [])]


def joined_rejects(found: Iterable[tuple[int, RejectLog]]) -> RejectLog:
    """Return the rejects of pieces in their order, with the numbers of lines in their files.

    Args:
        found: the start of each piece in its file, and its log.
    """
    log = RejectLog()
    before = 0
    for start, of_piece in found:
        before = before if start else 0
        log.count += of_piece.count
        log.placed += of_piece.placed
        log.first += _in_order(of_piece.first, before)[: LISTED_REJECTS - len(log.first)]
        log.unplaced += _in_order(of_piece.unplaced, before)[: LISTED_REJECTS - len(log.unplaced)]
        log.add_renamed(of_piece.renamed, of_piece.n_renamed)
        log.add_boxless(_in_order(of_piece.boxless, before), of_piece.n_boxless)
        log.n_malformed += of_piece.n_malformed
        log.malformed += _in_order(of_piece.malformed, before)[: LISTED_REJECTS - len(log.malformed)]
        before += of_piece.lines
    return log


def _in_order(found: Iterable[Reject], before: int) -> list[Reject]:
    """Return rows of a piece by their lines in its file, of which `before` lie before the piece."""
    in_order = sorted(found, key=lambda one: one.line or math.inf)
    return [replace(one, line=one.line + before if one.line else 0) for one in in_order]
