"""Frames as input: data in memory are written to a file that the stages read.

A frame's index is not a column. The names of columns are read regardless of case and of blanks around them; only the
columns that are needed are converted. A column may hold strings, bytes of UTF-8, whole numbers (as ids, floats too) or
categoricals of them.
Missing values and mixed types are refused with their row, counted from 0. Labels and their confidences may be lists.
"""

from __future__ import annotations

import contextlib
import difflib
import os
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mlimages_dataset.api.messages import warn
from mlimages_dataset.core.arguments import is_path
from mlimages_dataset.core.decoding import PACKAGED
from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.core.locations import Location, location, refuse_no_path
from mlimages_dataset.sources.inputs import is_stream, written_stream
from mlimages_dataset.sources.nested import is_list
from mlimages_dataset.sources.rows import NAME_CONFIDENCE, refuse_other_confidence, text_column

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
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

_OTHER_NAMES = {
    "image_id": {"image", "id", "file", "filename", "file_name", "path"},
    "label": {"class", "class_id", "category", "labels", "tag"},
    "confidence": {"conf", "score", "prob", "probability"},
    "location": {"url", "uri"},
    "id": {"class", "class_id", "label"},
    "wnid": {"synset"},
}
"""What other tools call a column, in lower case."""
_NEAR = 0.8


def is_pandas(given: object) -> bool:
    """Return whether an object is a frame of pandas, of any version."""
    return hasattr(given, "to_records") and hasattr(given, "iloc")


def is_frame(given: object) -> bool:
    """Return whether an object is a frame, as `columns_of` takes it."""
    return (
        is_pandas(given)
        or isinstance(given, pa.Table)
        or (
            isinstance(given, ArrowStream)
            and any(hasattr(given, name) for name in ("columns", "column_names", "schema"))
        )
    )


def place(given: object, *, what: str) -> Location:
    """Return the place that a path, a URL or `packaged:NAME` names.

    Raises:
        UsageError: it is no path.
        ConfigError: there is no packaged file of that name.
    """
    if isinstance(given, str) and given.startswith(PACKAGED):
        from mlimages_dataset.recipes.recipe import packaged_file  # noqa: PLC0415 - recipes know every stage, and cost a second

        return packaged_file(given.removeprefix(PACKAGED))
    if is_path(given):
        text = os.fspath(given) if isinstance(given, str | os.PathLike) else str(given)
        refuse_no_path(text, what)
        return given if isinstance(given, Location) else location(text)
    raise UsageError(f"{what} is {kind_of(given)}, which is not a path", remedy="pass a path or a URL")


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


def columns_of(frame: object, needed: Sequence[str], optional: Sequence[str] = (), *, what: str) -> pa.Table:
    """Return the columns of a frame that have a meaning, under their own names.

    A warning names a column that is not read although its name is near that of a column that the frame lacks.

    Raises:
        UsageError: it is not a frame.
        DataError: a column is missing or there twice, or holds values of several types; or confidences have another
            name.
    """
    names, column = _opened(frame, what)
    if "confidence" in optional:
        refuse_other_confidence((name for name in names if isinstance(name, str)), what, NAME_CONFIDENCE)
    found = _places(names, needed, optional, what)
    return pa.table({name: column(at) for name, at in found.items()})


def columns_where(
    frame: object, is_wanted: Callable[[str], bool], *, what: str
) -> Iterator[tuple[str, pa.Array | pa.ChunkedArray]]:
    """Yield the columns of a frame whose names, in lower case, are wanted, without those of mixed types.

    Raises:
        UsageError: it is not a frame.
    """
    names, column = _opened(frame, what)
    for at, name in enumerate(names):
        own = str(name).strip().lower()
        with contextlib.suppress(DataError):
            if is_wanted(own):
                yield own, column(at)


def _opened(frame: Any, what: str) -> tuple[list[Any], Callable[[int], pa.Array | pa.ChunkedArray]]:
    """Return the names of a frame's columns, and a function from the place of a column to its values."""
    if is_pandas(frame):
        names = list(frame.columns)
        return names, lambda at: _array_of(frame.iloc[:, at], names[at], what)
    if not is_frame(frame):
        raise UsageError(f"{what} is {kind_of(frame)}", remedy="pass a frame, an Arrow table or a path")
    table = frame if isinstance(frame, pa.Table) else _table_of(frame, what)
    return table.column_names, table.column


def _table_of(frame: object, what: str) -> pa.Table:
    try:
        return pa.table(frame)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise DataError(f"cannot be read as an Arrow table ({error})", where=what, remedy="convert it") from error


def _places(names: Sequence[object], needed: Sequence[str], optional: Sequence[str], what: str) -> dict[str, int]:
    """Return the positions of columns by their own names."""
    own = [name.strip().casefold() if isinstance(name, str) else name for name in names]
    for name in (*needed, *optional):
        if own.count(name) > 1:
            both = " and ".join(repr(given) for given, one in zip(names, own, strict=True) if one == name)
            raise DataError(f"has two columns {name} ({both})", where=what, remedy="name each differently")
    others = [str(name) for name, one in zip(names, own, strict=True) if one not in {*needed, *optional}]
    for name in needed:
        if name not in own:
            raise _no_column(name, names, others, what)
    for name in optional:
        if name not in own and (near := _nearest(name, others)):
            warn(f"{what}: the column {near!r} is not read; if it is {name}, rename it")
    return {name: own.index(name) for name in (*needed, *optional) if name in own}


def _no_column(name: str, names: Sequence[object], others: Sequence[str], what: str) -> DataError:
    told = ", ".join(map(str, names))[:80] or "none"
    remedy = "rename the column; an index becomes one with reset_index()"
    if any(isinstance(one, tuple) for one in names):
        remedy = f"give its columns names of one level: frame.columns = [..., {name!r}, ...]"
    elif near := _nearest(name, others):
        remedy = f"rename the column {near!r} if it is meant; an index becomes a column with reset_index()"
    return DataError(f"no column {name} among {told}", where=what, remedy=remedy)


def _nearest(name: str, others: Sequence[str]) -> str:
    """Return the column that may be meant by a name; empty if none."""
    by_text = {other.strip().casefold().replace(" ", "_"): other for other in others}
    synonyms = [other for text, other in by_text.items() if text in _OTHER_NAMES.get(name, ())]
    near = difflib.get_close_matches(name, by_text, n=1, cutoff=_NEAR)
    return by_text[near[0]] if near else synonyms[0] if synonyms else ""


def _array_of(column: Any, name: object, what: str) -> pa.Array | pa.ChunkedArray:
    """Return a pandas column as an array."""
    try:
        return _arrow_of(column)
    except UnicodeEncodeError as error:
        told = f"the column {name} holds {error.object!r}, which is not valid Unicode text"
        raise DataError(told, where=what, remedy="decode it again from its bytes") from error
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        kinds = sorted({type(value).__name__ for value in column.dropna()})
        told = f"several types ({', '.join(kinds[:4])})" if len(kinds) > 1 else f"the type {''.join(kinds)}"
        remedy = "give all rows lists or none" if "list" in kinds else "convert it, for instance with astype(str)"
        raise DataError(f"the column {name} holds values of {told}", where=what, remedy=remedy) from error


def _arrow_of(column: Any) -> pa.Array | pa.ChunkedArray:
    """Return a pandas column as an array; raises as `pyarrow.array`."""
    try:
        return pa.array(column, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError):
        if not any(isinstance(value, np.ndarray) for value in column):
            raise
        # Arrays of several types, as pandas makes them of lists in Parquet files.
        return pa.array(
            column.map(lambda value: value.tolist() if isinstance(value, np.ndarray) else value), from_pandas=True
        )


def strings(table: pa.Table, name: str, *, what: str) -> pa.Array:
    """Return a column as strings without nulls.

    Raises:
        DataError: it holds nulls or values other than strings and whole numbers.
    """
    column = decoded(table[name])
    if column.null_count:
        row = pc.index(pc.is_null(column), value=True).as_py()
        raise DataError(f"row {row} has no {name}", where=what, remedy="fill it in, or leave out such rows: dropna()")
    if any(one(column.type) for one in (pa.types.is_floating, pa.types.is_decimal, pa.types.is_binary)):
        column = text_column(column, name, what)  # whole numbers beside missing ones, and bytes: as in files
    if not _is_text(column.type):
        has_lists = is_list(column.type)
        raise DataError(
            f"the column {name} has the type {column.type}, but must hold strings",
            where=what,
            remedy=f'give each value a row: explode("{name}")'
            if has_lists
            else "convert it, for instance with astype(str)",
        )
    return column.cast(pa.string())


def text_lists(table: pa.Table, name: str, *, what: str) -> pa.Array:
    """Return a column as strings, or as lists of strings where it holds lists, without nulls.

    Objects `{label, confidence}`, or lists of them, are returned as they are.

    Raises:
        DataError: it holds nulls or other values.
    """
    column = decoded(table[name])
    kind = column.type.value_type if is_list(column.type) else column.type
    if pa.types.is_struct(kind) and kind.get_field_index(name) >= 0 and not column.null_count:
        return column
    if not is_list(column.type) or not _is_text(column.type.value_type) or column.null_count:
        return strings(table, name, what=what)
    return column.cast(pa.list_(pa.string()))


def _is_text(kind: pa.DataType) -> bool:
    types = pa.types
    kinds = (types.is_string, types.is_large_string, types.is_string_view, types.is_integer, types.is_null)
    return any(is_of(kind) for is_of in kinds)


def decoded(column: pa.ChunkedArray) -> pa.Array:
    """Return a column in one chunk, categoricals as their values."""
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # of no chunk, or of more text than one can hold
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    if pa.types.is_dictionary(array.type):
        values = decoded(pa.chunked_array([array.dictionary]))  # Arrow does not decode views in a dictionary
        array = values.take(array.indices)
    if pa.types.is_string_view(array.type):
        array = array.cast(pa.string())
    return array.cast(pa.string()) if pa.types.is_null(array.type) else array


def written(columns: dict[str, pa.Array], path: Location) -> Location:
    """Write columns as a Parquet file, and return its path."""
    pq.write_table(pa.table(columns), str(path))
    return path


def listed(given: Any, *, what: str) -> Sequence[Any]:
    """Return one or several things as a sequence.

    Raises:
        UsageError: the sequence is empty.
    """
    several = list(given) if isinstance(given, list | tuple) else [given]
    if not several:
        raise UsageError(f"{what} is empty", remedy="pass at least one")
    return several


def kind_of(thing: object) -> str:
    """Return what a thing is, for messages."""
    return "None" if thing is None else f"of the type {type(thing).__name__}"
