"""Augmented labels as a value that can explain each label."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

import pyarrow as pa

from mlimages_dataset.api import folders
from mlimages_dataset.api.annotations import annotations_of
from mlimages_dataset.api.arguments import ARGUMENTS
from mlimages_dataset.api.frames import listed, place
from mlimages_dataset.api.image_ids import image_id as id_of
from mlimages_dataset.api.messages import warn
from mlimages_dataset.api.pairs import has_pairs, implications_file, implications_table, with_images
from mlimages_dataset.api.tables import Tables, label_frame, made_by, refuse_other_tables
from mlimages_dataset.api.vocabularies import folder_of, refuse_other
from mlimages_dataset.augment.ancestors import Absences
from mlimages_dataset.augment.labels_stage import LABELS_STAGE, SPLITS, LabelOptions, LabelsSummary, labels_stage
from mlimages_dataset.augment.reasons import labels_of_row, reasons
from mlimages_dataset.core.arguments import check, whole
from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.pipeline.engine import unreported
from mlimages_dataset.pipeline.stage import Engine
from mlimages_dataset.tables.label_search import rows_of_image
from mlimages_dataset.tables.parquet import read_table, row_count, scan_table, table_parts
from mlimages_dataset.tables.schemas import LABELS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd

    from mlimages_dataset.api.annotations import Annotations
    from mlimages_dataset.api.frames import Frame, Given, PathLike
    from mlimages_dataset.api.pairs import Pairs
    from mlimages_dataset.api.rules import Rules
    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.engine import Mapper
    from mlimages_dataset.vocab.vocabulary import Vocabulary


@dataclass(frozen=True, eq=False, repr=False)  # no slots, like `Tables`
class Labels(Tables[LabelsSummary]):
    """Augmented labels, closed under ancestors, in the splits train and val.

    Attributes:
        pairs: the strong pairs that were applied, as `implications` with a column `images` (n_i) if known, or the
            `rules`; None if none were or they are unknown.
    """

    pairs: pa.Table | None = None

    def parts(self, split: str | None = None) -> list[Location]:
        """Return the files of one split, or of all, in their order.

        Raises:
            UsageError: there is no such split.
            DataError: a file that the manifest lists is missing, also one of another split.
        """
        if split not in {None, *SPLITS}:
            raise UsageError(f"there is no split {split!r}", remedy=f"use one of {', '.join(SPLITS)}")
        folder = self.there()
        table_parts(folder)  # a split that is gone altogether is seen from here only
        places = [folder / name for name in SPLITS if (folder / name).is_dir()] or [folder]
        return [part for path in places if split in {None, path.name} for part in table_parts(path)]

    def to_arrow(self, split: str | None = None) -> pa.Table:
        """Return the table of one split, or of all, one row per image, with the columns of `schemas.LABELS`.

        Raises:
            UsageError: there is no such split.
        """
        tables = [read_table(part, LABELS) for part in self.parts(split)]
        return pa.concat_tables(tables) if tables else LABELS.arrow.empty_table()

    def to_pandas(self, split: str | None = None, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return one row per label: image_id, source, class_index, wnid, name, confidence, origin (see `Origin`).

        Args:
            split: train or val; both by default.
            columns: some of these columns, and of `location` and `split`, in the order that is wanted.

        Raises:
            UsageError: there is no such split or column.
        """
        table = self.to_arrow(split)
        splits = [pa.repeat(_split_of(part), row_count(part)) for part in self.parts(split)]
        table = table.append_column("split", pa.chunked_array(splits, pa.string()))
        return label_frame(table, self.vocabulary, columns)

    def why(self, image_id: str | int) -> pd.DataFrame:
        """Return the labels of an image, each with its reason in the column `why`.

        Args:
            image_id: the id, or a name of the image as it was given to `annotate`: see `image_id`.

        Raises:
            UsageError: there is no such image.
        """
        rows = self.rows_of(image_id)
        if not rows.num_rows:
            some = ", ".join(map(repr, self.first_ids()))
            raise UsageError(f"no image has the id {image_id!r}", remedy=f"ids here are such as {some}")
        frame = label_frame(rows, self.vocabulary)
        of_rows = (labels_of_row(rows, row, self.vocabulary) for row in range(rows.num_rows))
        frame["why"] = [why for labels in of_rows for why in reasons(labels, self.vocabulary, self.pairs)]
        return frame

    def rows_of(self, image_id: str | int) -> pa.Table:
        """Return the rows of an image, one per source, with the columns of `schemas.LABELS`, none if it is not there.

        Only row groups that may hold it are read.
        """
        return rows_of_image(self.parts(), id_of(image_id))

    def first_ids(self, n: int = 3) -> list[str]:
        """Return the ids of the first n images.

        Raises:
            UsageError: `n` is no whole number of at least 0.
        """
        check({"n": whole(0)}, {"n": n})
        ids = (
            one for part in self.parts() for rows in scan_table(part, LABELS, columns=["image_id"]) for one in rows[0]
        )
        return [one.as_py() for one in itertools.islice(ids, n)]

    def write(self, folder: PathLike) -> None:
        """Copy the tables into a new or empty folder; raises as `Annotations.write`."""
        folders.copy(self.there(), (LABELS,), LABELS_STAGE, folder)

    @classmethod
    def read(
        cls, folder: PathLike, vocabulary: Vocabulary | PathLike, pairs: Pairs | Rules | Frame | PathLike | None = None
    ) -> Self:
        """Return the labels in a folder, with their vocabulary and, for `why`, the pairs that were applied.

        Args:
            folder: a folder that `write`, `augment` or the command wrote, one of its splits, or that of a build.
            vocabulary: the vocabulary that the labels were made with, or its folder.
            pairs: as in `augment`; None for those of the build that the labels are in, if it has any.

        Raises:
            UsageError: there are none, or they were made with another vocabulary.
            SchemaError: the tables there are others.
        """
        where = folder_of_labels(place(folder, what="folder"))
        refuse_other(vocabulary, [where])
        if pairs is None and where.name == LABELS_STAGE and has_pairs(where.parent):
            pairs = where.parent
        return cls(where, vocabulary, pairs=implications_table(pairs, vocabulary))


def _split_of(part: Location) -> str:
    """Return the split of a file, empty if its folder is that of no split."""
    return part.parent.name if part.parent.name in SPLITS else ""


def folder_of_labels(given: Location) -> Location:
    """Return the folder itself if it holds splits or one split, or that of the labels in a build."""
    for folder in (given, given / LABELS_STAGE):
        splits = [folder / name for name in SPLITS if any((folder / name).glob("part-*.parquet"))] or [folder]
        parts = [part for split in splits for part in split.glob("part-*.parquet")]
        refuse_other_tables(parts, LABELS)
        if parts:
            return folder
    raise UsageError("there are no labels in it", where=given, remedy="name the folder of labels, a split or a build")


def augment(
    annotations: Annotations | Given | Sequence[Annotations | Given],
    vocabulary: Vocabulary | PathLike,
    pairs: Pairs | Rules | Frame | PathLike | None = None,
    *,
    validation_images: int = 0,
    validation_images_per_category: int = 5,
    salt: str = "mlimages",
    absences: Literal["expand", "keep", "drop"] = "expand",
    predictions: Annotations | Given | None = None,
    ids_of: str | None = None,
    out: PathLike | None = None,
    overwrite: bool = False,
    mapper: Mapper = map,
    progress: Callable[[int], None] = unreported,
) -> Labels:
    """Add every ancestor and every strongly co-occurring category to annotations, and split them.

    Args:
        annotations: a result of `annotate`, its folder, or a frame that `annotate` takes; or several of these.
        vocabulary: the vocabulary of all annotations, or its folder.
        pairs: a result of `cooccurrence` or of `learn_rules`, its folder, or rows of `Pairs.implications`.
        validation_images: number of images that are drawn for the split val.
        validation_images_per_category: at most this many per category.
        salt: another salt draws other images.
        absences: list a verified-absent category and its descendants as absent, only the category, or none.
        predictions: a teacher's predictions of these images, as in `learn_rules`, for rules of the rule `image`.
        ids_of: as in `annotate`, for frames.
        out: the folder to write into: new, empty, or of an earlier call.
        overwrite: replace what was made with other parameters or inputs.
        mapper: runs parts; see `pipeline.engine.local`.
        progress: is called with the number of finished images.

    Raises:
        UsageError, DataError: a table is missing, damaged or of another vocabulary.
        UsageError: rules read predictions and none are given, or none read those given.

    Source: Tencent ML-Images, sections 3.1 and 3.2.

    >>> import mlimages_dataset as ml
    >>> import pandas as pd
    >>> vocabulary = ml.build_vocabulary(imagenet=["n02084071"])
    >>> labels = ml.augment(pd.DataFrame({"image_id": ["image-1"], "label": ["n02084071"]}), vocabulary)
    >>> labels.why("image-1")[["name", "why"]].values.tolist()
    [['object, physical object', 'because dog is one'], ['dog, domestic dog, Canis familiaris', 'annotated by csv']]
    """
    check(ARGUMENTS, {**locals(), "predictions": True})  # here they are data
    options = LabelOptions(
        validation_images=int(validation_images),  # a number of numpy cannot be recorded
        validation_images_per_category=int(validation_images_per_category),
        salt=salt,
        absences=Absences(absences),
    )
    # Values, not folders: the folder of a value made from a frame is removed with the value.
    tables = [annotations_of(one, vocabulary, ids_of=ids_of) for one in listed(annotations, what="annotations")]
    seen = None if predictions is None else annotations_of(predictions, vocabulary, predictions=True, ids_of=ids_of)
    inputs = folders.scratch()
    try:
        implications = implications_file(pairs, inputs, vocabulary)
        applied = None if implications is None else with_images(implications, pairs, vocabulary)
        made = made_by(
            lambda: labels_stage(
                folder_of(vocabulary),
                [one.folder for one in tables],
                implications,
                options,
                predictions=None if seen is None else seen.folder,
            ),
            out,
            lambda folder, outcome: Labels(folder, vocabulary, outcome, pairs=applied),
            overwrite=overwrite,
            engine=Engine(mapper=mapper, progress=progress),
            given=_given(tables, seen, inputs),
        )
    finally:
        folders.discard(inputs)
    _warn_of_few(made.summary, validation_images)
    return made


def _given(tables: Sequence[Annotations], seen: Annotations | None, pairs: Location) -> dict[str, Location]:
    """Return the folders of the arguments of `augment` by their names."""
    several = {f"annotations[{at}]": one.folder for at, one in enumerate(tables)}
    first = {"annotations": tables[0].folder} if len(tables) == 1 else several
    return {**first, **({} if seen is None else {"predictions": seen.folder}), "pairs": pairs}


def _warn_of_few(summary: LabelsSummary | None, asked: int) -> None:
    """Warn if fewer validation images were drawn than were asked for."""
    if summary is not None and summary.val.images < asked:
        warn(
            f"only {summary.val.images:,} of {asked:,} validation images were drawn: "
            "validation_images_per_category allows no more"
        )
