"""Folders of image files as a store.

Without a label table the files are numbered in the order of their paths. With one, a finder numbers the files that the
table names by its column `location`, or else by the image ids of their paths, in the order of the table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.core.locations import reason, relative
from mlimages_dataset.images.files import named_files, named_paths, one_image
from mlimages_dataset.images.masks import FolderMasks
from mlimages_dataset.images.store import Place
from mlimages_dataset.tables.files import listing_digest
from mlimages_dataset.tables.parquet import mapped_table, mapped_writer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mlimages_dataset.core.locations import Location

_FILES = pa.schema(
    [
        pa.field("image_id", pa.large_string(), nullable=False),
        pa.field("path", pa.large_binary(), nullable=False),  # as file systems have it, which may be no UTF-8
    ]
)


class FileStore:
    """Image files below a folder, by number; implements `ImageStore`.

    The folder is listed when its files are first asked for.
    """

    def __init__(self, folder: Location, found: Path | None = None, files: pa.Table | None = None) -> None:
        self._folder = folder
        self._found = found
        self._files = files if found is None else mapped_table(found)
        self._masks = FolderMasks(folder)

    @classmethod
    def recognises(cls, folder: Location) -> bool:  # noqa: ARG003 - any folder may hold image files
        """See `ImageStore`."""
        return True

    @classmethod
    def open(cls, folder: Location) -> FileStore:
        """See `ImageStore`."""
        return cls(folder)

    @classmethod
    def of(cls, folder: Location, paths: Sequence[str]) -> FileStore:
        """Return some files below a folder, in the given order."""
        return cls(folder, None, _table(named_paths(paths)))

    def __reduce__(self) -> tuple[type[FileStore], tuple[Location, Path | None, pa.Table | None]]:
        # Workers map the same file. A listing travels: the folder may change before they would list it.
        return type(self), (self._folder, self._found, self._files if self._found is None else None)

    @property
    def folder(self) -> Location:
        """See `ImageStore`."""
        return self._folder

    @property
    def digest(self) -> str:
        """See `ImageStore`: the folder, which label tables may name in whole paths, and its files' names and sizes."""
        return f"{self._folder.absolute()} {listing_digest(self._folder)}"

    def _column(self, name: str) -> pa.Array:
        if self._files is None:
            self._files = _table(named_files(self._folder))
        column = self._files.column(name)
        return column.chunk(0) if column.num_chunks else pa.array([], _FILES.field(name).type)

    @property
    def image_ids(self) -> pa.LargeStringArray:
        """See `ImageStore`."""
        return self._column("image_id")

    def __len__(self) -> int:
        return len(self.image_ids)

    def image_id(self, k: int) -> str:
        """See `ImageStore`."""
        return str(self.image_ids[k])

    def place(self, k: int) -> Place:
        """See `ImageStore`."""
        return Place(self._folder / self._column("path")[k].as_py().decode(errors="surrogateescape"), 0, -1)

    def read(self, k: int) -> bytes:
        """See `ImageStore`."""
        path = self.place(k).path
        try:
            content: bytes = path.read_bytes()
        except OSError as error:
            raise DataError(f"cannot be read ({reason(error)})", where=path, remedy="check that it is there") from error
        return content

    def masks(self, k: int) -> Mapping[str, bytes]:
        """See `ImageStore`."""
        path = self.place(k).path
        try:
            return self._masks.read(relative(path, self._folder))
        except OSError as error:
            raise DataError(f"cannot be read ({reason(error)})", where=path, remedy="check its masks") from error

    def read_many(self, numbers: NDArray[np.int64]) -> Iterator[bytes | None]:
        """See `ImageStore`."""
        for k in numbers.tolist():
            try:
                yield self.read(k)
            except DataError:
                yield None

    def repeated_ids(self) -> list[str]:
        """See `ImageStore`."""
        counts = self.image_ids.value_counts()
        return counts.field("values").filter(pc.greater(counts.field("counts"), 1)).to_pylist()  # type: ignore[no-any-return]

    def finder(self) -> FileFinder:
        """See `ImageStore`."""
        return FileFinder(self._folder)

    def found_at(self, path: Path) -> FileStore:
        """See `ImageStore`."""
        return FileStore(self._folder, path)


def _table(named: Sequence[tuple[str, str]]) -> pa.Table:
    """Return files, given by path and image id, in the columns of `_FILES`."""
    ids = pa.array([image_id for _, image_id in named], pa.large_string())
    paths = pa.array([_encoded(path) for path, _ in named], pa.large_binary())
    return pa.Table.from_arrays([ids, paths], schema=_FILES)


def _encoded(path: str) -> bytes:
    return path.encode(errors="surrogateescape")


class FileFinder:
    """Finds image files by the locations or the ids of label rows; implements `Finder`."""

    def __init__(self, folder: Location) -> None:
        self._folder = folder
        self._paths_of_id: dict[str, list[str]] | None = None
        self._found: list[pa.RecordBatch] = []
        self._n_found = 0

    def find(self, image_ids: pa.StringArray, locations: pa.StringArray) -> NDArray[np.int64]:
        """See `Finder`."""
        found = _is_below(self._folder, locations)
        others = np.flatnonzero(~found)
        by_id = [self._path_of(image_id) for image_id in image_ids.take(pa.array(others)).to_pylist()]
        has_id = np.array([path is not None for path in by_id], bool)
        mask = np.zeros(len(found), bool)
        mask[others[has_id]] = True
        others_paths = pa.array([_encoded(path) for path in by_id if path is not None], pa.binary())
        paths = pc.replace_with_mask(locations.cast(pa.binary()), mask, others_paths)
        found |= mask
        numbers = np.where(found, self._n_found + np.cumsum(found) - 1, -1)
        columns = [column.filter(pa.array(found)) for column in (image_ids, paths)]
        kinds = [pa.large_string(), pa.large_binary()]
        cast = [column.cast(kind) for column, kind in zip(columns, kinds, strict=True)]
        self._found.append(pa.RecordBatch.from_arrays(cast, schema=_FILES))
        self._n_found += int(found.sum())
        return numbers

    def save(self, path: Path) -> None:
        """See `Finder`."""
        files = pa.Table.from_batches(self._found, _FILES).combine_chunks()
        with mapped_writer(path, _FILES) as writer:
            writer.write_table(files)

    def _path_of(self, image_id: str) -> str | None:
        """Return the path of an image's file below the folder, None if there is none.

        Raises:
            UsageError: there are several.
        """
        if self._paths_of_id is None:
            self._paths_of_id = {}
            for path, found in named_files(self._folder):
                self._paths_of_id.setdefault(found, []).append(path)
        paths = self._paths_of_id.get(image_id, [])
        if len(paths) > 1:
            raise one_image(self._folder, image_id, paths)
        return paths[0] if paths else None


def _is_below(folder: Location, paths: pa.StringArray) -> NDArray[np.bool_]:
    """Return which paths, relative or absolute, name a file inside a folder, bool, shape (R,)."""
    absolute = pc.starts_with(paths, f"{folder.absolute()}/")
    relative = pc.invert(pc.match_substring_regex(paths, r"^$|^/|://|\\"))
    stays = pc.invert(pc.match_substring_regex(paths, r"(^|/)\.\.(/|$)"))
    may_be = np.array(pc.and_(pc.or_(absolute, relative), stays))
    may_be[may_be] = [_is_file(folder / path) for path in paths.filter(pa.array(may_be)).to_pylist()]
    return may_be


def _is_file(path: Location) -> bool:
    try:
        return path.is_file()
    except OSError:  # no name of a file at all, such as a long `data:` address
        return False
