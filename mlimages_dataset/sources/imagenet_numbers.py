"""Lists of ImageNet in which numbers stand for classes: the development kit's ground truth, and Caffe's `val.txt`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.sources.lines import line_blocks, log_rejects
from mlimages_dataset.sources.source import statements
from mlimages_dataset.sources.synsets import IDS_REMEDY, LINES_REMEDY, Synsets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.sources.pieces import Piece
    from mlimages_dataset.sources.rejects import RejectLog

_GROUND_TRUTH = re.compile(r"(?:ILSVRC|imagenet_)(20\d\d)_(val|test)(?:idation)?_(?:ground_truth|synset_labels)")
_OWN_NUMBER = r"ILSVRC20\d\d_\w+_0*(?P<number>[1-9]\d*)(?:\D.*)?$"
_WNID = r"^\s*(?P<wnid>n\d{8})\s*$"
_NUMBER = r"^\s*(?P<number>\d{1,9})\s*$"


def numbered_pictures(path: Location) -> str:
    """Return what the names of pictures begin with of which a file has a line each, empty for any other file.

    Its lines tell their pictures by their numbers alone, so the published name says what it is.
    """
    found = _GROUND_TRUTH.match(path.name)
    return f"ILSVRC{found[1]}_{found[2]}_" if found else ""


def of_ground_truth(piece: Piece, log: RejectLog) -> Iterator[pa.RecordBatch]:
    """Yield what a file of classes states, whose line k is of picture k; a line that is no class is logged.

    Raises:
        DataError: its numbers have no meaning.
    """
    for first_line, lines in line_blocks(piece, log):
        number = pc.struct_field(pc.extract_regex(lines, _NUMBER), "number")
        synsets = None if number.null_count == len(lines) else _checked(piece, are_ids=True)
        if synsets is None and number.null_count < len(lines):
            what = "holds numbers, and nothing says which synsets they mean"
            raise DataError(what, where=piece.path, remedy=IDS_REMEDY)
        wnid = pc.struct_field(pc.extract_regex(lines, _WNID), "wnid")
        if synsets is not None:
            wnid = pc.coalesce(wnid, _looked_up(number, synsets))
        good = pc.is_valid(wnid)
        log_rejects(log, piece.path, first_line, lines, good=good, what="no class that --synsets lists")
        names = numbered_pictures(piece.path)
        image = pa.array([f"{names}{k:08}" for k in range(first_line, first_line + len(lines))], pa.string())
        yield statements(image, wnid, pa.array([""] * len(lines), pa.string())).filter(good)


def wnids_of_numbers(piece: Piece, image: pa.StringArray, number: pa.StringArray) -> pa.StringArray:
    """Return the wnid that the number behind each image's name means, null where there is none, or no meaning.

    Raises:
        DataError: the numbers are others than those that the user's list of synsets explains.
    """
    synsets = None if number.null_count == len(number) else _checked(piece, are_ids=False)
    if synsets is None:
        return pa.nulls(len(number), pa.string())
    given = pc.is_valid(number)
    own = pc.struct_field(pc.extract_regex(image.filter(given), _OWN_NUMBER), "number")
    if len(own) > 1 and pc.all(pc.fill_null(pc.equal(own, number.filter(given)), False)).as_py():
        raise DataError(
            "has the number of its line behind each picture, not that of a class",
            where=piece.path,
            remedy="use LOC_val_solution.csv, or the development kit's ground truth",
        )
    return _looked_up(number, synsets)


def _checked(piece: Piece, *, are_ids: bool) -> Synsets | None:
    """Return what the user says of numbers, None where nothing is said.

    Raises:
        DataError: it is said of other numbers than the file holds.
    """
    synsets = piece.synsets
    if synsets is not None and synsets.are_ids != are_ids:
        assert piece.layout.synsets is not None
        name = piece.layout.synsets.name
        what = (
            f"its numbers are ids of the development kit, and {name} is a list of synsets by line"
            if are_ids
            else f"its numbers count the lines of a list from 0, and {name} gives the development kit's ids"
        )
        raise DataError(what, where=piece.path, remedy=IDS_REMEDY if are_ids else LINES_REMEDY)
    return synsets


def _looked_up(number: pa.StringArray, synsets: Synsets) -> pa.StringArray:
    """Return the wnid of each number, null where there is none."""
    short = pc.if_else(pc.match_substring_regex(number, r"^\d{1,9}$"), number, None)
    numbers = pc.fill_null(pc.cast(short, pa.int64()), -1)
    at = pc.index_in(numbers, pa.array(list(synsets.wnids), pa.int64()))
    return pa.array(list(synsets.wnids.values()), pa.string()).take(at)
