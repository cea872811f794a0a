"""What a detector found is measured alike as a table of regions and as Pascal VOC's files of results."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mlimages_dataset as ml
from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.core.locations import is_plain
from mlimages_dataset.evaluation.voc_detection import evaluate_voc
from mlimages_dataset.exports import voc_results
from mlimages_dataset.exports.export import export
from mlimages_dataset.exports.voc_results import _names
from mlimages_dataset.pipeline.stage import Workplace
from mlimages_dataset.sources.rejects import RejectLog
from mlimages_dataset.sources.voc_results import read_results, result_files
from mlimages_dataset.tables.schemas import REGION_FLAGS
from tests.exports.test_regions import exported, tables

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mlimages_dataset.vocab.vocabulary import Vocabulary

BLANK = dict.fromkeys(REGION_FLAGS, False) | {"source": "s", "origin": 0, "mask": ""}
SIZES = {"a": (500, 333), "b/c": (7, 9000)}


@pytest.fixture(name="vocabulary", scope="module")
def _vocabulary() -> Vocabulary:
    return ml.build_vocabulary(classes={"voc": "packaged:voc.csv"})


@st.composite
def found(draw: st.DrawFn, classes: int) -> dict[str, Any]:
    """Return a row of a table of regions."""
    (xmin, xmax), (ymin, ymax) = (draw(st.tuples(st.floats(0, 0.5, width=32), st.just(0.75))) for _ in range(2))
    return {
        **BLANK,
        "image_id": draw(st.sampled_from(["a", "b/c", "of no size", "unknown"])),
        "class_index": draw(st.integers(0, classes - 1)),
        "xmin": xmin,
        "ymin": ymin,
        "xmax": xmax,
        "ymax": ymax,
        "confidence": draw(st.floats(0, 1, width=32, exclude_min=True)),
    }


@settings(max_examples=25)
@given(data=st.data())
def test_every_box_is_a_line_of_its_class(
    tmp_path_factory: pytest.TempPathFactory, vocabulary: Vocabulary, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("results")
    rows = data.draw(st.lists(found(len(vocabulary)), min_size=1, max_size=20))
    rows.append(
        {**BLANK, "image_id": "a", "class_index": 0, "xmin": 0, "ymin": 0, "xmax": 1, "ymax": 1, "confidence": 1}
    )
    stated, pictures = tables(folder, rows, {**SIZES, "of no size": (0, 0)})
    counts = exported(vocabulary, stated, "voc-results", folder / "out", pictures)
    kept = [row for row in rows if row["image_id"] in SIZES]
    assert (counts.regions, counts.images) == (len(kept), len({row["image_id"] for row in kept}))
    assert counts.unsized_images == len({row["image_id"] for row in rows} - set(SIZES))
    log = RejectLog()
    again = [
        (one.image, one.score, *one.sides, name)
        for name, path in result_files(folder / "out", "test", ()).items()
        for one in read_results(name, path, log)
    ]
    assert log.count == 0
    name_of = {row.class_index: row.source_id for row in vocabulary.mapping if row.is_kept}
    wanted = []
    for row in kept:
        width, height = SIZES[row["image_id"]]
        sides = row["xmin"] * width, row["ymin"] * height, row["xmax"] * width, row["ymax"] * height
        name = name_of.get(row["class_index"], vocabulary.categories[row["class_index"]].wnid)
        wanted.append((row["image_id"], row["confidence"], *sides, name))
    for one, other in zip(sorted(again), sorted(wanted), strict=True):
        assert (one[0], one[-1]) == (other[0], other[-1])
        assert one[1] == pytest.approx(other[1], rel=1e-6)
        assert one[2:-1] == pytest.approx(other[2:-1], abs=1e-3)


def test_more_classes_than_files_may_be_open_are_refused(
    tmp_path: Path, vocabulary: Vocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(voc_results, "_MOST_CLASSES", 3)
    rows = [
        {**BLANK, "image_id": "a", "class_index": n, "xmin": 0, "ymin": 0, "xmax": 1, "ymax": 1, "confidence": 1}
        for n in range(4)
    ]
    stated, pictures = tables(tmp_path, rows, {"a": (5, 5)})
    with pytest.raises(DataError, match=r"more than 3 classes.*export them as coco"):
        exported(vocabulary, stated, "voc-results", tmp_path / "out", pictures)
    assert not list((tmp_path / "out").glob("*"))


@pytest.mark.shared_data
def test_real_results_keep_their_precision(shared_data: Path, tmp_path: Path, vocabulary: Vocabulary) -> None:
    """Through a table of regions and out again, they are worth what an independent implementation gives them."""
    voc = shared_data / "voc"
    sizes = {path.stem: _size(path) for path in (voc / "Annotations").glob("*.xml")}
    columns: dict[str, list[Any]] = defaultdict(list)
    for name, path in result_files(voc / "results", "test", ()).items():
        for one in read_results(name, path, RejectLog()):
            shares = [side / size for side, size in zip(one.sides, sizes[one.image] * 2, strict=True)]
            row = {"image_id": one.image, "label": name, "confidence": one.score}
            for key, value in (row | dict(zip(("xmin", "ymin", "xmax", "ymax"), shares, strict=True))).items():
                columns[key].append(value)
    regions = ml.regions(pd.DataFrame(columns), vocabulary, ids_of="voc")
    regions.write(tmp_path / "found")
    _, pictures = tables(tmp_path / "sizes", [], sizes)
    exported(vocabulary, tmp_path / "found", "voc-results", tmp_path / "out", pictures)
    expected = json.loads((voc / "results/expected.json").read_text())
    scores = evaluate_voc(voc, tmp_path / "out", voc / "ImageSets/Main/test.txt").to_json()
    assert scores["mAP_area"] == pytest.approx(expected["mAP_area"], abs=1e-6)
    assert scores["mAP_eleven_point"] == pytest.approx(expected["mAP_eleven_point"], abs=1e-6)


def _size(path: Path) -> tuple[int, int]:
    size = ET.parse(path).getroot().find("size")  # noqa: S314 - our own copy of VOC
    assert size is not None
    return int(size.findtext("width", "")), int(size.findtext("height", ""))


def test_rows_of_no_use_are_told(tmp_path: Path, vocabulary: Vocabulary) -> None:
    rows: Sequence[dict[str, Any]] = [
        {**BLANK, "image_id": name, "class_index": 1, "xmin": 0, "ymin": 0, "xmax": 1, "ymax": 1, "confidence": 0.5}
        for name in ("a", "two words")
    ]
    stated, pictures = tables(tmp_path, rows, {"a": (5, 5), "two words": (5, 5)})
    counts = exported(vocabulary, stated, "voc-results", tmp_path / "out", pictures)
    assert (counts.images, counts.unsayable_images) == (1, 1)


IDS = (
    *('a"b', '"a"', "a'b", "a,b", "a;b", "a|b", "#a", "=1+1", "NA", "007", "1e5", "é", "a\\b", "%", "{}", "\x7f"),
    *(
        "a b",
        "a\tb",
        "a\nb",
        "a\rb",
        "a\x0bb",
        "a\x1cb",
        "a\x00b",
        "a\x85b",
        "a\xa0b",
        "a\u2003b",
        "a\u2028b",
        "\ufeffa",
    ),
)


@pytest.mark.parametrize("image", IDS)
def test_an_id_is_written_as_it_is_or_counted(tmp_path: Path, vocabulary: Vocabulary, image: str) -> None:
    rows: Sequence[dict[str, Any]] = [
        {**BLANK, "image_id": one, "class_index": 1, "xmin": 0, "ymin": 0, "xmax": 1, "ymax": 1, "confidence": 0.5}
        for one in sorted(["rex", image])
    ]
    stated, pictures = tables(tmp_path, rows, {"rex": (5, 5), image: (5, 5)})
    counts = exported(vocabulary, stated, "voc-results", tmp_path / "out", pictures)
    log = RejectLog()
    ((name, path),) = result_files(tmp_path / "out", "test", ()).items()
    again = {one.image for one in read_results(name, path, log)}
    assert log.count == 0
    assert again == ({"rex"} if counts.unsayable_images else {"rex", image})
    is_sayable = len(image.split()) == 1 and image.isprintable()
    assert counts.unsayable_images == (not is_sayable)


@pytest.mark.parametrize(
    "names",
    [
        ("a/b", "a\\b"),
        ("a:b", "c"),
        ("a\0b", "a\nb"),
        ("..", "."),
        ("C:", "/"),
        ("a*b", "a?b"),
        ("<a>", "a|b"),
        ("d g", 'd"g'),
        ("é", "e\u0301"),
    ],
)
def test_a_class_of_any_name_has_a_file_of_its_own(tmp_path: Path, names: tuple[str, str]) -> None:
    classes = pd.DataFrame({"id": list(names), "name": ["dog", "cat"]})
    vocabulary = ml.build_vocabulary(classes={"mine": classes})
    rows: Sequence[dict[str, Any]] = [
        {**BLANK, "image_id": "a", "class_index": vocabulary.index(wnid), "confidence": 0.5}
        | {"xmin": 0, "ymin": 0, "xmax": 1, "ymax": 1}
        for wnid in ("dog", "cat")
    ]
    stated, pictures = tables(tmp_path, rows, {"a": (5, 5)})
    exported(vocabulary, stated, "voc-results", tmp_path / "out", pictures)
    found = result_files(tmp_path / "out", "test", names)
    assert len(found) == 2
    assert all(is_plain(path.name) for path in found.values())
    assert not any(sign in path.name for path in found.values() for sign in '\\/:*?"<>|')  # as on Windows
    if names[0] not in {"a/b", "a\0b", "C:", "a*b"}:  # of two whose parts of names are equal, both have their wnids
        assert set(found) == set(names)
    with pytest.raises(UsageError, match=r"the image set '\.\./x' cannot be part of a file's name"):
        export(vocabulary, stated, "voc-results", Workplace(tmp_path / "b"), images=pictures, image_set="../x")


def test_classes_that_differ_by_case_have_files_of_their_own_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    classes = pd.DataFrame({"id": ["Pet", "pet", "cow"], "name": ["dog", "cat", "cow"]})
    vocabulary = ml.build_vocabulary(classes={"mine": classes})
    plain = _names(vocabulary)
    assert {"Pet", "pet", "cow"} <= set(plain)
    monkeypatch.setattr("os.path.normcase", str.lower)
    names = _names(vocabulary)
    assert len({name.lower() for name in names}) == len(names)
    assert [name for name in names if name in plain] == [name for name in plain if name.lower() != "pet"]
