"""What a store of pictures is: pictures by number, whatever files they lie in.

Loaders and stages ask a store and never look at its files. `images/registry.py` lists the kinds of stores; a further
kind is one module with a class like `ImageIndex`, and one line there. `tests/images/store_contract.py` tests any kind.

Legend: N pictures in a store; k one of them, 0..N-1; R rows of a label table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self

import numpy as np
import pyarrow.compute as pc

from mlimages_dataset.core.locations import relative

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

    from mlimages_dataset.core.locations import Location


class Place(NamedTuple):
    """Where a picture is stored.

    Attributes:
        path: the file.
        offset: of the picture's first byte in the file; -1 where it is no range of bytes there, as in Parquet.
        length: in bytes; -1 for all of the file.
    """

    path: Location
    offset: int
    length: int


class ImageStore(Protocol):
    """Pictures below one folder, numbered 0..N-1; read-only.

    Threads may share a store. A pickled store is small: worker processes open its files themselves.
    """

    @classmethod
    def recognises(cls, folder: Location) -> bool:
        """Return whether an existing folder is a store of this kind."""
        ...

    @classmethod
    def open(cls, folder: Location) -> Self:
        """Return the store of a folder.

        Raises:
            UsageError, DataError: the folder cannot be read, or a table in it is damaged.
        """
        ...

    @property
    def folder(self) -> Location:
        """The folder."""
        ...

    @property
    def digest(self) -> str:
        """A text that changes with the pictures, so that what was made from a store is made again.

        Raises:
            UsageError, DataError: as `open`.
        """
        ...

    @property
    def image_ids(self) -> pa.LargeStringArray:
        """The image ids, shape (N,)."""
        ...

    def __len__(self) -> int: ...

    def image_id(self, k: int) -> str:
        """Return the id of picture k."""
        ...

    def place(self, k: int) -> Place:
        """Return where picture k is stored."""
        ...

    def read(self, k: int) -> bytes:
        """Return the encoded bytes of picture k, as they are stored.

        Raises:
            DataError: this picture is missing or damaged.
            UsageError: its file cannot be read.
        """
        ...

    def read_many(self, numbers: NDArray[np.int64]) -> Iterator[bytes | None]:
        """Yield the pictures of ascending numbers, shape (R,); neighbours are read together where that is faster.

        None stands for a picture of which `read` raises DataError.

        Raises:
            UsageError: a file cannot be read.
        """
        ...

    def masks(self, k: int) -> Mapping[str, bytes]:
        """Return the encoded pictures of masks that lie beside picture k, by their tags; see `images.masks`.

        Raises:
            DataError: one is damaged.
            UsageError: a file cannot be read.
        """
        ...

    def repeated_ids(self) -> list[str]:
        """Return the ids that several pictures have."""
        ...

    def finder(self) -> Finder:
        """Return what looks for the pictures of label rows."""
        ...

    def found_at(self, path: Path) -> ImageStore:
        """Return the store that a finder's numbers mean, given what `Finder.save` wrote to `path`.

        Raises:
            DataError: the file is damaged or missing.
        """
        ...


class Finder(Protocol):
    """Finds the pictures of a label table, batch by batch.

    A store that has no index of all its pictures may number those that it finds: it saves what the numbers mean.
    """

    def find(self, image_ids: pa.StringArray, locations: pa.StringArray) -> NDArray[np.int64]:
        """Return the number of each row's picture, -1 if there is none, int64, shape (R,).

        Args:
            image_ids: the rows' ids, shape (R,).
            locations: the rows' URLs or paths, empty where a row has none, shape (R,).

        Raises:
            UsageError: several pictures have the id of one row.
        """
        ...

    def save(self, path: Path) -> None:
        """Write what `ImageStore.found_at` needs, if it needs anything, to a file of this machine.

        Raises:
            UsageError: the file cannot be written.
        """
        ...


@dataclass(frozen=True, slots=True)
class FinderById:
    """The finder of a store that has an index by id: nothing is to be saved.

    Attributes:
        numbers_of: returns the number of the picture of each id, -1 if there is none, int64, shape (R,).
    """

    numbers_of: Callable[[pa.StringArray], NDArray[np.int64]]

    def find(self, image_ids: pa.StringArray, locations: pa.StringArray) -> NDArray[np.int64]:  # noqa: ARG002
        """See `Finder`."""
        return self.numbers_of(image_ids)

    def save(self, path: Path) -> None:
        """Write nothing."""


def pictures_of(store: ImageStore, image_id: str) -> list[str]:
    """Return where the first two pictures with an id are stored, as messages tell it."""
    numbers = np.flatnonzero(pc.equal(store.image_ids, image_id).to_numpy(zero_copy_only=False))
    places = [store.place(k) for k in numbers[:2].tolist()]
    return [
        relative(place.path, store.folder) + (f" (at {place.offset:,})" if place.offset > 0 else "") for place in places
    ]
