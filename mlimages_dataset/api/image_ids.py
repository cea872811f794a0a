"""The ids that tables give to images, to merge their frames with one's own.

The rule is that of `core.image_ids`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from mlimages_dataset.api.arguments import IMAGE_NAME, IMAGE_NAMES
from mlimages_dataset.core import image_ids as rule
from mlimages_dataset.core.arguments import check

if TYPE_CHECKING:
    from collections.abc import Iterable


def image_id(name: str | int) -> str:
    """Return the id of the image with a name: a path, a file name, a URL, an id, or a whole number.

    The suffix of a picture file (`.jpg`, `.png` and others), `./` at the beginning, and a class appended to ImageNet's
    names are left out; a file name that is ImageNet's own stands without its folders; the separators of a Windows path
    become slashes; text is in Unicode's form NFC. A URL is its own id. The id of an id is the id itself.

    Raises:
        UsageError: it is neither text nor a whole number.

    >>> import mlimages_dataset as ml
    >>> ml.image_id("n02084071/rex.JPG"), ml.image_id("n01440764/n01440764_10026.JPEG"), ml.image_id(7)
    ('n02084071/rex', 'n01440764_10026', '7')
    """
    return image_ids([name])[0]


def image_ids(names: Iterable[str | int]) -> list[str]:
    """Return the ids of images with names, as `image_id`; assign it to a column of one's own frame to merge frames.

    Raises:
        UsageError: a name is neither text nor a whole number, or these are not several names.

    >>> import mlimages_dataset as ml
    >>> import pandas as pd
    >>> mine = pd.DataFrame({"file": ["cats/tom.jpg", "dogs/rex.jpg"], "camera": ["A", "B"]})
    >>> mine["image_id"] = ml.image_ids(mine["file"])
    >>> mine["image_id"].tolist()
    ['cats/tom', 'dogs/rex']
    """
    check({"names": IMAGE_NAMES}, {"names": names})
    texts = []
    for one in names:
        name = one.as_py() if isinstance(one, pa.Scalar) else one  # an array of Arrow holds such
        check({"the name of an image": IMAGE_NAME}, {"the name of an image": name})
        texts.append(str(name))
    return [str(one) for one in rule.image_ids(pa.array(texts, pa.string())).to_pylist()]
