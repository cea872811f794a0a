"""Line files, read in blocks and decoded; lines without a statement are logged."""

from __future__ import annotations

import contextlib
import functools
import io
import re
from typing import IO, TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.core.locations import decoded_bytes
from mlimages_dataset.sources.pieces import bytes_of, read_to_its_end
from mlimages_dataset.sources.places import opened
from mlimages_dataset.sources.rejects import LISTED_REJECTS, REJECT_CHARACTERS, Reject

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.sources.pieces import Piece
    from mlimages_dataset.sources.rejects import RejectLog

BLOCK_BYTES = 1 << 23
_LINE_OF_EXCEL = re.compile(r"sep=.?", re.IGNORECASE)


def line_blocks(piece: Piece, log: RejectLog) -> Iterator[tuple[int, pa.StringArray]]:
    """Yield the number of a block's first line in its piece, from 1, and its lines; the last may be blank.

    Lines end with LF, CRLF or CR. Each is decoded separately: as UTF-8, or else as Windows-1252.

    Raises:
        DataError: the file is empty, holds UTF-16, or cannot be read to its end.
    """
    rest = b""
    with read_to_its_end(piece.path), _line_stream(piece) as stream:
        for block in iter(functools.partial(stream.read, BLOCK_BYTES), b""):
            if piece.start == log.lines == 0 and not rest and block.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise DataError("is UTF-16 text", where=piece.path, remedy="save it as UTF-8")
            content = rest + block
            end = _last_line_end(content)
            rest = content[end:]
            if not end:
                continue
            lines = _lines(content[:end], strip_mark=piece.start == log.lines == 0)
            log.lines += len(lines)
            yield log.lines - len(lines) + 1, lines
    if rest.strip():
        lines = _lines(rest, strip_mark=piece.start == log.lines == 0)
        log.lines += len(lines)
        yield log.lines - len(lines) + 1, lines
    elif piece.start == log.lines == 0:
        raise DataError("is empty", where=piece.path, remedy="obtain the file again")


def _last_line_end(content: bytes) -> int:
    """Return where the last complete line ends, 0 if there is none; a CR at the very end may be half of a CRLF."""
    return content.rfind(b"\n") + 1 or content.rfind(b"\r", 0, -1) + 1


@contextlib.contextmanager
def _line_stream(piece: Piece) -> Iterator[IO[bytes] | pa.NativeFile]:
    if piece.stop is not None:
        yield io.BytesIO(bytes_of(piece))
        return
    with opened(piece.path) as stream:
        yield stream


def _lines(block: bytes, *, strip_mark: bool) -> pa.StringArray:
    if b"\r" in block:
        block = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    text = decoded(block.removesuffix(b"\n"))
    return pa.array((text.removeprefix("\ufeff") if strip_mark else text).split("\n"), pa.string())


def decoded(block: bytes) -> str:
    """Return lines as text, each decoded separately: as UTF-8, else Windows-1252, with Latin-1 for undefined bytes."""
    try:
        return block.decode("utf-8")
    except UnicodeDecodeError:
        return "\n".join(map(decoded_bytes, block.split(b"\n")))


def log_rejects(
    log: RejectLog, path: Location, first_line: int, lines: pa.StringArray, *, good: pa.BooleanArray, what: str
) -> None:
    """Log the lines that are neither good nor blank."""
    bad = pc.and_(pc.invert(good), pc.greater(pc.utf8_length(pc.utf8_trim_whitespace(lines)), 0))
    at = np.flatnonzero(bad.to_numpy(zero_copy_only=False))
    rejects = [
        Reject(str(path), first_line + int(i), what, lines[int(i)].as_py()[:REJECT_CHARACTERS])
        for i in at[:LISTED_REJECTS]
    ]
    log.add(rejects, len(at))


def refuse_line_of_excel(header: str, where: str) -> None:
    """Raise `DataError` if the first line of a table is Excel's `sep=;`, which states the separator and no column."""
    if _LINE_OF_EXCEL.fullmatch(header.strip('\r\n "')):
        raise DataError(
            f"begins with {header.strip()!r}, which is no row of columns' names, but states the separator to Excel",
            where=where,
            line=1,
            remedy="delete this line: the separator is found without it",
        )
