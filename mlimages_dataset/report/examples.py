"""The packaged photographs in a build: their pictures, what was stated of each, and what was added and why."""

from __future__ import annotations

import base64
import csv
import io
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from mlimages_dataset import samples
from mlimages_dataset.augment.annotate import ANNOTATIONS_FOLDER
from mlimages_dataset.augment.labels_stage import LABELS_STAGE
from mlimages_dataset.augment.reasons import labels_of_row, reasons
from mlimages_dataset.tables.files import file_digest
from mlimages_dataset.tables.parquet import scan_table
from mlimages_dataset.tables.schemas import LABELS, Origin

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mlimages_dataset.augment.cooccurrence import StrongPair
    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.records import Manifest
    from mlimages_dataset.vocab.vocabulary import Vocabulary

_EDGE = 200
"""Pixels of a thumbnail's long side."""


@dataclass(frozen=True, slots=True)
class Added:
    """A label that an image was given, and why, as `augment.reasons` says it."""

    name: str
    why: str

    @property
    def sentence(self) -> str:
        """The label and the reason."""
        return f"{self.name}, {self.why}"


@dataclass(frozen=True, slots=True)
class Example:
    """One image: its id, its picture's file, the categories stated and the added ones, the lowest first."""

    image_id: str
    picture: Location
    stated: tuple[str, ...]
    added: tuple[Added, ...]


def examples(
    folder: Location, manifest: Manifest, vocabulary: Vocabulary, pairs: Sequence[StrongPair]
) -> list[Example]:
    """Return the packaged photographs that a build has labels of, ascending by id; none if it has not read them.

    They are known by the digest of the packaged file of their labels.

    Raises:
        UsageError, DataError: a table is missing or damaged.
    """
    packaged = file_digest(samples.labels_csv())
    stages = [
        name.removeprefix(f"{ANNOTATIONS_FOLDER}/")
        for name, record in manifest.stages.items()
        if name.startswith(f"{ANNOTATIONS_FOLDER}/") and packaged in record.inputs.values()
    ]
    if not stages or LABELS_STAGE not in manifest.stages:
        return []
    found: list[Example] = []
    for path in manifest.stages[LABELS_STAGE].outputs:
        for batch in scan_table(folder / path, LABELS):
            rows = batch.filter(pc.is_in(batch.column("source"), value_set=pa.array(stages)))
            found += _examples_of(rows, vocabulary, pairs)
    return sorted(found, key=lambda one: one.image_id)


def thumbnail(picture: Location) -> tuple[str, int, int]:
    """Return a picture as a data URI of a small JPEG, and its width and height."""
    from PIL import Image  # noqa: PLC0415 - only builds with photographs need it

    from mlimages_dataset.images.thumbnails import smaller  # noqa: PLC0415 - likewise

    small = smaller(picture.read_bytes(), _EDGE, where=picture.name)
    with Image.open(io.BytesIO(small)) as image:
        return f"data:image/jpeg;base64,{base64.b64encode(small).decode()}", *image.size


def credits_of_photographs() -> dict[str, tuple[str, str]]:
    """Return what each packaged photograph shows and who took it, and its licence, by image id."""
    with samples.attribution_csv().open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return {row["image_id"]: (f"{row['title']}, by {row['author']}", row["licence"]) for row in rows}


def _examples_of(rows: pa.RecordBatch, vocabulary: Vocabulary, pairs: Sequence[StrongPair]) -> Iterator[Example]:
    applied = pa.Table.from_pylist([asdict(pair) for pair in pairs]) if pairs else None
    for row, (image_id, place) in enumerate(
        zip(rows.column("image_id").to_pylist(), rows.column("location").to_pylist(), strict=True)
    ):
        present = [one for one in labels_of_row(rows, row, vocabulary) if one.confidence > 0]
        whys = zip(present, reasons(present, vocabulary, applied), strict=True)
        given = [(vocabulary.categories[one.class_index], one.origin, why) for one, why in whys]
        stated = tuple(category.first_name for category, origin, _ in given if origin == Origin.ORIGINAL)
        added = [(category, why) for category, origin, why in given if origin != Origin.ORIGINAL]
        added.sort(key=lambda one: -one[0].depth)
        names = tuple(Added(category.first_name, why) for category, why in added)
        yield Example(image_id, samples.photographs() / place, stated, names)
