"""The build that is served: its vocabulary, label tables, pairs, records, and the stores of its pictures."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlimages_dataset.api.labels import Labels
from mlimages_dataset.api.places import places_of
from mlimages_dataset.augment.labels_stage import SPLITS
from mlimages_dataset.core.errors import SchemaError, UsageError
from mlimages_dataset.images.registry import open_store
from mlimages_dataset.pipeline.records import Manifest, read_manifest
from mlimages_dataset.samples import labels_csv, photographs
from mlimages_dataset.tables.files import file_digest
from mlimages_dataset.tables.parts import MANIFEST_NAME

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pyarrow as pa

    from mlimages_dataset.api.places import Places
    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.images.store import ImageStore
    from mlimages_dataset.vocab.vocabulary import Vocabulary


@dataclass(frozen=True)  # no slots: what follows from the tables is computed on first use
class ServedBuild:
    """A build, opened for reading.

    Attributes:
        folder: its folder, absolute.
        vocabulary: its vocabulary.
        parts: the parts of its label tables by split, in order.
        pairs: the `implications` table of the pairs that were applied, as `api.pairs.with_images`; None without any.
        manifest: the records of its stages; empty if it has none.
        stores: where its pictures are looked for, in this order.
    """

    folder: Path
    vocabulary: Vocabulary
    parts: dict[str, tuple[Path, ...]]
    pairs: pa.Table | None
    manifest: Manifest
    stores: tuple[ImageStore, ...]

    @functools.cached_property
    def children(self) -> dict[int, tuple[int, ...]]:
        """The class indices of the children of each category that has any, in their order."""
        children: dict[int, list[int]] = {}
        for index, category in enumerate(self.vocabulary.categories):
            for parent in category.parents:
                children.setdefault(parent, []).append(index)
        return {parent: tuple(below) for parent, below in children.items()}

    def subtree(self, index: int) -> list[int]:
        """Return the class indices of a category and of all below it, ascending."""
        found, waiting = {index}, [index]
        while waiting:
            below = set(self.children.get(waiting.pop(), ())) - found
            found |= below
            waiting += below
        return sorted(found)


def open_build(folder: Path, images: Sequence[Location] = ()) -> ServedBuild:
    """Return a build, an output folder of `mlimages-build run`, or one with its sub-folders vocabulary and labels.

    Args:
        folder: the folder.
        images: further folders of pictures, each a store of any kind; they are looked into first.

    Raises:
        UsageError: the vocabulary or the labels are missing, of another version, or do not belong together, or a
            folder of pictures cannot be read.
        DataError: a table is damaged.
    """
    folder = folder.absolute()
    if not folder.is_dir():
        raise UsageError("there is no such folder", where=folder, remedy="name a folder that mlimages-build run wrote")
    try:
        places = places_of(folder)
        labels = Labels.read(places.labels, places.vocabulary, places.pairs)
        vocabulary = labels.vocabulary
    except SchemaError as error:
        raise UsageError(
            f"{error.what} (a build of another version)", where=error.where, remedy=error.remedy
        ) from error
    manifest = read_manifest(folder) if (folder / MANIFEST_NAME).is_file() else Manifest()
    return ServedBuild(folder, vocabulary, _parts(labels), labels.pairs, manifest, _stores(places, images, manifest))


def _parts(labels: Labels) -> dict[str, tuple[Path, ...]]:
    """Return the parts of each split that has any; those of a table without splits are of the split ''."""
    parts: dict[str, list[Path]] = {}
    for part in labels.parts():
        parts.setdefault(part.parent.name if part.parent.name in SPLITS else "", []).append(part)  # type: ignore[arg-type]  # a local folder's parts are paths
    return {split: tuple(paths) for split, paths in parts.items()}


def _stores(places: Places, images: Sequence[Location], manifest: Manifest) -> tuple[ImageStore, ...]:
    """Return the stores of the given folders, of the build's own, and of the packaged photographs if it is of them."""
    found = [*images, *([] if places.images is None else [places.images])]
    inputs = {digest for record in manifest.stages.values() for digest in record.inputs.values()}
    if file_digest(labels_csv()) in inputs:
        found.append(photographs())
    return tuple(open_store(place) for place in found)
