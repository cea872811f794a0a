"""The rules for every source, as a check that its author can run: `check_source("mine", [path])`.

A package that adds a format registers it as an entry point of the group `mlimages_dataset.sources` and calls this in
its tests, with its own well-formed files.
"""

from __future__ import annotations

import pickle
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias
from unittest import mock

import pyarrow as pa

from mlimages_dataset.core.errors import MLImagesError
from mlimages_dataset.sources import pieces as cutting
from mlimages_dataset.sources.registry import names, pieces_of, source_named
from mlimages_dataset.sources.rejects import RejectLog, joined_rejects
from mlimages_dataset.sources.source import REGION, STATEMENT
from mlimages_dataset.tables.database import connected, duckdb_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import duckdb

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.sources.layout import Layout
    from mlimages_dataset.sources.source import Shown

    _Reader: TypeAlias = "Callable[[str, Sequence[Location]], tuple[pa.Table, RejectLog]]"

_QUERY = "SELECT image_id, class_id, confidence, location FROM observations"
_CUTS = (0.1, 0.3, 0.5, 0.7, 0.9, 0.97)
_SIZES = (64, 1000)


class BrokenContractError(AssertionError):
    """A source breaks a rule for all sources."""


def read_statements(name: str, files: Sequence[Location], layout: Layout | None = None) -> tuple[pa.Table, RejectLog]:
    """Return the statements of files, in the columns of `STATEMENT`, and the rows that violate the format.

    Args:
        name: the format.
        files: the files.
        layout: what their user states of them, if anything.

    Raises:
        MLImagesError: a file is missing or not of the format.
    """
    with connected(threads=1) as connection:
        return statements_through(connection, name, files, layout)


def statements_through(
    connection: duckdb.DuckDBPyConnection, name: str, files: Sequence[Location], layout: Layout | None = None
) -> tuple[pa.Table, RejectLog]:
    """Return what `read_statements` does, through a connection that many files have: to make one takes longer."""
    source = source_named(name)
    tables = [STATEMENT.empty_table()]
    logs = []
    for piece in pieces_of(name, files, layout=layout):
        log = RejectLog()
        with duckdb_errors(piece.path):
            blocks = source.observe(lambda: connection, piece, log)
            tables.extend(_statements_of(block) for block in blocks)
        logs.append((piece.start, log))
    return pa.concat_tables(tables), joined_rejects(logs)


def _statements_of(shown: Shown) -> pa.Table:
    if isinstance(shown, pa.RecordBatch):
        return pa.Table.from_batches([shown], STATEMENT)
    return shown.sql(_QUERY).to_arrow_table().cast(STATEMENT)


def read_regions(name: str, files: Sequence[Location]) -> tuple[pa.Table, RejectLog]:
    """Return the boxes that files of a format state, in the columns of `REGION`, and what in them cannot be used.

    Raises:
        MLImagesError: a file is missing or not of the format, or states no boxes.
    """
    source = source_named(name)
    tables = [REGION.empty_table()]
    logs = []
    for piece in pieces_of(name, files):
        log = RejectLog()
        tables.extend(pa.Table.from_batches([batch]) for batch in source.regions(piece, log))
        logs.append((piece.start, log))
    return pa.concat_tables(tables), joined_rejects(logs)


def check_regions(name: str, files: Sequence[Location]) -> None:
    """Check that a source reads boxes as every source must, on well-formed files of its format that state boxes.

    Raises:
        BrokenContractError: with what it does not keep.
    """
    _require(source_named(name).has_regions, f"{name} has no regions")
    whole, rejects = read_regions(name, files)
    _require(whole.num_rows > 0, "the files state no boxes")
    _require(rejects.count == 0, f"well-formed files have rejects, first: {rejects.first[:1]}")
    _check_boxes(whole)
    _require(read_regions(name, files)[0].equals(whole), "the same files state other boxes the second time")
    present = {(row["image_id"], row["class_id"]) for row in read_statements(name, files)[0].to_pylist()}
    boxed = set(zip(whole["image_id"].to_pylist(), whole["class_id"].to_pylist(), strict=True))
    _require(boxed <= present, "a box's class is not stated to be in its image")
    for size in _SIZES:
        with mock.patch.object(cutting, "PIECE_BYTES", size):
            _require(_same_rows(read_regions(name, files)[0], whole), f"pieces of {size} bytes state other boxes")
    _check_refusals(read_regions, name, [path for path in files if path.is_file()])


def _check_boxes(regions: pa.Table) -> None:
    for row in regions.to_pylist():
        _require(None not in row.values(), f"a region holds a null: {row}")
        _require(0 <= row["xmin"] < row["xmax"] <= 1, f"a box is not in the image from left to right: {row}")
        _require(0 <= row["ymin"] < row["ymax"] <= 1, f"a box is not in the image from top to bottom: {row}")
        _require(0 < row["confidence"] <= 1, f"a region's confidence is not above 0, or not in 0..1: {row}")
        _require(bool(row["image_id"] and row["class_id"]), f"a region names no image or no class: {row}")


def check_source(name: str, files: Sequence[Location]) -> None:
    """Check a source on well-formed files of its format.

    Raises:
        BrokenContractError: it breaks a rule, which the message names.
    """
    _require(name in names(), f"{name} is not registered")
    _require(source_named(name).name == name, f"{name} is registered under another name than its own")
    if not source_named(name).has_regions:
        _require(_refused(read_regions, name, files[0]), "a format without boxes does not say so")
    whole, rejects = read_statements(name, files)
    _require(whole.num_rows > 0, "the files state nothing")
    _require(rejects.count == 0, f"well-formed files have rejects, first: {rejects.first[:1]}")
    _check_values(whole)
    _require(read_statements(name, files)[0].equals(whole), "reading the same files twice gives different statements")
    for size in _SIZES:
        with mock.patch.object(cutting, "PIECE_BYTES", size):
            pieces = pieces_of(name, files)
            _require(pickle.loads(pickle.dumps(pieces)) == pieces, "pieces cannot be pickled for other processes")  # noqa: S301 - our own
            _require(
                _same_rows(read_statements(name, files)[0], whole), f"pieces of {size} bytes give different statements"
            )
    _check_refusals(read_statements, name, [path for path in files if path.is_file()])


def _check_values(statements: pa.Table) -> None:
    confidence = [value for value in statements["confidence"].to_pylist() if value is not None]
    _require(all(0 <= value <= 1 for value in confidence), "a confidence is not in 0..1")
    _require(statements["location"].null_count == 0, "a location is null: write an empty text if there is none")
    _require(statements["image_id"].null_count < statements.num_rows, "no statement names its image")


def _check_refusals(read: _Reader, name: str, files: Sequence[Location]) -> None:
    """Check that missing, empty, truncated and foreign files raise errors of ours, not other exceptions."""
    with tempfile.TemporaryDirectory() as folder:
        absent, empty = Path(folder) / "absent", Path(folder) / "empty"
        _require(_refused(read, name, absent), "a missing file is not refused")
        empty.touch()
        _require(_refused(read, name, empty), "an empty file is not refused")
        for path in files:
            content = path.read_bytes()
            cut = Path(folder) / path.name
            for share in _CUTS:
                cut.write_bytes(content[: int(len(content) * share)])
                _refused(read, name, cut)
            cut.write_bytes(content[::-1])
            _refused(read, name, cut)


def _refused(read: _Reader, name: str, path: Location) -> bool:
    """Return whether a file is refused with a sentence that names it; any other error breaks the contract."""
    try:
        read(name, [path])
    except MLImagesError as error:
        _require(path.name in str(error), f"a refusal does not name its file: {error}")
        _require(bool(error.remedy), f"a refusal gives no remedy: {error}")
        return True
    except Exception as error:
        raise BrokenContractError(f"{path.name} ends in {type(error).__name__}: {error}") from error
    return False


def _same_rows(left: pa.Table, right: pa.Table) -> bool:
    return sorted(map(repr, left.to_pylist())) == sorted(map(repr, right.to_pylist()))


def _require(kept: bool, what: str) -> None:  # noqa: FBT001 - as an assertion
    if not kept:
        raise BrokenContractError(what)
