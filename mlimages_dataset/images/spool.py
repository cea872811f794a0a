"""Files in which bodies wait until all of their slice have come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlimages_dataset.tables.files import write_errors

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class Spool:
    """A file in which the bodies of a slice wait, then those of another slice.

    To write over pages that the kernel holds already costs a third of what new ones do.
    """

    def __init__(self, path: Path) -> None:
        """Make the file.

        Raises:
            UsageError: the folder cannot be written.
        """
        self.path = path
        with write_errors(path):
            self._file = path.open("wb", buffering=0)
        self._size = 0

    def add(self, pieces: Iterable[bytes]) -> int:
        """Append a body and return its offset.

        Raises:
            UsageError: the disk is full.
        """
        offset = self._size
        with write_errors(self.path):
            for piece in pieces:
                written = self._file.write(piece)
                while written < len(piece):  # the kernel writes less where the disk is full, and says so the next time
                    written += self._file.write(piece[written:])
                self._size += len(piece)
        return offset

    def rewind(self) -> None:
        """Forget what was added."""
        self._file.seek(0)
        self._size = 0

    def close(self) -> None:
        """Close the file."""
        self._file.close()
