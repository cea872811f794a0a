"""Frames as input: data in memory are written to a file that the stages read.

A frame's index is not a column. A column may hold strings, whole numbers (as ids) or categoricals of them. Missing
values and mixed types are refused with their row, counted from 0.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mlimages_dataset.core.decoding import PACKAGED
from mlimages_dataset.core.errors import DataError, MLImagesError, UsageError
from mlimages_dataset.core.locations import Location, location
from mlimages_dataset.recipes.recipe import packaged_file
from mlimages_dataset.sources.inputs import is_stream, written_stream

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import pandas as pd


@runtime_checkable
class ArrowStream(Protocol):
    """An object that exports an Arrow stream: frames of pandas 2.2, polars, DuckDB and others.

    Source: https://arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html
    """

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Return a capsule with the stream."""


Frame: TypeAlias = "pd.DataFrame | pa.Table | ArrowStream"
PathLike: TypeAlias = str | os.PathLike[str] | Location
Given: TypeAlias = "Frame | PathLike"


def is_path(given: object) -> bool:
    """Return whether an object is a path or a URL."""
    return isinstance(given, str | os.PathLike | Location)


def place(given: object, *, what: str) -> Location:
    """Return the place that a path, a URL or `packaged:NAME` names.

    Raises:
        UsageError: it is no path.
        ConfigError: there is no packaged file of that name.
    """
    if isinstance(given, str) and given.startswith(PACKAGED):
        return packaged_file(given.removeprefix(PACKAGED))
    if isinstance(given, str):
        return location(given)
    if isinstance(given, Location):
        return given
    if isinstance(given, os.PathLike):
        return location(os.fspath(given))
    raise UsageError(f"{what} is {_kind(given)}, which is not a path", remedy="pass a path or a URL")


def file_of(given: object, folder: Path, names: dict[Location, str], *, what: str) -> Location:
    """Return the place that is named, or the file into which an open file is written; `names` says what errors call it.

    Raises:
        UsageError: it is neither.
    """
    if not is_stream(given):
        return place(given, what=what)
    into = folder / f"stream-{len(names)}"
    into.mkdir()
    path = written_stream(given, into)  # type: ignore[arg-type]  # it is open
    names[path] = f"{what} (an open file)"
    return path


def table_of(frame: object, *, what: str) -> pa.Table:
    """Return a frame as an Arrow table.

    Raises:
        UsageError: it is not a frame.
        DataError: a column holds values of several types.
    """
    if isinstance(frame, pa.Table):
        return frame
    try:
        if hasattr(frame, "to_records") and hasattr(frame, "index"):  # pandas of any version
            return pa.Table.from_pandas(frame, preserve_index=False)
        if isinstance(frame, ArrowStream):
            return pa.table(frame)
    except (pa.ArrowException, TypeError) as error:
        raise DataError(
            f"a column holds values of several types ({error.args[-1]})",
            where=what,
            remedy="convert it, for instance with astype(str)",
        ) from error
    except ValueError as error:  # raised by pandas for repeated names
        raise DataError(f"cannot be read ({error})", where=what, remedy="name each column differently") from error
    raise UsageError(f"{what} is {_kind(frame)}", remedy="pass a frame, an Arrow table or a path")


def strings(table: pa.Table, name: str, *, what: str) -> pa.Array:
    """Return a column as strings without nulls.

    Raises:
        DataError: there is no such column, or it holds nulls or values other than strings and whole numbers.
    """
    if name not in table.column_names:
        told = ", ".join(table.column_names)[:80] or "none"
        raise DataError(
            f"no column {name} among {told}",
            where=what,
            remedy="rename the column; an index becomes one with reset_index()",
        )
    column = decoded(table[name])
    if column.null_count:
        row = pc.index(pc.is_null(column), value=True).as_py()
        raise DataError(f"row {row} has no {name}", where=what, remedy="fill it in, or leave out such rows: dropna()")
    if not (
        pa.types.is_string(column.type) or pa.types.is_large_string(column.type) or pa.types.is_integer(column.type)
    ):
        raise DataError(
            f"the column {name} has the type {column.type}, but must hold strings",
            where=what,
            remedy="convert it, for instance with astype(str)",
        )
    return column.cast(pa.string())


def decoded(column: pa.ChunkedArray) -> pa.Array:
    """Return a column in one chunk, categoricals as their values."""
    array = column.combine_chunks()
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_string_view(array.type):
        array = array.cast(pa.string())
    return array.cast(pa.string()) if pa.types.is_null(array.type) else array


def written(columns: dict[str, pa.Array], path: Location) -> Location:
    """Write columns as a Parquet file, and return its path."""
    pq.write_table(pa.table(columns), str(path))
    return path


@contextlib.contextmanager
def told_as(names: dict[Location, str]) -> Iterator[None]:
    """Replace in errors the temporary files of frames by the names that `names` gives them."""
    try:
        yield
    except MLImagesError as error:
        for path, what in names.items():
            if error.where is not None and error.where.startswith(str(path)):
                raise type(error)(error.what, where=what, remedy=error.remedy) from error
        raise


def listed(given: Any, *, what: str) -> Sequence[Any]:
    """Return one or several things as a sequence.

    Raises:
        UsageError: the sequence is empty.
    """
    several = list(given) if isinstance(given, list | tuple) else [given]
    if not several:
        raise UsageError(f"{what} is empty", remedy="pass at least one")
    return several


def _kind(thing: object) -> str:
    return "None" if thing is None else f"of the type {type(thing).__name__}"
