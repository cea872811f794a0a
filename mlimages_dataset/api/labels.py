"""Augmented labels as a value that can explain each label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import pyarrow as pa
import pyarrow.compute as pc

from mlimages_dataset.api import folders
from mlimages_dataset.api.annotations import annotations_of
from mlimages_dataset.api.frames import listed, place
from mlimages_dataset.api.pairs import implications_file, implications_table
from mlimages_dataset.api.tables import Tables, label_frame, made_by
from mlimages_dataset.api.vocabularies import folder_of
from mlimages_dataset.augment.ancestors import Absences
from mlimages_dataset.augment.labels_stage import LABELS_STAGE, SPLITS, LabelOptions, LabelsSummary, labels_stage
from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.pipeline.engine import unreported
from mlimages_dataset.pipeline.stage import Engine
from mlimages_dataset.tables.parquet import read_table, table_parts
from mlimages_dataset.tables.schemas import IMPLICATIONS, LABELS, Origin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import pandas as pd

    from mlimages_dataset.api.annotations import Annotations
    from mlimages_dataset.api.frames import Frame, Given, PathLike
    from mlimages_dataset.api.pairs import Pairs
    from mlimages_dataset.pipeline.engine import Mapper
    from mlimages_dataset.vocab.vocabulary import Vocabulary


@dataclass(frozen=True, eq=False)  # no slots, like `Tables`
class Labels(Tables[LabelsSummary]):
    """Augmented labels, closed under ancestors, in the splits train and val.

    Attributes:
        pairs: the strong pairs that were applied, None if none were or they are unknown.
    """

    pairs: pa.Table | None = None

    def __len__(self) -> int:
        """Return the number of rows, which is that of images unless an image has several rows."""
        return int(self.to_arrow().num_rows)

    def to_arrow(self, split: str | None = None) -> pa.Table:
        """Return the table of one split, or of all, one row per image, with the columns of `schemas.LABELS`.

        Raises:
            UsageError: there is no such split.
        """
        if split not in {None, *SPLITS}:
            raise UsageError(f"there is no split {split!r}", remedy=f"use one of {', '.join(SPLITS)}")
        places = [self.folder / name for name in SPLITS if split in {None, name}]
        parts = [part for path in places if path.is_dir() for part in table_parts(path)]
        tables = [read_table(part, LABELS) for part in parts]
        return pa.concat_tables(tables) if tables else LABELS.arrow.empty_table()

    def to_pandas(self, split: str | None = None) -> pd.DataFrame:
        """Return one row per label: image_id, source, class_index, wnid, name, confidence, origin (see `Origin`)."""
        return label_frame(self.to_arrow(split), self.vocabulary)

    def why(self, image_id: str) -> pd.DataFrame:
        """Return the labels of an image, each with its reason in the column `why`.

        Raises:
            UsageError: there is no such image.
        """
        table = self.to_arrow()
        rows = table.filter(pc.equal(table["image_id"], image_id))
        if not rows.num_rows:
            some = ", ".join(map(repr, table["image_id"].slice(0, 3).to_pylist()))
            raise UsageError(f"no image has the id {image_id!r}", remedy=f"ids here are such as {some}")
        frame = label_frame(rows, self.vocabulary)
        frame["why"] = [self._reason(row, frame[frame["source"] == row.source]) for row in frame.itertuples()]
        return frame

    def write(self, folder: PathLike) -> None:
        """Copy the tables into a new or empty folder; raises as `Annotations.write`."""
        folders.copy(self.folder, (LABELS,), LABELS_STAGE, folder)

    @classmethod
    def read(cls, folder: PathLike, vocabulary: Vocabulary | PathLike, pairs: Pairs | PathLike | None = None) -> Self:
        """Return the labels in a folder, with their vocabulary and, for `why`, the pairs that were applied.

        Raises:
            UsageError: there are none.
        """
        where = place(folder, what="folder")
        table_parts(where)
        return cls(where, vocabulary, pairs=implications_table(pairs))

    def _reason(self, row: Any, rows: pd.DataFrame) -> str:
        """Return the reason for a label of an image; `rows` are all labels of the image's row for its source."""
        at, origin, closure = row.class_index, Origin(row.origin), self.vocabulary.closure
        if origin == Origin.ORIGINAL:
            return f"{row.source} says so" if row.confidence > 0 else f"{row.source} says that it is absent"
        others = rows[rows["class_index"] != at]
        if row.confidence == 0:
            absent = others.loc[others["confidence"] == 0, "class_index"]
            return f"below {self._named(i for i in absent if closure[at, i])}, which is absent"
        present = others[others["confidence"] > 0]
        if origin == Origin.CO_OCCURRENCE:
            found = [] if self.pairs is None else self.pairs.filter(pc.equal(self.pairs["consequent"], at)).to_pylist()
            reasons = [
                f"implied by {self._named([one['antecedent']])}: in {100 * one['probability']:.0f} % of its images"
                for one in found
                if one["antecedent"] in set(present["class_index"])
            ]
            if reasons:
                return "; ".join(reasons)
        below = [i for i in present["class_index"] if closure[i, at]]
        lowest = [i for i in below if not any(other != i and closure[other, i] for other in below)]
        return f"an ancestor of {self._named(lowest)}"

    def _named(self, classes: Iterable[int]) -> str:
        return " and ".join(self.vocabulary.categories[i].name.partition(",")[0] for i in classes)


def augment(
    annotations: Annotations | Given | Sequence[Annotations | Given],
    vocabulary: Vocabulary | PathLike,
    pairs: Pairs | Frame | PathLike | None = None,
    *,
    validation_images: int = 0,
    validation_images_per_category: int = 5,
    salt: str = "mlimages",
    absences: Literal["expand", "keep", "drop"] = "expand",
    out: PathLike | None = None,
    overwrite: bool = False,
    mapper: Mapper = map,
    progress: Callable[[int], None] = unreported,
) -> Labels:
    """Add every ancestor and every strongly co-occurring category to annotations, and split them.

    Args:
        annotations: a result of `annotate`, its folder, or a frame that `annotate` takes; or several of these.
        vocabulary: the vocabulary of all annotations, or its folder.
        pairs: a result of `cooccurrence`, its folder, or rows of its `implications`.
        validation_images: number of images that are drawn for the split val.
        validation_images_per_category: at most this many per category.
        salt: another salt draws other images.
        absences: list a verified-absent category and its descendants as absent, only the category, or none.
        out: the folder to write into: new, empty, or of an earlier call.
        overwrite: replace what was made with other parameters or inputs.
        mapper: runs parts; see `pipeline.engine.local`.
        progress: is called with the number of finished images.

    Raises:
        UsageError, DataError: a table is missing, damaged or of another vocabulary.

    Source: Tencent ML-Images, sections 3.1 and 3.2.

    >>> import mlimages_dataset as ml
    >>> import pandas as pd
    >>> vocabulary = ml.build_vocabulary(imagenet=["n02084071"])
    >>> labels = ml.augment(pd.DataFrame({"image_id": ["image-1"], "label": ["n02084071"]}), vocabulary)
    >>> labels.why("image-1")[["name", "why"]].values.tolist()
    [['object, physical object', 'an ancestor of dog'], ['dog, domestic dog, Canis familiaris', 'csv says so']]
    """
    try:
        options = LabelOptions(
            validation_images=validation_images,
            validation_images_per_category=validation_images_per_category,
            salt=salt,
            absences=Absences(absences),
        )
    except ValueError as error:
        raise UsageError(str(error), remedy="correct the argument") from error
    # Values, not folders: the folder of a value made from a frame is removed with the value.
    tables = [annotations_of(one, vocabulary) for one in listed(annotations, what="annotations")]
    inputs = folders.scratch()
    try:
        implications = implications_file(pairs, inputs)
        applied = None if implications is None else read_table(implications, IMPLICATIONS)
        return made_by(
            lambda: labels_stage(folder_of(vocabulary), [one.folder for one in tables], implications, options),
            out,
            lambda folder, outcome: Labels(folder, vocabulary, outcome, pairs=applied),
            overwrite=overwrite,
            engine=Engine(mapper=mapper, progress=progress),
        )
    finally:
        folders.discard(inputs)
