"""The picture files below a folder, with the ids of their images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.core.image_ids import PICTURE_SUFFIXES, image_ids
from mlimages_dataset.core.links import below
from mlimages_dataset.core.locations import as_text, listing, relative
from mlimages_dataset.sources.folders import is_hidden, is_mask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlimages_dataset.core.locations import Location


def named_files(folder: Location) -> list[tuple[str, str]]:
    """Return path and image id of each picture file below a folder, in the order of the paths.

    They are known by their suffixes; masks of other pictures and hidden files are left out.

    Raises:
        UsageError: the folder cannot be listed.
    """
    with listing(folder):
        found = [
            relative(path, folder)
            for path in below(folder, is_hidden)
            if path.suffix.lower() in PICTURE_SUFFIXES and _is_picture(relative(path, folder)) and path.is_file()
        ]
    return named_paths(sorted(found))


def _is_picture(path: str) -> bool:
    return not (is_mask(path) or is_hidden(path))


def has_pictures(folder: Location) -> bool:
    """Return whether a file below a folder has the suffix of a picture."""
    return any(path.suffix.lower() in PICTURE_SUFFIXES for path in below(folder))


def one_image(folder: Location, image_id: str, paths: Sequence[str]) -> UsageError:
    """Return the error of files below a folder that have the same image id."""
    more = f" (and {len(paths) - 2:,} more)" if len(paths) > 2 else ""  # noqa: PLR2004 - two are told
    told = " and ".join(as_text(path) for path in paths[:2])
    return UsageError(
        f"{told}{more} would be one image, {image_id}",
        where=folder,
        remedy="rename one of them, or make shards, which keep the first: mlimages-build images ingest",
    )


def named_paths(paths: Sequence[str]) -> list[tuple[str, str]]:
    """Return paths of pictures with the ids of their images."""
    ids = image_ids(pa.array([as_text(path) for path in paths], pa.string())).to_pylist()
    return list(zip(paths, ids, strict=True))
