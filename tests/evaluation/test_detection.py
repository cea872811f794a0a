"""Average precision of detections: equal to the official evaluator's, and to slow readings of the rules."""

from __future__ import annotations

import csv
import dataclasses
import functools
import json
import operator
from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlimages_dataset.core.errors import DataError, MLImagesError
from mlimages_dataset.evaluation.detection import Detections, Interpolation, Judged, TrueBoxes, judged
from mlimages_dataset.evaluation.detection_scores import evaluate_challenge, evaluate_regions
from mlimages_dataset.evaluation.open_images import CHALLENGE, Hierarchy, ImageLabels, judged_by_challenge
from mlimages_dataset.evaluation.voc_detection import VOC
from mlimages_dataset.tables.schemas import ANNOTATIONS, REGIONS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mlimages_dataset.vocab.vocabulary import Vocabulary

CASES = [f"case-0{number}" for number in range(2, 7)]
CHAIN = {
    "root child": frozenset[str](),
    "dog": frozenset({"root child"}),
    "puppy": frozenset({"root child", "dog"}),
    "car": frozenset[str](),
}
TREE = {
    "LabelName": "root",
    "Subcategory": [
        {
            "LabelName": "root child",
            "Subcategory": [
                {"LabelName": "dog", "Subcategory": [{"LabelName": "puppy"}], "Part": [{"LabelName": "paw"}]}
            ],
        },
        {"LabelName": "car"},
    ],
}
Box = tuple[float, float, float, float]


@pytest.mark.shared_data
@pytest.mark.parametrize("case", CASES)
@pytest.mark.slow
def test_official_values_are_met(shared_data: Path, case: str) -> None:
    folder = shared_data / "open_images/challenge_metric" / case
    expected = json.loads((folder / "expected.json").read_text())
    scores = evaluate_challenge(
        folder / "boxes.csv",
        folder / "image_labels.csv",
        shared_data / "open_images/bbox_labels_600_hierarchy.json",
        folder / "predictions.csv",
    ).to_json()
    found = {name: value for name, value in scores["ap"].items() if value is not None}  # type: ignore[union-attr]
    assert found == pytest.approx(expected["ap"], abs=1e-9)
    assert scores["mAP"] == pytest.approx(expected["mAP"], abs=1e-9)


@dataclasses.dataclass(frozen=True)
class _World:
    """Rows as files state them."""

    boxes: list[tuple[str, str, Box, bool]]
    labels: list[tuple[str, str, bool]]
    found: list[tuple[str, str, Box, float]]


_side = st.integers(0, 4)
_box = st.tuples(_side, _side, _side, _side).map(
    lambda one: (one[0] / 8, one[1] / 8, (one[0] + one[2] + 1) / 8, (one[1] + one[3] + 1) / 8)
)
_image, _label = st.sampled_from("ab"), st.sampled_from(sorted(CHAIN))
_worlds = st.builds(
    _World,
    boxes=st.lists(st.tuples(_image, _label, _box, st.booleans()), min_size=1, max_size=8),
    labels=st.lists(st.tuples(_image, _label, st.booleans()), max_size=6),
    found=st.lists(st.tuples(_image, _label, _box, st.integers(1, 99)), max_size=12, unique_by=lambda one: one[3]).map(
        lambda rows: [(*row[:3], row[3] / 100) for row in rows]
    ),
)


def _over(one: Sequence[float], other: Sequence[float], pixel: float = 0) -> tuple[float, float]:
    """Return intersection over union, and over the first one's area."""
    both = max(0.0, min(one[2], other[2]) - max(one[0], other[0]) + pixel) * max(
        0.0, min(one[3], other[3]) - max(one[1], other[1]) + pixel
    )
    areas = [(box[2] - box[0] + pixel) * (box[3] - box[1] + pixel) for box in (one, other)]
    return both / (sum(areas) - both), both / areas[0]


def _area_under(rows: Sequence[tuple[float, bool]], truths: int) -> float:
    """Return the area under the envelope of precision, step by step of recall."""
    ordered = [hit for _, hit in sorted(rows, key=lambda row: -row[0])]
    points = [(sum(ordered[: k + 1]) / truths, sum(ordered[: k + 1]) / (k + 1)) for k in range(len(ordered))]
    steps = sorted({0.0, *(recall for recall, _ in points)})
    return sum(
        (high - low) * max(precision for recall, precision in points if recall >= high) for low, high in pairwise(steps)
    )


def _slow_challenge(world: _World) -> dict[str, float]:
    """Return average precisions, straight from the words of the metric."""
    boxes = [(image, one, box, group) for image, label, box, group in world.boxes for one in (label, *CHAIN[label])]
    verified = {(image, one) for image, one, _, _ in boxes}
    for image, label, present in world.labels:
        more = CHAIN[label] if present else {name for name, above in CHAIN.items() if label in above}
        verified |= {(image, one) for one in (label, *more)}
    rows: dict[str, list[tuple[float, bool]]] = defaultdict(list)
    for image, label in verified:
        here = [(box, group) for i, one, box, group in boxes if (i, one) == (image, label)]
        single, groups = ([box for box, group in here if group is kind] for kind in (False, True))
        used: set[int] = set()
        best: dict[int, float] = {}
        for _, _, box, score in sorted((r for r in world.found if r[:2] == (image, label)), key=lambda r: -r[3]):
            shares = [_over(box, one)[0] for one in single]
            within = [_over(box, one)[1] for one in groups]
            at = shares.index(max(shares)) if shares else -1
            if at >= 0 and shares[at] >= 0.5 and at not in used:
                used.add(at)
                rows[label].append((score, True))
            elif within and max(within) >= 0.5:
                group = within.index(max(within))
                best[group] = max(best.get(group, 0.0), score)
            else:
                rows[label].append((score, False))
        rows[label] += [(score, True) for score in best.values()]
    truths = {label: sum(one == label for _, one, _, _ in boxes) for label in CHAIN}
    return {label: _area_under(rows[label], n) for label, n in truths.items() if n}


def _files(world: _World, folder: Path) -> tuple[Path, Path, Path, Path]:
    folder.mkdir(parents=True, exist_ok=True)
    tables: dict[str, list[tuple[object, ...]]] = {
        "boxes.csv": [("ImageID", "LabelName", "XMin", "YMin", "XMax", "YMax", "IsGroupOf")]
        + [(image, label, *box, int(group)) for image, label, box, group in world.boxes],
        "labels.csv": [("ImageID", "LabelName", "Confidence"), *((*row[:2], int(row[2])) for row in world.labels)],
        "found.csv": [("ImageID", "LabelName", "XMin", "YMin", "XMax", "YMax", "Score")]
        + [(image, label, *box, score) for image, label, box, score in world.found],
    }
    for name, rows in tables.items():
        with (folder / name).open("w", newline="") as file:
            csv.writer(file).writerows(rows)
    (folder / "hierarchy.json").write_text(json.dumps(TREE))
    return folder / "boxes.csv", folder / "labels.csv", folder / "hierarchy.json", folder / "found.csv"


def _judged(world: _World) -> tuple[Judged, Hierarchy]:
    classes = Hierarchy.of_paths(CHAIN)
    at = {name: number for number, name in enumerate(classes.names)}

    def numbers(rows: Sequence[tuple[object, ...]]) -> tuple[np.ndarray, np.ndarray]:
        return (
            np.array(["ab".index(str(row[0])) for row in rows], np.int64),
            np.array([at[str(row[1])] for row in rows], np.int64),
        )

    def sides(rows: Sequence[tuple[object, ...]]) -> np.ndarray:
        return np.array([row[2] for row in rows], np.float64).reshape(-1, 4)

    found, _ = judged_by_challenge(
        TrueBoxes(*numbers(world.boxes), sides(world.boxes), np.array([row[3] for row in world.boxes], np.bool_)),
        ImageLabels(*numbers(world.labels), np.array([row[2] for row in world.labels], np.bool_)),
        Detections(*numbers(world.found), sides(world.found), np.array([row[3] for row in world.found], np.float64)),
        classes,
    )
    return found, classes


@given(_worlds)
def test_the_metric_is_what_its_words_say(world: _World) -> None:
    result, classes = _judged(world)
    values = dict(zip(classes.names, result.average_precisions(), strict=True))
    assert {name: one for name, one in values.items() if not np.isnan(one)} == pytest.approx(_slow_challenge(world))


@given(_worlds)
def test_sums_over_images_merge_in_any_order(world: _World) -> None:
    of_image = [
        _World(
            [row for row in world.boxes if row[0] == image],
            [row for row in world.labels if row[0] == image],
            [row for row in world.found if row[0] == image],
        )
        for image in "ab"
    ]
    parts = [_judged(one)[0] for one in of_image]
    whole = _judged(world)[0]
    for order in (parts, parts[::-1]):
        merged = functools.reduce(operator.add, order, Judged.none(len(CHAIN)))
        assert np.array_equal(merged.average_precisions(), whole.average_precisions(), equal_nan=True)
        assert (merged.truths.tolist(), merged.ignored) == (whole.truths.tolist(), whole.ignored)


@settings(max_examples=10)
@given(_worlds)
def test_files_give_what_arrays_give(tmp_path_factory: pytest.TempPathFactory, world: _World) -> None:
    scores = evaluate_challenge(*_files(world, tmp_path_factory.mktemp("world")))
    result, classes = _judged(world)
    assert scores.names == classes.names
    assert np.array_equal(scores.average_precisions, result.average_precisions(), equal_nan=True)
    assert scores.counts["boxes"] == len(world.boxes)


@given(_worlds)
def test_voc_is_what_its_devkit_does(world: _World) -> None:
    """The rules of the development kit's VOCevaldet.m, in pixels: difficult objects are neither found nor missed."""
    pixels = [(*row[:2], tuple(80 * side for side in row[2]), row[3]) for row in world.boxes]
    found = [(*row[:2], tuple(80 * side for side in row[2]), row[3]) for row in world.found]
    names = sorted({row[1] for row in pixels})
    found = [row for row in found if row[1] in names]
    number = {name: at for at, name in enumerate(names)}

    def located(rows: Sequence[tuple[object, ...]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return (
            np.array(["ab".index(str(row[0])) for row in rows], np.int64),
            np.array([number[str(row[1])] for row in rows], np.int64),
            np.array([row[2] for row in rows], np.float64).reshape(-1, 4),
        )

    result = judged(
        TrueBoxes(*located(pixels), np.array([row[3] for row in pixels], np.bool_)),
        Detections(*located(found), np.array([row[3] for row in found], np.float64)),
        len(names),
        VOC,
    )
    for name, value, eleven in zip(
        names, result.average_precisions(), result.average_precisions(Interpolation.ELEVEN_POINTS), strict=True
    ):
        rows: list[tuple[float, bool]] = []
        used = set()
        for image, _, box, score in sorted((row for row in found if row[1] == name), key=lambda row: -row[3]):
            here = [row for row in pixels if row[:2] == (image, name)]
            shares = [_over(box, row[2], 1)[0] for row in here]
            at = shares.index(max(shares)) if shares else -1
            if at >= 0 and shares[at] > 0.5:
                if not here[at][3]:
                    rows.append((score, (image, at) not in used))
                    used.add((image, at))
            else:
                rows.append((score, False))
        truths = sum(row[1] == name and not row[3] for row in pixels)
        if not truths:
            assert np.isnan(value)
            continue
        assert value == pytest.approx(_area_under(rows, truths))
        hits = [hit for _, hit in sorted(rows, key=lambda row: -row[0])]
        points = [(sum(hits[: k + 1]) / truths, sum(hits[: k + 1]) / (k + 1)) for k in range(len(hits))]
        tenths = [max((p for r, p in points if r >= t / 10 - 1e-12), default=0.0) for t in range(11)]
        assert eleven == pytest.approx(sum(tenths) / 11)


def test_tables_are_measured_by_their_vocabulary(mini_vocabulary: Vocabulary) -> None:
    classes = Hierarchy.of_vocabulary(mini_vocabulary)
    roots = {category.wnid for category in mini_vocabulary.categories if not category.parents}
    for at, category in enumerate(mini_vocabulary.categories):
        above = {one.wnid for one in mini_vocabulary.ancestors(category.wnid)} - roots - {category.wnid}
        assert {classes.names[one] for one in classes.ancestors[[at]].indices} == above
    dog, animal = (mini_vocabulary.index_of_wnid[wnid] for wnid in ("n02084071", "n00015388"))
    base = {
        field.name: pa.scalar(0, pa.int8()).cast(field.type) if not pa.types.is_string(field.type) else ""
        for field in REGIONS.arrow
    }

    def regions(rows: list[dict[str, object]]) -> pa.Table:
        plain = {name: one if isinstance(one, str) else one.as_py() for name, one in base.items()}
        return pa.Table.from_pylist([{**plain, **row} for row in rows], schema=REGIONS.arrow)

    box = {"image_id": "a", "xmin": 0.0, "ymin": 0.0, "xmax": 0.5, "ymax": 0.5}
    truth = regions([{**box, "class_index": dog, "confidence": 1.0}])
    found = regions(
        [
            {**box, "class_index": animal, "confidence": 0.9},
            {**box, "image_id": "b", "class_index": dog, "confidence": 0.8},
        ]
    )
    labels = pa.Table.from_pylist(
        [
            {
                "image_id": "b",
                "source": "",
                "location": "",
                "labels": [{"class_index": dog, "confidence": 0.0, "origin": 0}],
            }
        ],
        schema=ANNOTATIONS.arrow,
    )
    scores = evaluate_regions(truth, labels, found, mini_vocabulary)
    values = dict(zip(scores.names, scores.average_precisions, strict=True))
    assert (values["n00015388"], values["n02084071"]) == (1, 0)
    assert np.isnan([values[wnid] for wnid in roots]).all()


WORLD = _World([("a", "dog", (0, 0, 0.5, 0.5), False)], [("a", "dog", True)], [("a", "dog", (0, 0, 0.5, 0.5), 0.9)])
BAD_ROWS = {
    "score": ("a,dog,0,0,1,1,1.5", "its score or confidence is no number in 0..1"),
    "text": ("a,dog,0,0,1,1,high", "its score or confidence is no number in 0..1"),
    "inverted": ("a,dog,0.5,0,0.1,1,0.5", "its box is inverted or has no area"),
    "flat": ("a,dog,0.5,0,0.5,1,0.5", "its box is inverted or has no area"),
    "nan": ("a,dog,nan,0,1,1,0.5", "a side of its box is no finite number"),
    "infinite": ("a,dog,0,0,inf,1,0.5", "a side of its box is no finite number"),
    "empty side": ("a,dog,,0,1,1,0.5", "a side of its box is no finite number"),
    "no image": (",dog,0,0,1,1,0.5", "it names no image or no label"),
    "no label": ("a,,0,0,1,1,0.5", "it names no image or no label"),
}


@pytest.mark.parametrize("fault", BAD_ROWS)
def test_rows_that_cannot_be_used_are_counted(tmp_path: Path, fault: str) -> None:
    paths = _files(WORLD, tmp_path)
    row, reason = BAD_ROWS[fault]
    with paths[3].open("a") as file:
        file.write(row + "\n")
    scores = evaluate_challenge(*paths)
    assert scores.counts["rows of detections that cannot be used"] == 1
    assert reason in scores.first_rejected_rows[0]
    assert scores.mean == 0.5, "the parent is not predicted"


def test_strangers_are_counted(tmp_path: Path) -> None:
    paths = _files(WORLD, tmp_path)
    with paths[3].open("a") as file:
        file.write("a,zebra,0,0,1,1,0.5\nz,dog,0,0,1,1,0.5\na,car,0,0,1,1,0.5\na,paw,0,0,1,1,0.5\n")
    with paths[1].open("a") as file:
        file.write("a,dog,0.7\n")
    counts = evaluate_challenge(*paths).counts
    assert counts["detections of classes that are not in the hierarchy"] == 2, "parts are no subcategories"
    assert counts["detections in images without boxes or labels"] == 1
    assert counts["detections of classes that nobody verified in their image"] == 1
    assert counts["image labels of machines"] == 1


@pytest.mark.parametrize("words", [("True", "False"), ("true", "FALSE"), ("1", "0"), ("1.0", ""), ("1", "-1")])
def test_flags_are_read_as_tools_write_them(tmp_path: Path, words: tuple[str, str]) -> None:
    boxes = [("a", "dog", (0.0, 0.0, 0.5, 0.5), True), ("a", "dog", (0.5, 0.5, 1.0, 1.0), False)]
    paths = _files(dataclasses.replace(WORLD, boxes=boxes), tmp_path)
    expected = evaluate_challenge(*paths).to_json()
    head, first, second = paths[0].read_text().splitlines()
    paths[0].write_text("\n".join([head, first[:-1] + words[0], second[:-1] + words[1]]) + "\n")
    assert evaluate_challenge(*paths).to_json() == expected
    paths[0].write_text("\n".join([head, first[:-1] + "maybe", second]) + "\n")
    assert "its flag is neither 0 nor 1" in evaluate_challenge(*paths).first_rejected_rows[0]


def test_no_image_labels_is_told(tmp_path: Path) -> None:
    scores = evaluate_challenge(*_files(dataclasses.replace(WORLD, labels=[]), tmp_path))
    assert any("there are no verified image labels" in one for one in scores.warnings)


def test_decimal_commas_are_read_between_semicolons(tmp_path: Path) -> None:
    paths = _files(WORLD, tmp_path)
    expected = evaluate_challenge(*paths).to_json()
    for path in (paths[0], paths[3]):
        path.write_text(path.read_text().replace(",", ";").replace(".", ","))
    assert evaluate_challenge(*paths).to_json() == expected
    paths[3].write_text("ImageID,LabelName,XMin,YMin,XMax,YMax,Score\na,dog,0,1,0,1,0,5,0,5,0,9\n")
    assert evaluate_challenge(*paths).counts["rows of detections that cannot be used"] == 1
    paths[3].write_text('ImageID,LabelName,XMin,YMin,XMax,YMax,Score\na,dog,0,0,"0,5","0,5","0,9"\n')
    assert evaluate_challenge(*paths).to_json() == expected


def test_a_hierarchy_of_another_version_is_told(tmp_path: Path) -> None:
    paths = _files(WORLD, tmp_path)
    assert evaluate_challenge(*paths).warnings == ()
    for path, row in zip((paths[0], paths[1], paths[3]), ("0,0,1,1,0", "1", "0,0,1,1,0.5"), strict=True):
        with path.open("a") as file:
            file.write(f"a,zebra,{row}\n")
    told = evaluate_challenge(*paths).warnings
    assert [one.partition(":")[0] for one in told] == [
        f"1 of 2 {what} are of classes that are not in the hierarchy, such as zebra (the hierarchy has classes such as "
        "car)"
        for what in ("boxes", "image labels", "detections")
    ]


@pytest.mark.parametrize("row", ["", "z,dog,0,0,1,1,0.5\n", "a,Dog,0,0,1,1,0.5\n", "a,dog,0,0,1,1,50\n"])
def test_that_no_detection_is_left_is_told(tmp_path: Path, row: str) -> None:
    paths = _files(WORLD, tmp_path)
    paths[3].write_text(f"ImageID,LabelName,XMin,YMin,XMax,YMax,Score\n{row}")
    scores = evaluate_challenge(*paths)
    assert "no detection is left" in scores.warnings[-1]
    assert scores.mean == 0


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("boxes.csv", "ImageID,LabelName,XMin,YMin,XMax\n", "no column ymax among imageid, labelname"),
        ("boxes.csv", "", "is empty"),
        ("boxes.csv", "ImageID,LabelName,XMin,YMin,XMax,YMax\n", "has no rows"),
        ("hierarchy.json", "[]", "is not Open Images' box hierarchy"),
        ("hierarchy.json", "{", "is not Open Images' box hierarchy"),
        ("hierarchy.json", '{"LabelName": "x"}', "is not Open Images' box hierarchy"),
        (
            "hierarchy.json",
            '{"LabelName": "x", "Subcategory": [{"LabelName": "zebra"}]}',
            "no box is of a class of the hierarchy",
        ),
    ],
)
def test_other_files_are_refused(tmp_path: Path, name: str, content: str, told: str) -> None:
    paths = _files(WORLD, tmp_path)
    (tmp_path / name).write_text(content)
    with pytest.raises(MLImagesError, match=told):
        evaluate_challenge(*paths)


def test_a_class_of_another_hierarchy_is_refused() -> None:
    result = Detections(np.array([0]), np.array([7]), np.array([[0.0, 0, 1, 1]]), np.array([0.5]))
    truth = TrueBoxes(np.array([0]), np.array([0]), np.array([[0.0, 0, 1, 1]]), np.array([False]))
    with pytest.raises(DataError, match=r"class 7 is not in 0\.\.1"):
        judged(truth, result, 2, CHALLENGE)
    nothing = np.empty(0, np.int64)
    labels = ImageLabels(nothing, nothing, np.empty(0, np.bool_))
    for one, other in ((truth, result), (dataclasses.replace(truth, label=np.array([-1])), result)):
        with pytest.raises(DataError, match=r"class (7|-1) is not in 0\.\.3"):
            judged_by_challenge(one, labels, other, Hierarchy.of_paths(CHAIN))
