"""The pictures of any store by number, by id and by size, for stages that choose among all of them."""

from __future__ import annotations

import functools
import hashlib
from typing import TYPE_CHECKING

import numpy as np

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.core.locations import reason, system_errors
from mlimages_dataset.images.files import one_image
from mlimages_dataset.images.index import ImageIndex, image_parts
from mlimages_dataset.images.indexed import IdRows
from mlimages_dataset.images.registry import open_store
from mlimages_dataset.images.store import pictures_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    from numpy.typing import NDArray

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.images.store import ImageStore

_READ_AT_ONCE = 256


class Lookup:
    """A store whose pictures have an id each.

    Attributes:
        store: the store.

    Legend: N pictures in the store.
    """

    def __init__(self, folder: Location) -> None:
        """Open the store of a folder.

        Raises:
            UsageError: two pictures have one id.
            UsageError, DataError: as `open_store`.
        """
        self.store: ImageStore = open_store(folder)
        if repeated := self.store.repeated_ids():
            raise one_image(folder, repeated[0], pictures_of(self.store, repeated[0]))

    def __len__(self) -> int:
        return len(self.store)

    @functools.cached_property
    def _rows(self) -> IdRows:
        return IdRows.of(self.store.image_ids)

    def rows_of(self, image_ids: pa.StringArray) -> NDArray[np.int64]:
        """Return the number of the picture of each id, -1 if there is none, int64, shape of `image_ids`."""
        return self.store.rows_of(image_ids) if isinstance(self.store, ImageIndex) else self._rows.of_ids(image_ids)

    @functools.cached_property
    def sizes(self) -> NDArray[np.int64]:
        """The bytes of each picture, 0 for one that cannot be read, int64, shape (N,).

        Raises:
            UsageError: a file cannot be read.
        """
        if isinstance(self.store, ImageIndex):
            lengths: NDArray[np.int64] = self.store.lengths
            return lengths
        return np.fromiter((self._size(k) for k in range(len(self))), np.int64, len(self))

    def _size(self, k: int) -> int:
        path, offset, length = self.store.place(k)
        if length >= 0:
            return length
        if offset < 0:  # as in Parquet, where only the picture itself tells
            return len(next(self.store.read_many(np.array([k]))) or b"")
        try:
            with system_errors(path):
                return int(path.stat().st_size)
        except OSError as error:
            raise UsageError(f"cannot be read ({reason(error)})", where=path, remedy="check its permissions") from error

    def contents(self, numbers: NDArray[np.int64]) -> Iterator[tuple[int, bytes | None]]:
        """Yield each of ascending numbers with its picture, None for one that cannot be read; a few are held."""
        for start in range(0, len(numbers), _READ_AT_ONCE):
            some = numbers[start : start + _READ_AT_ONCE]
            yield from zip(some.tolist(), self.store.read_many(some), strict=True)

    def why_not_read(self, k: int) -> str:
        """Return why a picture cannot be read."""
        try:
            self.store.read(k)
        except DataError as error:
            return error.what
        return "it could not be read at first"


def store_inputs(folder: Location) -> dict[str, str]:
    """Return the digests of the pictures of a folder, for a stage's inputs: of our tables, or of others' store."""
    if ImageIndex.recognises(folder):
        return {f"images/{path}": digest for path, digest in image_parts(folder).items()}
    return {"images": hashlib.sha256(open_store(folder).digest.encode()).hexdigest()}
