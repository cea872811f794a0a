"""Regions are the boxes of the files, mapped and in one order, however files, pieces and ranges are cut."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlimages_dataset.augment import regions_stage as stage_module
from mlimages_dataset.augment.annotate import AnnotatedFiles
from mlimages_dataset.augment.regions_stage import map_regions
from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.pipeline.stage import Engine, Workplace
from mlimages_dataset.sources import pieces as pieces_module
from mlimages_dataset.tables.parquet import read_table
from mlimages_dataset.tables.schemas import REGION_FLAGS, REGIONS, Origin

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mlimages_dataset.augment.regions import RegionSummary
    from mlimages_dataset.vocab.vocabulary import Vocabulary

SIDES = ("xmin", "ymin", "xmax", "ymax")


class Box(NamedTuple):
    """A row of a table of boxes."""

    image_id: str
    label: str
    xmin: float
    ymin: float
    xmax: float
    ymax: float
    confidence: float
    difficult: bool
    mask: str


low, high = st.sampled_from([0.0, 0.1, 0.25]), st.sampled_from([0.3, 0.5, 1.25])
boxes = st.builds(
    Box,
    image_id=st.integers(0, 12).map("{:02}.jpg".format),
    label=st.sampled_from(["/m/0bt9lr", "n01322604", "/m/0k4j", "n00015388", "/m/0zorb", "unheard"]),
    xmin=low,
    ymin=low,
    xmax=high,
    ymax=high,
    confidence=st.sampled_from([1.0, 0.5, 0.25]),
    difficult=st.booleans(),
    mask=st.sampled_from(["", "m.png"]),
)


def written(path: Path, rows: Sequence[Box]) -> Path:
    kinds = {"difficult": pa.bool_(), **dict.fromkeys((*SIDES, "confidence"), pa.float64())}
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in Box._fields])
    columns = [[row[at] for row in rows] for at in range(len(Box._fields))]
    pq.write_table(pa.table(columns, schema=schema), path, row_group_size=3)
    return path


def made(
    vocabulary: Vocabulary, files: Sequence[Path], out: Path, *, ancestors: bool = False, **options: Any
) -> tuple[list[dict[str, Any]], RegionSummary]:
    """Return the rows of all parts and the summary."""
    at = Workplace(out, engine=options.pop("engine", Engine()))
    collection = AnnotatedFiles(name="s", format="boxes", files=tuple(files), **options)
    result = map_regions(vocabulary, collection, at, ancestors=ancestors)
    tables = [read_table(receipt.path, REGIONS) for receipt in result.receipts]
    return pa.concat_tables(tables).to_pylist(), result.summary


def key(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in REGIONS.arrow.names)


@settings(max_examples=15)
@given(rows=st.lists(boxes, min_size=1, max_size=30), size=st.integers(1, 30), part=st.integers(1, 12))
@pytest.mark.slow
def test_regions_are_the_boxes_however_they_are_cut(
    tmp_path_factory: pytest.TempPathFactory, mini_vocabulary: Vocabulary, rows: list[Box], size: int, part: int
) -> None:
    folder = tmp_path_factory.mktemp("regions")
    index = {row.source_id: row.class_index for row in mini_vocabulary.mapping}
    known = [row for row in rows if index.get(row.label, -1) >= 0]
    whole = written(folder / "whole", rows)
    if not known:
        with pytest.raises(DataError, match=r"whole: no box is kept \("):
            made(mini_vocabulary, [whole], folder / "out")
        return
    found, summary = made(mini_vocabulary, [whole], folder / "out")
    assert (summary.regions, summary.images) == (len(known), len({row.image_id for row in known}))
    assert summary.unknown == sum(row.label == "unheard" for row in rows)
    assert summary.regions + summary.unknown + summary.dropped == len(rows)
    assert summary.clipped == sum(row.xmax > 1 or row.ymax > 1 for row in known)
    assert found == sorted(found, key=key)
    expected = [
        (row.image_id[:2], index[row.label], *(min(side, 1) for side in row[2:6]), row.difficult, row.mask)
        for row in known
    ]
    stated = [
        (row["image_id"], row["class_index"], *(row[side] for side in SIDES), row["difficult"], row["mask"])
        for row in found
    ]
    assert sorted(stated) == [pytest.approx(row) for row in sorted(expected)]
    halves = [
        written(folder / f"{at}", half)
        for at, half in enumerate((rows[len(rows) // 2 :][::-1], rows[: len(rows) // 2]))
        if half
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces_module, "PIECE_BYTES", size)
        patch.setattr(stage_module, "RANGE_IMAGES", part)
        assert made(mini_vocabulary, halves, folder / "cut") == (found, summary)


@settings(max_examples=15)
@given(rows=st.lists(boxes, min_size=1, max_size=30))
def test_ancestors_are_over_the_same_boxes(
    tmp_path_factory: pytest.TempPathFactory, mini_vocabulary: Vocabulary, rows: list[Box]
) -> None:
    folder = tmp_path_factory.mktemp("regions")
    rows = [*rows, Box("99.jpg", "/m/0bt9lr", 0, 0, 1, 1, 1, False, "")]
    path = written(folder / "boxes", rows)
    stated, _ = made(mini_vocabulary, [path], folder / "stated")
    found, summary = made(mini_vocabulary, [path], folder / "closed", ancestors=True)
    closure = mini_vocabulary.closure.toarray()
    best: dict[tuple[Any, ...], dict[int, float]] = {}
    for row in stated:
        place = (row["image_id"], *(row[side] for side in SIDES), row["mask"])
        for above in np.flatnonzero(closure[row["class_index"]]).tolist():
            confidences = best.setdefault(place, {})
            confidences[above] = max(confidences.get(above, 0), row["confidence"])
    originals = [row for row in found if row["origin"] == Origin.ORIGINAL]
    added = [row for row in found if row["origin"] == Origin.ANCESTOR]
    assert (
        (len(originals), len(added)) == (summary.regions, summary.ancestors) == (len(stated), len(found) - len(stated))
    )
    assert len({(key(row)[0], *key(row)[2:7], row["mask"]) for row in added}) == len(added), (
        "an ancestor is there twice"
    )
    for row in found:
        place = (row["image_id"], *(row[side] for side in SIDES), row["mask"])
        assert row["confidence"] == best[place][row["class_index"]]
    places = {((row["image_id"], *(row[side] for side in SIDES), row["mask"]), row["class_index"]) for row in found}
    assert places == {(place, index) for place, indices in best.items() for index in indices}


def test_a_flag_of_a_box_is_that_of_what_is_below(tmp_path: Path, mini_vocabulary: Vocabulary) -> None:
    same = (0, 0, 0.5, 0.5, 1)
    rows = [Box("a", "/m/0bt9lr", *same, True, ""), Box("a", "n02121808", *same, False, "")]
    found, _ = made(mini_vocabulary, [written(tmp_path / "boxes", rows)], tmp_path / "out", ancestors=True)
    names = {index: category.wnid for index, category in enumerate(mini_vocabulary.categories)}
    difficult = {names[row["class_index"]]: row["difficult"] for row in found}
    assert difficult["n02084071"]
    assert not difficult["n02121808"]
    assert difficult["n00015388"], "the animal is the dog, which is difficult"


def test_machines_boxes_below_the_least_confidence_are_left_out(tmp_path: Path, mini_vocabulary: Vocabulary) -> None:
    rows = [Box("a", "/m/0bt9lr", 0, 0, 1, 1, confidence, False, "") for confidence in (1.0, 0.5, 0.25)]
    path = written(tmp_path / "boxes", rows)
    found, summary = made(mini_vocabulary, [path], tmp_path / "out", min_confidence=0.5)
    assert [row["confidence"] for row in found] == [0.5, 1.0]
    assert summary.below_confidence == 1


@pytest.mark.slow
def test_many_workers_write_the_same_bytes(tmp_path: Path, mini_vocabulary: Vocabulary) -> None:
    from mlimages_dataset.pipeline.engine import local  # noqa: PLC0415 - here alone

    rows = [Box(f"{n:03}.jpg", "/m/0bt9lr", 0, 0, 0.5, (1 + n % 7) / 8, 1, n % 2 == 0, "") for n in range(200)]
    files = [written(tmp_path / f"{at}", rows[at::3]) for at in range(3)]
    with local(2) as mapper, pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage_module, "RANGE_IMAGES", 40)
        made(mini_vocabulary, files, tmp_path / "one")
        made(mini_vocabulary, files[::-1], tmp_path / "two", engine=Engine(mapper=mapper))
    parts = [sorted((tmp_path / name).glob("*.parquet")) for name in ("one", "two")]
    assert len(parts[0]) > 1
    for one, two in itertools.zip_longest(*parts):
        assert (one.name, one.read_bytes()) == (two.name, two.read_bytes())


def test_a_format_without_boxes_says_which_have_some(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.touch()
    collection = AnnotatedFiles(name="s", format="csv", files=(path,))
    with pytest.raises(UsageError, match=r"files of the format csv state no boxes; use one of .*coco, voc"):
        stage_module.regions_stage(tmp_path, collection)


def test_the_table_has_a_column_for_each_flag() -> None:
    assert set(REGION_FLAGS) < set(REGIONS.arrow.names)
    assert REGIONS.label == "regions/1"
