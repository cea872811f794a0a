"""Co-occurring categories as a value."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import pyarrow as pa

from mlimages_dataset.api import folders
from mlimages_dataset.api.annotations import annotations_of
from mlimages_dataset.api.arguments import ARGUMENTS
from mlimages_dataset.api.frames import columns_of, is_frame, place, strings
from mlimages_dataset.api.tables import Tables, made_by
from mlimages_dataset.api.vocabularies import as_vocabulary, folder_of, refuse_other
from mlimages_dataset.augment.cooccurrence import PROBABILITY, STRENGTH, strong_pairs
from mlimages_dataset.augment.cooccurrence_stage import (
    COOCCURRENCE,
    IMPLICATIONS_FILE,
    PAIR_COUNTS_FILE,
    CooccurrenceSummary,
    Thresholds,
    cooccurrence_stage,
)
from mlimages_dataset.augment.rules_stage import RULES_FILE, RULES_STAGE
from mlimages_dataset.core import sparse as sp
from mlimages_dataset.core.arguments import check, is_path
from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.pipeline.engine import unreported
from mlimages_dataset.pipeline.stage import Engine
from mlimages_dataset.tables.parquet import read_table, scan_table, schema_of, write_table
from mlimages_dataset.tables.schemas import IMPLICATIONS, PAIR_COUNTS, RULES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pandas as pd

    from mlimages_dataset.api.annotations import Annotations
    from mlimages_dataset.api.frames import Frame, Given, PathLike
    from mlimages_dataset.api.rules import Rules
    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.engine import Mapper
    from mlimages_dataset.vocab.vocabulary import Vocabulary

_PAIR_COLUMNS = tuple(IMPLICATIONS.arrow.names)
_FRAME = "the frame of pairs"
_REMEDY = "pass rows of Pairs.implications"


@dataclass(frozen=True, eq=False, repr=False)  # no slots, like `Tables`
class Pairs(Tables[CooccurrenceSummary]):
    """Co-occurring categories (Tencent ML-Images, section 3.2). C is the number of categories."""

    rows_are: ClassVar[str] = "strong pairs"

    def parts(self) -> list[Location]:
        """Return the file of the strong pairs."""
        return [self.there() / IMPLICATIONS_FILE]

    @functools.cached_property
    def matrix(self) -> sp.csr_array:
        """CO(i, j) of every pair that occurs, float64 sparse, shape (C, C): n_ij / n_i, strong or not."""
        left, right, n_left, n_both = (self._counts[name].to_numpy() for name in PAIR_COUNTS.arrow.names)
        size = len(self.vocabulary)
        return sp.csr_array((n_both / n_left, (left, right)), shape=(size, size))

    @functools.cached_property
    def implications(self) -> pd.DataFrame:
        """The strong pairs, those with the highest lower bound first; rows may be removed before `augment`.

        Columns: antecedent and consequent (class indices), probability (CO), support (n_ij), lower_bound (of the 95 %
        Wilson interval), images (n_i), antecedent_wnid, antecedent_name, consequent_wnid, consequent_name.
        """
        import pandas as pd  # noqa: PLC0415 - half a second, and only frames need it

        table = read_table(self.there() / IMPLICATIONS_FILE, IMPLICATIONS)
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
        """Copy the tables into a new or empty folder; raises as `Annotations.write`."""
        folders.copy(self.there(), (PAIR_COUNTS, IMPLICATIONS), COOCCURRENCE, folder)

    @classmethod
    def read(cls, folder: PathLike, vocabulary: Vocabulary | PathLike) -> Self:
        """Return the pairs in a folder, or in that of a build.

        Raises:
            UsageError: there are none, or they were made with another vocabulary.
        """
        where = _folder_of_pairs(place(folder, what="folder"))
        refuse_other(vocabulary, [where / IMPLICATIONS_FILE, where / PAIR_COUNTS_FILE])
        return cls(where, vocabulary)

    @functools.cached_property
    def _counts(self) -> pa.Table:
        return read_table(self.there() / PAIR_COUNTS_FILE, PAIR_COUNTS)


def cooccurrence(
    annotations: Annotations | Given,
    predictions: Annotations | Given,
    vocabulary: Vocabulary | PathLike,
    *,
    probability: float = PROBABILITY,
    strength: float = STRENGTH,
    ids_of: str | None = None,
    out: PathLike | None = None,
    overwrite: bool = False,
    mapper: Mapper = map,
    progress: Callable[[int], None] = unreported,
) -> Pairs:
    """Find categories that appear together: CO(i, j) = n_ij / n_i for annotated i and predicted j.

    Args:
        annotations: a result of `annotate`, its folder, or a frame that `annotate` takes.
        predictions: a model's predictions for these images, in the same forms; or the annotations themselves (the same
            value or folder), if the collection is complete: they say what else each image shows.
        vocabulary: the vocabulary of both, or its folder.
        probability: a category counts as predicted above it, in 0..1.
        strength: a pair is strong above this share of the annotated images, in 0..1.
        ids_of: as in `annotate`, for frames.
        out: the folder to write into: new, empty, or of an earlier call.
        overwrite: replace what was made with other parameters or inputs.
        mapper: runs parts; see `pipeline.engine.local`.
        progress: is called with the number of finished images.

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
    check(ARGUMENTS, {**locals(), "predictions": True})  # here they are data
    thresholds = Thresholds(probability=float(probability), strength=float(strength))
    left = annotations_of(annotations, vocabulary, ids_of=ids_of)
    same = are_same(annotations, predictions)
    right = left if same else annotations_of(predictions, vocabulary, predictions=True, ids_of=ids_of)
    return made_by(
        lambda: cooccurrence_stage(folder_of(vocabulary), left.folder, right.folder, thresholds),
        out,
        lambda folder, outcome: Pairs(folder, vocabulary, outcome),
        overwrite=overwrite,
        engine=Engine(mapper=mapper, progress=progress),
        given={"annotations": left.folder, "predictions": right.folder},
    )


def are_same(annotations: Annotations | Given, predictions: Annotations | Given) -> bool:
    """Return whether both are the same tables, which are complete annotations then."""
    return _folder_given(annotations) == _folder_given(predictions) is not None


def _folder_given(given: Annotations | Given) -> Location | None:
    """Return the folder of a table that is given as such or by its folder; None for a frame."""
    if isinstance(given, Tables):
        return given.folder
    return place(given, what="table") if is_path(given) else None


def implications_file(
    pairs: Pairs | Rules | Frame | PathLike | None, inputs: Path, vocabulary: Vocabulary | PathLike
) -> Location | None:
    """Return the file of the pairs' implications; for a frame, write it."""
    if pairs is None:
        return None
    if isinstance(pairs, Tables):
        return pairs.parts()[0]
    if is_path(pairs):
        given = place(pairs, what="pairs")
        return _file_in(given) if given.is_dir() else given
    path = inputs / IMPLICATIONS_FILE
    rows = _rows_of(pairs, as_vocabulary(vocabulary))
    write_table(path, rows.sort_by([("antecedent", "ascending"), ("consequent", "ascending")]), IMPLICATIONS, {})
    return path


def implications_table(
    pairs: Pairs | Rules | Frame | PathLike | None, vocabulary: Vocabulary | PathLike
) -> pa.Table | None:
    """Return the table of the pairs' implications, as `with_images`.

    Raises:
        UsageError: it was made with another vocabulary.
    """
    inputs = folders.scratch()
    try:
        path = implications_file(pairs, inputs, vocabulary)
        if path is None:
            return None
        refuse_other(vocabulary, [path])
        return with_images(path, pairs, vocabulary)
    finally:
        folders.discard(inputs)


def with_images(
    path: Location, pairs: Pairs | Rules | Frame | PathLike | None, vocabulary: Vocabulary | PathLike
) -> pa.Table:
    """Return a `rules` table, or one of `implications`, with the column `images`, n_i, if its pairs know it."""
    if path.is_file() and schema_of(path, (IMPLICATIONS, RULES)) is RULES:
        return read_table(path, RULES)
    table = read_table(path, IMPLICATIONS)
    images = _images_of_frame(pairs, vocabulary) if is_frame(pairs) else _images_beside(path)
    counts = [images.get(antecedent) for antecedent in table["antecedent"].to_pylist()]
    return table if None in counts else table.append_column("images", pa.array(counts, pa.int64()))


def _images_of_frame(frame: object, vocabulary: Vocabulary | PathLike) -> dict[int, int]:
    """Return n_i of antecedents as the column `images` of a frame of pairs says; empty without such."""
    images = columns_of(frame, (), ("images",), what=_FRAME)
    if not images.num_columns:
        return {}
    return dict(
        zip(_rows_of(frame, as_vocabulary(vocabulary))["antecedent"].to_pylist(), images[0].to_pylist(), strict=True)
    )


def _images_beside(path: Location) -> dict[int, int]:
    """Return n_i of each category as the `pair_counts` beside implications say; empty without such."""
    counts = path.parent / PAIR_COUNTS_FILE
    if not counts.is_file():
        return {}
    found: dict[int, int] = {}
    for batch in scan_table(counts, PAIR_COUNTS, columns=["left", "n_left"]):
        left, first = np.unique(batch.column("left").to_numpy(), return_index=True)
        found |= dict(zip(left.tolist(), batch.column("n_left").to_numpy()[first].tolist(), strict=True))
    return found


def _file_in(given: Location) -> Location:
    """Return the file of rules in a folder or in that of a build, else that of pairs."""
    return folders.in_build(given, RULES_STAGE, RULES_FILE) or _folder_of_pairs(given) / IMPLICATIONS_FILE


def has_pairs(build: Location) -> bool:
    """Return whether the folder of a build has pairs or rules."""
    files = (build / COOCCURRENCE / IMPLICATIONS_FILE, build / RULES_STAGE / RULES_FILE)
    return any(path.is_file() for path in files)


def _folder_of_pairs(given: Location) -> Location:
    if (found := folders.in_build(given, COOCCURRENCE, IMPLICATIONS_FILE)) is None:
        raise UsageError("there are no pairs in it", where=given, remedy="name the folder of pairs, or of a build")
    return found.parent


def _rows_of(frame: object, vocabulary: Vocabulary) -> pa.Table:
    """Return the rows of a frame of pairs as an `implications` table."""
    measures = _PAIR_COLUMNS[2:]
    sides, wnids = _PAIR_COLUMNS[:2], [f"{side}_wnid" for side in _PAIR_COLUMNS[:2]]
    names = [f"{side}_name" for side in sides]  # not read, and not meant for another column
    table = columns_of(frame, measures, (*sides, *wnids, *names), what=_FRAME)
    columns = {name: table[name] for name in measures}
    for side, wnid in zip(sides, wnids, strict=True):
        columns[side] = _indices(table, side, wnid, vocabulary)
    try:
        return pa.table({name: columns[name] for name in _PAIR_COLUMNS}).cast(IMPLICATIONS.arrow)
    except (pa.ArrowException, ValueError) as error:
        raise DataError(f"is not a frame of pairs ({error})", where=_FRAME, remedy=_REMEDY) from error


def _indices(table: pa.Table, side: str, wnid: str, vocabulary: Vocabulary) -> pa.Array | pa.ChunkedArray:
    """Return the class indices of one side of the pairs, which its wnids, if there are any, must agree with."""
    if wnid not in table.column_names:
        if side not in table.column_names:
            raise DataError(f"no column {side} and no column {wnid}", where=_FRAME, remedy=_REMEDY)
        return table[side]
    stated = strings(table, wnid, what=_FRAME).to_pylist()
    unknown = [one for one in stated if one not in vocabulary.index_of_wnid]
    found = [vocabulary.index_of_wnid.get(one, -1) for one in stated]
    if unknown:
        told = f"the {wnid} {unknown[0]!r} is no category of the vocabulary"
        raise DataError(told, where=_FRAME, remedy="pass the vocabulary that the pairs were made with")
    if side in table.column_names:
        for row, (index, one) in enumerate(zip(table[side].to_pylist(), found, strict=True)):
            if index != one:
                raise DataError(
                    f"row {row} has the {side} {index}, but its {wnid} {stated[row]} is class {one} of the vocabulary",
                    where=_FRAME,
                    remedy=f"pass the vocabulary that the pairs were made with, or leave out the column {side}",
                )
    return pa.array(found, pa.int32())
