"""The items of a list in a JSON document of any size, read as a stream: a few at a time are in memory.

https://www.rfc-editor.org/rfc/rfc8259

A compiled loop finds where items end, and orjson decodes about a block of them at once, faster than a parser that makes
an event of each number. Lists that are not asked for are passed over by their brackets alone.
"""

from __future__ import annotations

import functools
import json
from typing import IO, TYPE_CHECKING, Any, TypeAlias

import numpy as np
import orjson

from mlimages_dataset.core.compiled import compiled
from mlimages_dataset.core.decimals import nearest_float, needs_digits
from mlimages_dataset.core.errors import DataError
from mlimages_dataset.sources.places import opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa
    from numpy.typing import NDArray

    from mlimages_dataset.core.locations import Location

    _Decode: TypeAlias = Callable[[bytes, NDArray[np.int64]], list[Any]]

BLOCK_BYTES = 1 << 20
MOST_ITEM_BYTES = 1 << 28
"""The longest item: a document that opens a bracket or a quote and never closes it would fill the memory."""
_BOM = b"\xef\xbb\xbf"
_CLOSER_OF = {ord("{"): ord("}"), ord("["): ord("]")}
_QUOTE, _BACKSLASH, _OPENER, _CLOSER, _COMMA_OR_COLON = range(1, 6)
_KINDS = np.zeros(256, np.uint8)
"""What each byte may be outside of texts."""
_KINDS[list(b'"\\{[}],:')] = (
    *(_QUOTE, _BACKSLASH),
    *(_OPENER, _OPENER, _CLOSER, _CLOSER),
    *(_COMMA_OR_COLON, _COMMA_OR_COLON),
)
_SIGNS_OF_DIGITS = (b'core"', b'onfidence"', b"\\u")
"""Ends of keys of confidences, and what may hide one."""
_SHALLOW = 2
"""Brackets in an item that are kept where it need not be whole: those of the item and of its values."""


def items_of(path: Location, key: str = "", *, shallow: bool = False) -> Iterator[Any]:
    """Yield the items of a list in a file.

    Args:
        path: the file; it may be compressed, or in an archive.
        key: of the list in the file's object; empty where the file itself is the list.
        shallow: leave out what is in lists and objects in values that are lists or objects, such as polygons.

    Raises:
        DataError: it is not such a file, or cannot be read to its end.
    """
    return _read(path, key, _shallow_items if shallow else _items)


def item_texts_of(path: Location) -> Iterator[str]:
    """Yield the items of a file that is a list, as the file writes them; errors as `items_of`."""
    return _read(path, "", _texts)


def _read(path: Location, key: str, decode: _Decode) -> Iterator[Any]:
    try:
        with opened(path) as stream:
            for batch in _batches(stream, key, decode):
                yield from batch
    except _BrokenError as error:
        raise DataError(f"is not a complete JSON file ({error})", where=path, remedy="obtain it again") from error


def _batches(stream: IO[bytes] | pa.NativeFile, key: str, decode: _Decode) -> Iterator[list[Any]]:
    reader = _Reader(key, decode)
    for block in iter(functools.partial(stream.read, BLOCK_BYTES), b""):
        yield from reader.batches(block)
    reader.end()


class _BrokenError(ValueError):
    """A document is no JSON; it says why."""


class _Reader:
    """Finds the items of a list in the blocks of a document.

    `level` is how many brackets are around them. What is in other brackets at this level is passed over.
    """

    def __init__(self, key: str, decode: _Decode) -> None:
        self._key, self._decode = key, decode
        self._level = 2 if key else 1
        self._state = np.zeros(3, np.int64)
        self._open: list[int] = []
        self._held = b""
        self._name = ""
        self._wanted = self._after_comma = self._begun = False
        self._n_read = 0

    def batches(self, block: bytes) -> Iterator[list[Any]]:
        """Yield the items that end in a block."""
        signs = np.frombuffer(block, np.uint8)
        places = np.empty(len(block), np.int64)
        places = places[: _boundaries(signs, self._level, self._state, places)]
        closers = np.flatnonzero(_KINDS[signs[places]] == _CLOSER)
        start = at = 0
        while at < len(places):
            first = at
            if len(self._open) == self._level:
                # All until the bracket that closes the list are commas between its items.
                next_closer = int(np.searchsorted(closers, at))
                is_last = next_closer < len(closers)
                at = int(closers[next_closer]) if is_last else len(places) - 1
                if self._wanted:
                    cuts = places[first:at] - start + len(self._held)
                    yield self._items(self._held + block[start : places[at]], cuts, is_last=is_last)
                if is_last:
                    self._close(int(signs[places[at]]))
            else:
                self._take(self._held + block[start : places[at]], int(signs[places[at]]))
            self._held, start = b"", int(places[at]) + 1
            at += 1
        self._n_read += len(block)
        if self._wanted or len(self._open) < self._level:
            self._hold(block[start:])

    def end(self) -> None:
        """Check that the document is complete."""
        if self._open or not self._begun:
            raise _BrokenError(f"it ends after {self._n_read:,} bytes, before its last bracket")
        self._check_blank(self._held)

    def _hold(self, text: bytes) -> None:
        self._held += text
        if len(self._held) > MOST_ITEM_BYTES:
            raise _BrokenError(f"an item has more than {MOST_ITEM_BYTES:,} bytes after {self._n_read:,}")

    def _take(self, text: bytes, sign: int) -> None:
        """Take a sign that stands outside of lists, after a text."""
        if not self._open:
            self._check_blank(text if self._begun else text.removeprefix(_BOM))
            if self._begun or sign not in _CLOSER_OF:
                raise _BrokenError(f"{chr(sign)} where it should {'end' if self._begun else 'begin'}")
            self._begun = True
            self._open.append(sign)
            self._wanted = self._level == 1 and sign == ord("[")
        elif sign == ord(":"):
            self._name = str(_decoded(text))
        elif sign in _CLOSER_OF:
            self._check_blank(text)
            self._open.append(sign)
            self._wanted = self._open[0] == ord("{") and self._name == self._key
            if self._wanted and sign != ord("["):
                raise _BrokenError(f"{self._key} is no list")
        else:
            if text.strip():
                _decoded(text)
            if sign != ord(","):
                self._close(sign)

    def _items(self, text: bytes, cuts: NDArray[np.int64], *, is_last: bool) -> list[Any]:
        if is_last and not self._after_comma and not len(cuts) and not text.strip():
            return []  # the list is empty
        self._after_comma = not is_last
        found = self._decode(text, cuts)
        if not found:
            raise _BrokenError("a comma without an item")
        return found

    def _close(self, sign: int) -> None:
        if _CLOSER_OF[self._open.pop()] != sign:
            raise _BrokenError(f"{chr(sign)} closes another bracket, in the block after {self._n_read:,} bytes")
        self._wanted = self._after_comma = False

    def _check_blank(self, text: bytes) -> None:
        if text.strip():
            raise _BrokenError(f"{text.strip()[:20]!r} stands outside, in the block after {self._n_read:,} bytes")


def _items(text: bytes, cuts: NDArray[np.int64]) -> list[Any]:  # noqa: ARG001 - as `_texts`
    return _decoded(b"[%b]" % text)  # type: ignore[no-any-return]  # the brackets make a list


def _shallow_items(text: bytes, cuts: NDArray[np.int64]) -> list[Any]:
    signs = np.frombuffer(text, np.uint8)
    kept = np.empty(len(signs), np.uint8)
    return _items(kept[: _keep_shallow(signs, kept)].tobytes(), cuts)


def _texts(text: bytes, cuts: NDArray[np.int64]) -> list[Any]:
    try:
        begins, ends = [0, *(cuts + 1).tolist()], [*cuts.tolist(), len(text)]
        found = [text[begin:end].decode().strip() for begin, end in zip(begins, ends, strict=True)]
    except UnicodeDecodeError as error:
        raise _BrokenError("a text is not UTF-8") from error
    return found if all(found) else []


def _decoded(text: bytes) -> Any:
    """Return the value of a text; the json module takes NaN and halves of signs too, which are told row by row.

    It also takes a reader of numbers: a confidence lies on its side of 0 and 1 (`decimals`), whatever its digits.
    """
    by_digits = any(sign in text for sign in _SIGNS_OF_DIGITS) and needs_digits(text)
    try:
        if not by_digits:
            return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(text, parse_float=nearest_float if by_digits else None)
    except UnicodeDecodeError as error:
        raise _BrokenError("a text is not UTF-8") from error
    except RecursionError as error:
        raise _BrokenError("nested too deeply") from error
    except ValueError as error:
        raise _BrokenError(str(error)) from error


@compiled
def _boundaries(block: NDArray[np.uint8], level: int, state: NDArray[np.int64], places: NDArray[np.int64]) -> int:
    """Write the places of signs within at most `level` brackets, and return how many there are.

    The state is the depth in brackets, whether a text is open, and whether a backslash came before; it is that after
    the block then.
    """
    depth, in_text, escaped = state
    n = 0
    for at in range(len(block)):
        kind = _KINDS[block[at]]
        before = in_text
        in_text, escaped = _text_state(kind, in_text, escaped)
        if kind and not (before or in_text):
            if kind == _OPENER:
                depth += 1
            if depth <= level:
                places[n] = at
                n += 1
            if kind == _CLOSER:
                depth -= 1
    state[0], state[1], state[2] = depth, in_text, escaped
    return n


@compiled
def _keep_shallow(block: NDArray[np.uint8], kept: NDArray[np.uint8]) -> int:
    """Write what lies within at most `_SHALLOW` brackets, and the next brackets; return the number of bytes."""
    depth = in_text = escaped = n = 0
    for at in range(len(block)):
        kind = _KINDS[block[at]]
        before = in_text
        in_text, escaped = _text_state(kind, in_text, escaped)
        is_bracket = kind in (_OPENER, _CLOSER) and not (before or in_text)
        if is_bracket and kind == _OPENER:
            depth += 1
        if depth <= _SHALLOW or (depth == _SHALLOW + 1 and is_bracket):
            kept[n] = block[at]
            n += 1
        if is_bracket and kind == _CLOSER:
            depth -= 1
    return n


@compiled
def _text_state(kind: int, in_text: int, escaped: int) -> tuple[int, int]:
    """Return whether a text is open after a sign, and whether the sign is a backslash that escapes the next one."""
    if in_text:
        return (1 if escaped or kind != _QUOTE else 0), (1 if kind == _BACKSLASH and not escaped else 0)
    return (1 if kind == _QUOTE else 0), 0
