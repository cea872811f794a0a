"""Class lists that the package has."""

from __future__ import annotations

import functools
from importlib.resources import files
from typing import TYPE_CHECKING

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.samples import on_disk

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable
    from pathlib import Path

PACKAGED_CLASS_LISTS = ("imagenet11k.txt", "imagenet_fall2011.txt", "open_images_boxable.csv", "coco.csv", "voc.csv")


@functools.cache
def packaged_imagenet() -> frozenset[str]:
    """Return the wnids of all synsets that ImageNet (Fall 2011) has images of."""
    return frozenset((_data() / "imagenet_fall2011.txt").read_text("ascii").split())


def packaged_class_list(name: str) -> Path:
    """Return the path of a packaged class list, one of `PACKAGED_CLASS_LISTS`.

    Raises:
        UsageError: no packaged list has that name, or the package is imported from a zip archive.
    """
    if name not in PACKAGED_CLASS_LISTS:
        raise UsageError(
            f"there is no packaged class list {name!r}", remedy=f"use one of {', '.join(PACKAGED_CLASS_LISTS)}"
        )
    return on_disk(_data() / name)


def _data() -> Traversable:
    return files("mlimages_dataset.vocab") / "data"
