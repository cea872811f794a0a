"""Absences of categories that were looked for: against a loop over dictionaries, and within a collection."""

from __future__ import annotations

import json
import warnings
import zipfile
from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mlimages_dataset as ml
from mlimages_dataset.augment import completeness
from mlimages_dataset.augment.completeness import EVERY_CLASS, Doubts, completed
from tests.augment.strategies import Row, closure_of, columns_from, hierarchies, rows, rows_from

if TYPE_CHECKING:
    from pathlib import Path


def by_hand(images: list[Row], looked_for: set[int], hierarchy: nx.DiGraph[int]) -> list[Row]:
    """Return the completed rows; edges of the hierarchy lead from child to parent."""
    done = []
    for row in images:
        present = {c for c, (confidence, _) in row.items() if confidence > 0}
        implied = present.union(*(nx.descendants(hierarchy, c) for c in present))
        done.append({**dict.fromkeys(looked_for - set(row) - implied, (0.0, 0)), **row})
    return [dict(sorted(row.items())) for row in done]


@given(st.data())
def test_it_is_what_a_loop_over_rows_gives(data: st.DataObject) -> None:
    hierarchy = data.draw(hierarchies())
    images = data.draw(rows(len(hierarchy)))
    looked_for = data.draw(st.sets(st.integers(0, len(hierarchy) - 1)))
    classes = np.array(sorted(looked_for), np.int32)
    found, _ = completed(columns_from(images), classes, closure_of(hierarchy))
    assert [dict(sorted(row.items())) for row in rows_from(found)] == by_hand(images, looked_for, hierarchy)
    again, _ = completed(found, classes, closure_of(hierarchy))
    assert rows_from(again) == rows_from(found), "there is nothing left to complete"


def test_blocks_of_images_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    hierarchy: nx.DiGraph[int] = nx.DiGraph([(1, 0), (2, 0), (3, 1)])
    images: list[Row] = [{3: (1.0, 0)}, {}, {2: (0.5, 3), 1: (0.0, 0)}, {0: (1.0, 0)}]
    classes = np.array([0, 1, 2], np.int32)
    whole = rows_from(completed(columns_from(images), classes, closure_of(hierarchy))[0])
    monkeypatch.setattr(completeness, "_MOST_CELLS", 1)
    assert rows_from(completed(columns_from(images), classes, closure_of(hierarchy))[0]) == whole
    assert whole == [
        {2: (0.0, 0), 3: (1.0, 0)},
        {0: (0.0, 0), 1: (0.0, 0), 2: (0.0, 0)},
        {1: (0.0, 0), 2: (0.5, 3)},
        {0: (1.0, 0), 1: (0.0, 0), 2: (0.0, 0)},
    ]


@pytest.fixture(scope="module")
def animals() -> ml.Vocabulary:
    """Return a vocabulary of four own classes, of which the cup is only a kind of a category."""
    rows = [("d", "dog", ""), ("g", "golden retriever", ""), ("c", "house cat", ""), ("m", "my cup", "n03147509")]
    return ml.build_vocabulary(classes={"pets": pd.DataFrame(rows, columns=["id", "name", "parent"])})


def test_a_collection_that_looked_for_every_class(animals: ml.Vocabulary) -> None:
    said = pd.DataFrame({"image_id": ["a", "b", "b"], "label": ["g", "c", "m"]})
    found = ml.annotate(said, animals, complete=True)
    labels = [(row.image_id, row.wnid, row.confidence) for row in found.to_pandas().itertuples()]
    dog, golden, cat, cup = "n02084071", "n02099601", "n02121808", "n03147509"
    assert sorted(labels) == [
        ("a", golden, 1),
        ("a", cat, 0),
        ("b", dog, 0),
        ("b", golden, 0),
        ("b", cat, 1),
        ("b", cup, 1),
    ]
    assert found.summary is not None
    assert (found.summary.labels, found.summary.absences) == (3, 3)
    every = ml.augment(found, animals).to_pandas().set_index(["image_id", "wnid"]).confidence
    assert (every["a", dog], every["b", dog]) == (1, 0), "an ancestor of a present label is present"


def test_it_must_be_clear_for_which_list_a_collection_is_complete() -> None:
    vocabulary = ml.build_vocabulary(
        imagenet=["n02084071"], classes={"p": pd.DataFrame({"id": ["d"], "name": ["dog"]})}
    )
    said = pd.DataFrame({"image_id": ["a"], "label": ["d"]})
    with pytest.raises(
        ml.MLImagesError, match="complete for one class list, and none is named; name one of imagenet, p"
    ):
        ml.annotate(said, vocabulary, complete=True)
    assert ml.annotate(said, vocabulary, complete=True, ids_of="p").summary.absences == 0  # type: ignore[union-attr]


def test_images_without_annotations_show_none_of_the_classes(tmp_path: Path) -> None:
    content = {
        "images": [{"id": k, "file_name": f"{k}.jpg"} for k in range(4)],
        "annotations": [{"image_id": 0, "category_id": 1}, {"image_id": 2, "category_id": 3}],
        "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}, {"id": 3, "name": "zorb"}],
    }
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(content))
    with pytest.warns(UserWarning, match="'zorb' became no category"):
        vocabulary = ml.build_vocabulary(classes={"p": path})
    dog, cat = "n02084071", "n02121620"
    found = {}
    for complete in (False, True):
        with pytest.warns(UserWarning, match="left out: labels of classes that the vocabulary dropped"):
            told = ml.annotate(path, vocabulary, format="coco", complete=complete)
        assert told.summary is not None
        assert (told.summary.malformed, told.summary.images_without_labels) == (0, int(not complete))
        found[complete] = sorted((row.image_id, row.wnid, row.confidence) for row in told.to_pandas().itertuples())
    assert found[False] == [("0", dog, 1)]
    nothing = [(image, wnid, 0) for image in "123" for wnid in (dog, cat)]
    assert found[True] == [("0", dog, 1), ("0", cat, 0), *nothing]


@given(st.data())
def test_what_is_doubtful_stays_unknown(data: st.DataObject) -> None:
    hierarchy = data.draw(hierarchies())
    n_classes = len(hierarchy)
    images = data.draw(rows(n_classes))
    looked_for = data.draw(st.sets(st.integers(0, n_classes - 1)))
    drawn = st.lists(st.integers(EVERY_CLASS, n_classes - 1), max_size=3)
    doubts_of = data.draw(st.lists(drawn, min_size=len(images), max_size=len(images)))
    doubts = Doubts(
        np.append(0, np.cumsum([len(some) for some in doubts_of])).astype(np.int32),
        np.array([one for some in doubts_of for one in some], np.int32),
    )
    classes = np.array(sorted(looked_for), np.int32)
    found, withheld = completed(columns_from(images), classes, closure_of(hierarchy), doubts)
    sure, n_removed = [], 0
    for row, stated, some in zip(by_hand(images, looked_for, hierarchy), images, doubts_of, strict=True):
        doubtful = set(some).union(*(nx.descendants(hierarchy, c) for c in some if c != EVERY_CLASS))
        removed = {c for c in row if c not in stated and (c in doubtful or EVERY_CLASS in some)}
        n_removed += len(removed)
        sure.append({c: label for c, label in row.items() if c not in removed})
    assert [dict(sorted(row.items())) for row in rows_from(found)] == sure
    assert withheld == n_removed


DOG, GOLDEN, CAT = "n02084071", "n02099601", "n02121808"


def told_of(
    file: Path | list[Path], vocabulary: ml.Vocabulary, **options: object
) -> tuple[dict[str, dict[str, float]], Any]:
    """Return the confidences of a complete collection by image and wnid, and its summary."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = ml.annotate(file, vocabulary, complete=True, **options)  # type: ignore[arg-type]
    found: dict[str, dict[str, float]] = {}
    rows_of_labels: list[dict[str, Any]] = made.to_pandas().to_dict("records")  # type: ignore[assignment]
    for row in rows_of_labels:
        found.setdefault(row["image_id"], {})[row["wnid"]] = row["confidence"]
    return found, made.summary


@pytest.mark.parametrize("padding", [0, 20_000], ids=["few rows", "rows for the compiled loop"])
@pytest.mark.parametrize(
    "unusable",
    ["g,yes", "g,1.2", "g,-1", "g,nan", "g,inf", "g,", "g,none", '"g","y,es"', " g ,1", " g,0", "g ,yes", "\tg,1"],
)
def test_nobody_verified_the_absence_of_a_class_that_the_file_says_something_of(
    animals: ml.Vocabulary, tmp_path: Path, unusable: str, padding: int
) -> None:
    more = "".join(f"more{k}.jpg,c,1\n" for k in range(padding))
    path = tmp_path / "said.csv"
    path.write_text(f"image_id,label,confidence\nx.jpg,c,1\nx.jpg,{unusable}\ny.jpg,c,1\n{more}")
    found, summary = told_of(path, animals)
    assert found["x"] == {CAT: 1}, "an ancestor may be there if the class is"
    assert found["y"] == {CAT: 1, DOG: 0, GOLDEN: 0}
    assert (summary.withheld, summary.malformed + summary.unknown, summary.rejected_rows) == (2, 1, 0)
    assert any("2  classes left unknown, not absent" in line for line in summary.lines())


def test_a_statement_of_no_class_says_nothing_of_which_class_is_absent(animals: ml.Vocabulary, tmp_path: Path) -> None:
    path = tmp_path / "said.csv"
    path.write_text("image_id,label\nx.jpg,c\nx.jpg,\ny.jpg,c\ny.jpg,zorb\n")
    found, summary = told_of(path, animals)
    assert found == {"x": {CAT: 1}, "y": {CAT: 1, DOG: 0, GOLDEN: 0}}
    assert (summary.withheld, summary.malformed, summary.unknown) == (2, 1, 1)


@pytest.mark.parametrize("row", ["x.jpg,g,1,more", "x.jpg,g", 'x.jpg,"g,1', ",g,1", "./,g,1"])
def test_a_row_of_which_nobody_knows_the_image_is_told_and_refused(
    animals: ml.Vocabulary, tmp_path: Path, row: str
) -> None:
    path = tmp_path / "said.csv"
    path.write_text(f"image_id,label,confidence\nx.jpg,c,1\n{row}\n")
    with pytest.raises(ml.MLImagesError, match=r"1 row that cannot be used.*line 3.*leave out complete"):
        told_of(path, animals)
    with pytest.warns(UserWarning, match="left out"):
        assert ml.annotate(path, animals).summary is not None


def test_a_label_below_the_least_confidence_is_not_denied(animals: ml.Vocabulary, tmp_path: Path) -> None:
    path = tmp_path / "said.csv"
    path.write_text("image_id,label,confidence\nx.jpg,c,1\nx.jpg,g,0.5\ny.jpg,c,1\ny.jpg,g,0\nz.jpg,c,1\nz.jpg,g,0.9\n")
    found, summary = told_of(path, animals, min_confidence=0.8)
    assert found["x"] == {CAT: 1}
    assert found["y"] == {CAT: 1, GOLDEN: 0, DOG: 0}
    assert found["z"] == {CAT: 1, GOLDEN: pytest.approx(0.9)}
    assert (summary.below_confidence, summary.withheld) == (1, 2)


@pytest.mark.parametrize(
    ("wrong", "doubted"),
    [
        ({"image_id": 1, "category_id": "2"}, {"1"}),
        ({"image_id": 1, "category_id": 99}, {"1"}),
        ({"image_id": 1}, {"1"}),
        ({"image_id": 1, "category_id": 2, "score": 7}, {"1"}),
        ({"image_id": "1", "category_id": 2}, {"1"}),
        ({"image_id": 3, "category_id": 2}, {"1"}),  # it has the name of image 1
        ({"image_id": 99, "category_id": 2}, set()),  # it is not listed, so it has no row
    ],
)
def test_an_annotation_that_cannot_be_used_leaves_its_image_unknown(
    tmp_path: Path, wrong: dict[str, object], doubted: set[str]
) -> None:
    path = tmp_path / "instances.json"
    names = {1: "1.jpg", 2: "2.jpg", 3: "1.jpg"}
    content = {
        "images": [{"id": k, "file_name": name} for k, name in names.items()],
        "annotations": [{"image_id": 1, "category_id": 1}, {"image_id": 2, "category_id": 1}, wrong],
        "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}],
    }
    path.write_text(json.dumps(content))
    found, summary = told_of(path, ml.build_vocabulary(classes={"p": path}), format="coco")
    assert {image for image, labels in found.items() if len(labels) == 1} == doubted
    assert set(found) == {"1", "2"}
    assert summary.withheld == len(doubted)


def test_an_annotation_of_no_image_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "instances.json"
    content = {
        "images": [{"id": 1, "file_name": "1.jpg"}],
        "annotations": [{"image_id": 1, "category_id": 1}, {"category_id": 2}],
        "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}],
    }
    path.write_text(json.dumps(content))
    with pytest.raises(
        ml.MLImagesError, match="image is unknown: in a complete collection, a class that such a row states as present"
    ):
        told_of(path, ml.build_vocabulary(classes={"p": path}), format="coco")


def test_a_line_that_cannot_be_used_leaves_its_picture_unknown(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text("names: [dog, cat]\n")
    labels = tmp_path / "labels"
    labels.mkdir()
    (labels / "a.txt").write_text("0 0.5 0.5 0.5 0.5\n7 0.5 0.5 0.5 0.5\n")
    (labels / "b.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (labels / "c.txt").write_text("7 0.5 0.5 0.5 0.5\n")
    found, summary = told_of(tmp_path, ml.build_vocabulary(classes={"p": tmp_path}), format="yolo")
    assert {image: len(of_image) for image, of_image in found.items()} == {"a": 1, "b": 2}
    assert (summary.rejected_rows, summary.withheld) == (2, 1)


@given(
    images=st.lists(st.tuples(st.integers(1, 3), st.sampled_from("abc")), min_size=1, max_size=6),
    said=st.sampled_from([1, 2, 3, "1", "2"]),
)
@settings(max_examples=60, deadline=None)
def test_no_image_is_said_not_to_show_what_an_annotation_of_one_of_its_numbers_says(
    animals: ml.Vocabulary,
    tmp_path_factory: pytest.TempPathFactory,
    *,
    images: list[tuple[int, str]],
    said: int | str,
) -> None:
    path = tmp_path_factory.mktemp("numbers") / "instances.json"
    listed = [{"id": key, "file_name": f"{name}.jpg"} for key, name in [*images, (4, "other")]]
    content = {
        "images": listed,
        "annotations": [{"image_id": said, "category_id": "g"}, {"image_id": 4, "category_id": "c"}],
        "categories": [{"id": "g", "name": "golden retriever"}, {"id": "c", "name": "house cat"}],
    }
    path.write_text(json.dumps(content))
    found, _ = told_of(path, animals, format="coco")
    named = {name for key, name in images if key == int(said)}
    assert not [name for name in named if found.get(name, {}).get(GOLDEN) == 0]
    keys_of = {name: {key for key, other in images if other == name} for _, name in images}
    sure = {name for key, name in images if len(keys_of[name]) == 1 and len({n for k, n in images if k == key}) == 1}
    assert sure - named <= {name for name, labels in found.items() if labels.get(GOLDEN) == 0}


@pytest.mark.parametrize("only", [" g,1", "g,yes", "g,", "g,0.3", "g ,0.3", "zorb,1", "zorb,yes"])
def test_an_image_whose_only_label_cannot_be_used_lacks_the_other_classes(
    animals: ml.Vocabulary, tmp_path: Path, only: str
) -> None:
    path = tmp_path / "said.csv"
    path.write_text(f"image_id,label,confidence\nx.jpg,{only}\ny.jpg,c,1\n")
    found, summary = told_of(path, animals, min_confidence=0.5)
    assert found["x"] == ({CAT: 0} if "g" in only else dict.fromkeys((CAT, DOG, GOLDEN), 0))
    assert (summary.images, summary.images_without_labels) == (2, 0)


@pytest.mark.parametrize("only", [",1", ",yes"])
def test_an_image_of_which_nothing_is_known_has_no_row(animals: ml.Vocabulary, tmp_path: Path, only: str) -> None:
    path = tmp_path / "said.csv"
    path.write_text(f"image_id,label,confidence\nx.jpg,{only}\ny.jpg,c,1\n")
    found, summary = told_of(path, animals)
    assert (set(found), summary.images, summary.images_without_labels) == ({"y"}, 1, 1)


def test_an_image_of_which_no_class_is_sure_has_no_row(tmp_path: Path) -> None:
    vocabulary = ml.build_vocabulary(classes={"p": pd.DataFrame({"id": ["d"], "name": ["dog"]})})
    path = tmp_path / "said.csv"
    path.write_text("image_id,label,confidence\nw.jpg,d,yes\nx.jpg,d,yes\ny.jpg,d,1\nz.jpg,d,yes\n")
    found, summary = told_of(path, vocabulary)
    assert (found, summary.images, summary.images_without_labels) == ({"y": {DOG: 1}}, 1, 3)


MALFORMED = [f"x{n}.jpg,g,yes" for n in range(12)]


@pytest.mark.parametrize(
    ("rows_of_file", "line"),
    [
        ([*MALFORMED, ",g,1"], 14),
        ([*MALFORMED, "./,g,yes"], 14),
        ([*MALFORMED, "x.jpg,g"], 14),
        ([*MALFORMED, ",c,1", ",g,1"], 14),
        (["x.jpg,g,1,more", *MALFORMED], 2),
    ],
)
def test_the_refusal_shows_a_row_of_which_nobody_knows_the_image(
    animals: ml.Vocabulary, tmp_path: Path, rows_of_file: list[str], line: int
) -> None:
    path = tmp_path / "said.csv"
    path.write_text("\n".join(("image_id,label,confidence", *rows_of_file, "")))
    with pytest.raises(ml.MLImagesError, match=rf"first such row is \S*said\.csv, line {line}:"):
        told_of(path, animals)


@pytest.mark.parametrize("n_placed", [1, 12])
def test_the_refusal_shows_an_annotation_of_no_image(tmp_path: Path, n_placed: int) -> None:
    path = tmp_path / "instances.json"
    placed = [{"id": n, "image_id": 1, "category_id": 1, "score": 7} for n in range(n_placed)]
    content = {
        "images": [{"id": 1, "file_name": "1.jpg"}],
        "annotations": [*placed, {"id": 40, "category_id": 2}],
        "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}],
    }
    path.write_text(json.dumps(content))
    with pytest.raises(ml.MLImagesError, match=r"has 1 row that .* annotation 40 has no image_id"):
        told_of(path, ml.build_vocabulary(classes={"p": path}), format="coco")


def zipped(path: Path, members: list[tuple[str, str]], *, damaged: str = "", encrypted: str = "") -> Path:
    """Write a zip archive, of whose members one has another check sum, or the flag that it is encrypted."""
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as archive:
        warnings.simplefilter("ignore")  # two members of one name
        for name, text in members:
            archive.writestr(name, text)
            info = archive.infolist()[-1]
            if name == damaged:
                info.CRC ^= 1
            if name == encrypted:
                info.flag_bits |= 1
    return path


VOC_XML = "<annotation><filename>{}.jpg</filename><object><name>{}</name></object></annotation>"
LISTS = [("c_train.txt", "p1 1\n"), ("g_train.txt", "p1 1\n")]


@pytest.mark.parametrize("kind", ["damaged", "encrypted", "second", "empty"])
def test_a_list_of_many_images_that_cannot_be_read_is_told_and_refused(
    animals: ml.Vocabulary, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "lists.zip"
    if kind == "empty":
        path = tmp_path
        for name, text in LISTS:
            (tmp_path / name).write_text(text if name == "c_train.txt" else "")
    elif kind == "second":
        zipped(path, [*LISTS, ("g_train.txt", "p2 1\n")])
    else:
        zipped(path, LISTS, **{kind: "g_train.txt"})
    with pytest.raises(ml.MLImagesError, match=r"has 1 row that .* first such row is \S*g_train\.txt: "):
        told_of(path, animals, format="voc")
    with pytest.warns(UserWarning, match=r"malformed rows: 1 \(such as g_train\.txt: "):
        ml.annotate(path, animals, format="voc")


@pytest.mark.parametrize("kind", ["damaged", "encrypted", "second", "second of a split", "cut"])
def test_a_file_of_one_picture_that_cannot_be_read_leaves_it_unknown(
    animals: ml.Vocabulary, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "boxes.zip"
    members = [("Annotations/a.xml", VOC_XML.format("a", "c")), ("Annotations/b.xml", VOC_XML.format("b", "c"))]
    if kind == "cut":
        zipped(path, [("Annotations/a.xml", "<annotation><obj"), members[1]])
    elif kind.startswith("second"):
        more = [("Annotations/a.xml", VOC_XML.format("a", "g")), ("ImageSets/Main/train.txt", "a\nb\n")]
        zipped(path, [*members, *more])
        path = path / "ImageSets" / "Main" / "train.txt" if kind == "second of a split" else path
    else:
        zipped(path, members, **{kind: "Annotations/a.xml"})
    (tmp_path / "c_train.txt").write_text("a 1\nb 1\n")
    found, summary = told_of([path, tmp_path / "c_train.txt"], animals, format="voc")
    assert found == {"a": {CAT: 1}, "b": {CAT: 1, DOG: 0, GOLDEN: 0}}
    assert (summary.rejected_rows, summary.withheld) == (1, 2)
