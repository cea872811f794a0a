"""Rows of labels and boxes in CSV, read by a compiled loop.

The loop takes only rows as published files write them: texts in printable ASCII, confidences and sides in the image as
plain decimals, flags of one digit. All others are left, as they are, to a reader that knows what to say of them. Of a
row that it takes, it makes what that reader would: a decimal of 15 digits and its power of ten are whole numbers that
float64 holds, so their quotient is the nearest float64 (Clinger 1990, "How to read floating point numbers accurately").

Legend: R rows, B bytes, F fields of a row.
"""

from __future__ import annotations

from enum import IntEnum, auto
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from mlimages_dataset.core.compiled import compiled
from mlimages_dataset.sources.blocks import Block
from mlimages_dataset.sources.source import BOX, REGION, STATEMENT
from mlimages_dataset.tables.arrays import arrow_of, repeated
from mlimages_dataset.tables.confidences import LEAST, MOST
from mlimages_dataset.tables.schemas import REGION_FLAGS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


class Field(IntEnum):
    """What a field of a row is; flags follow `FLAG` in the order of `REGION_FLAGS`."""

    UNREAD = 0
    IMAGE = auto()
    CLASS = auto()
    MASK = auto()
    SOURCE = auto()
    XMIN = auto()
    YMIN = auto()
    XMAX = auto()
    YMAX = auto()
    CONFIDENCE = auto()
    FLAG = auto()


FIELD_OF_SIDE = dict(zip(BOX, (Field.XMIN, Field.YMIN, Field.XMAX, Field.YMAX), strict=True))
_TEXTS = {"image_id": Field.IMAGE, "class_id": Field.CLASS, "mask": Field.MASK}
_UNREAD, _IMAGE, _CLASS, _MASK = (int(one) for one in (Field.UNREAD, *_TEXTS.values()))
_SOURCE = int(Field.SOURCE)
MACHINE = "machine"
"""The source of which everything is only likely."""
PEOPLE = ("verification", "crowdsource-verification", "human", "xclick", "activemil", "hierarchyfix", "freeform")
"""The sources of which a person has drawn or verified everything: of labels, of labels and boxes of V1 and V2, and of
boxes."""
_SOURCES = np.array([MACHINE, *PEOPLE], np.bytes_)
_NAMES_OF_SOURCES = _SOURCES.view(np.uint8).reshape(len(_SOURCES), -1)
_LENGTHS_OF_SOURCES = np.array([len(one) for one in (MACHINE, *PEOPLE)])
_XMIN, _CONFIDENCE, _FLAG = int(Field.XMIN), int(Field.CONFIDENCE), int(Field.FLAG)
_NEWLINE, _POINT, _MINUS, _ZERO, _BLANK, _TILDE = b"\n.-0 ~"
_SLASHES = tuple(b"/\\")
_MOST_DIGITS = 15
_LOOKED_AT = 1 << 18
"""Bytes of a block that tell whether most of its rows are usual."""
COMPILED_BYTES = 1 << 24
"""The least block whose rows a compiled loop reads: where no machine code is kept, it takes seconds to make."""
_TENS = 10.0 ** np.arange(_MOST_DIGITS + 1)


class _Rows(NamedTuple):
    """Room for R rows that the loop has taken.

    Attributes:
        starts: of the image, the class and the mask in the bytes, shape (3, R).
        lengths: of these, 0 for a mask that there is none of, shape (3, R).
        numbers: xmin, ymin, xmax, ymax and the confidence, shape (5, R).
        flags: in the order of `REGION_FLAGS`, shape (number of these, R).
    """

    starts: NDArray[np.int64]
    lengths: NDArray[np.int32]
    numbers: NDArray[np.float32]
    flags: NDArray[np.bool_]

    @classmethod
    def empty(cls, n: int) -> _Rows:
        """Return room for `n` rows: boxes of the whole image, sure and without flags, until a row says otherwise."""
        numbers = np.ones((len(BOX) + 1, n), np.float32)
        numbers[:2] = 0
        flags = np.zeros((len(REGION_FLAGS), n), np.bool_)
        return cls(np.zeros((len(_TEXTS), n), np.int64), np.zeros((len(_TEXTS), n), np.int32), numbers, flags)


def fields_of(columns: Sequence[str], roles: Mapping[str, int]) -> NDArray[np.int8]:
    """Return the `Field` of each column, shape (F,); `roles` has those that are read."""
    return np.array([roles.get(name, Field.UNREAD) for name in columns], np.int8)


def is_for_loops(block: Block) -> bool:
    """Return whether a block is large enough for compiled loops, and has no quotes, which only SQL knows."""
    return len(block.content) >= COMPILED_BYTES and b'"' not in block.content


def usual_boxes(block: Block, delimiter: str, fields: NDArray[np.int8]) -> tuple[pa.RecordBatch, Block]:
    """Return the boxes of rows that are written as usual, and the lines that are not.

    Args:
        block: rows without quotes.
        delimiter: a sign of ASCII.
        fields: of a row, shape (F,).

    Returns:
        Boxes in the columns of `REGION`, in the order of their lines, and the other lines but that of the header; no
        box, and the block, if most of its first rows are not written so.
    """
    rows, n, left = _usual(block, delimiter, fields, absences=False)
    columns: dict[str, pa.Array] = {
        **_texts_of(block, rows, n),
        **{name: arrow_of(rows.numbers[at, :n]) for at, name in enumerate((*BOX, "confidence"))},
        **{name: arrow_of(rows.flags[at, :n]) for at, name in enumerate(REGION_FLAGS)},
        "location": repeated("", n),
        **dict.fromkeys(("clipped", "outline"), arrow_of(np.zeros(n, np.bool_))),
    }
    return pa.RecordBatch.from_arrays([columns[name] for name in REGION.names], schema=REGION), left


def usual_statements(block: Block, delimiter: str, fields: NDArray[np.int8]) -> tuple[pa.RecordBatch, Block]:
    """Return the statements of rows that are written as usual, in the columns of `STATEMENT`, and the other lines.

    Arguments as for `usual_boxes`; a confidence of 0 says that a class is absent.
    """
    rows, n, left = _usual(block, delimiter, fields, absences=True)
    texts = _texts_of(block, rows, n)
    columns = [texts["image_id"], texts["class_id"], arrow_of(rows.numbers[len(BOX), :n]), repeated("", n)]
    return pa.RecordBatch.from_arrays(columns, schema=STATEMENT), left


def _usual(block: Block, delimiter: str, fields: NDArray[np.int8], *, absences: bool) -> tuple[_Rows, int, Block]:
    """Return room for rows, how many usual ones it has, and the other lines but that of the header."""
    content, n_lines = block.content, len(block.lines)
    letters = np.frombuffer(content, np.uint8)
    begin = (content.find(b"\n") + 1 or len(content), 1) if block.header else (0, 0)
    first = content.rfind(b"\n", begin[0], begin[0] + _LOOKED_AT) + 1
    if first:
        looked_at = content.count(b"\n", begin[0], first)
        room = _Rows.empty(looked_at), np.empty((looked_at, 3), np.int64)
        if 2 * _read(letters[:first], begin, ord(delimiter), fields, absences, room) < looked_at:
            return room[0], 0, block  # most rows would be read twice
    rows, others = _Rows.empty(n_lines), np.empty((n_lines, 3), np.int64)
    n = _read(letters, begin, ord(delimiter), fields, absences, (rows, others))
    left = others[: n_lines - int(block.header) - n]
    offsets = np.append(0, np.cumsum(left[:, 2] - left[:, 1])).astype(np.int32)
    rest = np.empty(offsets[-1], np.uint8)
    _gather(letters, left[:, 1].copy(), offsets, rest)
    lines = [block.lines[at] for at in left[:, 0].tolist()]
    return rows, n, Block(rest.tobytes(), lines, header=False).amid(delimiter, len(fields))


def _texts_of(block: Block, rows: _Rows, n: int) -> dict[str, pa.StringArray]:
    letters = np.frombuffer(block.content, np.uint8)
    return {name: _texts_at(letters, rows.starts[at, :n], rows.lengths[at, :n]) for at, name in enumerate(_TEXTS)}


@compiled
def _read(  # noqa: C901, PLR0912, PLR0917 - one pass over the fields of a row; compiled code takes no keywords
    letters: NDArray[np.uint8],
    span: tuple[int, int],
    delimiter: int,
    fields: NDArray[np.int8],
    absences: bool,  # noqa: FBT001 - as above
    found: tuple[_Rows, NDArray[np.int64]],
) -> int:
    """Fill rows with those that are written as usual, and return how many there are.

    Args:
        letters: shape (B,).
        span: the byte to begin at, and the number of its line.
        delimiter: a byte.
        fields: shape (F,).
        absences: whether a confidence may be 0.
        found: takes usual rows, and the number, the start and the end of each other line, shape (R, 3).
    """
    (starts, lengths, numbers, flags), others = found  # here, not in the loop: each `rows.starts` costs an atomic count
    at, line = span
    n = n_others = 0
    end = len(letters)
    while at < end:
        begin, usual, field, machine = at, True, 0, 0
        while usual:
            what = fields[field]
            if what < _XMIN:
                start, at = at, _text_end(letters, at, delimiter)
                if what == _SOURCE:
                    machine = _machine(letters, start, at)
                    usual = machine >= 0
                elif what != _UNREAD:
                    starts[what - _IMAGE, n] = start
                    lengths[what - _IMAGE, n] = at - start
                    usual = at > start or what == _MASK
                    if what == _IMAGE and usual:
                        usual = letters[start] != _POINT or letters[at - 1] not in _SLASHES  # `./` names no image
            elif what < _FLAG:
                at, number = _number(letters, at)
                usual = number >= 0 if what < _CONFIDENCE or absences else number > 0
                rounded = np.float32(number)
                if what == _CONFIDENCE and 0 < number < 1:
                    rounded = min(max(rounded, LEAST), MOST)
                numbers[what - _XMIN, n] = rounded
            else:
                at, flag = _flag(letters, at)
                usual &= flag >= 0
                flags[what - _FLAG, n] = flag == 1
            field += 1
            if field == len(fields):
                break
            usual &= at < end and letters[at] == delimiter
            at += usual
        usual &= at >= end or letters[at] == _NEWLINE
        while at < end and letters[at] != _NEWLINE:
            at += 1
        at = min(at + 1, end)
        xmin, ymin, xmax, ymax = numbers[0, n], numbers[1, n], numbers[2, n], numbers[3, n]
        if usual and xmin < xmax and ymin < ymax:
            if machine == 1:
                numbers[_CONFIDENCE - _XMIN, n] = min(max(numbers[_CONFIDENCE - _XMIN, n], LEAST), MOST)
            n += 1
        else:
            others[n_others] = line, begin, at
            n_others += 1
        line += 1
    return n


@compiled
def _text_end(letters: NDArray[np.uint8], at: int, delimiter: int) -> int:
    while at < len(letters) and letters[at] != delimiter and _BLANK <= letters[at] <= _TILDE:
        at += 1
    return at


@compiled
def _machine(letters: NDArray[np.uint8], start: int, stop: int) -> int:
    """Return 1 for the source `MACHINE`, 0 for one of `PEOPLE`, and -1 for any other text, such as `Machine`."""
    for source in range(len(_LENGTHS_OF_SOURCES)):
        if stop - start == _LENGTHS_OF_SOURCES[source]:
            at = 0
            while at < stop - start and letters[start + at] == _NAMES_OF_SOURCES[source, at]:
                at += 1
            if at == stop - start:
                return 1 if source == 0 else 0
    return -1


@compiled
def _number(letters: NDArray[np.uint8], at: int) -> tuple[int, float]:
    """Return where a plain decimal from 0 to 1 ends, and its float64; -1 for what is none, or has too many digits."""
    start = at
    at, number = _digits(letters, at, 0)
    n_digits, n_decimals = at - start, 0
    if at < len(letters) and letters[at] == _POINT:
        first = at + 1
        at, number = _digits(letters, first, number)
        n_decimals = at - first
        if n_decimals == 0:
            return at, -1.0
    if n_digits == 0 or n_digits + n_decimals > _MOST_DIGITS:
        return at, -1.0
    value = number / _TENS[n_decimals]
    return at, value if value <= 1 else -1.0


@compiled
def _digits(letters: NDArray[np.uint8], at: int, number: int) -> tuple[int, int]:
    """Return where digits end, and the whole number that they make after those of `number`."""
    while at < len(letters):
        digit = int(letters[at]) - _ZERO
        if not 0 <= digit <= 9:  # noqa: PLR2004 - the last digit
            break
        number = 10 * number + digit
        at += 1
    return at, number


@compiled
def _flag(letters: NDArray[np.uint8], at: int) -> tuple[int, int]:
    """Return where one of 1, 0 and -1 (unknown, so 0) ends, and which it is; -1 for anything else."""
    is_unknown = at < len(letters) and letters[at] == _MINUS
    at += is_unknown
    if at < len(letters) and letters[at] == _ZERO + 1:
        return at + 1, 0 if is_unknown else 1
    if at < len(letters) and letters[at] == _ZERO and not is_unknown:
        return at + 1, 0
    return at, -1


def _texts_at(letters: NDArray[np.uint8], starts: NDArray[np.int64], lengths: NDArray[np.int32]) -> pa.StringArray:
    """Return R texts of bytes, each given by its start and length, shapes (R,)."""
    offsets = np.zeros(len(starts) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    found = np.empty(offsets[-1], np.uint8)
    _gather(letters, starts, offsets, found)
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(found)]
    return pa.Array.from_buffers(pa.string(), len(starts), buffers)


@compiled
def _gather(
    letters: NDArray[np.uint8], starts: NDArray[np.int64], offsets: NDArray[np.int32], found: NDArray[np.uint8]
) -> None:
    """Fill `found` with the bytes from each start on, in turn; text R ends at `offsets[R + 1]`."""
    for row in range(len(starts)):
        shift = starts[row] - offsets[row]
        for at in range(offsets[row], offsets[row + 1]):
            found[at] = letters[at + shift]
