"""Thumbnails and larger views of pictures, made on demand and kept in bounded memory.

A picture is always encoded anew as JPEG, so no byte of a stranger's file reaches the browser.
"""

from __future__ import annotations

import io
import threading
import warnings
from collections import OrderedDict
from typing import TYPE_CHECKING

from PIL import Image

from mlimages_dataset.core.errors import DataError, MLImagesError
from mlimages_dataset.images.check import PILLOW_FORMATS
from mlimages_dataset.images.orientation import orientation_of, upright_image
from mlimages_dataset.images.resize import eight_bits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlimages_dataset.images.store import ImageStore
    from mlimages_dataset.serve.rows import ImageRow

THUMBNAIL_PIXELS = 320
VIEW_PIXELS = 1280
CACHE_BYTES = 64 << 20
_QUALITY = 85
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


def smaller(content: bytes, pixels: int, *, where: str) -> bytes:
    """Return an encoded picture as a JPEG, upright, with edges of at most `pixels`.

    Raises:
        DataError: Pillow cannot decode it.
    """
    encoded = io.BytesIO()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata
            with Image.open(io.BytesIO(content), formats=PILLOW_FORMATS) as image:
                orientation = orientation_of(image)
                image.draft(None, (2 * pixels, 2 * pixels))
                stored = eight_bits(image)
                stored.thumbnail((pixels, pixels), Image.Resampling.LANCZOS, reducing_gap=3.0)
                upright_image(stored, orientation).save(encoded, "JPEG", quality=_QUALITY)
    except Exception as error:  # decoders raise exceptions of every kind
        raise DataError(f"the picture is damaged ({error})", where=where, remedy="obtain it again") from error
    return encoded.getvalue()
