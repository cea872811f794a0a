"""The kinds of image stores, and which one a folder is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.images.file_store import FileStore
from mlimages_dataset.images.index import ImageIndex
from mlimages_dataset.images.parquet_store import ParquetStore
from mlimages_dataset.images.tar_store import TarStore

if TYPE_CHECKING:
    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.images.store import ImageStore

KINDS: tuple[type[ImageStore], ...] = (
    ImageIndex,
    TarStore,
    ParquetStore,
    FileStore,  # last: it takes any folder
)
"""In the order in which a folder is tried."""


def open_store(folder: Location) -> ImageStore:
    """Return the store of a folder: of shards, ours or others', or of image files.

    Raises:
        UsageError: there is no such folder.
        UsageError, DataError: it cannot be read, or a table in it is damaged.
    """
    if not folder.is_dir():
        raise UsageError("there is no such folder", where=folder, remedy="name a folder of images or of shards")
    return next(kind for kind in KINDS if kind.recognises(folder)).open(folder)
