"""Folders of tar shards that WebDataset reads, such as img2dataset writes, as a store.

The id of a picture is that of its path in the shard, and of the folder that the shard lies in: `test/7` for `7.jpg` in
`test/0.tar`. Pictures are read from where they lie in the shards, which are not compressed. Files beside them, and
files beside the shards, are no pictures.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from mlimages_dataset.core.errors import MLImagesError
from mlimages_dataset.core.links import below
from mlimages_dataset.core.locations import relative
from mlimages_dataset.images.files import has_pictures
from mlimages_dataset.images.foreign import ForeignStore, places
from mlimages_dataset.images.masks import tag_of_member
from mlimages_dataset.sources.folders import class_of_path
from mlimages_dataset.sources.samples import is_picture, key_of
from mlimages_dataset.sources.tars import ARCHIVE_NAME, tar_entries
from mlimages_dataset.sources.webdataset import holds_pictures, holds_samples, tar_shards
from mlimages_dataset.sources.zips import ZIP_NAME

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pyarrow as pa

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.sources.tars import TarEntry

_BATCH_PICTURES = 1 << 14


class TarStore(ForeignStore):
    """Pictures in the tar files below a folder; implements `ImageStore`."""

    @classmethod
    def recognises(cls, folder: Location) -> bool:
        """Return whether a folder has tar shards, and no picture files or other archives of its own.

        The first tar file is a shard if its pictures have files beside them, or if it has pictures and its name is of a
        part and not of a class (`00000.tar`, `train-0.tar`; not `n01440764.tar`).
        """
        shards = tar_shards(folder)
        if not shards or has_pictures(folder) or any(_is_other_archive(path.name) for path in below(folder)):
            return False
        try:
            is_part = not class_of_path(f"{shards[0].stem}/x")
            return holds_samples(shards[0]) or (is_part and holds_pictures(shards[0]))
        except MLImagesError:
            return True  # `open` says what is wrong with it

    @classmethod
    def shards_of(cls, folder: Location) -> list[tuple[str, Location]]:
        """See `ForeignStore`."""
        return [(relative(path, folder), path) for path in tar_shards(folder)]

    @classmethod
    def places_in(cls, shard: str, path: Location) -> Iterator[pa.RecordBatch]:
        """See `ForeignStore`."""
        pictures = (entry for entry in _without_masks(tar_entries(path)) if is_picture(entry.name) and not entry.unsafe)
        while entries := list(itertools.islice(pictures, _BATCH_PICTURES)):
            names = [f"{shard}/{entry.name}" for entry in entries]
            yield places(names, shard, [entry.offset for entry in entries], [entry.size for entry in entries])

    def _key(self, k: int) -> str:
        return self.image_id(k).rpartition("/")[2]


def _without_masks(entries: Iterable[TarEntry]) -> Iterator[TarEntry]:
    """Yield the members of an archive without the masks that follow a picture of their key."""
    last = ""
    for entry in entries:
        key = key_of(entry.name)
        if not (last and key == last and tag_of_member(entry.name, key)):
            yield entry
        last = key if is_picture(entry.name) else last


def _is_other_archive(name: str) -> bool:
    """Return whether an archive is one that a store cannot read in place."""
    is_archive = ARCHIVE_NAME.search(name) or ZIP_NAME.search(name)
    return is_archive is not None and not name.endswith(".tar")
