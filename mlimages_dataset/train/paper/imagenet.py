"""ImageNet as people have it: `train` and `val` with a folder of pictures for each wnid; or shards and annotations.

Labels are annotations without ancestors: an image has one label for the softmax loss.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlimages_dataset.augment.annotate import ANNOTATIONS_FOLDER, AnnotatedFiles, annotations_stage
from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.core.listed import first_of
from mlimages_dataset.pipeline.folder import OutputFolder
from mlimages_dataset.pipeline.stage import run
from mlimages_dataset.sources.folders import is_wnid
from mlimages_dataset.tables.files import write_bytes
from mlimages_dataset.tables.parquet import n_rows, table_parts
from mlimages_dataset.tables.schemas import ANNOTATIONS
from mlimages_dataset.train.paper.prepared import Prepared
from mlimages_dataset.vocab.folder import VOCABULARY, read_vocabulary
from mlimages_dataset.vocab.stage import VocabularyFiles, vocabulary_stage

if TYPE_CHECKING:
    from mlimages_dataset.core.locations import Location

CLASSES = 1000
_TRAIN, _VAL, _SHARDS = "train", "val", "shards"
_WNIDS = "wnids.txt"
_SHOWN = 3


def prepare_imagenet(data: Location, out: Location) -> Prepared:
    """Return ILSVRC 2012's training and validation images.

    Args:
        data: a folder with `train` and `val`, each with a folder a wnid; or with `shards`, `vocabulary` and
            `annotations/train` and `annotations/val`, as the other commands write them.
        out: the folder for vocabulary and labels.

    Raises:
        UsageError, DataError: a folder is missing, a class of `val` is none of `train`, or no category.
    """
    if (data / _SHARDS).is_dir():
        return _of_shards(data)
    wnids = {name: _classes_in(data / name) for name in (_TRAIN, _VAL)}
    strange = sorted(wnids[_VAL] - wnids[_TRAIN])
    if strange:
        raise DataError(
            f"has {first_of(strange, _SHOWN)}, of which {data / _TRAIN} has no folder",
            where=data / _VAL,
            remedy="use the same classes in both",
        )
    folder = OutputFolder(out)
    write_bytes(out / _WNIDS, "".join(f"{wnid}\n" for wnid in sorted(wnids[_TRAIN])).encode())
    run(vocabulary_stage(VocabularyFiles(imagenet=out / _WNIDS), into=VOCABULARY), folder)
    _refuse_dropped(out / VOCABULARY, data / _TRAIN)
    images = {}
    for name in (_TRAIN, _VAL):
        given = AnnotatedFiles(name=name, format="imagenet", files=(data / name,))
        stage = annotations_stage(out / VOCABULARY, given, into=f"{ANNOTATIONS_FOLDER}/{name}")
        images[name] = run(stage, folder).summary.images
    n_classes = len(wnids[_TRAIN])
    note = f"there are {n_classes:,} classes, and ImageNet has {CLASSES:,}"
    return Prepared(
        images=data / _TRAIN,
        labels=out / ANNOTATIONS_FOLDER / _TRAIN,
        vocabulary=out / VOCABULARY,
        measured_images=data / _VAL,
        measured_labels=out / ANNOTATIONS_FOLDER / _VAL,
        n_images=images[_TRAIN],
        n_measured=images[_VAL],
        notes=(note,) if n_classes != CLASSES else (),
    )


def _of_shards(data: Location) -> Prepared:
    """Return the images of a build.

    Raises:
        UsageError: a table is missing.
    """
    labels = {name: data / ANNOTATIONS_FOLDER / name for name in (_TRAIN, _VAL)}
    return Prepared(
        images=data / _SHARDS,
        labels=labels[_TRAIN],
        vocabulary=data / VOCABULARY,
        measured_images=data / _SHARDS,
        measured_labels=labels[_VAL],
        n_images=n_rows(table_parts(labels[_TRAIN]), ANNOTATIONS),
        n_measured=n_rows(table_parts(labels[_VAL]), ANNOTATIONS),
    )


def _classes_in(folder: Location) -> set[str]:
    """Return the wnids whose folders are in a folder.

    Raises:
        UsageError: there is none.
    """
    found = {path.name for path in folder.iterdir() if is_wnid(path.name)} if folder.is_dir() else set()
    if not found:
        raise UsageError(
            "holds no folder of pictures called by a wnid, such as n01440764",
            where=folder,
            remedy=f"name the folder of ImageNet's {_TRAIN} and {_VAL}, or of {_SHARDS} and {ANNOTATIONS_FOLDER}",
        )
    return found


def _refuse_dropped(vocabulary: Location, folder: Location) -> None:
    """Raise `DataError` if a class became no category of its own."""
    lost = [row.source_id for row in read_vocabulary(vocabulary).mapping if not row.is_kept]
    if lost:
        raise DataError(
            f"{first_of(lost, _SHOWN)} are no nouns of WordNet 3.0", where=folder, remedy="use ImageNet's own folders"
        )
