"""Boxes of several detectors against loops written from the paper of weighted box fusion, and what holds for any."""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from cli.main import main
from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.core.locations import location
from mlimages_dataset.evaluation import box_fusion_stage
from mlimages_dataset.evaluation.box_fusion import Fusion, FusionMethod, fused
from mlimages_dataset.tables.parquet import read_table, table_parts, write_table
from mlimages_dataset.tables.schemas import REGION_FLAGS, REGIONS, Origin

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Box = tuple[str, int, float, float, float, float, float]
"""Image, class, sides, score."""
Found = list[Box]


def table(rows: Sequence[Box]) -> pa.Table:
    """Return a `regions` table, as `predict` writes it."""
    names = ("image_id", "class_index", "xmin", "ymin", "xmax", "ymax", "confidence")
    rest = {"source": "model", "origin": int(Origin.MODEL_PREDICTION), **dict.fromkeys(REGION_FLAGS, False), "mask": ""}
    return pa.Table.from_pylist([dict(zip(names, row, strict=True)) | rest for row in rows], schema=REGIONS.arrow)


def rows_of(regions: pa.Table) -> Found:
    """Return the rows of a table."""
    found: list[dict[str, Any]] = regions.to_pylist()
    names = ("image_id", "class_index", "xmin", "ymin", "xmax", "ymax", "confidence")
    return [tuple(row[name] for name in names) for row in found]


def union_share(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the intersection over union of two boxes."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    both = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return both / (sum(areas) - both)


def decided(shares: Sequence[float], overlap: float, *, exact: bool) -> None:
    """Reject an example in which rounding decides which cluster a box joins, if any."""
    if exact:
        return  # sides that are sixteenths, so each share is the rational number nearest to the true one
    best, *others = sorted(shares, reverse=True)
    if abs(best - overlap) < ROUNDING or (best > 0 and others and best - others[0] < ROUNDING):
        reject()


def mean_of(cluster: list[tuple[float, list[float]]]) -> list[float]:
    """Return the mean of boxes, weighted by their scores."""
    total = sum(score for score, _ in cluster)
    return [sum(score * box[k] for score, box in cluster) / total for k in range(4)]


def weighted_slowly(tables: Sequence[Found], overlap: float, weights: Sequence[float]) -> Found:
    """Return what section 3 of Solovyev et al. 2021 says, step by step, with the weights of their code."""
    listed = defaultdict(list)
    for rows, weight in zip(tables, weights, strict=True):
        for image, label, *sides, score in rows:
            listed[image, label].append((score * weight, sides))
    found: Found = []
    for (image, label), boxes in listed.items():
        clusters: list[list[tuple[float, list[float]]]] = []
        means: list[list[float]] = []
        for score, sides in sorted(boxes, key=lambda box: (-box[0], box[1])):
            shares = [union_share(sides, mean) for mean in means]
            decided(shares, overlap, exact=all(len(cluster) == 1 for cluster in clusters))
            at = int(np.argmax(shares)) if shares else -1
            if at < 0 or shares[at] <= overlap:
                clusters.append([])
                means.append([])
                at = len(clusters) - 1
            clusters[at].append((score, sides))
            means[at] = sides if len(clusters[at]) == 1 else mean_of(clusters[at])
        for cluster, mean in zip(clusters, means, strict=True):
            score = sum(one for one, _ in cluster) / len(cluster)
            score *= min(len(cluster), sum(weights)) / sum(weights)
            # Unequal weights can give more than 1, which no confidence is.
            found.append((image, label, *mean, min(score, 1.0)))  # type: ignore[arg-type]
    return found


def suppressed_slowly(tables: Sequence[Found], overlap: float, weights: Sequence[float]) -> Found:
    """Return the boxes that no surer box of their class overlaps."""
    boxes = [
        (*row[:6], row[6] * weight / max(weights)) for rows, weight in zip(tables, weights, strict=True) for row in rows
    ]
    kept: Found = []
    for box in sorted(boxes, key=lambda row: (-row[6], row[2:6])):
        rivals = [one for one in kept if one[:2] == box[:2]]
        if all(union_share(box[2:6], one[2:6]) <= overlap for one in rivals):
            kept.append(box)
    return kept


SIDE = st.integers(0, 12).map(lambda n: n / 16)
EXTENT = st.integers(1, 4).map(lambda n: n / 16)
SCORE = st.integers(1, 99).map(lambda n: float(np.float32(n / 100)))
BOX = st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 1), SIDE, SIDE, EXTENT, EXTENT, SCORE).map(
    lambda b: (b[0], b[1], b[2], b[3], b[2] + b[4], b[3] + b[5], b[6])
)
ROUNDING = 1e-9
MEAN_ONE: dict[int, list[tuple[float, ...]]] = {
    1: [(1.0,)],
    2: [(1.0, 1.0), (0.75, 1.25), (0.5, 1.5)],
    3: [(1.0, 1.0, 1.0), (0.5, 1.0, 1.5), (0.75, 0.75, 1.5)],
}
"""Weights of tables, by their number: exact, so that equal scores are equal to the last bit by both computations."""
TABLES = st.lists(st.lists(BOX, max_size=8), min_size=1, max_size=3).filter(any)


def close(found: pa.Table, expected: Found) -> None:
    """Compare boxes in any order: those of an image and class are matched so that they differ least."""
    ours: defaultdict[tuple[str, int], list[tuple[float, ...]]] = defaultdict(list)
    theirs: defaultdict[tuple[str, int], list[tuple[float, ...]]] = defaultdict(list)
    for of_key, rows in ((ours, rows_of(found)), (theirs, expected)):
        for row in rows:
            of_key[row[:2]].append(row[2:])
    assert {key: len(rows) for key, rows in ours.items()} == {key: len(rows) for key, rows in theirs.items()}
    for key, boxes in ours.items():
        off = np.abs(np.array(boxes)[:, None] - np.array(theirs[key])[None]).max(2)
        assert off[linear_sum_assignment(off)].max() < 1e-5, (boxes, theirs[key])


@settings(deadline=None)
@given(
    tables=TABLES,
    overlap=st.sampled_from([0.0, 0.3, 0.55, 1.0]),
    times=st.sampled_from([0.5, 1.0, 4.0]),
    data=st.data(),
)
def test_weighted_fusion_is_that_of_its_paper(
    tables: list[Found], overlap: float, times: float, data: st.DataObject
) -> None:
    mean_one = data.draw(st.permutations(data.draw(st.sampled_from(MEAN_ONE[len(tables)]))))
    weights = tuple(times * weight for weight in mean_one)  # only the ratios of ours matter
    found = fused(list(map(table, tables)), Fusion(overlap=overlap, weights=weights), source="all")
    close(found, weighted_slowly(tables, overlap, mean_one))


@settings(deadline=None)
@given(tables=TABLES, overlap=st.sampled_from([0.0, 0.3, 0.55, 1.0]))
def test_suppression_keeps_the_surest(tables: list[Found], overlap: float) -> None:
    fusion = Fusion(method=FusionMethod.SUPPRESSION, overlap=overlap)
    found = fused(list(map(table, tables)), fusion, source="all")
    close(found, suppressed_slowly(tables, overlap, [1.0] * len(tables)))


@settings(deadline=None)
@given(tables=TABLES, method=st.sampled_from(list(FusionMethod)))
def test_neither_the_order_of_tables_nor_that_of_rows_matters(tables: list[Found], method: FusionMethod) -> None:
    fusion = Fusion(method=method)
    found = fused(list(map(table, tables)), fusion, source="all")
    again = fused([table(rows[::-1]) for rows in tables[::-1]], fusion, source="all")
    assert [row[:2] for row in rows_of(again)] == [row[:2] for row in rows_of(found)]
    np.testing.assert_allclose([r[2:] for r in rows_of(again)], [r[2:] for r in rows_of(found)], rtol=1e-6)
    order = [(image, -score) for image, *_, score in rows_of(found)]
    assert order == sorted(order)


def test_equal_detectors_are_one_and_a_box_that_one_of_two_found_has_half_its_score() -> None:
    both, one = ("a", 0, 0.0, 0.0, 0.5, 0.5, 0.75), ("a", 0, 0.5, 0.5, 1.0, 1.0, 0.5)
    assert rows_of(fused([table([both]), table([both])], Fusion(), source="x")) == [both]
    found = rows_of(fused([table([both, one]), table([both])], Fusion(), source="x"))
    assert found == [both, (*one[:6], 0.25)]
    assert rows_of(fused([table([both, one]), table([both])], Fusion(most=1), source="x")) == [both]


def write(folder: Path, rows: Sequence[Box], digest: str = "1") -> Path:
    """Write a table as `predict` does."""
    inputs = {"vocabulary/categories.parquet": digest}
    write_table(location(str(folder / "part-00000.parquet")), table(rows), REGIONS, inputs)
    return folder


def test_the_command_gives_what_the_function_gives_in_any_number_of_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    low = rng.random((2, 60, 2)) * 0.5
    tables: list[Found] = [
        [(f"{k % 7}", k % 3, x, y, x + 0.3, y + 0.3, float(rng.random())) for k, (x, y) in enumerate(of_table.tolist())]
        for of_table in low
    ]
    monkeypatch.setattr(box_fusion_stage, "RANGE_ROWS", 30)
    places = [str(write(tmp_path / str(number), rows)) for number, rows in enumerate(tables)]
    out = tmp_path / "out"
    result = CliRunner().invoke(main, ["fuse-detections", *places, "--weights", "1,2", "--out", str(out), "--json"])
    assert result.exit_code == 0, result.output
    expected = fused(list(map(table, tables)), Fusion(weights=(1, 2)), source="ensemble")
    parts = table_parts(location(str(out)))
    assert len(parts) > 1
    assert pa.concat_tables([read_table(part, REGIONS) for part in parts]).equals(expected)
    assert json.loads(result.output)["summary"]["fused"] == len(expected)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--weights", "1"], "1 weights for 2 tables; give one weight for each table"),
        (["--weights", "1,x"], "--weights 1,x is no list of numbers; write it as 1,2.5"),
        (["--weights", "1,0"], "a weight of 0.0; give weights above 0"),
        (["--weights", "1,nan"], "--weights 1,nan is no list of numbers; write it as 1,2.5"),
        ([], "it was made with another vocabulary than"),
    ],
)
def test_what_cannot_be_put_together_is_told(tmp_path: Path, words: list[str], said: str) -> None:
    box = ("a", 0, 0.0, 0.0, 0.5, 0.5, 0.75)
    places = [str(write(tmp_path / digest, [box], digest)) for digest in "12"]
    result = CliRunner().invoke(main, ["fuse-detections", *places, *words, "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert said in result.output


def test_settings_are_checked() -> None:
    for wrong in ({"overlap": 1.5}, {"overlap": float("nan")}, {"most": -1}):
        with pytest.raises(UsageError):
            dataclasses.replace(Fusion(), **wrong)
    with pytest.raises(UsageError, match="no table"):
        fused([], Fusion(), source="x")
