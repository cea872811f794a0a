"""JSON lines: an object a line, with the keys image_id and label, and perhaps confidence and location.

https://jsonlines.org, https://github.com/ndjson/ndjson-spec. A label is a text or a whole number, a list of these, or a
list of objects `{"label": ..., "confidence": ...}`; a confidence is a number, or a list of as many as there are labels.
Each line is read by itself: one that is not such an object is a reject. One array of objects is read likewise, as a
stream. Where `Layout` says how the file calls a key, `annotation.label` is the key `label` of the object under
`annotation`.
"""

from __future__ import annotations

import codecs
import contextlib
import functools
import itertools
import json
from typing import TYPE_CHECKING, ClassVar

import pyarrow as pa

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.sources.confidence_names import like_confidence
from mlimages_dataset.sources.json_items import item_texts_of
from mlimages_dataset.sources.layout import NEEDED_COLUMNS, TABLE_COLUMNS, Layout
from mlimages_dataset.sources.lines import line_blocks
from mlimages_dataset.sources.pieces import Piece, cut_lines
from mlimages_dataset.sources.places import opened
from mlimages_dataset.sources.rejects import REJECT_CHARACTERS, Reject, RejectLog
from mlimages_dataset.sources.rows import split_cell
from mlimages_dataset.sources.source import NUMBERS, Source, observed
from mlimages_dataset.sources.tables import selected

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    import duckdb

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.sources.source import Connect

_ROW = pa.schema([(name, pa.string()) for name in TABLE_COLUMNS])
_LINE, _ITEM, _ = NUMBERS
_LOOK_BYTES = 1 << 10
_BLOCK_ITEMS = 1 << 14
_CERTAIN = "1"
_LONGEST_KEY = 64
"""Characters of a key that may be one of ours; a longer one is not held in memory."""
_NOTHING = object()
"""What stands under a key that is not there."""


class JsonLines(Source):
    """Files of JSON lines."""

    name: ClassVar[str] = "jsonl"
    suffixes: ClassVar[tuple[str, ...]] = (".jsonl", ".ndjson", ".json")
    member_suffixes: ClassVar[tuple[str, ...]] = suffixes
    heeds: ClassVar[frozenset[str]] = frozenset({"columns", "separator"})

    def piece_as_stated(self, path: Location, layout: Layout) -> Piece:
        """See `Source.piece_as_stated`."""
        if layout.has_no_header:
            raise DataError(
                "names its keys itself, as JSON does",
                where=path,
                remedy="say how it calls ours, such as image_id=path,label=annotation.class",
            )
        return super().piece_as_stated(path, layout)

    def cut(self, piece: Piece) -> list[Piece]:
        """See `Source.cut`: an array is one piece."""
        return [piece] if is_array(piece.path) else cut_lines(piece)

    def observe(self, connect: Connect, piece: Piece, log: RejectLog) -> Iterator[duckdb.DuckDBPyConnection]:
        """See `Source.observe`."""
        yield from observed(connect(), _batches(piece, log), selected)


def keys_of(path: Location) -> set[str]:
    """Return the keys of the first object of a file, in lower case; empty if there is none among the first.

    Raises:
        DataError: the file is empty, no text, or no complete array.
    """
    blocks = _item_blocks(path) if is_array(path) else _line_blocks(Piece(path), RejectLog())
    for text in filter(str.strip, next((texts for _, texts in blocks), [])):
        with contextlib.suppress(_Refused):
            return {key.strip().casefold() for key in _object_of(text)}
    return set()


class _Refused(ValueError):  # noqa: N818 - it never leaves this module
    """A line is no row; it says why."""


class _Number(str):
    """A number as the file writes it: its digits say more than a float can hold."""

    __slots__ = ()


def _batches(piece: Piece, log: RejectLog) -> Iterator[pa.RecordBatch]:
    """Yield rows of texts, one a label; a line that is no row is logged."""
    keys = {name: piece.layout.their_name(name) for name in TABLE_COLUMNS}
    of_array = is_array(piece.path)
    schema = _ROW.append(pa.field(_ITEM if of_array else _LINE, pa.int64()))
    for first, texts in _item_blocks(piece.path) if of_array else _line_blocks(piece, log):
        columns: list[list[str]] = [[] for _ in TABLE_COLUMNS]
        numbers: list[int] = []
        for number, text in enumerate(texts, first):
            if not text.strip():
                continue
            try:
                rows = _rows(text, keys, piece.layout.separator)
            except _Refused as refused:
                line, what = (0, f"item {number}: {refused}") if of_array else (number, str(refused))
                log.add([Reject(str(piece.path), line, what, text[:REJECT_CHARACTERS])], 1)
                continue
            numbers += [number] * len(rows)
            for row in rows:
                for column, value in zip(columns, row, strict=True):
                    column.append(value)
        arrays = (pa.array(column, pa.string()) for column in columns)
        yield pa.RecordBatch.from_arrays([*arrays, pa.array(numbers, pa.int64())], schema=schema)


def is_array(path: Location) -> bool:
    """Return whether a file is one array of objects, not an object a line."""
    with opened(path) as stream:
        return stream.read(_LOOK_BYTES).removeprefix(codecs.BOM_UTF8).lstrip(b" \t\r\n").startswith(b"[")


def _line_blocks(piece: Piece, log: RejectLog) -> Iterator[tuple[int, list[str]]]:
    for first, lines in line_blocks(piece, log):
        yield first, lines.to_pylist()


def _item_blocks(path: Location) -> Iterator[tuple[int, list[str]]]:
    """Yield the items of an array by blocks, with the number of the first of each."""
    items = item_texts_of(path)
    for first in itertools.count(1, _BLOCK_ITEMS):
        block = list(itertools.islice(items, _BLOCK_ITEMS))
        if not block:
            return
        yield first, block


def _rows(line: str, keys: Mapping[str, str], separator: str) -> list[tuple[str, str, str, str]]:
    """Return image, label, confidence and location of each label of a line; empty for a null.

    Raises:
        _Refused: it is no such object.
    """
    row = _object_of(line)
    own = _own_names(row)
    stated = {ours: _value(row, own.get(ours, ours) if theirs == ours else theirs) for ours, theirs in keys.items()}
    for name in NEEDED_COLUMNS:
        if stated[name] is _NOTHING:
            raise _Refused(f"no {keys[name]} among {', '.join(row)}" if row else "an empty object")
    if stated["confidence"] is _NOTHING and (likely := like_confidence(row)):
        raise _Refused(f"a key {likely} and no key confidence: say --columns confidence={likely}, or rename it")
    image, location = (_text(stated[name], keys[name]) for name in ("image_id", "location"))
    labels, confidences = _labels(stated["label"], separator)
    if stated["confidence"] is not _NOTHING:
        if any(confidence is not None for confidence in confidences):
            raise _Refused("confidences stand in its labels and beside them")
        confidences = _confidences(stated["confidence"], len(labels), separator)
    return [
        (image, label, _CERTAIN if confidence is None else confidence, location)
        for label, confidence in zip(labels, confidences, strict=True)
    ]


def _own_names(keys: Collection[str]) -> dict[str, str]:
    """Return what an object calls each key of ours: as of columns, case and blanks around a name do not count.

    Raises:
        _Refused: two of its keys are one of ours.
    """
    found: dict[str, str] = {}
    for theirs in keys:
        ours = _own_name(theirs) if len(theirs) <= _LONGEST_KEY else ""
        if not ours or (ours != theirs and ours in keys):
            continue
        if ours in found:
            raise _Refused(f"the key {ours} stands twice")
        found[ours] = theirs
    return found


@functools.lru_cache(maxsize=1 << 12)
def _own_name(key: str) -> str:
    """Return which key of ours a key is, as `Layout.renamed` has it; empty for none."""
    plain = key.strip().casefold()
    return plain if plain in TABLE_COLUMNS else ""


def _object_of(line: str) -> dict[str, object]:
    try:
        found: object = _DECODER.decode(line)
        if "\\u" in line:
            json.dumps(found, ensure_ascii=False).encode()  # half of a surrogate pair is no text
    except _Refused:
        raise
    except RecursionError as error:
        raise _Refused("nested too deeply") from error
    except UnicodeError as error:
        raise _Refused("an escape is no character") from error
    except ValueError as error:
        raise _Refused(f"no JSON ({str(error).partition(':')[0]})") from error
    if not isinstance(found, dict):
        raise _Refused("no JSON object")
    return found


def _distinct(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _Refused(f"the key {next(name for name in names if names.count(name) > 1)} stands twice")
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_distinct, parse_float=_Number, parse_int=_Number, parse_constant=_Number)


def _value(row: object, key: str) -> object:
    """Return what stands under a key, or under a path of keys between which dots stand."""
    if not isinstance(row, dict):
        return _NOTHING
    if key in row:
        value: object = row[key]
        return value
    parents = (key[:at] for at, sign in enumerate(key) if sign == ".")
    found = (_value(row[parent], key[len(parent) + 1 :]) for parent in parents if parent in row)
    return next((value for value in found if value is not _NOTHING), _NOTHING)


def _labels(value: object, separator: str) -> tuple[list[str], list[str | None]]:
    """Return labels, and the confidence of each that is an object with one."""
    if isinstance(value, str) and not isinstance(value, _Number):
        labels = split_cell(value, separator)
        return labels, [None] * len(labels)
    several = value if isinstance(value, list) else [value]
    objects = [one if isinstance(one, dict) else {"label": one} for one in several]
    labels = [_text(one.get("label"), "label") for one in objects]
    if likely := next(filter(None, (like_confidence(one) for one in objects if "confidence" not in one)), ""):
        raise _Refused(f"a label has a key {likely} and no key confidence: rename it")
    return labels, [_number(one["confidence"]) if "confidence" in one else None for one in objects]


def _confidences(value: object, n_labels: int, separator: str) -> list[str | None]:
    if isinstance(value, list):
        found = [_number(one) for one in value]
    else:
        found = split_cell(_number(value), separator)
        found = found * n_labels if len(found) == 1 else found
    if len(found) != n_labels:
        raise _Refused(f"{len(found)} confidences of {n_labels} labels")
    return list(found)


def _text(value: object, key: str) -> str:
    """Return a text or a whole number as text, an empty one for a null or nothing.

    Raises:
        _Refused: it is neither.
    """
    if value is None or value is _NOTHING:
        return ""
    if isinstance(value, _Number):
        whole = value.removesuffix(".0")  # what pandas makes of whole numbers where some are missing
        if whole.lstrip("-").isdecimal():
            return str(whole)
    elif isinstance(value, str):
        return str(value)
    raise _Refused(f"its {key} is {_shown(value)}, not text")


def _number(value: object) -> str:
    """Return a number as text, or a text that may be one, an empty one for a null.

    Raises:
        _Refused: it is neither.
    """
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _Refused(f"its confidence is {_shown(value)}, not a number")
    return str(value)


def _shown(value: object) -> str:
    return str(value)[:REJECT_CHARACTERS] if isinstance(value, _Number) else json.dumps(value)[:REJECT_CHARACTERS]
