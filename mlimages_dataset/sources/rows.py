"""Rows of a user's own table, in whatever file they stand: an image, its label or labels, and what is said of them.

A cell may hold one label, several between which a separator stands, or a list of texts, of whole numbers or of structs
`{label, confidence}`. A confidence is one for all labels of its row, or one for each: a row in which they do not match
is a reject.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.sources.confidence_names import like_confidence
from mlimages_dataset.sources.layout import NEEDED_COLUMNS, TABLE_COLUMNS
from mlimages_dataset.sources.nested import is_list
from mlimages_dataset.sources.rejects import LISTED_REJECTS, REJECT_CHARACTERS, Reject
from mlimages_dataset.sources.source import NUMBERS, WRITTEN, refuse_other_scale
from mlimages_dataset.tables import confidences

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.sources.layout import Layout
    from mlimages_dataset.sources.rejects import RejectLog

    LinesOf = Callable[[Sequence[int]], list[int] | None]

_SHORT = REJECT_CHARACTERS // 2
_TRIMMED = " \t\r\n"
_LABEL, _CONFIDENCE = "label", "confidence"
_LINE, _, _ROW = NUMBERS
NAME_CONFIDENCE = "if it holds the confidences, name it confidence, else give it another name"
"""What to do about such a column where no option names it."""


def our_columns(path: Location, own: list[str], layout: Layout, *, line: int | None) -> list[str]:
    """Return the names of a table's own columns with ours in place of them, see `Layout.renamed`.

    Raises:
        DataError: one that is needed is missing or there twice, or confidences have another name.
    """
    columns = layout.renamed(own)
    repeated = [name for name in TABLE_COLUMNS if columns.count(name) > 1]
    if repeated:
        raise DataError(f"has two columns {repeated[0]}", where=path, line=line, remedy="name each differently")
    missing = [layout.their_name(name) for name in NEEDED_COLUMNS if name not in columns]
    if missing:
        raise DataError(
            f"no column {' and '.join(missing)} among {', '.join(own)[:80]}",
            where=path,
            line=line,
            remedy="give the columns image_id and label, and confidence and location where there are, or say how the "
            "file calls them (--columns image_id=path,label=class)",
        )
    remedy = "say that it holds the confidences (--columns confidence={}), or give it another name"
    refuse_other_confidence(columns, path, remedy, line=line)
    return columns


def refuse_other_confidence(
    columns: Iterable[str], where: object, remedy: str, *, each: str = "label", line: int | None = None
) -> None:
    """Refuse a table whose confidences have the name that others call them: each label would be sure.

    Args:
        columns: its columns.
        where: the table, for the message.
        remedy: what to do; `{}` stands for the column.
        each: what a row states.
        line: of the columns.

    Raises:
        DataError: it has such a column, and none called confidence in any case.
    """
    names = list(columns)
    if (likely := like_confidence(names)) and _CONFIDENCE not in {name.strip().casefold() for name in names}:
        raise DataError(
            f"has a column {likely} and no column confidence, so each {each} would be sure",
            where=where,
            line=line,
            remedy=remedy.format(likely),
        )


def columns_sql(columns: Sequence[str], confidence: str) -> str:
    """Return SQL for the columns of `Source.observe` of such a table, `confidence` where it has such a column."""
    confidence = confidence if _CONFIDENCE in columns else "1::FLOAT AS confidence, NULL AS stated"
    location = "coalesce(location, '')" if "location" in columns else "''"
    return f"image_id::VARCHAR AS image_id, label::VARCHAR AS class_id, {confidence}, {location} AS location"


def split_cell(cell: str, separator: str) -> list[str]:
    """Return what stands in a cell; several blanks are one separator.

    >>> split_cell("dog | cat", "|"), split_cell(" 3  7 ", " "), split_cell("dog", "")
    (['dog', 'cat'], ['3', '7'], ['dog'])
    """
    if not separator:
        return [cell]
    return [part.strip(_TRIMMED) for part in re.split(_pattern(separator), cell.strip(_TRIMMED))]


def _pattern(separator: str) -> str:
    return f"(?:{re.escape(separator)})+" if separator.isspace() else re.escape(separator)


def _split(cells: pa.Array, separator: str) -> pa.ListArray:
    """Return what stands in each cell, as `split_cell`; a null is one label that nobody named."""
    filled = pc.fill_null(pc.cast(cells, pa.string()), "")
    parts = pc.split_pattern_regex(pc.utf8_trim(filled, _TRIMMED), _pattern(separator))
    return pa.ListArray.from_arrays(parts.offsets, pc.utf8_trim(parts.values, _TRIMMED))


def statements_of(
    columns: Mapping[str, pa.Array],
    separator: str,
    path: Location,
    log: RejectLog,
    *,
    first_row: int | None = None,
    lines_of: LinesOf | None = None,
) -> pa.RecordBatch:
    """Return the columns of a table as texts, confidences as texts or float32, one row a label.

    Where a row has no image, label or confidence, or confidences are texts, the rows' numbers and such confidences as
    texts are columns too.

    Args:
        columns: by name.
        separator: what stands between labels in a cell; empty for nothing.
        path: the file.
        log: of rows that are no rows.
        first_row: the number of the first row in its file, from 1; None where rows have none.
        lines_of: returns the lines on which rows begin, from their numbers, or None where nobody knows; None itself
            for a file that is not of lines.

    Raises:
        DataError: a column holds what is not text or not a number, or confidences of another scale.
    """
    given = {name: plain(column) for name, column in columns.items()}
    if first_row is not None:
        given[_ROW] = pa.array(np.arange(first_row, first_row + len(given["image_id"])))
    found = _one_row_a_label(given, separator, path, log, lines_of)
    numbers = found.pop(_ROW, None)
    texts = {name: text_column(column, name, path) for name, column in found.items() if name != _CONFIDENCE}
    is_whole = all(has_texts(texts[name]) for name in NEEDED_COLUMNS)
    if _CONFIDENCE in found:
        texts[_CONFIDENCE] = confidence = _confidence_column(found[_CONFIDENCE], texts, numbers, path)
        is_whole = is_whole and confidence.type == pa.float32() and not confidence.null_count
        if confidence.type == pa.float32() and confidence.null_count:
            texts[WRITTEN] = _as_written(pc.if_else(pc.is_null(confidence), found[_CONFIDENCE], None))
    if numbers is not None and not is_whole:
        lines = None if lines_of is None else lines_of(numbers.to_pylist())
        if lines is not None:
            texts[_LINE] = pa.array(lines, pa.int64())
        elif lines_of is None:
            texts[_ROW] = numbers
    return pa.RecordBatch.from_pydict(texts)


def has_texts(column: pa.Array | pa.ChunkedArray) -> bool:
    """Return whether no text of a column is empty; none is null."""
    return not column.null_count and pc.min(pc.binary_length(column)).as_py() != 0


def _as_written(numbers: pa.Array) -> pa.StringArray:
    halves = numbers.type == pa.float16()
    return pc.cast(pc.cast(numbers, pa.float32()) if halves else numbers, pa.string())


def plain(column: pa.Array) -> pa.Array:
    """Return a column without what only says how it is stored: dictionaries, views."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return plain(column.dictionary_decode())
    if pa.types.is_string_view(kind):
        return pc.cast(column, pa.string())
    if pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind):
        return pc.cast(column, pa.large_list(kind.value_type))
    return column


def _one_row_a_label(
    columns: dict[str, pa.Array], separator: str, path: Location, log: RejectLog, lines_of: LinesOf | None
) -> dict[str, pa.Array]:
    """Return rows of several labels as one row a label."""
    columns = _unstructured(columns, path)
    if separator and _is_text(columns[_LABEL].type):
        columns = {**columns, _LABEL: _split(columns[_LABEL], separator)}
    if not is_list(columns[_LABEL].type):
        return columns
    one_for_all = bool(separator) and _CONFIDENCE in columns and _is_text(columns[_CONFIDENCE].type)
    if one_for_all:
        columns = {**columns, _CONFIDENCE: _split(columns[_CONFIDENCE], separator)}
    if _CONFIDENCE in columns and is_list(columns[_CONFIDENCE].type):
        columns = _aligned(columns, path, log, lines_of, one_for_all=one_for_all)
    label = columns[_LABEL]
    rows = pc.list_parent_indices(label)
    flat = {name: column.take(rows) for name, column in columns.items() if not is_list(column.type)}
    flat[_LABEL] = plain(pc.list_flatten(label))
    if _CONFIDENCE in columns and _CONFIDENCE not in flat:
        flat[_CONFIDENCE] = _each(columns[_CONFIDENCE], label)
    return _unstructured(flat, path)


def _aligned(
    columns: dict[str, pa.Array], path: Location, log: RejectLog, lines_of: LinesOf | None, *, one_for_all: bool
) -> dict[str, pa.Array]:
    """Return the rows with a confidence for each label, or with one for all; log the others."""
    n_labels, n_stated = (_lengths(columns[name]) for name in (_LABEL, _CONFIDENCE))
    good = (n_labels == n_stated) | (one_for_all & (n_stated == 1))
    bad = np.flatnonzero(~good)
    if not len(bad):
        return columns
    listed = pa.array(bad[:LISTED_REJECTS])
    images = columns["image_id"].take(listed).to_pylist()
    numbers = columns[_ROW].take(listed).to_pylist() if _ROW in columns else []
    lines = (lines_of(numbers) if lines_of else None) or [0] * len(listed)
    rows = [f"row {number}: " for number in numbers] if lines_of is None and numbers else [""] * len(listed)
    told = [
        Reject(
            str(path), line, f"{row}{n_stated[i]} confidences of {n_labels[i]} labels", str(image)[:REJECT_CHARACTERS]
        )
        for i, image, line, row in zip(bad, images, lines, rows, strict=False)
    ]
    log.add(told, len(bad))
    return {name: column.filter(pa.array(good)) for name, column in columns.items()}


def _each(confidence: pa.Array, label: pa.Array) -> pa.Array:
    """Return the confidence of each label of rows of lists, where one may be that of all labels of its row."""
    n_labels, n_stated = _lengths(label), _lengths(confidence)
    rows = np.repeat(np.arange(len(n_labels)), n_labels)
    place = np.arange(len(rows)) - (np.cumsum(n_labels) - n_labels)[rows]
    at = (np.cumsum(n_stated) - n_stated)[rows] + np.where(n_stated == 1, 0, 1)[rows] * place
    return plain(pc.list_flatten(confidence)).take(pa.array(at))


def _lengths(lists: pa.Array) -> NDArray[np.int64]:
    lengths = pc.fill_null(pc.cast(pc.list_value_length(lists), pa.int64()), 0)
    return np.asarray(lengths.to_numpy(zero_copy_only=False))


def _unstructured(columns: dict[str, pa.Array], path: Location) -> dict[str, pa.Array]:
    """Return columns in which a struct `{label, confidence}` is two.

    Raises:
        DataError: confidences stand in the struct and in a column of their own, or have another name there.
    """
    label = columns[_LABEL]
    if not pa.types.is_struct(label.type) or _LABEL not in {field.name for field in label.type}:
        return columns
    found = {**columns, _LABEL: plain(pc.struct_field(label, _LABEL))}
    keys = [field.name for field in label.type]
    refuse_other_confidence(keys, f"{path}: the column label", "rename it to confidence", each="label")
    if _CONFIDENCE in keys:
        if _CONFIDENCE in columns:
            what = "confidences stand in the column confidence and in the structs of the column label"
            raise DataError(what, where=path, remedy="leave out one of them")
        found[_CONFIDENCE] = plain(pc.struct_field(label, _CONFIDENCE))
    return found


def shown_values(*values: object) -> str:
    """Return the values of a row for people, each without its end if it is long.

    >>> shown_values("a.jpg", None, 87)
    'a.jpg, , 87'
    """
    texts = ("" if value is None else str(value) for value in values)
    return ", ".join(text if len(text) <= _SHORT else f"{text[: _SHORT - 3]}..." for text in texts)


def _is_text(kind: pa.DataType) -> bool:
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    return any(one(kind) for one in kinds)


def text_column(column: pa.Array, name: str, where: object) -> pa.Array:
    """Return a column of texts, bytes of UTF-8, or whole numbers as texts.

    Raises:
        DataError: it holds something else.
    """
    kind = column.type
    try:
        if pa.types.is_floating(kind):  # what pandas makes of whole numbers where some are missing
            return pc.cast(pc.cast(pc.cast(column, pa.float64()), pa.int64()), pa.string())
        if pa.types.is_decimal(kind) and kind.scale > 0:
            return pc.cast(pc.cast(column, pa.decimal256(76 - kind.scale, 0)), pa.string())
        if pa.types.is_fixed_size_binary(kind) or pa.types.is_binary_view(kind):
            column = pc.cast(column, pa.binary())
        if pa.types.is_nested(kind) or pa.types.is_temporal(kind) or pa.types.is_boolean(kind):
            raise _no_text(name, kind, where)
        return pc.cast(column, pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise _no_text(name, kind, where) from error


def _no_text(name: str, kind: pa.DataType, where: object) -> DataError:
    return DataError(f"its column {name} is {kind}, not text", where=where, remedy="give texts or whole numbers")


def _confidence_column(
    column: pa.Array, texts: Mapping[str, pa.Array], numbers: pa.Array | None, where: Location
) -> pa.Array:
    try:
        row, beyond = confidences.beyond_one(column)
        if beyond:
            image, label = (texts[name][row].as_py() for name in NEEDED_COLUMNS)
            place = "" if numbers is None else f"row {numbers[row].as_py():,}: "
            refuse_other_scale(beyond, where, first=f"{place}{shown_values(image, label, column[row].as_py())!r}")
        return confidences.of_column(column)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(
            f"its column confidence is {column.type}, not a number", where=where, remedy="give numbers from 0 to 1"
        ) from error
