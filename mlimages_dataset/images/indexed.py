"""Stores with an index over the pictures of all shards, on mapped memory.

The index is an Arrow file that is made once. Opening it maps the file: processes share its pages, and nothing is
parsed.

Legend: N pictures, in the order of the shards and of their places in them; k one of them, 0..N-1.
"""

from __future__ import annotations

import collections
import functools
import itertools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlimages_dataset.augment.splits import draws_of
from mlimages_dataset.core.ahead import ahead
from mlimages_dataset.core.compiled import compiled
from mlimages_dataset.core.documents import parse_json
from mlimages_dataset.core.errors import DataError, MLImagesError
from mlimages_dataset.images.masks import masks_in_shard
from mlimages_dataset.images.shards import ShardReader, member_name
from mlimages_dataset.images.store import FinderById, Place
from mlimages_dataset.tables.parquet import mapped_table, mapped_writer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    from mlimages_dataset.core.locations import Location

FORMAT = "mlimages.index/1"
PLACES = pa.schema([("image_id", pa.string()), ("shard", pa.string()), ("offset", pa.int64()), ("bytes", pa.int64())])
"""What an index is made from: each picture's id, the path of its shard, and its range of bytes."""
_SHARDS_KEY = b"mlimages.shards"
_FEW = 1 << 12
"""Fewer ids than these are searched by NumPy."""
_COLUMNS = (
    ("image_id", pa.large_string()),  # 17.6 million URLs have more than 2 GiB
    ("shard", pa.int32()),
    ("offset", pa.int64()),
    ("bytes", pa.int64()),
    ("sorted_draw", pa.uint64()),
    ("row_of_draw", pa.int32()),
)


@dataclass(frozen=True, slots=True)
class IdRows:
    """Finds rows by their ids.

    Attributes:
        image_ids: of the rows, shape (N,).
        sorted_draws: of all ids, ascending, uint64, shape (N,).
        row_of_draw: the row of each of these, int32, shape (N,).
    """

    image_ids: pa.LargeStringArray
    sorted_draws: NDArray[np.uint64]
    row_of_draw: NDArray[np.int32]

    @classmethod
    def of(cls, image_ids: pa.LargeStringArray) -> IdRows:
        """Return the finder of rows with these ids."""
        step = 1 << 20  # a text array has 2 GiB at most
        some = (image_ids.slice(start, step).cast(pa.string()) for start in range(0, len(image_ids), step))
        draws = np.concatenate([np.empty(0, np.uint64), *(draws_of(one, "") for one in some)])
        return cls(image_ids, *in_order(draws))

    def of_ids(self, image_ids: pa.StringArray) -> NDArray[np.int64]:
        """Return the row of each id, -1 if none has it, int64, shape of `image_ids`."""
        draws = draws_of(image_ids, "")
        order = np.argsort(draws)  # neighbours in the order of the search are neighbours in memory
        at = np.empty(len(draws), np.int64)
        at[order] = first_at_least(draws[order], self.sorted_draws)
        rows = np.full(len(draws), -1, np.int64)
        open_ = np.arange(len(draws))
        while len(open_ := open_[at[open_] < len(self.image_ids)]):
            open_ = open_[self.sorted_draws[at[open_]] == draws[open_]]
            candidates = self.row_of_draw[at[open_]]
            same = pc.equal(
                self.image_ids.take(pa.array(candidates)), image_ids.take(pa.array(open_)).cast(pa.large_string())
            ).to_numpy(zero_copy_only=False)
            rows[open_[same]] = candidates[same]
            open_ = open_[~same]
            at[open_] += 1  # another id has the same draw
        return rows


def in_order(draws: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.int32]]:
    """Return draws in ascending order, and the row of each; equal ones in the order of their rows.

    They are first parted by their highest bits, so that each part is sorted in the processor's cache.
    """
    bits = min(max(len(draws).bit_length() - 10, 0), 16)  # about 1,000 in each part
    highest = (draws >> np.uint64(64 - bits)).astype(np.uint16) if bits else np.zeros(len(draws), np.uint16)
    rows = np.argsort(highest, kind="stable").astype(np.int32)
    found = draws[rows]
    ends = np.cumsum(np.bincount(highest)).tolist()
    for start, end in itertools.pairwise([0, *ends]):
        order = np.argsort(found[start:end], kind="stable")
        found[start:end], rows[start:end] = found[start:end][order], rows[start:end][order]
    return found, rows


def first_at_least(wanted: NDArray[np.uint64], numbers: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return where the first of ascending numbers is that is not below each of ascending wanted ones, shape (W,).

    As `numpy.searchsorted` does, which begins each search in the midst of what is left, far away in memory.

    Args:
        wanted: shape (W,).
        numbers: shape (N,).
    """
    if len(wanted) < _FEW or not len(numbers):  # a loop that was not compiled ahead is not worth it
        return np.searchsorted(numbers, wanted)
    found = np.empty(len(wanted), np.int64)
    # One kind of array: Numba would compile the loop again for mapped memory, which nobody can write.
    pages = np.frombuffer(numbers, np.uint64).view()
    pages.flags.writeable = False
    _find_ascending(wanted, pages, found)
    return found


@compiled
def _find_ascending(wanted: NDArray[np.uint64], numbers: NDArray[np.uint64], found: NDArray[np.int64]) -> None:
    """Write the places: each search begins at the last found place and looks ahead in steps that double."""
    first, n = 0, len(numbers)
    for i in range(len(wanted)):
        end, step = first, 1
        while end < n and numbers[end] < wanted[i]:
            first = end + 1
            end += step
            step *= 2
        end = min(end, n)
        while first < end:
            middle = (first + end) // 2
            if numbers[middle] < wanted[i]:
                first = middle + 1
            else:
                end = middle
        found[i] = first


class IndexedStore:
    """Pictures in shards, by number and by id: what is the same in all stores that have an index.

    Attributes:
        reader: reads the folder's shards.
        shards: the shards' names.
        shard_of: the number of each picture's shard in `shards`, int32, shape (N,); this and the next two are views
            of mapped memory.
        offsets: where in its shard each picture begins, bytes, int64, shape (N,).
        lengths: its bytes, int64, shape (N,).
        linked: as `ShardReader` has it.
    """

    linked: ClassVar[bool] = False

    def __init__(self, path: Path, folder: Location) -> None:
        self._path = path
        table = mapped_table(path)
        shards = parse_json((table.schema.metadata or {}).get(_SHARDS_KEY, b"null"))
        one_chunk = all(column.num_chunks <= 1 for column in table.columns)
        if not (table.schema.equals(pa.schema(_COLUMNS)) and one_chunk and isinstance(shards, list)):
            raise DataError("is no index of pictures", where=path, remedy="remove it")
        columns = [table.column(name).chunk(0) if len(table) else pa.array([], kind) for name, kind in _COLUMNS]
        self._image_ids, *others = columns
        numbers = [column.to_numpy(zero_copy_only=True) for column in others]
        self.shard_of, self.offsets, self.lengths, *draws = numbers
        self._rows = IdRows(self._image_ids, *draws)
        self.shards: tuple[str, ...] = tuple(shards)
        self.reader = ShardReader(folder, linked=self.linked)

    @classmethod
    def standing(cls, path: Location, folder: Location) -> Self | None:
        """Return the index that a cache's file holds for a folder; None where there is none that is whole.

        A file of something else is removed, so that the index is made again.
        """
        if not (isinstance(path, Path) and path.is_file()):
            return None
        try:
            index = cls(path, folder)
            index._check()
        except (MLImagesError, pa.ArrowException, LookupError, TypeError, ValueError):
            path.unlink(missing_ok=True)
            return None
        return index

    def _check(self) -> None:
        """Raise `ValueError` if a number is not of this index."""
        for numbers, limit in ((self.shard_of, len(self.shards)), (self._rows.row_of_draw, len(self))):
            if len(numbers) and not 0 <= numbers.min() <= numbers.max() < limit:
                raise ValueError("a number is not of this index")
        if not all(isinstance(name, str) for name in self.shards):
            raise TypeError("the name of a shard is no text")

    def __reduce__(self) -> tuple[type[Self], tuple[Path, Location]]:
        # Workers map the same file.
        return type(self), (self._path, self.reader.folder)

    def __len__(self) -> int:
        return len(self.shard_of)

    @property
    def folder(self) -> Location:
        """See `ImageStore`."""
        return self.reader.folder

    @property
    def image_ids(self) -> pa.LargeStringArray:
        """The ids, shape (N,), on mapped memory."""
        return self._image_ids

    def image_id(self, k: int) -> str:
        """Return the id of picture k."""
        return str(self._image_ids[k])

    def place(self, k: int) -> Place:
        """See `ImageStore`."""
        shard, offset, length = self._range(k)
        return Place(self.folder / shard, offset, length)

    def _range(self, k: int) -> tuple[str, int, int]:
        """Return shard, offset and bytes of picture k."""
        return self.shards[self.shard_of[k]], int(self.offsets[k]), int(self.lengths[k])

    def read(self, k: int) -> bytes:
        """Return picture k as it is stored.

        Raises:
            DataError, UsageError: as `ShardReader.read`.
        """
        return self.reader.read(*self._range(k))

    def read_many(self, numbers: NDArray[np.int64]) -> Iterator[bytes | None]:
        """See `ImageStore`."""
        return self.reader.read_many([self._range(k) for k in numbers.tolist()])

    def masks(self, k: int) -> Mapping[str, bytes]:
        """See `ImageStore`: they follow the picture in its shard."""
        shard, offset, length = self._range(k)
        key = self._key(k)
        read = functools.partial(self.reader.read, shard)
        return dict(masks_in_shard(read, offset + length, lambda one: one == key, self.folder / shard))

    def _key(self, k: int) -> str:
        """Return the key of picture k in its shard."""
        return member_name(self.image_id(k), "")

    def finder(self) -> FinderById:
        """See `ImageStore`."""
        return FinderById(self.rows_of)

    def found_at(self, path: Path) -> Self:  # noqa: ARG002 - the index has all numbers
        """See `ImageStore`."""
        return self

    def row_of(self, image_id: str) -> int:
        """Return the number of the picture of an id.

        Raises:
            KeyError: no saved picture has it.
        """
        (row,) = self.rows_of(pa.array([image_id])).tolist()
        if row < 0:
            raise KeyError(image_id)
        return int(row)

    def rows_of(self, image_ids: pa.StringArray) -> NDArray[np.int64]:
        """Return the number of the picture of each id, -1 if none is saved, int64, shape of `image_ids`."""
        return self._rows.of_ids(image_ids)

    def repeated_ids(self) -> list[str]:
        """Return the ids that several pictures have."""
        draws = self._rows.sorted_draws
        alike = np.flatnonzero(draws[1:] == draws[:-1])
        rows = self._rows.row_of_draw[np.union1d(alike, alike + 1)]  # equal ids have equal draws
        counts = collections.Counter(self._image_ids.take(pa.array(rows)).to_pylist())
        return [image_id for image_id, n in counts.items() if n > 1]


def write_places(path: Path, batches: Iterable[pa.RecordBatch]) -> None:
    """Write the index of pictures, given in the columns of `PLACES`.

    Raises:
        UsageError: the file cannot be written.
    """
    shards: dict[str, int] = {}
    columns = list(zip(*(_indexed(batch, shards) for batch in ahead(batches)), strict=True)) or [()] * 5
    ids = pa.chunked_array(columns[0], pa.large_string()).combine_chunks()
    shard_of, offsets, lengths, draws = (
        np.concatenate([np.empty(0, kind), *column])
        for kind, column in zip((np.int32, np.int64, np.int64, np.uint64), columns[1:], strict=True)
    )
    arrays = (ids, shard_of, offsets, lengths, *in_order(draws))
    schema = pa.schema(_COLUMNS, {_SHARDS_KEY: json.dumps(list(shards)).encode()})
    with mapped_writer(path, schema) as writer:
        writer.write_batch(pa.record_batch([pa.array(array) for array in arrays], schema=schema))


def _indexed(batch: pa.RecordBatch, shards: dict[str, int]) -> tuple[pa.Array | NDArray[np.generic], ...]:
    """Return ids, shard numbers, offsets, bytes and draws; new shards get the next numbers."""
    names = batch.column("shard").dictionary_encode()
    numbers = np.array([shards.setdefault(name, len(shards)) for name in names.dictionary.to_pylist()], np.int32)
    image_ids = batch.column("image_id")
    return (
        image_ids.cast(pa.large_string()),
        numbers[names.indices.to_numpy()],
        batch.column("offset").to_numpy(),
        batch.column("bytes").to_numpy(),
        draws_of(image_ids, ""),
    )
