"""Formats of one file a picture: such files alone, or a folder of them, of which a bad one is a reject."""

from __future__ import annotations

import abc
import hashlib
from typing import TYPE_CHECKING, ClassVar

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.core.locations import as_text, relative
from mlimages_dataset.sources.boxes import BoxSource
from mlimages_dataset.sources.classes import SourceClass
from mlimages_dataset.sources.pieces import Piece, group_ends, read_to_its_end
from mlimages_dataset.sources.rejects import REJECT_CHARACTERS, Reject, RejectLog
from mlimages_dataset.tables.files import file_digest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.sources.boxes import Instance


class FileSource(BoxSource):
    """A format of one file a picture.

    Attributes:
        suffix: of such files, in lower case.
        layout: names of folders that belong to the format and not to a picture's name.
    """

    takes_folders: ClassVar[bool] = True
    suffix: ClassVar[str]
    layout: ClassVar[frozenset[str]] = frozenset()

    @abc.abstractmethod
    def instances_of(self, path: Location, content: bytes, folder: Location | None) -> Iterator[Instance | Reject]:
        """Yield what a file states, and what in it cannot be used.

        Args:
            path: the file.
            content: its bytes, not empty.
            folder: the folder that it was found in; None where the file itself was named.

        Raises:
            DataError: it is no file of the format.
        """

    def is_annotation(self, path: Location) -> bool:
        """Return whether a file in a folder is of the format."""
        return path.suffix.lower() == self.suffix and not path.name.startswith(".")

    def files(self, folder: Location) -> list[Location]:
        """Return the files of the format in a folder and those below it, in the order of their paths.

        Raises:
            DataError: there is none.
        """
        with read_to_its_end(folder):
            found: list[Location] = sorted(path for path in folder.rglob("*") if self.is_annotation(path))
        if not found:
            raise DataError(f"holds no {self.suffix} file", where=folder, remedy=f"name a folder of {self.name} files")
        return found

    def piece(self, path: Location) -> Piece:
        """See `Source.piece`."""
        if path.is_dir():
            self.files(path)
        elif not _content(path).strip():
            raise DataError("is empty", where=path, remedy="obtain the file again")
        return Piece(path)

    def cut(self, piece: Piece) -> list[Piece]:
        """See `Source.cut`: a folder is cut into ranges of its files."""
        if not piece.path.is_dir():
            return [piece]
        return piece.cut_at(group_ends([path.stat().st_size for path in self.files(piece.path)]))

    def instances(self, piece: Piece, log: RejectLog) -> Iterator[Instance]:
        """See `BoxSource.instances`."""
        folder = piece.path if piece.path.is_dir() else None
        for path in [piece.path] if folder is None else self.files(folder)[piece.start : piece.stop]:
            try:
                for one in self._stated(path, folder):
                    if isinstance(one, Reject):
                        log.add([one], 1)
                    else:
                        yield one
            except DataError as error:
                if folder is None:
                    raise
                log.add([reject(path, f"{error.what}; the file is passed over")], 1)

    def digest(self, path: Location) -> str:
        """See `Source.digest`: the names and bytes of a folder's files, since a box may change and the size stay."""
        if not path.is_dir():
            return file_digest(path)
        lines = (f"{as_text(relative(one, path))} {file_digest(one)}\n" for one in self.digested(path))
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def digested(self, folder: Location) -> list[Location]:
        """Return the files in a folder that decide what it states."""
        return self.files(folder)

    def classes(self, path: Location) -> list[SourceClass]:
        """Return the classes that a file or the files of a folder name, in the order of their names.

        Raises:
            DataError: there is none, or it is no such file.
        """
        pieces = self.cut(self.piece(path))
        names = {one.class_id for piece in pieces for one in self.instances(piece, RejectLog())}
        if not names:
            raise DataError("names no class", where=path, remedy=f"name files of the format {self.name}")
        return [SourceClass(name, name) for name in sorted(names)]

    def picture_name(self, path: Location, folder: Location | None, stated: str) -> str:
        """Return a picture's name: its file's place in a folder, without folders of the layout, and its own suffix.

        A picture and its file have one name but for the suffix. Where what the file states is another name, whoever
        renamed the two did not look into the file.
        """
        if folder is not None and path != folder:
            *above, _ = as_text(relative(path, folder)).split("/")
        else:
            above = []
        stem = as_text(path.name)[: -len(path.suffix)] if path.suffix else as_text(path.name)
        told = stated.replace("\\", "/").rpartition("/")[2]
        name = told if told == stem or told.rpartition(".")[0] == stem else stem
        return "/".join([*(one for one in above if one not in self.layout), name])

    def _stated(self, path: Location, folder: Location | None) -> Iterator[Instance | Reject]:
        content = _content(path)
        if not content.strip():
            raise DataError("is empty", where=path, remedy="obtain the file again")
        yield from self.instances_of(path, content, folder)


def _content(path: Location) -> bytes:
    with read_to_its_end(path):
        return path.read_bytes()


def reject(path: Location, what: str, text: object = "", line: int = 0) -> Reject:
    """Return the reject of something in a file."""
    return Reject(as_text(str(path)), line, what, str(text)[:REJECT_CHARACTERS])
