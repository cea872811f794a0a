"""Smaller views of pictures, as JPEGs.

A picture is always encoded anew, so no byte of a stranger's file reaches a page.
"""

from __future__ import annotations

import io
import warnings

from PIL import Image

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.images.check import PILLOW_FORMATS
from mlimages_dataset.images.depth import eight_bits
from mlimages_dataset.images.orientation import orientation_of, upright_image

_QUALITY = 85


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
        raise DataError(f"the picture cannot be decoded ({error})", where=where, remedy="obtain it again") from error
    return encoded.getvalue()
