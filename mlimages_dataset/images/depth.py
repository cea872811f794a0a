"""Pictures with other than 8 bits a channel: which of them are read, and their upper 8 bits.

TIFFs store samples of any size and format: TIFF Revision 6.0, sections 8 and 19.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Mapping

_BITS, _MEANING, _FORMAT = 258, 262, 339
"""Tags: bits of a sample; what its least value means; how it is stored."""
_FORMATS = {2: "signed integers", 3: "floats"}
_WHITE_IS_ZERO = 0
_READ_BITS = (1, 2, 4, 8, 16)


def unread_depth(image: Image.Image) -> str:
    """Return how the samples of a picture are stored if they are not read; empty for all others.

    Pillow would make such a picture black, white or dark. Floats and signed integers do not say what white is: it may
    be at 1, at 255 or elsewhere.
    """
    fields: Mapping[int, tuple[int, ...]] = getattr(image, "tag_v2", {})
    stored = fields.get(_FORMAT, (1,))[0]
    bits = fields.get(_BITS, (1,))[0]
    if stored not in _FORMATS and bits in _READ_BITS:
        return ""
    return f"{_FORMATS.get(stored, 'integers')} of {bits} bits"


def eight_bits(image: Image.Image) -> Image.Image:
    """Return a picture in grey or RGB with 8 bits per channel: of 16 bits the upper ones, which Pillow would clip.

    Raises:
        ValueError: its samples are of a kind that `unread_depth` names.
    """
    if unread := unread_depth(image):
        raise ValueError(f"its pixels are {unread}, which are not read")
    if not image.mode.startswith("I;16"):
        return image if image.mode in {"L", "RGB"} else image.convert("RGB")
    upper = (np.asarray(image) >> 8).astype(np.uint8)
    is_negative = getattr(image, "tag_v2", {}).get(_MEANING) == _WHITE_IS_ZERO  # Pillow turns only 8 bits around
    return Image.fromarray(~upper if is_negative else upper)
