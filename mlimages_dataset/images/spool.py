"""Files that hold bodies: those of a slice until all of its rows have ended, and large ones while they arrive."""

from __future__ import annotations

import contextlib
import tempfile
from typing import IO, TYPE_CHECKING

from mlimages_dataset.tables.files import write_errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_PIECE_BYTES = 1 << 18


class Spool:
    """A file for the bodies of one slice, then of another.

    Overwriting pages that are in the page cache takes a third of the time that new pages take.
    """

    def __init__(self, path: Path) -> None:
        """Create the file.

        Raises:
            UsageError: the folder cannot be written.
        """
        self.path = path
        with write_errors(path):
            self._file: IO[bytes] = path.open("wb", buffering=0)
        self._size = 0

    def add(self, pieces: Iterable[bytes]) -> int:
        """Append a body and return its offset in the file.

        Raises:
            UsageError: the disk is full.
        """
        offset = self._size
        with write_errors(self.path):
            for piece in pieces:
                write_all(self._file, piece)
                self._size += len(piece)
        return offset

    def rewind(self) -> None:
        """Start again at the beginning of the file."""
        self._file.seek(0)
        self._size = 0

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Overflow:
    """A body as it arrives: in memory as far as it is small, else in a file without a name.

    Attributes:
        size: the bytes so far.
    """

    def __init__(self, folder: Path, kept_bytes: int) -> None:
        """Begin with nothing; a body of more than `kept_bytes` is moved to a file in the folder."""
        self.size = 0
        self._folder = folder
        self._kept_bytes = kept_bytes
        self._pieces: list[bytes] = []
        self._files = contextlib.ExitStack()
        self._file: IO[bytes] | None = None

    def add(self, piece: bytes) -> None:
        """Append some bytes.

        Raises:
            UsageError: the disk is full.
        """
        self.size += len(piece)
        self._pieces.append(piece)
        if self.size > self._kept_bytes:
            with write_errors(self._folder):
                if self._file is None:
                    # Without a buffer: closing it never writes, so never fails.
                    file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115 - closed by `__del__`
                    self._file = self._files.enter_context(file)
                for one in self._pieces:
                    write_all(self._file, one)
            self._pieces.clear()

    def __iter__(self) -> Iterator[bytes]:
        """Yield its bytes from the beginning, in pieces."""
        if self._file is None:
            yield from self._pieces
            return
        self._file.seek(0)
        while piece := self._file.read(_PIECE_BYTES):
            yield piece

    def __del__(self) -> None:
        self._files.close()


def write_all(file: IO[bytes], content: bytes) -> None:
    """Write all bytes: if the disk is full, the first call writes less and the next one fails."""
    written = file.write(content)
    while written < len(content):
        written += file.write(content[written:])
