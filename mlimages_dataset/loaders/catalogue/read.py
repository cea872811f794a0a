"""Reading a catalogue by row."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from mlimages_dataset.core.documents import parse_json
from mlimages_dataset.core.errors import DataError
from mlimages_dataset.core.locations import reason
from mlimages_dataset.loaders.catalogue import layout
from mlimages_dataset.loaders.orders import RowsOfClass
from mlimages_dataset.tables.label_columns import LabelColumns, columns_of
from mlimages_dataset.tables.parquet import mapped_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mlimages_dataset.images.store import ImageStore, Place


@dataclass(frozen=True, slots=True)
class _Block:
    """The columns of one Arrow batch, all views of mapped memory."""

    folder: NDArray[np.int16]
    picture: NDArray[np.int32]
    source: NDArray[np.int16]
    labels: LabelColumns

    @classmethod
    def of(cls, batch: pa.RecordBatch) -> _Block:
        folder, picture, source = (batch.column(i).to_numpy(zero_copy_only=True) for i in range(3))
        return cls(folder, picture, source, columns_of(batch.column(3)))


class Catalogue:
    """Labelled pictures by row.

    Args:
        path: the folder of its files.
        stores: the image stores that it was made from, in the same order.

    Attributes:
        facts: what is known of all rows.
        rows_of_class: in which rows each class is present, that is, has a confidence above 0.

    Raises:
        DataError: a file of it is missing or not whole.
    """

    def __init__(self, path: Path, stores: Sequence[ImageStore]) -> None:
        self._path = path
        self._given = tuple(stores)
        self._stores = tuple(store.found_at(path / layout.store_file(n)) for n, store in enumerate(stores))
        table = mapped_table(path / layout.ROWS_FILE)
        try:
            facts = parse_json(table.schema.metadata[layout.FACTS_KEY])
            self.facts = layout.Facts(**{**facts, "sources": tuple(facts["sources"])})
            self._blocks = [_Block.of(batch) for batch in table.to_batches()]
        except (LookupError, TypeError, ValueError, AttributeError, pa.ArrowException) as error:
            raise DataError(f"is no catalogue ({reason(error)})", where=path, remedy="remove it") from error
        self.rows_of_class = RowsOfClass(
            _array(path / layout.CLASSES_FILE), _array(path / layout.ROWS_OF_CLASS_FILE, mmap_mode="r")
        )

    def __reduce__(self) -> tuple[type[Catalogue], tuple[Path, tuple[ImageStore, ...]]]:
        # Workers map the same files.
        return type(self), (self._path, self._given)

    def __len__(self) -> int:
        return self.facts.rows

    def _at(self, row: int) -> tuple[_Block, int]:
        return self._blocks[row // layout.BLOCK_ROWS], row % layout.BLOCK_ROWS

    def _picture(self, row: int) -> tuple[ImageStore, int]:
        """Return the store of a row's picture and its number there."""
        block, at = self._at(row)
        return self._stores[block.folder[at]], int(block.picture[at])

    def labels(self, row: int) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.uint8]]:
        """Return class indices, confidences and origins of a row's labels, views of mapped memory, each shape (k,)."""
        block, at = self._at(row)
        labels = block.labels
        part = slice(labels.offsets[at], labels.offsets[at + 1])
        return labels.class_index[part], labels.confidence[part], labels.origin[part]

    def source(self, row: int) -> int:
        """Return the number of a row's source among `facts.sources`."""
        block, at = self._at(row)
        return int(block.source[at])

    def image_id(self, row: int) -> str:
        """Return the id of a row's picture."""
        store, k = self._picture(row)
        return store.image_id(k)

    def place(self, row: int) -> Place:
        """Return where a row's picture is stored."""
        store, k = self._picture(row)
        return store.place(k)

    def content(self, row: int) -> bytes:
        """Return a row's picture as it is stored.

        Raises:
            DataError, UsageError: it cannot be read.
        """
        store, k = self._picture(row)
        return store.read(k)

    def contents(self, rows: NDArray[np.int64]) -> Iterator[bytes | None]:
        """Yield the pictures of ascending rows; those that lie close together are read at once.

        None stands for a picture that is not where it should be: `content` says why.

        Raises:
            UsageError: a file of pictures cannot be read.
        """
        pictures = [self._picture(int(row)) for row in rows]
        for store, of_store in itertools.groupby(pictures, key=lambda picture: picture[0]):
            yield from store.read_many(np.array([k for _, k in of_store], np.int64))


def _array(path: Path, mmap_mode: Literal["r"] | None = None) -> NDArray[Any]:
    """Return the array of a file of the catalogue."""
    try:
        array: NDArray[Any] = np.load(path, mmap_mode=mmap_mode)
    except (OSError, EOFError, ValueError) as error:
        raise DataError(
            f"is not a complete array ({reason(error)})", where=path, remedy="remove the folder that it is in"
        ) from error
    return array
