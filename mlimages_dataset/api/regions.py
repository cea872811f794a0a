"""Boxes that a collection states: files or frames in, a table out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import pyarrow as pa

from mlimages_dataset.api import folders
from mlimages_dataset.api.annotations import collection
from mlimages_dataset.api.arguments import ARGUMENTS
from mlimages_dataset.api.frames import columns_of, place, strings
from mlimages_dataset.api.messages import warn
from mlimages_dataset.api.tables import Tables, class_names, made_by
from mlimages_dataset.api.vocabularies import folder_of, refuse_other
from mlimages_dataset.augment.regions import RegionSummary
from mlimages_dataset.augment.regions_stage import regions_stage
from mlimages_dataset.core.arguments import SWITCH, check
from mlimages_dataset.core.errors import DataError
from mlimages_dataset.pipeline.engine import unreported
from mlimages_dataset.pipeline.stage import Engine
from mlimages_dataset.sources.box_tables import MORE, WANTED, BoxTables
from mlimages_dataset.tables.parquet import read_table, table_parts
from mlimages_dataset.tables.schemas import REGIONS, TableSchema

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd

    from mlimages_dataset.api.frames import Given, PathLike
    from mlimages_dataset.pipeline.engine import Mapper
    from mlimages_dataset.vocab.vocabulary import Vocabulary


@dataclass(frozen=True, eq=False, repr=False)  # no slots, like `Tables`
class Regions(Tables[RegionSummary]):
    """Boxes in images, mapped onto a vocabulary: one row a box and category."""

    schema: ClassVar[TableSchema] = REGIONS
    rows_are: ClassVar[str] = "regions"

    def to_arrow(self) -> pa.Table:
        """Return the table, one row a box and category, with the columns of `schemas.REGIONS`."""
        return pa.concat_tables(read_table(part, REGIONS) for part in self.parts())

    def to_pandas(self) -> pd.DataFrame:
        """Return the table's columns, and wnid and name of each row's category behind its class_index."""
        table = self.to_arrow()
        for name, column in zip(("wnid", "name"), class_names(table["class_index"], self.vocabulary), strict=True):
            table = table.add_column(table.schema.get_field_index("xmin"), name, column)
        frame: pd.DataFrame = table.to_pandas()
        return frame

    def write(self, folder: PathLike) -> None:
        """Copy the table into a new or empty folder, as the command reads it.

        Raises:
            UsageError: the folder holds other files.
        """
        folders.copy(self.there(), (REGIONS,), REGIONS.name, folder)

    @classmethod
    def read(cls, folder: PathLike, vocabulary: Vocabulary | PathLike) -> Self:
        """Return the table in a folder, of a vocabulary.

        Raises:
            UsageError: there is none, or it was made with another vocabulary.
            DataError: a file that the manifest lists is missing, or the stage that writes it has not ended.
        """
        where = place(folder, what="folder")
        table_parts(where)
        refuse_other(vocabulary, [where])
        return cls(where, vocabulary)


def regions(
    data: Given | Sequence[Given],
    vocabulary: Vocabulary | PathLike,
    *,
    format: str = BoxTables.name,  # noqa: A002 - the word that readers of files use for it
    source: str | None = None,
    ids_of: str | None = None,
    min_confidence: float = 0.0,
    ancestors: bool = False,
    box_order: str = "",
    out: PathLike | None = None,
    overwrite: bool = False,
    mapper: Mapper = map,
    progress: Callable[[int], None] = unreported,
) -> Regions:
    """Map the boxes that files or a frame state onto a vocabulary.

    Boxes that cannot be used, and those of unknown classes, are told in a warning and counted in `summary`.

    Args:
        data: a frame with the columns image_id, label, xmin, ymin, xmax and ymax (shares of the image's width and
            height), and where there are, confidence, flags (group_of, difficult, occluded, truncated, depiction,
            inside, crowd) and mask; or one or several files.
        vocabulary: the vocabulary, or its folder.
        format: of the files: coco, voc, open-images, cvat, yolo, labelme, boxes, or one that another package adds; for
            a frame `boxes`.
        source: the collection's name in the table; the format's by default.
        ids_of: the mapping's source whose ids the labels use, where the format alone does not say.
        min_confidence: machines' boxes below this are left out.
        ancestors: give each box a row for every ancestor of its categories too.
        box_order: of the numbers in `bbox` of Hugging Face's files: `xywh` (left, top, width, height), as COCO has it
            and is read by default, or `xyxy` (left, top, right, bottom).
        out: the folder to write into: new, empty, or of an earlier call.
        overwrite: replace what was made with other parameters or inputs.
        mapper: runs parts; see `pipeline.engine.local` for several processes.
        progress: is called with the number of images done.

    Raises:
        UsageError, DataError: a file or column is missing or malformed, or no box is kept.

    >>> import mlimages_dataset as ml
    >>> import pandas as pd
    >>> vocabulary = ml.build_vocabulary(imagenet=["n02084071"])
    >>> box = {"image_id": ["1"], "label": ["n02084071"], "xmin": [0.25], "ymin": [0], "xmax": [1], "ymax": [0.5]}
    >>> ml.regions(pd.DataFrame(box), vocabulary).to_pandas()[["name", "xmin", "xmax"]].values.tolist()
    [['dog, domestic dog, Canis familiaris', 0.25, 1.0]]
    """
    check({**ARGUMENTS, "ancestors": SWITCH}, locals())
    frames = {BoxTables.name: BoxTables.name}
    stated = {"ids_of": ids_of, "min_confidence": float(min_confidence), "box_order": box_order}
    with collection(data, source, format, frames=frames, columns=_columns, stated=stated) as given:
        made = made_by(
            lambda: regions_stage(folder_of(vocabulary), given, ancestors=ancestors),
            out,
            lambda folder, outcome: Regions(folder, vocabulary, outcome),
            overwrite=overwrite,
            engine=Engine(mapper=mapper, progress=progress),
        )
    if made.summary is not None and (losses := made.summary.losses()):
        examples = [*made.summary.first_rejected_rows[:1]]
        examples += [f"class {class_id!r}" for class_id, _ in made.summary.most_frequent_unknown_classes[:3]]
        such = f" (such as {', '.join(examples)})" if examples else ""
        warn(f"left out: {'; '.join(losses)}{such}; see summary")
    return made


def _columns(frame: object, what: str) -> dict[str, pa.Array]:
    """Return a frame's columns as those of a file of boxes."""
    table = columns_of(frame, WANTED, MORE, what=what)
    if not table.num_rows:
        raise DataError("has no row", where=what, remedy="pass at least one box")
    columns = {name: strings(table, name, what=what) for name in ("image_id", "label")}
    return columns | {name: table[name] for name in table.column_names if name not in columns}
