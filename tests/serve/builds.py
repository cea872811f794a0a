"""Small builds on the disk, and what is in them as plain rows, to compare pages with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from mlimages_dataset.tables.label_columns import array_of
from mlimages_dataset.tables.parquet import table_writer
from mlimages_dataset.tables.schemas import LABELS
from mlimages_dataset.vocab.folder import write_tables
from mlimages_dataset.vocab.vocabulary import Category, MappingRow, Vocabulary
from tests.augment.strategies import CONFIDENCES, ORIGINS, columns_from

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mlimages_dataset.serve.filters import Filter
    from tests.augment.strategies import Row

SOURCES = ("imagenet", "o'brien <b>", "a, b")


@dataclass(frozen=True, slots=True)
class Image:
    """One row of a label table."""

    image_id: str
    source: str
    labels: Row
    location: str = ""


Build = dict[str, list[list[list[Image]]]]
"""The row groups of each part of each split."""


def category(index: int, parents: Sequence[int], depth: int, root: int, name: str = "") -> Category:
    return Category(
        wnid=f"n{index:08d}",
        name=name or f"category {index}, no. {index}",
        root=root,
        parent=parents[0] if parents else -1,
        parents=tuple(sorted(parents)),
        depth=depth,
        sources=("tests",),
        mids=(),
        images=0,
    )


def vocabulary_of(parents: Sequence[Sequence[int]], names: Sequence[str] = ()) -> Vocabulary:
    """Return a vocabulary with the given parents, which have lower numbers than their children."""
    categories: list[Category] = []
    for index, above in enumerate(parents):
        first = categories[above[0]] if above else None
        depth, root = (0, index) if first is None else (first.depth + 1, first.root)
        categories.append(category(index, above, depth, root, names[index] if index < len(names) else ""))
    mapping = tuple(MappingRow("tests", one.wnid, "", i, one.wnid, "wnid", "") for i, one in enumerate(categories))
    return Vocabulary(tuple(categories), mapping)


def write_build(folder: Path, vocabulary: Vocabulary, splits: Build) -> Path:
    """Write a build without a manifest: its vocabulary, and its label tables part by part."""
    (folder / "vocabulary").mkdir(parents=True, exist_ok=True)
    write_tables(vocabulary, folder / "vocabulary", {})
    for split, parts in splits.items():
        for number, groups in enumerate(parts):
            path = folder / "labels" / split / f"part-{number:05d}.parquet"
            with table_writer(path, LABELS, {}) as writer:
                for group in groups:
                    writer.write(_table(group))
    return folder


def _table(images: Sequence[Image]) -> pa.Table:
    columns = {
        "image_id": [image.image_id for image in images],
        "source": [image.source for image in images],
        "location": [image.location for image in images],
        "labels": array_of(columns_from([image.labels for image in images])),
    }
    return pa.table(columns, schema=LABELS.arrow)


def rows_of(splits: Build) -> list[tuple[str, Image]]:
    """Return split and image of each row, in order: train before val."""
    return [
        (split, image) for split, parts in sorted(splits.items()) for part in parts for group in part for image in group
    ]


def matches(split: str, image: Image, chosen: Filter, descendants: Sequence[set[int]]) -> bool:
    """Return whether a row matches a filter, as its documentation says; `descendants` include the category itself."""

    def fits(index: int, confidence: float, origin: int) -> bool:
        wanted = {chosen.category} if not chosen.below or chosen.category is None else descendants[chosen.category]
        return (
            (chosen.category is None or index in wanted)
            and (chosen.origin is None or origin == chosen.origin)
            and (confidence > 0 if chosen.least is None else bool(np.float32(confidence) >= np.float32(chosen.least)))
            and (chosen.most is None or bool(np.float32(confidence) <= np.float32(chosen.most)))
        )

    return (
        chosen.split in {None, split}
        and chosen.source in {None, image.source}
        and (
            not chosen.asks_for_labels
            or any(fits(index, confidence, origin) for index, (confidence, origin) in image.labels.items())
        )
    )


@st.composite
def builds(draw: st.DrawFn) -> tuple[Vocabulary, Build, list[set[int]]]:
    """Draw a vocabulary, the rows of its label tables, and the descendants of each category with itself."""
    n = draw(st.integers(1, 6))
    parents = [
        draw(st.lists(st.integers(0, index - 1), unique=True, max_size=2)) if index else [] for index in range(n)
    ]
    below = [{index} for index in range(n)]
    for child in reversed(range(n)):
        for parent in parents[child]:
            below[parent] |= below[child]
    labels = st.dictionaries(st.integers(0, n - 1), st.tuples(CONFIDENCES, ORIGINS), max_size=4)
    counter = iter(range(10**6))
    image = st.builds(
        lambda row, source: Image(f"image-{next(counter):06d}", source, row), labels, st.sampled_from(SOURCES)
    )
    group = st.lists(image, min_size=1, max_size=4)
    parts = st.lists(st.lists(group, min_size=1, max_size=3), min_size=1, max_size=3)
    splits = draw(st.fixed_dictionaries({"train": parts}, optional={"val": parts}))
    return vocabulary_of(parents), splits, below
