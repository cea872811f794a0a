"""Stores of shards that others wrote: read where they lie, nothing is copied or written beside them.

The index of all pictures is made when a folder is first opened, and kept in the user's cache under a digest of the
shards' names, sizes and times. A shard that changes makes another index.
"""

from __future__ import annotations

import abc
import hashlib
import json
from typing import TYPE_CHECKING, ClassVar, Self

import pyarrow as pa
import pyarrow.compute as pc

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.core.image_ids import image_ids
from mlimages_dataset.core.locations import as_text, is_local, reason, system_errors, user_cache
from mlimages_dataset.images.files import one_image
from mlimages_dataset.images.indexed import FORMAT, PLACES, IndexedStore, write_places
from mlimages_dataset.images.store import FinderById, pictures_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from mlimages_dataset.core.locations import Location


class ForeignStore(IndexedStore, abc.ABC):
    """Pictures in shards of one kind that others wrote; implements `ImageStore`."""

    linked: ClassVar[bool] = True

    @classmethod
    @abc.abstractmethod
    def recognises(cls, folder: Location) -> bool:
        """See `ImageStore`."""

    @classmethod
    @abc.abstractmethod
    def shards_of(cls, folder: Location) -> list[tuple[str, Location]]:
        """Return the shards of a folder, by their paths in it and in their order.

        Raises:
            DataError: one cannot be read.
        """

    @classmethod
    @abc.abstractmethod
    def places_in(cls, shard: str, path: Location) -> Iterator[pa.RecordBatch]:
        """Yield the pictures of a shard, in the columns of `PLACES`.

        Raises:
            DataError: it cannot be read to its end.
        """

    @classmethod
    def open(cls, folder: Location) -> Self:
        """See `ImageStore`."""
        shards = cls.shards_of(folder)
        names = [name for name, _ in shards]
        if odd := [name for name in names if as_text(name) != name]:
            raise UsageError(f"{as_text(odd[0])!r} is no UTF-8 name", where=folder, remedy="rename it")
        made_of = [FORMAT, cls.__name__, _listed(shards, times=True)]
        key = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:16]
        path = user_cache() / f"index-{key}.arrow"
        if (found := cls.standing(path, folder)) is not None:
            return found
        write_places(path, (batch for shard, at in shards for batch in cls.places_in(shard, at)))
        return cls(path, folder)

    @property
    def digest(self) -> str:
        """See `ImageStore`: the names and sizes of the shards."""
        listed = _listed(self.shards_of(self.folder), times=False)
        return hashlib.sha256(json.dumps(listed).encode()).hexdigest()

    def finder(self) -> FinderById:
        """See `ImageStore`: ids that several pictures have are refused where they are asked for."""
        repeated = self.repeated_ids()
        several = pa.array(repeated, pa.large_string())
        return FinderById(self.rows_of if not repeated else lambda ids: self._unambiguous(ids, several))

    def _unambiguous(self, ids: pa.StringArray, several: pa.LargeStringArray) -> NDArray[np.int64]:
        asked = ids.filter(pc.is_in(ids.cast(pa.large_string()), several))
        if len(asked):
            raise one_image(self.folder, str(asked[0]), pictures_of(self, str(asked[0])))
        return self.rows_of(ids)


def places(names: Sequence[str], shard: str, offsets: Iterable[int], lengths: Iterable[int]) -> pa.RecordBatch:
    """Return pictures in the columns of `PLACES`, given what names them."""
    columns = [
        image_ids(pa.array(names, pa.string())),
        pa.array([shard] * len(names), pa.string()),
        pa.array(offsets, pa.int64()),
        pa.array(lengths, pa.int64()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=PLACES)


def _listed(shards: Sequence[tuple[str, Location]], *, times: bool) -> list[tuple[str, int, int]]:
    """Return name and size of each shard, and where that is asked for when it was changed, in nanoseconds."""
    found = []
    for name, path in shards:
        try:
            with system_errors(path):
                status = path.stat()
        except OSError as error:
            raise UsageError(f"cannot be read ({reason(error)})", where=path, remedy="check its permissions") from error
        found.append((name, int(status.st_size), int(status.st_mtime_ns) if times and is_local(path) else 0))
    return found
