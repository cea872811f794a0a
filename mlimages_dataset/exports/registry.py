"""Export formats by name: a format is one file of this package, and one line here."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlimages_dataset.exports.writing import Export, Written

_MODULES = {
    "tencent": "tencent",
    "csv": "long_form",
    "huggingface": "hugging_face",
    "croissant": "croissant",
}
_OF_REGIONS = {"coco": "coco", "open-images": "open_images", "voc-results": "voc_results"}
FORMATS = tuple(_MODULES)
"""Of label tables."""
REGION_FORMATS = tuple(_OF_REGIONS)
"""Of tables of regions."""
WITHOUT_SOURCES = frozenset({"tencent", "csv"})
"""The formats that do not say which source a row is of."""


def writer_of(form: str) -> Callable[[Export], Written]:
    """Return the function `write` of a format, which writes an export and returns its receipts and counts.

    Raises:
        KeyError: there is no such format.
    """
    module = importlib.import_module(f"{__package__}.{(_MODULES | _OF_REGIONS)[form]}")
    return cast("Callable[[Export], Written]", module.write)
