"""Packaged photographs under free licences, labelled by hand with ImageNet wnids and Open Images mids; labels of COCO.

`scripts/build_photographs.py` made the photographs; `attribution.csv` credits each photographer.
`scripts/build_coco_sample.py` made the sample of COCO's labels.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from mlimages_dataset.core.errors import UsageError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

__all__ = ["attribution_csv", "coco_csv", "labels_csv", "photographs"]


def photographs() -> Path:
    """Return the folder of JPEG files, each called after its image_id, the long side at most 320 pixels."""
    return on_disk(resources.files(__name__) / "photographs")


def labels_csv() -> Path:
    """Return the label file: image_id, location, source, label (a wnid or mid), name, confidence; one row per label.

    Confidence 1 says that a person saw the class, 0 that a person saw it to be absent; any other class is unknown.
    """
    return on_disk(resources.files(__name__) / "photographs.csv")


def attribution_csv() -> Path:
    """Return the credits: image_id, file, title, author, licence, origin, size in pixels, SHA-256; one row per file."""
    return on_disk(resources.files(__name__) / "attribution.csv")


def coco_csv() -> Path:
    """Return complete labels of 5,000 images of COCO: image_id, and labels by COCO's names, separated by bars.

    Each image was checked for each of the 80 classes of the packaged list `coco.csv`.
    """
    return on_disk(resources.files(__name__) / "coco.csv.gz")


def on_disk(resource: Traversable) -> Path:
    """Return the resource as a path.

    Raises:
        UsageError: The package is imported from a zip archive, where files have no path to be read from.
    """
    if not isinstance(resource, Path):
        raise UsageError("lies in an archive", where=resource, remedy="install mlimages-dataset as files")
    return resource
