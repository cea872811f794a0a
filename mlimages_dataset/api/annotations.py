"""Statements of a collection, or of a model, about images: from files or frames to a table."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Self

import pyarrow as pa
import pyarrow.compute as pc

from mlimages_dataset.api import folders
from mlimages_dataset.api.arguments import ARGUMENTS
from mlimages_dataset.api.frames import columns_of, decoded, file_of, listed, place, strings, text_lists, written
from mlimages_dataset.api.messages import told_as, warn
from mlimages_dataset.api.tables import Tables, label_frame, made_by, refuse_other_tables
from mlimages_dataset.api.vocabularies import folder_of, refuse_other
from mlimages_dataset.augment.annotate import AnnotatedFiles, annotations_stage, hint_on
from mlimages_dataset.augment.annotation_counts import FATES, AnnotationSummary
from mlimages_dataset.core.arguments import check, is_path
from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.pipeline.engine import unreported
from mlimages_dataset.pipeline.stage import Engine
from mlimages_dataset.sources.inputs import is_stream
from mlimages_dataset.sources.layout import Layout
from mlimages_dataset.sources.nested import is_list
from mlimages_dataset.sources.registry import source_named
from mlimages_dataset.tables import confidences
from mlimages_dataset.tables.parquet import read_table, table_parts
from mlimages_dataset.tables.schemas import ANNOTATIONS, PREDICTIONS, TableSchema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pandas as pd

    from mlimages_dataset.api.frames import Given, PathLike
    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.engine import Mapper
    from mlimages_dataset.sources.inputs import Stream
    from mlimages_dataset.vocab.vocabulary import Vocabulary

_FRAME_FORMATS = ("csv", "parquet")


@dataclass(frozen=True, eq=False, repr=False)  # no slots, like `Tables`
class Annotations(Tables[AnnotationSummary]):
    """The statements of a collection, or of a model, mapped onto a vocabulary: one row per image."""

    schema: ClassVar[TableSchema] = ANNOTATIONS

    def to_arrow(self) -> pa.Table:
        """Return the table, one row per image, with the columns of `schemas.ANNOTATIONS`."""
        return pa.concat_tables(read_table(part, self.schema) for part in self.parts())

    def to_pandas(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return one row per label: image_id, source, class_index, wnid, name, confidence, origin (see `Origin`).

        Args:
            columns: some of these columns, and of `location`, in the order that is wanted.

        Raises:
            UsageError: there is no such column.
        """
        return label_frame(self.to_arrow(), self.vocabulary, columns)

    def write(self, folder: PathLike) -> None:
        """Copy the table into a new or empty folder, in the form that the command reads.

        Raises:
            UsageError: the folder holds other files.
        """
        folders.copy(self.there(), (self.schema,), self.schema.name, folder)

    @classmethod
    def read(cls, folder: PathLike, vocabulary: Vocabulary | PathLike) -> Self:
        """Return the table in a folder; in that of a build, all collections.

        Raises:
            UsageError: there is none, or it was made with another vocabulary.
            SchemaError: the tables there are others.
            DataError: a file that the manifest lists is missing, or the stage that writes it has not ended.
        """
        where = place(folder, what="folder")
        if not any(where.glob("part-*.parquet")) and (where / cls.schema.name).is_dir():
            where /= cls.schema.name
        refuse_other_tables(table_parts(where), cls.schema)
        refuse_other(vocabulary, [where])
        return cls(where, vocabulary)


class Predictions(Annotations):
    """The predictions of a model, in the form of `Annotations`; usually those above 0.5."""

    schema: ClassVar[TableSchema] = PREDICTIONS


def annotate(
    data: Given | Stream | Sequence[Given | Stream],
    vocabulary: Vocabulary | PathLike,
    *,
    format: str = "csv",  # noqa: A002 - the usual name of this parameter
    source: str | None = None,
    ids_of: str | None = None,
    min_confidence: float = 0.0,
    columns: Sequence[str] | Mapping[str, str] = (),
    separator: str = "",
    synsets: PathLike | None = None,
    complete: bool = False,
    predictions: bool = False,
    out: PathLike | None = None,
    overwrite: bool = False,
    mapper: Mapper = map,
    progress: Callable[[int], None] = unreported,
) -> Annotations:
    """Map the labels of files or of a frame onto a vocabulary.

    A warning reports rows that cannot be used and labels of unknown classes; `summary` counts them.

    Args:
        data: a frame with the columns image_id and label, and optionally confidence (1, the default: a person saw the
            class; 0: a person saw that it is absent; between: a machine's) and location; a label, and its confidence,
            may be a list; several frames of the same columns; or one or several files, folders of parts, patterns such
            as `part-*.csv`, or open files.
        vocabulary: the vocabulary, or its folder.
        format: format of the files: imagenet, open-images, tencent, csv, parquet, jsonl, coco, or one that another
            package adds; for a frame `csv`.
        source: the collection's name in the table, which a folder can have on every system; by default the format's.
        ids_of: the class list of the vocabulary whose ids the labels use, if the format does not determine it.
        min_confidence: machines' confidences below this are left out.
        columns: names of the columns of a CSV without a header, in order; or the files' names for ours, such as
            `{"image_id": "path", "label": "class"}`, in JSON lines also a path of keys (`annotation.class`).
        separator: what separates several labels in a cell, and their confidences.
        synsets: the synset of each number in ImageNet's own lists: the development kit's meta.mat or map_clsloc.txt
            for its ground truth, synsets.txt or synset_words.txt for val.txt.
        complete: every image was checked for every class of the list `ids_of`, or of the vocabulary's only list, as
            COCO's were: classes that an image does not list are verified absent, unless a label below them is present.
        predictions: the data are a model's predictions, which cannot be `complete`: return `Predictions`.
        out: the folder to write into: new, empty, or of an earlier call.
        overwrite: replace what was made with other parameters or inputs.
        mapper: runs parts; see `pipeline.engine.local` for several processes.
        progress: is called with the number of finished images.

    Raises:
        UsageError, DataError: a file or column is missing or malformed, or no image keeps a label.

    >>> import mlimages_dataset as ml
    >>> import pandas as pd
    >>> vocabulary = ml.build_vocabulary(imagenet=["n02084071", "n02121808"])
    >>> rows = pd.DataFrame({"image_id": ["image-1", "image-2"], "label": ["n02084071", "n02121808"]})
    >>> ml.annotate(rows, vocabulary).to_pandas()[["image_id", "name"]].values.tolist()
    [['image-1', 'dog, domestic dog, Canis familiaris'], ['image-2', 'domestic cat, house cat, ...']]
    """
    check(ARGUMENTS, locals())
    source_named(format)
    kind, schema = (Predictions, PREDICTIONS) if predictions else (Annotations, ANNOTATIONS)
    frames = dict.fromkeys(_FRAME_FORMATS, "parquet")
    stated: dict[str, Any] = {
        "ids_of": ids_of,
        "min_confidence": float(min_confidence),
        "columns": _pairs(columns),
        "separator": separator,
        "synsets": None if synsets is None else place(synsets, what="synsets"),
        "complete": complete,
    }
    read = functools.partial(statements, predictions=predictions)
    with collection(data, source, format, frames=frames, columns=read, stated=stated) as given:
        made = made_by(
            lambda: annotations_stage(folder_of(vocabulary), given, schema=schema),
            out,
            lambda folder, outcome: kind(folder, vocabulary, outcome),
            overwrite=overwrite,
            engine=Engine(mapper=mapper, progress=progress),
        )
    if made.summary is not None:
        _warn_of_losses(made.summary, made.vocabulary)
    return made


@contextlib.contextmanager
def collection(
    data: Given | Stream | Sequence[Given | Stream],
    source: str | None,
    form: str,
    *,
    frames: Mapping[str, str],
    columns: Callable[[object, str], dict[str, pa.Array]],
    stated: Mapping[str, Any],
) -> Iterator[AnnotatedFiles]:
    """Yield files, or a frame that is written as one meanwhile, as a collection; errors of it name the frame.

    Args:
        data: one or several files, or a frame.
        source: the collection's name; the format's by default.
        form: the files' format.
        frames: by the formats that a frame may be called, the format that it is written in.
        columns: returns a frame's columns as that format has them, from the frame and its name in messages.
        stated: further fields of `AnnotatedFiles`.

    Raises:
        UsageError, DataError: the data or an argument cannot be used.
    """
    inputs = folders.scratch()
    try:
        names: dict[Location, str] = {}
        several = listed(data, what="data")
        if all(is_path(one) or is_stream(one) for one in several):
            files = tuple(file_of(one, inputs, names, what="data") for one in several)
        else:
            if any(is_path(one) or is_stream(one) for one in several):
                raise UsageError("data holds both frames and paths", remedy="pass one or the other")
            if form not in frames:
                remedy = f'pass format="{next(iter(frames))}", or files'
                raise UsageError(f"a frame cannot have the format {form}", remedy=remedy)
            if heeded := [one.name for one in fields(Layout) if stated.get(one.name)]:
                are = "is" if len(heeded) == 1 else "are"
                raise UsageError(f"{' and '.join(heeded)} {are} only for files", remedy="change the frame")
            path = inputs / "frame.parquet"
            names[path] = "the frame"
            files = (written(_columns_of_all(several, columns), path),)
        try:
            given = AnnotatedFiles(
                name=source or form,
                format=frames[form] if "the frame" in names.values() else form,
                files=files,
                **stated,
            )
        except ValueError as error:
            raise UsageError(str(error), remedy="correct the argument") from error
        with told_as(names):
            yield given
    finally:
        folders.discard(inputs)


def _pairs(columns: Sequence[str] | Mapping[str, str]) -> tuple[str, ...]:
    """Return names of columns, or ours and theirs, as `Layout` has them."""
    if isinstance(columns, Mapping):
        return tuple(f"{ours}={theirs}" for ours, theirs in columns.items())
    return tuple(columns)


def _columns_of_all(
    frames: Sequence[object], columns: Callable[[object, str], dict[str, pa.Array]]
) -> dict[str, pa.Array]:
    """Return the columns of all frames, of which `columns` returns those of one."""
    names = ["the frame"] if len(frames) == 1 else [f"frame {number}" for number in range(1, len(frames) + 1)]
    tables = [pa.table(columns(frame, name)) for frame, name in zip(frames, names, strict=True)]
    shared = set(tables[0].column_names)
    for name, table in zip(names, tables, strict=True):
        if set(table.column_names) != shared:  # a missing confidence would mean that a person saw the class
            one = min(shared ^ set(table.column_names))
            raise DataError(f"only some of the frames have a column {one}", where=name, remedy="give it to all or none")
        if table.select(tables[0].column_names).schema != tables[0].schema:
            raise DataError(
                "has lists where another frame has none", where=name, remedy="give all frames lists or none"
            )
    joined = pa.concat_tables([table.select(tables[0].column_names) for table in tables])
    return {name: joined[name].combine_chunks() for name in joined.column_names}


def statements(frame: object, what: str, *, predictions: bool = False) -> dict[str, pa.Array]:
    """Return a frame's columns in the form of a file of labels.

    Raises:
        UsageError, DataError: it is no frame, lacks a column, or holds other values.
    """
    table = columns_of(frame, ("image_id", "label"), ("confidence", "location"), what=what)
    if predictions and "confidence" not in table.column_names:
        raise DataError(
            "has no column confidence, which predictions need", where=what, remedy="give each prediction one in 0..1"
        )
    if not table.num_rows:
        raise DataError("has no row", where=what, remedy="pass at least one statement")
    columns = {"image_id": strings(table, "image_id", what=what), "label": text_lists(table, "label", what=what)}
    if "confidence" in table.column_names:
        columns["confidence"] = _confidences(decoded(table["confidence"]), what)
    if "location" in table.column_names:
        try:
            columns["location"] = pc.fill_null(decoded(table["location"]).cast(pa.string()), "")
        except pa.ArrowException as error:
            kind = table["location"].type
            raise DataError(f"the column location has the type {kind}", where=what, remedy="convert it") from error
    return columns


def _confidences(column: pa.Array, what: str) -> pa.Array:
    if is_list(column.type) and _is_number(column.type.value_type):
        return column.cast(pa.list_(pa.float64()))  # one for each label of a list, as the reader checks
    is_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    if not (is_text or _is_number(column.type) or pa.types.is_decimal(column.type)):
        raise DataError(
            f"the column confidence has the type {column.type}, but must hold numbers", where=what, remedy="convert it"
        )
    found = confidences.of_column(column)
    found = confidences.of_texts(found.cast(pa.string())) if is_text else found  # decimals, as in files
    if found.null_count:
        row = pc.index(pc.is_null(found), value=True).as_py()
        value = column[row].as_py()
        told = "no confidence" if value is None or value != value else f"the confidence {value}, which is not in 0..1"  # noqa: PLR0124 - NaN
        usual = "1 means that a person saw the class; without the column all rows have 1"
        raise DataError(f"row {row} has {told}", where=what, remedy=confidences.how_to_write(str(value)) or usual)
    return found


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def annotations_of(
    given: Annotations | Given,
    vocabulary: Vocabulary | PathLike,
    *,
    predictions: bool = False,
    ids_of: str | None = None,
) -> Annotations:
    """Return a table of annotations or predictions: given as such, read from a folder, or made from a frame."""
    if isinstance(given, Annotations):
        if isinstance(given, Predictions) != predictions:
            told, remedy = (
                ("predictions are annotations", "pass predictions=True")
                if predictions
                else ("annotations are predictions", "leave out predictions=True")
            )
            raise UsageError(told, remedy=f"{remedy} to annotate()")
        return given
    if is_path(given):
        return (Predictions if predictions else Annotations).read(given, vocabulary)  # type: ignore[arg-type]  # a path
    return annotate(given, vocabulary, predictions=predictions, ids_of=ids_of)


_LOSSES = ("rejected_rows", "malformed", "unknown", "dropped", "images_without_labels")


def _warn_of_losses(summary: AnnotationSummary, vocabulary: Vocabulary) -> None:
    """Warn of statements that are not in the table."""
    losses = [
        f"{fate.text}: {getattr(summary, fate.field):,}"
        for fate in FATES
        if fate.field in _LOSSES and getattr(summary, fate.field)
    ]
    if losses:
        examples = [*summary.first_rejected_rows[:1], *summary.first_malformed[:1]]
        examples += [f"class {class_id!r}" for class_id, _ in summary.most_frequent_unknown_classes[:3]]
        hint = hint_on(summary, vocabulary)
        such = f" (such as {', '.join(examples)})" if examples else ""
        warn(f"left out: {'; '.join(losses)}{such}; see summary{f'; {hint}' if hint else ''}")
    for fate in FATES:
        is_warned_of = fate.told and not fate.of_statements and fate.field not in _LOSSES
        if is_warned_of and (n := getattr(summary, fate.field)):
            first = summary.first_of(fate)
            warn(f"{fate.text}: {n:,}{f' (such as {first})' if first else ''}; see summary")
