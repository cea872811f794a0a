"""Checking that plain JPEGs are complete, by reading their Huffman codes without computing pixels.

Most JPEGs are plain: baseline or extended sequential, 8 bits, grey or three channels, one scan (ITU-T T.81,
https://www.w3.org/Graphics/JPEG/itu-t81.pdf). A plain JPEG is complete if its Huffman codes are: every block of every
channel is there, no code is unknown, no block is too long, restart markers are in order, and the end marker follows the
last code. A decoder reads the same codes, but fills in faults. Files that are not plain or not complete in this sense
are left to a decoder, and so are metadata.

A code of up to 13 bits is looked up together with its value bits and with further codes in the same 13 bits. Only the
length of a value matters, not the value.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from mlimages_dataset.core.compiled import compiled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_START_OF_IMAGE, _END_OF_IMAGE = b"\xff\xd8", b"\xff\xd9"
_MARKER = 0xFF  # begins every marker; may be repeated before one
_HUFFMAN_TABLES, _QUANTISATION_TABLES, _RESTART_INTERVAL, _SCAN = 0xC4, 0xDB, 0xDD, 0xDA
_SEQUENTIAL = (0xC0, 0xC1)  # baseline and extended: markers of a frame
_SKIPPED = {*range(0xE0, 0xF0), 0xFE}  # applications' data, comments

_MAX_SIDE = 65_500  # as libjpeg has it
_DEPTH = 8
_SAMPLINGS = ((1, 1), (2, 1), (1, 2), (2, 2))
_WHOLE_SPECTRUM = b"\0\x3f\0"
_BLOCK = 64  # coefficients
_LONGEST = 16  # bits of a code
_N_SYMBOLS = 256
_BYTE = 8
_FULL = 32
"""Bits that hold any code of up to 16 bits with its value of up to 15."""
_PEEK = 13
"""Bits of one lookup: a table has 16 KiB, and two are in use most of the time."""
_N_TABLES = 8  # four for the first coefficient of blocks (DC), then four for the others (AC)
_OTHERS = _N_TABLES // 2
_MAX_DC = 11  # bits of a first coefficient's difference


@dataclass(frozen=True, slots=True)
class _Scan:
    """The one scan of a plain JPEG.

    Attributes:
        width: pixels.
        height: pixels.
        begin: offset of its first code.
        units: groups of blocks, each with some of every channel.
        of_block: the DC table of each block of a group.
        of_block_others: the AC table of each block of a group.
        interval: groups between two restart markers; 0 for none.
        tables: each Huffman table's place, and its 16 counts and its symbols.
    """

    width: int
    height: int
    begin: int
    units: int
    of_block: tuple[int, ...]
    of_block_others: tuple[int, ...]
    interval: int
    tables: tuple[tuple[int, bytes], ...]


def whole_size(content: bytes | bytearray | memoryview) -> tuple[int, int] | None:
    """Return width and height of a plain JPEG that is complete; None if it is not plain or not complete.

    Args:
        content: the file; bytes after the end marker are ignored.
    """
    scan = _plain_scan(content)
    found = None if scan is None else _lookups(scan.tables)
    if scan is None or found is None:
        return None
    codes = np.frombuffer(memoryview(content).toreadonly(), np.uint8)
    of_block, others = np.array(scan.of_block), np.array(scan.of_block_others)
    lookups = (found.alone, found.joined, found.last, found.shift, found.symbols)
    end = _end_of_codes(codes, scan.begin, scan.units, of_block, others, scan.interval, *lookups)
    return (scan.width, scan.height) if bytes(content[end : end + 2]) == _END_OF_IMAGE else None


def _plain_scan(content: bytes | bytearray | memoryview) -> _Scan | None:
    """Return the scan of a JPEG by its header; None if the JPEG is not plain, or the header is malformed."""
    header = _Header()
    try:
        for marker, segment, end in _segments(content):
            if marker == _SCAN:
                return header.scan(segment, end)
            if not header.read(marker, segment):
                return None
    except (IndexError, ValueError):  # the header is truncated, or names a table that it lacks
        return None
    return None


def _segments(content: bytes | bytearray | memoryview) -> Iterator[tuple[int, bytes, int]]:
    """Yield marker, content and end of each segment of a header.

    Raises:
        IndexError, ValueError: a segment is not whole.
    """
    at = 2
    if bytes(content[:at]) != _START_OF_IMAGE:
        raise ValueError("no JPEG")
    while True:
        if content[at] != _MARKER:
            raise ValueError("no marker")
        marker = content[at + 1]
        if marker == _MARKER:
            at += 1
            continue
        end = at + 2 + (content[at + 2] << 8 | content[at + 3])
        if not at + 4 <= end <= len(content):
            raise ValueError("a segment's end is missing")
        yield marker, bytes(content[at + 4 : end]), end
        at = end


@dataclass(slots=True)
class _Header:
    """What has been read of a header so far.

    Attributes:
        frame: the segment of the frame, None before it.
        huffman: tables by their place.
        quantisation: numbers of tables.
        interval: groups between two restart markers; 0 for none.
    """

    frame: bytes | None = None
    huffman: dict[int, bytes] = field(default_factory=dict)
    quantisation: set[int] = field(default_factory=set)
    interval: int = 0

    def read(self, marker: int, segment: bytes) -> bool:
        """Read a segment; return false if no plain JPEG has such a segment.

        Raises:
            ValueError: it is malformed.
        """
        if marker == _HUFFMAN_TABLES:
            self.huffman |= _huffman_tables(segment)
        elif marker == _QUANTISATION_TABLES:
            self.quantisation |= _quantisation_tables(segment)
        elif marker in _SEQUENTIAL and self.frame is None:
            self.frame = segment
        elif marker == _RESTART_INTERVAL:
            high, low = segment
            self.interval = high << 8 | low
        else:
            return marker in _SKIPPED
        return True

    def scan(self, segment: bytes, begin: int) -> _Scan | None:
        """Return the scan that begins with a segment; None if it is not plain.

        Raises:
            IndexError, ValueError: the frame or the scan is too short.
        """
        frame = self.frame or b""
        n_channels, height, width = frame[5], frame[1] << 8 | frame[2], frame[3] << 8 | frame[4]
        # Frame and scan name the channels in the same order, and the scan two tables for each.
        fits = len(frame) == 6 + 3 * n_channels and len(segment) == 4 + 2 * n_channels and segment[0] == n_channels
        if not fits or n_channels not in {1, 3} or frame[0] != _DEPTH or segment[-3:] != _WHOLE_SPECTRUM:
            return None
        if not 0 < width <= _MAX_SIDE or not 0 < height <= _MAX_SIDE:
            return None
        channels = [frame[6 + 3 * nth : 9 + 3 * nth] for nth in range(n_channels)]
        samplings = [divmod(sampling, 16) for _, sampling, _ in channels]
        if samplings[0] not in _SAMPLINGS or any(sampling != (1, 1) for sampling in samplings[1:]):
            return None
        if n_channels == 1:
            samplings = [(1, 1)]  # with one channel the sampling does not matter
        across, down = samplings[0]
        of_block: list[int] = []
        of_block_others: list[int] = []
        for nth, (name, _, quantisation) in enumerate(channels):
            first, others = divmod(segment[2 + 2 * nth], 16)
            if segment[1 + 2 * nth] != name or quantisation not in self.quantisation or first >= _OTHERS:
                return None
            if not {first, _OTHERS + others} <= self.huffman.keys():
                return None
            n_blocks = samplings[nth][0] * samplings[nth][1]
            of_block += [first] * n_blocks
            of_block_others += [_OTHERS + others] * n_blocks
        units = -(-width // (8 * across)) * -(-height // (8 * down))
        tables = tuple(sorted(self.huffman.items()))
        return _Scan(width, height, begin, units, tuple(of_block), tuple(of_block_others), self.interval, tables)


def _huffman_tables(segment: bytes) -> dict[int, bytes]:
    """Return the tables of a segment by their place: 16 counts by length, then symbols by code.

    Raises:
        ValueError: it is malformed.
    """
    tables, at = {}, 0
    while at < len(segment):
        kind, number = divmod(segment[at], 16)
        size = _LONGEST + sum(segment[at + 1 : at + 1 + _LONGEST])
        table = segment[at + 1 : at + 1 + size]
        if kind > 1 or number >= _OTHERS or len(table) != size or size > _LONGEST + _N_SYMBOLS:
            raise ValueError("malformed Huffman table")
        tables[kind * _OTHERS + number] = table
        at += 1 + size
    return tables


def _quantisation_tables(segment: bytes) -> set[int]:
    """Return the numbers of the tables of a segment, each of 64 bytes.

    Raises:
        ValueError: it is malformed, or a table is of 16 bits.
    """
    numbers, left = segment[:: 1 + _BLOCK], len(segment) % (1 + _BLOCK)
    if left or any(number >= _OTHERS for number in numbers):
        raise ValueError("malformed or deep quantisation table")
    return {*numbers}


@dataclass(frozen=True, slots=True)
class _Lookups:
    """Lookup tables for codes; the first axis is the place of the Huffman table, T of them.

    Attributes:
        alone: of each `_PEEK` bits, the code that they begin with, see `_fill`; shape (T, 2**_PEEK).
        joined: of each `_PEEK` bits, all codes of a block that are whole within them; shape (T, 2**_PEEK).
        last: the last code of each length, -1 if there is none; shape (T, 17).
        shift: what to add to a code of each length for the place of its symbol; shape (T, 17).
        symbols: of the codes in their order; shape (T, 256).
    """

    alone: NDArray[np.uint16]
    joined: NDArray[np.uint16]
    last: NDArray[np.int64]
    shift: NDArray[np.int64]
    symbols: NDArray[np.uint8]


@functools.lru_cache(maxsize=64)
def _lookups(tables: tuple[tuple[int, bytes], ...]) -> _Lookups | None:
    """Return the lookup tables for `_end_of_codes`; None if a Huffman table is impossible.

    Cached, since most JPEGs have the tables of the standard's annex K.
    """
    alone = np.zeros((_N_TABLES, 1 << _PEEK), np.uint16)
    last = np.full((_N_TABLES, _LONGEST + 1), -1)
    shift = np.zeros((_N_TABLES, _LONGEST + 1), np.int64)
    symbols = np.zeros((_N_TABLES, _N_SYMBOLS), np.uint8)
    for place, table in tables:
        of_table = np.frombuffer(table, np.uint8)
        symbols[place, : len(table) - _LONGEST] = of_table[_LONGEST:]
        counts, is_first = of_table[:_LONGEST], place < _OTHERS
        if not _fill(counts, symbols[place], is_first, alone[place], last[place], shift[place]):
            return None
    joined = alone.copy()
    for of_others in range(_OTHERS, _N_TABLES):
        _join(alone[of_others], joined[of_others])
    return _Lookups(alone, joined, last, shift, symbols)


@compiled
def _fill(  # noqa: PLR0917 - Numba takes no keywords
    counts: NDArray[np.uint8],
    symbols: NDArray[np.uint8],
    is_first: bool,  # noqa: FBT001 - as above
    alone: NDArray[np.uint16],
    last: NDArray[np.int64],
    shift: NDArray[np.int64],
) -> bool:
    """Fill the lookup tables of one Huffman table; return false if its codes do not fit or a symbol is invalid.

    Args:
        counts: codes of each length, 1 to 16 bits, shape (16,).
        symbols: of the codes in their order, shape (256,).
        is_first: a table of first coefficients.
        alone: of each `_PEEK` bits, what they begin with: 5 bits for the length of the code and its value, 7 for the
            coefficients that it stands for, 1 for the end of the block; 0 where the code is longer. Shape (2**_PEEK,).
        last: the last code of each length, -1 if there is none, shape (17,).
        shift: what to add to a code of each length for the place of its symbol, shape (17,).
    """
    code, nth = 0, 0
    for length in range(1, _LONGEST + 1):
        shift[length] = nth - code
        for _ in range(counts[length - 1]):
            size, run = symbols[nth] & 15, symbols[nth] >> 4
            # A code without a value skips 16 coefficients or ends the block.
            means_nothing = symbols[nth] > _MAX_DC if is_first else size == 0 and run % 15 != 0
            if means_nothing:
                return False
            if length <= _PEEK:
                is_end = not is_first and symbols[nth] == 0
                steps = 0 if is_end else run + 1
                begin = code << (_PEEK - length)
                alone[begin : begin + (1 << (_PEEK - length))] = (length + size) | steps << 5 | is_end << 12
            code, nth = code + 1, nth + 1
        if counts[length - 1]:
            last[length] = code - 1
            if code >= 1 << length:  # no code may be all ones
                return False
        code <<= 1
    return True


@compiled
def _join(alone: NDArray[np.uint16], joined: NDArray[np.uint16]) -> None:
    """Set each entry of `joined` to all codes of a block that are whole within its bits, in the form of `alone`."""
    for bits in range(len(alone)):
        used, steps, is_end = alone[bits] & 31, alone[bits] >> 5 & 127, alone[bits] >> 12
        while 0 < used < _PEEK and not is_end:
            following = alone[(bits << used) & (len(alone) - 1)]
            if following == 0 or used + (following & 31) > _PEEK or steps + (following >> 5 & 127) >= _BLOCK:
                break
            used += following & 31
            steps += following >> 5 & 127
            is_end = following >> 12
        joined[bits] = used | steps << 5 | is_end << 12


@compiled
def _long_code(  # noqa: PLR0917 - Numba takes no keywords
    bits: np.int64,
    n_bits: np.int64,
    table: np.int64,
    last: NDArray[np.int64],
    shift: NDArray[np.int64],
    symbols: NDArray[np.uint8],
) -> np.int64:
    """Return length << 8 | symbol of a code of more than `_PEEK` bits, the first of `n_bits` bits; -1 if unknown."""
    for length in range(_PEEK + 1, _LONGEST + 1):
        code = (bits >> (n_bits - length)) & ((1 << length) - 1)
        if code <= last[table, length]:
            place = code + shift[table, length]
            return np.int64(length << _BYTE | symbols[table, place]) if 0 <= place < _N_SYMBOLS else np.int64(-1)
    return np.int64(-1)


@compiled
def _end_of_codes(  # noqa: C901, PLR0912, PLR0917 - one loop over bits, for speed
    codes: NDArray[np.uint8],
    at: int,
    units: int,
    of_block: NDArray[np.int64],
    of_block_others: NDArray[np.int64],
    interval: int,
    alone: NDArray[np.uint16],
    joined: NDArray[np.uint16],
    last: NDArray[np.int64],
    shift: NDArray[np.int64],
    symbols: NDArray[np.uint8],
) -> int:
    """Return the offset after the last code of a scan; -1 if any code is wrong.

    The lowest `n_bits` bits of `bits` are the next ones; bits above are used up. At a marker or the end of the file
    zeros are added, `n_added` so far, and no code may use any of them.

    `codes` is the file, shape (bytes,), and `at` the offset of the first code. The arguments from `units` to `interval`
    are those of `_Scan`, the others those of `_Lookups`.
    """
    end, of_first_code, of_codes, mask = len(codes), alone.reshape(-1), joined.reshape(-1), (1 << _PEEK) - 1
    bits, n_bits, n_added, next_restart = np.int64(0), np.int64(0), np.int64(0), 0
    for unit in range(units):
        if interval and unit and unit % interval == 0:
            if not 0 <= n_bits - n_added < _BYTE:
                return -1
            if at + 1 >= end or codes[at] != _MARKER or codes[at + 1] != 0xD0 + next_restart:
                return -1
            at, next_restart = at + 2, (next_restart + 1) % 8
            bits, n_bits, n_added = np.int64(0), np.int64(0), np.int64(0)
        for block in range(len(of_block)):
            table, done = of_block[block], np.int64(0)
            while done < _BLOCK:
                if n_bits < _FULL:
                    if n_added == 0 and at + 4 <= end:
                        # Unsigned indices avoid the check for negative ones, which would count from the end.
                        word = (
                            np.int64(codes[np.uint64(at)]) << 24
                            | np.int64(codes[np.uint64(at + 1)]) << 16
                            | np.int64(codes[np.uint64(at + 2)]) << 8
                            | np.int64(codes[np.uint64(at + 3)])
                        )
                        if (((~word & 0xFFFFFFFF) - 0x01010101) & word & 0x80808080) == 0:  # no byte is 0xFF
                            bits, n_bits, at = bits << 32 | word, n_bits + 32, at + 4
                    while n_bits < _FULL:
                        if n_added == 0 and at < end and codes[at] != _MARKER:
                            bits, at = bits << 8 | np.int64(codes[at]), at + 1
                        elif n_added == 0 and at + 1 < end and codes[at + 1] == 0:  # 0xFF as data
                            bits, at = bits << 8 | 0xFF, at + 2
                        elif n_added > _FULL + _BYTE:
                            return -1
                        else:
                            bits, n_added = bits << 8, n_added + 8
                        n_bits += 8
                peeked = np.uint64((table << _PEEK) + (bits >> (n_bits - _PEEK) & mask))
                entry = np.int64(of_codes[peeked])
                if entry == 0:
                    code = _long_code(bits, n_bits, table, last, shift, symbols)
                    if code < 0:
                        return -1
                    length, symbol = code >> _BYTE, code & (_N_SYMBOLS - 1)
                    size, steps, is_end = length + (symbol & 15), (symbol >> 4) + 1, done > 0 and symbol == 0
                else:
                    if done + (entry >> 5 & 127) + (entry >> 12) > _BLOCK:  # the block is full before the last code
                        entry = np.int64(of_first_code[peeked])
                    size, steps, is_end = entry & 31, entry >> 5 & 127, entry >> 12 > 0
                n_bits -= size
                if is_end:
                    break
                if done == 0:
                    table = of_block_others[block]
                done += steps
            if done > _BLOCK:
                return -1
    return at if 0 <= n_bits - n_added < _BYTE else -1
