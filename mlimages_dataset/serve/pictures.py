"""Thumbnails and larger views of pictures, made on demand and kept in bounded memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from mlimages_dataset.core.errors import DataError, MLImagesError
from mlimages_dataset.images.thumbnails import smaller

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlimages_dataset.images.store import ImageStore
    from mlimages_dataset.serve.rows import ImageRow

THUMBNAIL_PIXELS = 320
VIEW_PIXELS = 1280
CACHE_BYTES = 64 << 20
_DECODED_AT_ONCE = 2
"""Pictures that are decoded at the same time: a decoded picture may have hundreds of MiB."""


class Pictures:
    """Makes views of pictures; threads may share it.

    Args:
        stores: the stores of pictures, by number.
        cache_bytes: memory for views that were made before.
    """

    def __init__(self, stores: Sequence[ImageStore], cache_bytes: int = CACHE_BYTES) -> None:
        self._stores = stores
        self._cache_bytes = cache_bytes
        self._kept: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self._decoders = threading.Semaphore(_DECODED_AT_ONCE)

    def view(self, row: ImageRow, pixels: int) -> bytes:
        """Return a JPEG of a row's picture with edges of at most `pixels`, upright.

        Raises:
            DataError: no store has the picture any more, or it is damaged.
        """
        key = (row.row, pixels)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        if row.store is None:
            raise DataError("no folder of pictures has it", where=row.image_id, remedy="name its folder by --images")
        with self._decoders:
            made = smaller(self._content(row, row.store), pixels, where=row.image_id)
        self._keep(key, made)
        return made

    def _content(self, row: ImageRow, store: int) -> bytes:
        try:
            return self._stores[store].read(row.picture)
        except MLImagesError:
            raise
        except (OSError, IndexError, ValueError) as error:  # a shard that was cut, or removed
            raise DataError(f"cannot be read ({error})", where=row.image_id, remedy="check its folder") from error

    def _keep(self, key: tuple[int, int], view: bytes) -> None:
        with self._lock:
            self._bytes += len(view) - len(self._kept.pop(key, b""))
            self._kept[key] = view
            while self._bytes > self._cache_bytes:
                self._bytes -= len(self._kept.popitem(last=False)[1])
