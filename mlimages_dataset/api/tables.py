"""The common base of this package's values: a folder of tables, their vocabulary, and how they were made."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from mlimages_dataset.api import folders
from mlimages_dataset.api.vocabularies import as_vocabulary
from mlimages_dataset.core.errors import DataError
from mlimages_dataset.pipeline.stage import Engine, run

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from mlimages_dataset.api.frames import PathLike
    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.records import StageOutcome
    from mlimages_dataset.pipeline.stage import Stage
    from mlimages_dataset.vocab.vocabulary import Vocabulary

_COLUMNS = ("image_id", "source", "class_index", "wnid", "name", "confidence", "origin")
_Summary = TypeVar("_Summary")
_Value = TypeVar("_Value")


@dataclass(frozen=True, eq=False)  # no slots: a temporary folder is removed with the value that owns it
class Tables(Generic[_Summary]):
    """Tables in a folder.

    Attributes:
        folder: the folder of the tables.
        outcome: the outcome of the stage that made them; None if they were read.
    """

    folder: Location
    _vocabulary: Vocabulary | PathLike = field(repr=False)
    outcome: StageOutcome[_Summary] | None = None

    @functools.cached_property
    def vocabulary(self) -> Vocabulary:
        """The vocabulary of the tables' classes."""
        return as_vocabulary(self._vocabulary)

    @property
    def summary(self) -> _Summary | None:
        """The counts of the stage that made the tables; None if the tables were read."""
        return None if self.outcome is None else self.outcome.summary


def made_by(
    stage: Callable[[], Stage[_Summary]],
    out: PathLike | None,
    value: Callable[[Location, StageOutcome[_Summary]], _Value],
    *,
    overwrite: bool,
    engine: Engine,
) -> _Value:
    """Run a stage and return the value of its folder; a temporary folder is removed with the value.

    Raises:
        MLImagesError: whatever the stage raises.
    """
    output, own = folders.output(out, overwrite=overwrite)
    try:
        made = value(output.path, run(stage(), output, engine))
    except BaseException:
        folders.discard(own)
        raise
    if own is not None:
        folders.kept_by(made, own)
    return made


def label_frame(table: pa.Table, vocabulary: Vocabulary) -> pd.DataFrame:
    """Return a table of labels, with one row per image, as a frame with one row per label."""
    labels = table["labels"].combine_chunks()
    rows, flat = pc.list_parent_indices(labels), pc.list_flatten(labels)
    index = flat.field("class_index")
    known = index.to_numpy()
    if len(known) and not 0 <= known.min() <= known.max() < len(vocabulary):
        raise DataError(
            f"a label has the class index {known.max()}, but the vocabulary has {len(vocabulary)} categories",
            remedy="pass the vocabulary that the table was made with",
        )
    columns = [table["image_id"].take(rows), table["source"].take(rows), index]
    columns += [
        pa.array([getattr(category, name) for category in vocabulary.categories], pa.string()).take(index)
        for name in ("wnid", "name")
    ]
    columns += [flat.field("confidence"), flat.field("origin")]
    frame: pd.DataFrame = pa.table(dict(zip(_COLUMNS, columns, strict=True))).to_pandas()
    return frame
