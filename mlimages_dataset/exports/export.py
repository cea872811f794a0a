"""The stage that writes label tables in a format of other tools.

Data that the format cannot hold are left out and counted.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from mlimages_dataset.augment.shared_ids import shared_ids
from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.exports.counts import ExportCounts
from mlimages_dataset.exports.publication import Publication
from mlimages_dataset.exports.registry import REGION_FORMATS, WITHOUT_SOURCES, writer_of
from mlimages_dataset.exports.writing import IMAGE_SET, Export
from mlimages_dataset.pipeline.records import StageResult
from mlimages_dataset.pipeline.stage import Stage
from mlimages_dataset.tables.parquet import table_digests, table_parts
from mlimages_dataset.tables.schemas import ANNOTATIONS, LABELS, PREDICTIONS
from mlimages_dataset.vocab.folder import read_vocabulary, refuse_other_vocabulary, vocabulary_digests

if TYPE_CHECKING:
    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.stage import Workplace
    from mlimages_dataset.vocab.vocabulary import Vocabulary

FOLDERS = ("", "data", "train", "val")
"""Folders of the formats' output, relative to the output folder."""
SPLITS = ("train", "val")


def export_stage(
    vocabulary: Location,
    labels: Location,
    form: str,
    publication: Publication,
    *,
    images: Location | None = None,
    image_set: str = IMAGE_SET,
) -> Stage[ExportCounts]:
    """Return the stage that writes label tables, or regions, in another format; its work is `export`.

    Raises:
        UsageError, DataError: a table is missing, damaged, or of another vocabulary.
    """
    inputs = {**vocabulary_digests(vocabulary), **table_digests("labels", labels)}
    refuse_other_vocabulary(inputs, [labels])
    if images is not None:
        inputs |= table_digests("images", images)
    return Stage(
        name="export",
        parameters={
            "format": form,
            **asdict(publication),
            **({"image_set": image_set} if image_set != IMAGE_SET else {}),
        },
        inputs=inputs,
        work=lambda at: export(
            read_vocabulary(vocabulary), labels, form, at, publication=publication, images=images, image_set=image_set
        ),
        summary=ExportCounts,
        folders=FOLDERS,
    )


def export(
    vocabulary: Vocabulary,
    tables: Location,
    form: str,
    at: Workplace,
    *,
    publication: Publication = Publication(),  # noqa: B008 - frozen
    images: Location | None = None,
    image_set: str = IMAGE_SET,
) -> StageResult[ExportCounts]:
    """Write label tables, or a table of regions, in another format.

    Args:
        vocabulary: the vocabulary of the tables.
        tables: a folder with the tables train/ and val/, or with one table, which is taken for train.
        form: the name of one of `registry.FORMATS`, or for regions of `REGION_FORMATS`.
        at: where to write.
        publication: the publisher's facts about the data set, for the formats that can hold them.
        images: the folder of the tables of the pictures, for a format that needs their sizes.
        image_set: what Pascal VOC's files of results call the images.

    Raises:
        UsageError, DataError: a table is missing or damaged, or of another vocabulary.
    """
    splits = splits_of(tables.absolute())
    receipts, counts = writer_of(form)(
        Export(vocabulary, splits, at, publication, None if images is None else images.absolute(), image_set)
    )
    if form in WITHOUT_SOURCES:
        parts = [part for of_split in splits.values() for part in of_split]
        shared = shared_ids(parts, (LABELS, ANNOTATIONS, PREDICTIONS), at.out)
        counts = replace(counts, images_of_several_rows=shared.ids)
    if not counts.images:
        what = "region" if form in REGION_FORMATS else "label"
        raise DataError(f"no image has a {what} that the format can hold", where=tables, remedy="choose another format")
    return StageResult(tuple(receipts), counts)


def splits_of(tables: Location) -> dict[str, list[Location]]:
    """Return the parts of each split in a folder of label tables.

    Raises:
        UsageError: there is no part, or one in a sub-folder other than train and val.
    """
    splits: dict[str, list[Location]] = {}
    for part in table_parts(tables):
        splits.setdefault("train" if part.parent == tables else part.parent.name, []).append(part)
    strangers = sorted(set(splits) - set(SPLITS))
    if strangers:
        raise UsageError(
            f"holds tables in {strangers[0]}, not only in train and val",
            where=tables,
            remedy="name the folder that mlimages-build labels wrote, or that of a single table",
        )
    return dict(sorted(splits.items()))
