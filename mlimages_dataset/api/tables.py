"""The common base of this package's values: a folder of tables, their vocabulary, and how they were made."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from mlimages_dataset.api import folders
from mlimages_dataset.api.messages import told_as
from mlimages_dataset.api.vocabularies import as_vocabulary
from mlimages_dataset.core.errors import DataError, MLImagesError, UsageError
from mlimages_dataset.pipeline.stage import Engine, run
from mlimages_dataset.tables.parquet import open_table, row_count, table_parts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import pandas as pd

    from mlimages_dataset.api.frames import PathLike
    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.records import StageOutcome
    from mlimages_dataset.pipeline.stage import Stage
    from mlimages_dataset.tables.schemas import TableSchema
    from mlimages_dataset.vocab.vocabulary import Vocabulary

LABEL_COLUMNS = ("image_id", "source", "class_index", "wnid", "name", "confidence", "origin")
"""The columns of a frame of labels; `location`, and `split` where there are splits, are added on request."""
_Summary = TypeVar("_Summary")
_Value = TypeVar("_Value")


@dataclass(frozen=True, eq=False, repr=False)  # no slots: a temporary folder is removed with the value that owns it
class Tables(Generic[_Summary]):
    """Tables in a folder.

    Attributes:
        folder: the folder of the tables.
        outcome: the outcome of the stage that made them; None if they were read.
    """

    rows_are: ClassVar[str] = "images"

    folder: Location
    _vocabulary: Vocabulary | PathLike = field(repr=False)
    outcome: StageOutcome[_Summary] | None = None

    def __repr__(self) -> str:
        try:
            counted = f": {len(self):,} {self.rows_are if len(self) != 1 else self.rows_are.removesuffix('s')}"
        except MLImagesError:  # the folder is gone, or holds other files
            counted = ""
        return f"{type(self).__name__} in {self.folder}{counted}"

    def __len__(self) -> int:
        """Return the number of rows."""
        return sum(map(row_count, self.parts()))

    def parts(self) -> list[Location]:
        """Return the files of the table, in their order.

        Raises:
            UsageError: there are none.
            DataError: a file that the manifest lists is missing, or the stage that writes them has not ended.
        """
        return table_parts(self.there())

    @functools.cached_property
    def vocabulary(self) -> Vocabulary:
        """The vocabulary of the tables' classes."""
        return as_vocabulary(self._vocabulary)

    @property
    def summary(self) -> _Summary | None:
        """The counts of the stage that made the tables; None if the tables were read."""
        return None if self.outcome is None else self.outcome.summary

    def there(self) -> Location:
        """Return the folder.

        Raises:
            UsageError: it is gone, as a temporary folder is when its result is deleted or its process has ended.
        """
        if not self.folder.is_dir():
            raise UsageError(
                "the folder of these tables is gone",
                where=self.folder,
                remedy="make them again; what is to stay needs out=, or write() in the process that made it",
            )
        return self.folder


def made_by(
    stage: Callable[[], Stage[_Summary]],
    out: PathLike | None,
    value: Callable[[Location, StageOutcome[_Summary]], _Value],
    *,
    overwrite: bool,
    engine: Engine,
    given: Mapping[str, Location] | None = None,
) -> _Value:
    """Run a stage and return the value of its folder; a temporary folder is removed with the value.

    Errors call temporary folders by the names of the arguments that they were made from (`given`).

    Raises:
        MLImagesError: whatever the stage raises.
    """
    output, own = folders.output(out, overwrite=overwrite)
    try:
        with told_as({path: name for name, path in (given or {}).items() if folders.is_scratch(path)}):
            made = value(output.path, run(stage(), output, engine))
    except BaseException:
        folders.discard(own)
        raise
    if own is not None:
        folders.kept_by(made, own)
    return made


def refuse_other_tables(parts: Iterable[Location], schema: TableSchema) -> None:
    """Raise `SchemaError` for a part of another table."""
    for part in parts:
        with open_table(part, schema):
            pass


def label_frame(table: pa.Table, vocabulary: Vocabulary, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Return a table of labels, with one row per image, as a frame with one row per label.

    Args:
        table: the columns of `schemas.LABELS`, and others with a value per image.
        vocabulary: the vocabulary of its classes.
        columns: those that are wanted, in their order; None for `LABEL_COLUMNS`.

    Raises:
        UsageError: there is no such column.
    """
    wanted = list(LABEL_COLUMNS if columns is None else [columns] if isinstance(columns, str) else columns)
    of_image = [name for name in table.column_names if name != "labels"]
    if strangers := [name for name in wanted if name not in {*of_image, *LABEL_COLUMNS}]:
        choice = ", ".join(dict.fromkeys((*LABEL_COLUMNS, *of_image)))
        raise UsageError(f"there is no column {strangers[0]!r}", remedy=f"choose of {choice}")
    labels = table["labels"].combine_chunks()
    rows, flat = pc.list_parent_indices(labels), pc.list_flatten(labels)
    found = {name: table[name].take(rows) for name in of_image if name in wanted}
    found |= {name: flat.field(name) for name in ("class_index", "confidence", "origin")}
    found |= zip(("wnid", "name"), class_names(found["class_index"], vocabulary), strict=True)
    frame: pd.DataFrame = pa.table({name: found[name] for name in wanted}).to_pandas()
    return frame


def class_names(index: pa.Array, vocabulary: Vocabulary) -> tuple[pa.Array, pa.Array]:
    """Return the wnid and the name of each class index.

    Raises:
        DataError: an index is of another vocabulary.
    """
    known = index.to_numpy()
    if len(known) and not 0 <= known.min() <= known.max() < len(vocabulary):
        raise DataError(
            f"a label has the class index {known.max()}, but the vocabulary has {len(vocabulary)} categories",
            remedy="pass the vocabulary that the table was made with",
        )
    wnid, name = (
        pa.array([getattr(category, name) for category in vocabulary.categories], pa.string()).take(index)
        for name in ("wnid", "name")
    )
    return wnid, name
