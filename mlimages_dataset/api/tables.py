"""Tables of labels as values: what files or frames say, the pairs that come together, and augmented labels."""

from __future__ import annotations

import functools
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp

from mlimages_dataset.api import folders
from mlimages_dataset.api.frames import decoded, is_path, listed, place, strings, table_of, told_as, written
from mlimages_dataset.api.vocabularies import as_vocabulary, folder_of
from mlimages_dataset.augment.ancestors import Absences
from mlimages_dataset.augment.cooccurrence import PROBABILITY, STRENGTH, strong_pairs
from mlimages_dataset.augment.stage import IMPLICATIONS_FILE, PAIR_COUNTS_FILE, SPLITS
from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.recipes import build
from mlimages_dataset.recipes.recipe import AnnotationSource, LabelOptions, default_recipe, read_recipe
from mlimages_dataset.report.report import REPORT_FILE
from mlimages_dataset.sources.observations import Format
from mlimages_dataset.tables.parquet import read_table, table_parts, write_table
from mlimages_dataset.tables.schemas import (
    ANNOTATIONS,
    IMPLICATIONS,
    LABELS,
    PAIR_COUNTS,
    PREDICTIONS,
    Origin,
    TableSchema,
)
from mlimages_dataset.vocab.stage import VOCABULARY, read_vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from mlimages_dataset.api.frames import Frame, Given, PathLike
    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.engine import Mapper
    from mlimages_dataset.pipeline.records import Json, StageOutcome
    from mlimages_dataset.vocab.vocabulary import Vocabulary

FormatName = Literal["imagenet", "open-images", "tencent", "csv", "parquet"]
_FRAME_FORMATS = (Format.CSV, Format.PARQUET)
_COLUMNS = ("image_id", "source", "class_index", "wnid", "name", "confidence", "origin")
_PAIR_COLUMNS = tuple(IMPLICATIONS.arrow.names)
_Result = TypeVar("_Result")


@dataclass(frozen=True, eq=False)  # no slots: a folder of this process goes with the value that keeps it
class Annotations:
    """What a collection, or a model, says of its images, mapped onto a vocabulary: one row an image.

    Attributes:
        folder: of the table's parts.
        vocabulary: of its classes.
        summary: what was read, left out and not understood, as the command's `--json` has it; empty where it was read.
    """

    folder: Location
    vocabulary: Vocabulary
    summary: Mapping[str, Json]
    schema: ClassVar[TableSchema] = ANNOTATIONS

    def __len__(self) -> int:
        """Return the number of images."""
        return int(self.to_arrow().num_rows)

    def to_arrow(self) -> pa.Table:
        """Return the table, one row an image, with the columns of `schemas.ANNOTATIONS`."""
        return pa.concat_tables(read_table(part, self.schema) for part in table_parts(self.folder))

    def to_pandas(self) -> pd.DataFrame:
        """Return one row a label: image_id, source, class_index, wnid, name, confidence, origin (see `Origin`)."""
        return label_frame(self.to_arrow(), self.vocabulary)

    def write(self, folder: PathLike) -> None:
        """Copy the table into a new or empty folder, as the command reads it.

        Raises:
            UsageError: the folder holds other files.
        """
        folders.copy(self.folder, (self.schema,), self.schema.name, folder)

    @classmethod
    def read(cls, folder: PathLike, vocabulary: Vocabulary | PathLike) -> Self:
        """Return the table in a folder, of a vocabulary.

        Raises:
            UsageError: there is none.
        """
        where = place(folder, what="folder")
        table_parts(where)
        return cls(where, as_vocabulary(vocabulary), {})


class Predictions(Annotations):
    """What a model says of images: as `Annotations`, from 0.5 or so upwards."""

    schema: ClassVar[TableSchema] = PREDICTIONS


@dataclass(frozen=True, eq=False)  # no slots: as above
class Pairs:
    """Which categories come with which (Tencent ML-Images, section 3.2). C is the number of categories.

    Attributes:
        folder: of the tables `pair_counts` and `implications`.
        vocabulary: of their classes.
        summary: as of `Annotations`.
    """

    folder: Location
    vocabulary: Vocabulary
    summary: Mapping[str, Json]

    @functools.cached_property
    def matrix(self) -> sp.csr_array:
        """CO(i, j) of every pair that occurs, float64 sparse, shape (C, C): n_ij / n_i, strong or not."""
        left, right, n_left, n_both = (self._counts[name].to_numpy() for name in PAIR_COUNTS.arrow.names)
        size = len(self.vocabulary)
        return sp.csr_array((n_both / n_left, (left, right)), shape=(size, size))

    @functools.cached_property
    def implications(self) -> pd.DataFrame:
        """The strong pairs, the surest first; rows of it may be left out before it goes to `augment`.

        Columns: antecedent and consequent (class indices), probability (CO), support (n_ij), lower_bound (of the 95 %
        Wilson interval), images (n_i), antecedent_wnid, antecedent_name, consequent_wnid, consequent_name.
        """
        import pandas as pd  # noqa: PLC0415 - half a second, and only frames need it

        table = read_table(self.folder / IMPLICATIONS_FILE, IMPLICATIONS)
        pairs = strong_pairs(table, self._counts, where=self.folder)
        names = (*_PAIR_COLUMNS, "images")
        frame = pd.DataFrame([[getattr(pair, name) for name in names] for pair in pairs], columns=list(names))
        for side in ("antecedent", "consequent"):
            of_side = [self.vocabulary.categories[i] for i in frame[side]]
            frame[f"{side}_wnid"] = [category.wnid for category in of_side]
            frame[f"{side}_name"] = [category.name for category in of_side]
        return frame

    def to_pandas(self) -> pd.DataFrame:
        """Return `implications`."""
        return self.implications

    def write(self, folder: PathLike) -> None:
        """Copy the tables into a new or empty folder; errors as `Annotations.write`."""
        folders.copy(self.folder, (PAIR_COUNTS, IMPLICATIONS), build.COOCCURRENCE, folder)

    @classmethod
    def read(cls, folder: PathLike, vocabulary: Vocabulary | PathLike) -> Self:
        """Return the pairs in a folder; errors as they are looked at."""
        return cls(place(folder, what="folder"), as_vocabulary(vocabulary), {})

    @functools.cached_property
    def _counts(self) -> pa.Table:
        return read_table(self.folder / PAIR_COUNTS_FILE, PAIR_COUNTS)


@dataclass(frozen=True, eq=False)  # no slots: as above
class Labels:
    """Augmented labels, closed under ancestors, in the splits train and val.

    Attributes:
        folder: of `train/` and `val/`.
        vocabulary: of their classes.
        pairs: the strong pairs that were applied, None where none were or nobody knows them.
        summary: as of `Annotations`.
    """

    folder: Location
    vocabulary: Vocabulary
    pairs: pa.Table | None
    summary: Mapping[str, Json]

    def __len__(self) -> int:
        """Return the number of images, or of rows where an image has several."""
        return int(self.to_arrow().num_rows)

    def to_arrow(self, split: str | None = None) -> pa.Table:
        """Return the table of one split, or of all, one row an image, with the columns of `schemas.LABELS`.

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
        """Return one row a label: image_id, source, class_index, wnid, name, confidence, origin (see `Origin`)."""
        return label_frame(self.to_arrow(split), self.vocabulary)

    def why(self, image_id: str) -> pd.DataFrame:
        """Return the labels of an image, each with what it follows from, in the column `why`.

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
        """Copy the tables into a new or empty folder; errors as `Annotations.write`."""
        folders.copy(self.folder, (LABELS,), build.LABELS, folder)

    @classmethod
    def read(cls, folder: PathLike, vocabulary: Vocabulary | PathLike, pairs: Pairs | PathLike | None = None) -> Self:
        """Return the labels in a folder, of a vocabulary and, for `why`, of pairs.

        Raises:
            UsageError: there are none.
        """
        where = place(folder, what="folder")
        table_parts(where)
        known = as_vocabulary(vocabulary)
        return cls(where, known, _implications_table(pairs), {})

    def _reason(self, row: Any, rows: pd.DataFrame) -> str:
        """Return what a label of an image follows from, of which `rows` are all labels that its source's row has."""
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
                f"{self._named([one['antecedent']])} comes with it: {100 * one['probability']:.0f} % of its images"
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


@dataclass(frozen=True, eq=False)
class Build:
    """What `run` built.

    Attributes:
        folder: the output folder.
        vocabulary: the vocabulary.
        annotations: each annotated collection by name.
        pairs: the strong pairs, None where the recipe looks for none.
        labels: the augmented labels.
        report: the page that tells of it all.
    """

    folder: Location
    vocabulary: Vocabulary
    annotations: Mapping[str, Annotations]
    pairs: Pairs | None
    labels: Labels
    report: Location


def annotate(
    data: Given | Sequence[PathLike],
    vocabulary: Vocabulary | PathLike,
    *,
    format: FormatName = "csv",  # noqa: A002 - the word that readers of files use for it
    source: str | None = None,
    ids_of: str | None = None,
    min_confidence: float = 0.0,
    predictions: bool = False,
    out: PathLike | None = None,
    overwrite: bool = False,
    mapper: Mapper = map,
) -> Annotations:
    """Map what files or a frame say about images onto a vocabulary.

    Rows that cannot be used, and labels of unknown classes, are told in a warning and counted in `summary`.

    Args:
        data: a frame with the columns image_id and label, and where there are, confidence (default 1: a person saw the
            class; 0: a person saw that it is absent; between: a machine's) and location; or one or several files.
        vocabulary: the vocabulary, or its folder.
        format: of the files; `csv` for a frame.
        source: the collection's name in the table; the format's by default.
        ids_of: the mapping's source whose ids the labels use, where the format alone does not say.
        min_confidence: machines' confidences below this are left out.
        predictions: the data are a model's: make `Predictions`.
        out: the folder to write into: new, empty, or of an earlier call.
        overwrite: replace what was made with other parameters or inputs.
        mapper: runs parts; see `engine.local` for several processes.

    Raises:
        UsageError, DataError: a file or column is missing or malformed, or no image keeps a label.

    >>> import mlimages_dataset as ml
    >>> import pandas as pd
    >>> vocabulary = ml.build_vocabulary(imagenet=["n02084071", "n02121808"])
    >>> rows = pd.DataFrame({"image_id": ["image-1", "image-2"], "label": ["n02084071", "n02121808"]})
    >>> ml.annotate(rows, vocabulary).to_pandas()[["image_id", "name"]].values.tolist()
    [['image-1', 'dog, domestic dog, Canis familiaris'], ['image-2', 'domestic cat, house cat, ...']]
    """
    schema = PREDICTIONS if predictions else ANNOTATIONS
    form = _format(format)
    of_vocabulary, known = folder_of(vocabulary), as_vocabulary(vocabulary)
    inputs = folders.scratch()
    try:
        names: dict[Location, str] = {}
        several = listed(data, what="data")
        if all(map(is_path, several)):
            files = tuple(place(one, what="data") for one in several)
        else:
            if form not in _FRAME_FORMATS:
                raise UsageError(f"a frame is not of the format {form.value}", remedy='pass format="csv", or files')
            path = inputs / "frame.parquet"
            names[path] = "the frame"
            files, form = (written(_statements(data, "the frame"), path),), Format.PARQUET
        try:
            given = AnnotationSource(
                name=source or format, format=form, files=files, ids_of=ids_of, min_confidence=min_confidence
            )
        except ValueError as error:
            raise UsageError(str(error), remedy="correct the argument") from error
        with told_as(names):
            folder, outcome, own = _stage(
                out,
                lambda output: build.build_annotations(output, of_vocabulary, given, schema=schema, mapper=mapper),
                overwrite=overwrite,
            )
    finally:
        folders.discard(inputs)
    _warn_of_losses(outcome.record.summary)
    kind = Predictions if predictions else Annotations
    return _kept(kind(folder, known, outcome.record.summary), own)


def cooccurrence(
    annotations: Annotations | Given,
    predictions: Annotations | Given,
    vocabulary: Vocabulary | PathLike,
    *,
    probability: float = PROBABILITY,
    strength: float = STRENGTH,
    out: PathLike | None = None,
    overwrite: bool = False,
    mapper: Mapper = map,
) -> Pairs:
    """Find which categories come with which: CO(i, j) = n_ij / n_i over annotated i and predicted j.

    Args:
        annotations: what `annotate` made, its folder, or a frame that `annotate` takes.
        predictions: what a model predicts of these images, likewise.
        vocabulary: the vocabulary of both, or its folder.
        probability: a category counts as predicted above it, in 0..1.
        strength: a pair is strong above this share of the annotated images, in 0..1.
        out: the folder to write into: new, empty, or of an earlier call.
        overwrite: replace what was made with other parameters or inputs.
        mapper: runs parts; see `engine.local`.

    Raises:
        UsageError, DataError: a table is missing, damaged or of another vocabulary, an image is predicted twice, or
            no annotated image is predicted.

    Source: Tencent ML-Images, section 3.2.

    >>> import mlimages_dataset as ml
    >>> import pandas as pd
    >>> vocabulary = ml.build_vocabulary(imagenet=["n02084071", "n03135532"])
    >>> said = pd.DataFrame({"image_id": ["1", "2"], "label": "n02084071"})
    >>> seen = pd.DataFrame({"image_id": ["1", "2"], "label": "n03135532", "confidence": [0.99, 0.98]})
    >>> pairs = ml.cooccurrence(said, seen, vocabulary)
    >>> pairs.implications[["antecedent_wnid", "consequent_wnid", "probability"]].values.tolist()
    [['n02084071', 'n03135532', 1.0]]
    """
    of_vocabulary, known = folder_of(vocabulary), as_vocabulary(vocabulary)
    left, right = _table(annotations, known), _table(predictions, known, predictions=True)
    for name, share in (("probability", probability), ("strength", strength)):
        if not 0 <= share <= 1:
            raise UsageError(f"{name} is {share}, which is not in 0..1", remedy="correct the argument")
    folder, outcome, own = _stage(
        out,
        lambda output: build.build_cooccurrence(
            output,
            of_vocabulary,
            left.folder,
            right.folder,
            probability=probability,
            strength=strength,
            mapper=mapper,
        ),
        overwrite=overwrite,
    )
    return _kept(Pairs(folder, known, outcome.record.summary), own)


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
) -> Labels:
    """Add every ancestor and every strongly co-occurring category to annotations, and split them.

    Args:
        annotations: what `annotate` made, its folder, or a frame that `annotate` takes; or several of these.
        vocabulary: the vocabulary of all, or its folder.
        pairs: what `cooccurrence` made, its folder, or rows of its `implications`.
        validation_images: how many images are drawn for the split val.
        validation_images_per_category: at most so many of a category.
        salt: another one draws other images.
        absences: list the descendants of a verified-absent category as absent, only itself, or none.
        out: the folder to write into: new, empty, or of an earlier call.
        overwrite: replace what was made with other parameters or inputs.
        mapper: runs parts; see `engine.local`.

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
    of_vocabulary, known = folder_of(vocabulary), as_vocabulary(vocabulary)
    tables = [_table(one, known) for one in listed(annotations, what="annotations")]
    try:
        options = LabelOptions(
            validation_images=validation_images,
            validation_images_per_category=validation_images_per_category,
            salt=salt,
            absences=Absences(absences),
        )
    except ValueError as error:
        raise UsageError(str(error), remedy="correct the argument") from error
    inputs = folders.scratch()
    try:
        implications = _implications_file(pairs, inputs)
        folder, outcome, own = _stage(
            out,
            lambda output: build.build_labels(
                output,
                of_vocabulary,
                [table.folder for table in tables],
                implications=implications,
                options=options,
                mapper=mapper,
            ),
            overwrite=overwrite,
        )
        applied = None if implications is None else read_table(implications, IMPLICATIONS)
    finally:
        folders.discard(inputs)
    return _kept(Labels(folder, known, applied, outcome.record.summary), own)


def run(
    recipe: PathLike | None = None,
    out: PathLike = "build",
    *,
    overwrite: bool = False,
    mapper: Mapper = map,
    ended: Callable[[str, StageOutcome], None] = lambda stage, outcome: None,  # noqa: ARG005 - as it is called
) -> Build:
    """Build a recipe: vocabulary, annotations, pairs, labels and report. What stands already is not built again.

    Args:
        recipe: a TOML file; None for the packaged recipe of packaged facts and photographs.
        out: the output folder: new, empty, or of this build, whole or cut.
        overwrite: replace what was built with other parameters or inputs.
        mapper: runs parts; see `engine.local`.
        ended: is called with each stage's name and outcome.

    Raises:
        MLImagesError: an input, the recipe or the folder cannot be used; what is finished stays.
    """
    read = default_recipe() if recipe is None else read_recipe(place(recipe, what="recipe"))
    folder = place(out, what="out").absolute()
    summaries: dict[str, Mapping[str, Json]] = {}

    def note(stage: str, outcome: StageOutcome) -> None:
        summaries[stage] = outcome.record.summary
        ended(stage, outcome)

    build.run(read, folder, overwrite=overwrite, mapper=mapper, ended=note)
    vocabulary = read_vocabulary(folder / VOCABULARY)
    prefix = f"{build.ANNOTATIONS}/"
    annotations = {
        stage.removeprefix(prefix): Annotations(folder / stage, vocabulary, summary)
        for stage, summary in summaries.items()
        if stage.startswith(prefix)
    }
    pairs = None
    if build.COOCCURRENCE in summaries:
        pairs = Pairs(folder / build.COOCCURRENCE, vocabulary, summaries[build.COOCCURRENCE])
    labels = Labels(folder / build.LABELS, vocabulary, _implications_table(pairs), summaries[build.LABELS])
    return Build(folder, vocabulary, annotations, pairs, labels, folder / REPORT_FILE)


def label_frame(table: pa.Table, vocabulary: Vocabulary) -> pd.DataFrame:
    """Return a table of labels, one row an image, as a frame of one row a label."""
    labels = table["labels"].combine_chunks()
    rows, flat = pc.list_parent_indices(labels), pc.list_flatten(labels)
    index = flat.field("class_index")
    known = index.to_numpy()
    if len(known) and not 0 <= known.min() <= known.max() < len(vocabulary):
        raise DataError(
            f"a label is of class {known.max()}, where the vocabulary has {len(vocabulary)}",
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


def _statements(frame: object, what: str) -> dict[str, pa.Array]:
    """Return a frame's columns as those of a file of statements."""
    table = table_of(frame, what=what)
    if not table.num_rows:
        raise DataError("has no row", where=what, remedy="pass at least one statement")
    columns = {name: strings(table, name, what=what) for name in ("image_id", "label")}
    if "confidence" in table.column_names:
        columns["confidence"] = _confidences(decoded(table["confidence"]), what)
    if "location" in table.column_names:
        columns["location"] = pc.fill_null(decoded(table["location"]).cast(pa.string()), "")
    return columns


def _confidences(column: pa.Array, what: str) -> pa.Array:
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise DataError(
            f"the column confidence is of the type {column.type}, not of numbers", where=what, remedy="convert it"
        )
    column = column.cast(pa.float64(), safe=False)
    given = column.to_numpy(zero_copy_only=False)
    bad = np.flatnonzero(~((given >= 0) & (given <= 1)))
    if len(bad):
        value = column[int(bad[0])].as_py()
        told = "no confidence" if value is None or np.isnan(value) else f"the confidence {value}, which is not in 0..1"
        raise DataError(
            f"row {bad[0]} has {told}",
            where=what,
            remedy="1 says that a person saw the class; without the column all rows have 1",
        )
    return column


def _table(given: Annotations | Given, vocabulary: Vocabulary, *, predictions: bool = False) -> Annotations:
    """Return a table of annotations or predictions that was made, lies in a folder, or is to be made of a frame."""
    if isinstance(given, Annotations):
        return given
    if is_path(given):
        return (Predictions if predictions else Annotations).read(given, vocabulary)  # type: ignore[arg-type]  # a path
    return annotate(given, vocabulary, predictions=predictions)


def _implications_file(pairs: Pairs | Frame | PathLike | None, inputs: Path) -> Location | None:
    """Return the file of some pairs' implications, which is written for a frame."""
    if pairs is None:
        return None
    if isinstance(pairs, Pairs) or is_path(pairs):
        return _implications_place(pairs)
    what = "the frame of pairs"
    table = table_of(pairs, what=what)
    missing = [name for name in _PAIR_COLUMNS if name not in table.column_names]
    if missing:
        raise DataError(f"no column {', '.join(missing)}", where=what, remedy="pass rows of Pairs.implications")
    path = inputs / IMPLICATIONS_FILE
    rows = table.select(list(_PAIR_COLUMNS)).sort_by([("antecedent", "ascending"), ("consequent", "ascending")])
    try:
        write_table(path, rows.cast(IMPLICATIONS.arrow), IMPLICATIONS, {})
    except (pa.ArrowException, ValueError) as error:
        raise DataError(
            f"is no frame of pairs ({error})", where=what, remedy="pass rows of Pairs.implications"
        ) from error
    return path


def _implications_place(pairs: object) -> Location:
    given = pairs.folder if isinstance(pairs, Pairs) else place(pairs, what="pairs")
    return given / IMPLICATIONS_FILE if given.is_dir() else given


def _implications_table(pairs: Pairs | PathLike | None) -> pa.Table | None:
    return None if pairs is None else read_table(_implications_place(pairs), IMPLICATIONS)


def _stage(
    out: PathLike | None, work: Callable[[Any], StageOutcome], *, overwrite: bool
) -> tuple[Location, StageOutcome, Path | None]:
    """Return the folder that a stage is built into, its outcome, and the folder again where it is this process's."""
    output, own = folders.output(out, overwrite=overwrite)
    try:
        return output.path, work(output), own
    except BaseException:
        folders.discard(own)
        raise


def _kept(value: _Result, own: Path | None) -> _Result:
    if own is not None:
        folders.kept_by(value, own)
    return value


def _format(name: str) -> Format:
    try:
        return Format(name)
    except ValueError as error:
        known = ", ".join(form.value for form in Format)
        raise UsageError(f"there is no format {name!r}", remedy=f"use one of {known}") from error


def _warn_of_losses(summary: Mapping[str, Json]) -> None:
    """Warn of what a collection says and its table does not."""
    told = {
        "rejected_rows": "rows that the format does not allow",
        "malformed": "malformed rows",
        "unknown": "labels of unknown classes",
        "dropped": "labels of dropped classes, and absences of classes kept only as their parent",
    }
    losses = [f"{what}: {summary[name]:,}" for name, what in told.items() if summary.get(name)]
    if losses:
        rows, unknown = summary.get("first_rejected_rows"), summary.get("most_frequent_unknown_classes")
        examples = [str(one) for one in rows[:1]] if isinstance(rows, list) else []
        if isinstance(unknown, list):
            examples += [f"class {one[0]!r}" for one in unknown[:3] if isinstance(one, list)]
        such = f" (such as {', '.join(examples)})" if examples else ""
        warnings.warn(f"left out: {'; '.join(losses)}{such}; see summary", stacklevel=3)
    if several := summary.get("images_of_several_names"):
        first = summary.get("first_names")
        such = f" (such as {first[0]})" if isinstance(first, list) and first else ""
        warnings.warn(f"ids that several names of images share: {several:,}{such}; see summary", stacklevel=3)
