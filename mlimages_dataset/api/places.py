"""Where the tables of a build lie: beside each other, as `run`, `start` and the single commands write them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlimages_dataset.api.labels import folder_of_labels
from mlimages_dataset.augment.cooccurrence_stage import COOCCURRENCE, IMPLICATIONS_FILE
from mlimages_dataset.augment.rules_stage import RULES_FILE, RULES_STAGE
from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.recipes.pictures import IMAGES_FOLDER
from mlimages_dataset.tables.files import file_digest
from mlimages_dataset.tables.parquet import table_inputs, table_parts
from mlimages_dataset.tables.parts import unfinished_build
from mlimages_dataset.vocab.folder import categories_file, vocabulary_folder

if TYPE_CHECKING:
    from mlimages_dataset.core.locations import Location


@dataclass(frozen=True, slots=True)
class Places:
    """Folders of a build.

    Attributes:
        labels: the labels, of all splits or of one.
        vocabulary: their vocabulary.
        pairs: the pairs or rules that the labels' own files name among their inputs; None without such.
        images: the pictures, in shards or files; None if there are none.
    """

    labels: Location
    vocabulary: Location
    pairs: Location | None
    images: Location | None


def places_of(given: Location, vocabulary: Location | None = None, images: Location | None = None) -> Places:
    """Return the folders of a build, of which a folder of labels or of a split may be named too.

    Args:
        given: the folder.
        vocabulary: the vocabulary's folder; None for the one beside the labels.
        images: the folder of pictures; None for the one beside the labels.

    Raises:
        UsageError: there are no labels, or no vocabulary beside them.
        SchemaError: the tables there are others, or of another version.
    """
    labels = folder_of_labels(given).absolute()
    around = (labels, labels.parent, labels.parent.parent)  # a split, the labels, the build
    found = vocabulary or next((vocabulary_folder(one) for one in around if categories_file(one).is_file()), None)
    if found is None:
        remedy = "name the folder of the whole build, or the vocabulary (--vocabulary)"
        if (build := unfinished_build(labels / "labels")) is not None:
            remedy = f"the command that writes {build} has not finished: run it again, with --overwrite"
        raise UsageError("there is no vocabulary beside these labels", where=given, remedy=remedy)
    places = (folder for one in around for folder in (one, one / COOCCURRENCE, one / RULES_STAGE))
    inputs = {digest for part in table_parts(labels)[:1] for digest in table_inputs(part).values()}
    files = (folder / name for folder in places for name in (IMPLICATIONS_FILE, RULES_FILE))
    pairs = (path.parent for path in files if _digest(path) in inputs)
    pictures = (one / IMAGES_FOLDER for one in around if (one / IMAGES_FOLDER).is_dir())
    return Places(labels, found, next(pairs, None), images or next(pictures, None))


def _digest(path: Location) -> str:
    """Return the SHA-256 of a file, empty if there is none."""
    return file_digest(path) if path.is_file() else ""
