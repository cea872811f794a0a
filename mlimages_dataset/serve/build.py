"""The build that is served: its vocabulary, label tables, pairs, records, and the stores of its pictures."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlimages_dataset.api.pairs import implications_table
from mlimages_dataset.api.tables import refuse_other_tables
from mlimages_dataset.augment.cooccurrence_stage import COOCCURRENCE, IMPLICATIONS_FILE
from mlimages_dataset.augment.labels_stage import LABELS_STAGE, SPLITS
from mlimages_dataset.core.errors import SchemaError, UsageError
from mlimages_dataset.images.registry import open_store
from mlimages_dataset.pipeline.records import MANIFEST_NAME, Manifest, read_manifest
from mlimages_dataset.recipes.pictures import IMAGES_FOLDER
from mlimages_dataset.samples import labels_csv, photographs
from mlimages_dataset.tables.files import file_digest
from mlimages_dataset.tables.parquet import table_parts
from mlimages_dataset.tables.schemas import LABELS
from mlimages_dataset.vocab.stage import VOCABULARY, read_vocabulary, refuse_other_vocabulary

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pyarrow as pa

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
        parts = _parts(folder)
        if not (folder / VOCABULARY).is_dir():
            raise UsageError("there is no vocabulary in it", where=folder, remedy="name a folder of mlimages-build run")
        vocabulary = read_vocabulary(folder / VOCABULARY)
        pairs = folder / COOCCURRENCE / IMPLICATIONS_FILE
        labels = [path for paths in parts.values() for path in paths]
        refuse_other_tables(labels, LABELS)
        refuse_other_vocabulary(vocabulary.digests, [*labels, *([pairs] if pairs.is_file() else [])])
        implications = implications_table(pairs, vocabulary) if pairs.is_file() else None
    except SchemaError as error:
        raise UsageError(
            f"{error.what} (a build of another version)", where=error.where, remedy=error.remedy
        ) from error
    manifest = read_manifest(folder) if (folder / MANIFEST_NAME).is_file() else Manifest()
    return ServedBuild(folder, vocabulary, parts, implications, manifest, tuple(_stores(folder, images, manifest)))


def _parts(folder: Path) -> dict[str, tuple[Path, ...]]:
    labels = folder / LABELS_STAGE
    parts = {split: tuple(table_parts(labels / split)) for split in SPLITS if any((labels / split).glob("part-*"))}
    if not parts:
        raise UsageError(
            f"there are no labels in it (no {LABELS_STAGE}/{SPLITS[0]}/part-*.parquet)",
            where=folder,
            remedy="name a folder that mlimages-build run has finished",
        )
    return parts  # type: ignore[return-value]  # a local folder's parts are paths


def _stores(folder: Path, images: Sequence[Location], manifest: Manifest) -> list[ImageStore]:
    """Return the stores of the given folders, of the build's own, and of the packaged photographs if it is of them."""
    places = [*images, *([folder / IMAGES_FOLDER] if (folder / IMAGES_FOLDER).is_dir() else [])]
    inputs = {digest for record in manifest.stages.values() for digest in record.inputs.values()}
    if file_digest(labels_csv()) in inputs:
        places.append(photographs())
    return [open_store(place) for place in places]
