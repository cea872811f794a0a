"""Formats of one file a picture: such files alone, or a folder of them, of which a bad one is a reject."""

from __future__ import annotations

import abc
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.core.image_ids import image_id
from mlimages_dataset.core.locations import as_text, relative
from mlimages_dataset.sources.boxes import BoxSource, Instance, is_text
from mlimages_dataset.sources.classes import SourceClass
from mlimages_dataset.sources.pieces import Piece, group_ends
from mlimages_dataset.sources.places import (
    archive_of,
    files_below,
    is_folder,
    place_digest,
    read_file,
    refused_below,
    size_of,
)
from mlimages_dataset.sources.rejects import LISTED_REJECTS, REJECT_CHARACTERS, Reject, RejectLog
from mlimages_dataset.sources.source import DOUBTED, LISTED
from mlimages_dataset.tables.files import file_digest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlimages_dataset.core.locations import Location


@dataclass(frozen=True, slots=True)
class Given:
    """How files were named.

    Attributes:
        folder: the folder that they were found in; None for a file that was named itself.
        context: what `FileSource.context` returned.
        root: what tells the folder from others that are read with it; empty where there are no others.
    """

    folder: Location | None
    context: Any
    root: str = ""


class FileSource(BoxSource):
    """A format of one file a picture.

    Attributes:
        suffix: of such files, in lower case.
        suffixes_beside: in lower case, of files beside them that say something of all of them.
        folders_of_layout: names of folders that belong to the format and not to a picture's name.
        may_be_empty: an empty file says that nothing is in its picture.
    """

    takes_folders: ClassVar[bool] = True
    suffix: ClassVar[str]
    suffixes_beside: ClassVar[tuple[str, ...]] = ()
    folders_of_layout: ClassVar[frozenset[str]] = frozenset()
    may_be_empty: ClassVar[bool] = False

    @abc.abstractmethod
    def instances_of(self, path: Location, content: bytes, given: Given) -> Iterator[Instance | Reject]:
        """Yield what a file states, and what in it cannot be used.

        Args:
            path: the file.
            content: its bytes.
            given: how the file was named, and what is known of all files that were named with it.

        Raises:
            DataError: it is no file of the format.
        """

    def context(self, path: Location) -> Any:  # noqa: ARG002 - for those that have any
        """Return what files beside a file, or beside those of a folder, say of all of them; read once for each piece.

        Raises:
            DataError: it is missing or cannot be read.
        """
        return None

    def is_annotation(self, path: Location) -> bool:
        """Return whether a file in a folder is of the format; it is read by `places`."""
        return path.suffix.lower() == self.suffix and not path.name.startswith(".")

    def files(self, folder: Location) -> list[Location]:
        """Return the files of the format in a folder and those below it, in the order of their paths.

        Raises:
            DataError: there is none.
        """
        found = [path for path in files_below(folder) if self.is_annotation(path)]
        if not found:
            raise DataError(f"holds no {self.suffix} file", where=folder, remedy=f"name a folder of {self.name} files")
        return found

    def folder_of(self, path: Location) -> Location | None:
        """See `Source.folder_of`: a folder, or an archive or a folder in one, is that of its files."""
        return path if is_folder(path) else None

    def files_of(self, path: Location) -> list[Location]:
        """Return the files that a path stands for which is not one of them itself, see `folder_of`."""
        return self.files(path)

    def refused(self, path: Location) -> list[tuple[Location, str]]:
        """Return the members of an archive that are of the format and are not read, each with the reason."""
        return [(one, why) for one, why in refused_below(path) if self._is_of_one_picture(one)]

    def passed_over(self, path: Location) -> list[Reject]:  # noqa: ARG002 - for those that have any
        """Return what else such a path stands for and has no file of the format, so that nothing is said of it."""
        return []

    def piece(self, path: Location) -> Piece:
        """See `Source.piece`."""
        if self.folder_of(path) is not None:
            self.files_of(path)
        elif not self._content(path).strip():
            raise DataError("is empty", where=path, remedy="obtain the file again")
        self.context(path)
        return Piece(path)

    def cut(self, piece: Piece) -> list[Piece]:
        """See `Source.cut`: a folder is cut into ranges of its files."""
        if self.folder_of(piece.path) is None:
            return [piece]
        return piece.cut_at(group_ends([size_of(path) for path in self.files_of(piece.path)]))

    def instances(self, piece: Piece, log: RejectLog) -> Iterator[Instance]:
        """See `BoxSource.instances`."""
        path = piece.path
        given = Given(self.folder_of(path), self.context(path), piece.root)
        if given.folder is not None and piece.start == 0:
            yield from self._never_read(path, given, log)
        for file in [path] if given.folder is None else self.files_of(path)[piece.start : piece.stop]:
            images: set[str] = set()
            n_rejects, is_picture = 0, self._is_of_one_picture(file)
            try:
                for one in self.instances_of(file, self._content(file), given):
                    if isinstance(one, Reject):
                        log.add([one], 1, placed=int(is_picture))
                        n_rejects += 1
                        continue
                    if not images and (other := _other_name(one)):
                        log.add_renamed([reject(file, f"names another picture, and is read as {one.image}", other)], 1)
                    if is_picture or not images:
                        images.add(one.image)
                    yield one
            except DataError as error:
                if given.folder is None:
                    raise
                yield from self._unread(file, f"{error.what}; the file is passed over", given, log)
                n_rejects += 1
            for image in images if n_rejects and is_picture else ():
                yield Instance.of_doubt(image, as_text(str(file)))

    def _is_of_one_picture(self, file: Location) -> bool:
        return file.suffix.lower() == self.suffix

    def _never_read(self, path: Location, given: Given, log: RejectLog) -> Iterator[Instance]:
        alone = self.passed_over(path)
        log.add(alone[:LISTED_REJECTS], len(alone), placed=len(alone))
        for one, why in self.refused(path):
            yield from self._unread(one, why, given, log)

    def _unread(self, file: Location, why: str, given: Given, log: RejectLog) -> Iterator[Instance]:
        """Log that a file cannot be read, and yield that the picture of its name is in doubt, if it is about one."""
        is_picture = self._is_of_one_picture(file)
        log.add([reject(file, why)], 1, placed=int(is_picture))
        if is_picture:
            yield Instance.of_doubt(self.picture_name(file, given, ""), as_text(str(file)))

    def digest(self, path: Location) -> str:
        """See `Source.digest`: the names and bytes of a folder's files, since a box may change and the size stay."""
        folder = self.folder_of(path)
        if folder is None or archive_of(path) is not None:
            return place_digest(path)
        digest = hashlib.sha256()
        for one in [*self.files_of(path), *self.beside(folder)]:
            digest.update(f"{as_text(relative(one, folder))} {file_digest(one)}\n".encode())
        return digest.hexdigest()

    def beside(self, folder: Location) -> list[Location]:  # noqa: ARG002 - for those that have any
        """Return the other files in a folder that decide what it states."""
        return []

    def classes(self, path: Location) -> list[SourceClass]:
        """Return the classes that a file or the files of a folder name, in the order of their names.

        Raises:
            DataError: there is none, or it is no such file.
        """
        stated = (one for piece in self.cut(self.piece(path)) for one in self.instances(piece, RejectLog()))
        names = {one.class_id for one in stated if one.class_id and is_text(one.class_id)} - {LISTED, DOUBTED}
        if not names:
            raise DataError("names no class", where=path, remedy=f"name files of the format {self.name}")
        return [SourceClass(name, name) for name in sorted(names)]

    def picture_name(self, path: Location, given: Given, stated: str) -> str:
        """Return a picture's name: its file's place in a folder, without folders of the layout, and its own suffix.

        A picture and its file have one name but for the suffix. Where what the file states is another name, whoever
        renamed the two did not look into the file; such files are counted and listed.
        """
        above = [] if given.folder is None else as_text(relative(path, given.folder)).split("/")[:-1]
        stem = as_text(path.name)[: -len(path.suffix)] if path.suffix else as_text(path.name)
        told = stated.replace("\\", "/").rpartition("/")[2]
        name = told if told == stem or told.rpartition(".")[0] == stem else stem
        return "/".join(
            [*([given.root] if given.root else []), *(one for one in above if one not in self.folders_of_layout), name]
        )

    def _content(self, path: Location) -> bytes:
        content = read_file(path)
        if not (self.may_be_empty or content.strip()):
            raise DataError("is empty", where=path, remedy="obtain the file again")
        return content


_NO_NAMES = frozenset({"%s", ""})
"""What ImageNet's oldest files have in place of a name, and what follows a slash at the end."""


def _other_name(one: Instance) -> str:
    """Return the name of the picture that an instance's file states, if it is not that of the image; else nothing."""
    told, name = (text.replace("\\", "/").rpartition("/")[2] for text in (one.location, one.image))
    if told == name or told in _NO_NAMES:
        return ""
    return told if image_id(told) != image_id(name) else ""


def reject(path: Location, what: str, text: object = "", line: int = 0) -> Reject:
    """Return the reject of something in a file."""
    told = str(text)[:REJECT_CHARACTERS].encode(errors="replace").decode()
    return Reject(as_text(str(path)), line, what, told)
