"""Co-occurring categories as a value."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import pyarrow as pa
import scipy.sparse as sp

from mlimages_dataset.api import folders
from mlimages_dataset.api.annotations import annotations_of
from mlimages_dataset.api.frames import is_path, place, table_of
from mlimages_dataset.api.tables import Tables, made_by
from mlimages_dataset.api.vocabularies import folder_of
from mlimages_dataset.augment.cooccurrence import PROBABILITY, STRENGTH, strong_pairs
from mlimages_dataset.augment.cooccurrence_stage import (
    COOCCURRENCE,
    IMPLICATIONS_FILE,
    PAIR_COUNTS_FILE,
    CooccurrenceSummary,
    Thresholds,
    cooccurrence_stage,
)
from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.pipeline.engine import unreported
from mlimages_dataset.pipeline.stage import Engine
from mlimages_dataset.tables.parquet import read_table, write_table
from mlimages_dataset.tables.schemas import IMPLICATIONS, PAIR_COUNTS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pandas as pd

    from mlimages_dataset.api.annotations import Annotations
    from mlimages_dataset.api.frames import Frame, Given, PathLike
    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.engine import Mapper
    from mlimages_dataset.vocab.vocabulary import Vocabulary

_PAIR_COLUMNS = tuple(IMPLICATIONS.arrow.names)


@dataclass(frozen=True, eq=False)  # no slots, like `Tables`
class Pairs(Tables[CooccurrenceSummary]):
    """Co-occurring categories (Tencent ML-Images, section 3.2). C is the number of categories."""

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
        """Copy the tables into a new or empty folder; raises as `Annotations.write`."""
        folders.copy(self.folder, (PAIR_COUNTS, IMPLICATIONS), COOCCURRENCE, folder)

    @classmethod
    def read(cls, folder: PathLike, vocabulary: Vocabulary | PathLike) -> Self:
        """Return the pairs in a folder; faults of the tables are raised on first use."""
        return cls(place(folder, what="folder"), vocabulary)

    @functools.cached_property
    def _counts(self) -> pa.Table:
        return read_table(self.folder / PAIR_COUNTS_FILE, PAIR_COUNTS)


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
    progress: Callable[[int], None] = unreported,
) -> Pairs:
    """Find categories that appear together: CO(i, j) = n_ij / n_i for annotated i and predicted j.

    Args:
        annotations: a result of `annotate`, its folder, or a frame that `annotate` takes.
        predictions: a model's predictions for these images, in the same forms.
        vocabulary: the vocabulary of both, or its folder.
        probability: a category counts as predicted above it, in 0..1.
        strength: a pair is strong above this share of the annotated images, in 0..1.
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
    try:
        thresholds = Thresholds(probability=probability, strength=strength)
    except ValueError as error:
        raise UsageError(str(error), remedy="correct the argument") from error
    left, right = annotations_of(annotations, vocabulary), annotations_of(predictions, vocabulary, predictions=True)
    return made_by(
        lambda: cooccurrence_stage(folder_of(vocabulary), left.folder, right.folder, thresholds),
        out,
        lambda folder, outcome: Pairs(folder, vocabulary, outcome),
        overwrite=overwrite,
        engine=Engine(mapper=mapper, progress=progress),
    )


def implications_file(pairs: Pairs | Frame | PathLike | None, inputs: Path) -> Location | None:
    """Return the file of the pairs' implications; for a frame, write it."""
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
            f"is not a frame of pairs ({error})", where=what, remedy="pass rows of Pairs.implications"
        ) from error
    return path


def _implications_place(pairs: object) -> Location:
    given = pairs.folder if isinstance(pairs, Pairs) else place(pairs, what="pairs")
    return given / IMPLICATIONS_FILE if given.is_dir() else given


def implications_table(pairs: Pairs | PathLike | None) -> pa.Table | None:
    """Return the table of the pairs' implications."""
    return None if pairs is None else read_table(_implications_place(pairs), IMPLICATIONS)
