"""Spool files: they hold the bodies of a slice until all of its rows have ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlimages_dataset.tables.files import write_errors

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


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
            self._file = path.open("wb", buffering=0)
        self._size = 0

    def add(self, pieces: Iterable[bytes]) -> int:
        """Append a body and return its offset in the file.

        Raises:
            UsageError: the disk is full.
        """
        offset = self._size
        with write_errors(self.path):
            for piece in pieces:
                written = self._file.write(piece)
                while written < len(piece):  # if the disk is full, the first call writes less and the next one fails
                    written += self._file.write(piece[written:])
                self._size += len(piece)
        return offset

    def rewind(self) -> None:
        """Start again at the beginning of the file."""
        self._file.seek(0)
        self._size = 0

    def close(self) -> None:
        """Close the file."""
        self._file.close()
