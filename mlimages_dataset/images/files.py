"""The picture files below a folder, with the ids of their images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.core.image_ids import PICTURE_SUFFIXES, image_ids
from mlimages_dataset.core.locations import as_text, reason, relative, system_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlimages_dataset.core.locations import Location


@dataclass(frozen=True, slots=True)
class PictureFiles:
    """Picture files, in the order of their paths.

    Attributes:
        folder: the folder that the paths are relative to.
        paths: with slashes.
        image_ids: the image id of each file; no two are equal.
    """

    folder: Location
    paths: tuple[str, ...]
    image_ids: tuple[str, ...]

    @classmethod
    def below(cls, folder: Location) -> PictureFiles:
        """Return the files below a folder that have the suffix of a picture.

        Raises:
            UsageError: the folder cannot be listed, or two files have the same image id.
        """
        return cls._of(folder, named_files(folder))

    @classmethod
    def of(cls, folder: Location, paths: Sequence[str]) -> PictureFiles:
        """Return some files below a folder, in the given order.

        Raises:
            UsageError: two of them have the same image id.
        """
        return cls._of(folder, _named(paths))

    @classmethod
    def _of(cls, folder: Location, named: Sequence[tuple[str, str]]) -> PictureFiles:
        first: dict[str, str] = {}
        for path, image_id in named:
            if image_id in first:
                raise one_image(folder, image_id, [first[image_id], path])
            first[image_id] = path
        return cls(folder, tuple(first.values()), tuple(first))


def named_files(folder: Location) -> list[tuple[str, str]]:
    """Return path and image id of each file below a folder that has the suffix of a picture, in the order of the paths.

    Raises:
        UsageError: the folder cannot be listed.
    """
    try:
        with system_errors(folder):
            found = [
                relative(path, folder)
                for path in folder.rglob("*")
                if path.suffix.lower() in PICTURE_SUFFIXES and path.is_file()
            ]
    except OSError as error:
        raise UsageError(f"cannot be listed ({reason(error)})", where=folder, remedy="check its permissions") from error
    return _named(sorted(found))


def one_image(folder: Location, image_id: str, paths: Sequence[str]) -> UsageError:
    """Return the error of files below a folder that have the same image id."""
    told = " and ".join(as_text(path) for path in paths[:2])
    return UsageError(
        f"{told} would be one image, {image_id}",
        where=folder,
        remedy="rename one of them, or make shards, which keep the first: mlimages-build images ingest",
    )


def _named(paths: Sequence[str]) -> list[tuple[str, str]]:
    ids = image_ids(pa.array([as_text(path) for path in paths], pa.string())).to_pylist()
    return list(zip(paths, ids, strict=True))
