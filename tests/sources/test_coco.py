"""What files of COCO's form state is what their annotations, images and negatives say, whoever wrote them."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.sources.coco import coco_classes
from mlimages_dataset.sources.contract import read_statements
from mlimages_dataset.sources.registry import pieces_of, source_named
from mlimages_dataset.sources.rejects import RejectLog
from mlimages_dataset.sources.source import DOUBTED

if TYPE_CHECKING:
    from pathlib import Path

DOG, CAT = {"id": 18, "name": "dog"}, {"id": 17, "name": "cat"}


def written(folder: Path, name: str = "instances.json", **content: Any) -> Path:
    path = folder / name
    text = json.dumps({"images": [], "annotations": [], "categories": [DOG, CAT], **content}).encode()
    path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    return path


def said(path: Path) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in read_statements("coco", [path])[0].to_pylist()]


@pytest.mark.parametrize("name", ["instances.json", "instances.json.gz"])
def test_annotations_say_what_is_in_images_and_negatives_what_is_not(tmp_path: Path, name: str) -> None:
    images = [
        {"id": 9, "file_name": "val/000000000009.jpg", "coco_url": "http://images/val/000000000009.jpg"},
        {"id": 25, "coco_url": "http://images/train/000000000025.jpg", "neg_category_ids": [17]},
    ]
    annotations = [
        {"id": 1, "image_id": 25, "category_id": 18, "iscrowd": 1, "segmentation": {"size": [2, 2], "counts": [4]}},
        {"id": 2, "image_id": 9, "category_id": 17, "bbox": [0.5, 1, 2, 3]},
    ]
    path = written(tmp_path, name, images=images, annotations=annotations)
    assert sorted(said(path)) == [
        ("000000000025.jpg", "17", 0.0, "http://images/train/000000000025.jpg"),
        ("000000000025.jpg", "18", 1.0, "http://images/train/000000000025.jpg"),
        ("val/000000000009.jpg", "17", 1.0, "http://images/val/000000000009.jpg"),
    ]


@given(
    names=st.lists(st.sampled_from("abc"), min_size=1, max_size=4),
    others=st.lists(st.sampled_from("de"), max_size=2, unique=True),
)
def test_an_id_of_several_images_names_none_and_every_entry_of_it_is_counted(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], others: list[str]
) -> None:
    keys = [*([1] * len(names)), *range(2, 2 + len(others))]
    images = [
        {"id": key, "file_name": name, "width": 9, "height": 9, "neg_category_ids": [17]}
        for key, name in zip(keys, names + others, strict=True)
    ]
    annotations = [{"id": 7, "image_id": key, "category_id": 18, "bbox": [1, 1, 4, 4]} for key in set(keys)]
    path = written(tmp_path_factory.mktemp("ids"), images=images, annotations=annotations)
    found, rejects = read_statements("coco", [path])
    log = RejectLog()
    (piece,) = pieces_of("coco", [path])
    boxed = [one for batch in source_named("coco").regions(piece, log) for one in batch["image_id"].to_pylist()]
    good = {*others, *(names[:1] if len(set(names)) == 1 else [])}
    assert {row["image_id"] for row in found.to_pylist() if row["confidence"] == 1} == good == set(boxed)
    assert {row["image_id"] for row in found.to_pylist()} == good
    assert rejects.count == log.count == len(names) - 1 + (len(set(names)) > 1)


def test_two_annotations_of_one_id_are_two(tmp_path: Path) -> None:
    images = [{"id": one, "file_name": f"{one}.jpg"} for one in (1, 2)]
    annotations = [{"id": 7, "image_id": one, "category_id": category} for one, category in ((1, 18), (2, 18), (1, 17))]
    found, rejects = read_statements("coco", [written(tmp_path, images=images, annotations=annotations)])
    assert (found.num_rows, rejects.count) == (3, 0)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (
            {"annotations": [{"id": 5, "image_id": 2, "category_id": 18}]},
            "annotation 5 refers to an image that is not listed: '2'",
        ),
        (
            {"annotations": [{"id": 5, "image_id": 1, "category_id": 9}]},
            "annotation 5 refers to a category that is not listed: '9'",
        ),
        ({"annotations": [{"image_id": 1}]}, "annotation 0 has no category_id: ''"),
        ({"annotations": [{"id": 5, "category_id": 18}]}, "annotation 5 has no image_id: ''"),
        ({"images": [{"id": 1, "file_name": "a.jpg"}] * 2}, "two images have the id 1: 'a.jpg'"),
        ({"images": [{"id": 1, "file_name": f"{one}.jpg"} for one in "ab"]}, "images a.jpg and b.jpg have one id: '1'"),
        (
            {"images": [{"id": one, "file_name": "a.jpg"} for one in (1, 2)]},
            "image 2 has the file_name of image 1: 'a.jpg'",
        ),
        ({"images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2}]}, "image 2 has no file_name or id: ''"),
        (
            {"images": [{"id": 1, "file_name": "a.jpg", "neg_category_ids": [3]}]},
            "image 1 gives as absent a category that is not listed: '3'",
        ),
    ],
)
def test_what_refers_to_nothing_is_listed(tmp_path: Path, content: dict[str, Any], told: str) -> None:
    path = written(tmp_path, **{"images": [{"id": 1, "file_name": "a.jpg"}], **content})
    _, rejects = read_statements("coco", [path])
    assert [str(reject) for reject in rejects.first] == [f"{path}: {told}"]


def test_an_annotation_of_a_number_that_was_refused_is_told_why(tmp_path: Path) -> None:
    images = [{"id": one, "file_name": "a.jpg"} for one in (1, 9)]
    annotations = [{"id": 5, "image_id": 9, "category_id": 18}]
    path = written(tmp_path, images=images, annotations=annotations)
    _, rejects = read_statements("coco", [path])
    told = (
        "image 9 has the file_name of image 1: 'a.jpg'",
        "annotation 5 refers to image 9, which has the file_name of",
    )
    assert [str(one).startswith(f"{path}: {text}") for one, text in zip(rejects.first, told, strict=True)] == [True] * 2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[]", "lists no images"),
        ('{"images": [{"id": 1, "file_name": "a"}]}', "lists no categories"),
        ('{"categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}', "two categories have the id 1: a and b"),
        ('{"categories": [{"id": 1}]}', "a category has no id or name"),
        ('{"categories": [3]}', "its categories are not objects"),
        ('{"images": [', r"is not a complete JSON file \("),
        ("image_id,label\n", r"is not a complete JSON file \("),
    ],
)
def test_another_file_is_refused(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "instances.json"
    path.write_text(text)
    with pytest.raises(DataError, match=rf"^{path}: {told}"):
        read_statements("coco", [path])


def test_ids_that_tools_write_as_decimals_are_whole_numbers(tmp_path: Path) -> None:
    images = [{"id": 9.0, "file_name": "a.jpg", "neg_category_ids": [17.0]}]
    annotations = [{"id": 1, "image_id": 9, "category_id": 18.0}]
    path = written(tmp_path, images=images, annotations=annotations, categories=[{"id": 18.0, "name": "dog"}, CAT])
    assert sorted(said(path)) == [("a.jpg", "17", 0.0, "a.jpg"), ("a.jpg", "18", 1.0, "a.jpg")]
    assert [one.source_id for one in coco_classes(path)] == ["18", "17"]


@pytest.mark.parametrize("odd", [[1], {"a": 1}, 1.5, True, None])
def test_ids_of_another_kind_are_rejects(tmp_path: Path, odd: object) -> None:
    image = {"id": 1, "file_name": "a.jpg", "neg_category_ids": odd if isinstance(odd, dict) else [odd]}
    annotations = [{"id": 1, "image_id": odd, "category_id": 18}, {"id": 2, "image_id": 1, "category_id": odd}]
    path = written(tmp_path, images=[image, {"id": odd, "file_name": "b.jpg"}], annotations=annotations)
    found, rejects = read_statements("coco", [path])
    assert (set(found["class_id"].to_pylist()), rejects.count) == ({DOUBTED}, 4)


def test_categories_are_a_class_list(tmp_path: Path) -> None:
    assert [(one.source_id, one.name) for one in coco_classes(written(tmp_path))] == [("18", "dog"), ("17", "cat")]


@pytest.mark.shared_data
@pytest.mark.parametrize("form", ["coco_format_v1/instances_default.json", "coco_format_v2/instances_v2.json"])
def test_other_peoples_files_state_what_voc_does(shared_data: Path, form: str) -> None:
    folder = shared_data / "voc"
    stated = set()
    for file in folder.rglob("Annotations/*.xml"):
        for name in ET.parse(file).getroot().iterfind("object/name"):  # noqa: S314 - a known file
            stated.add((f"{file.stem}.jpg", name.text))
    path = folder / "other_forms" / form
    name_of = {one.source_id: one.name for one in coco_classes(path)}
    found = {(image, name_of[number]) for image, number, _, _ in said(path)}
    assert len(stated) > 100
    assert found == stated


@pytest.mark.parametrize("as_text", [False, True])
@pytest.mark.parametrize("number", [1, 0, 20_000_000_000, -3])
def test_a_text_against_the_same_number_is_told_as_that(tmp_path: Path, number: int, *, as_text: bool) -> None:
    known: object = str(number) if as_text else number
    other: object = number if as_text else str(number)
    images = [{"id": known, "file_name": "a.jpg", "neg_category_ids": [other]}]
    categories = [{"id": known, "name": "dog"}]
    annotations = [
        {"id": 1, "image_id": other, "category_id": known},
        {"id": 2, "image_id": known, "category_id": other},
    ]
    path = written(tmp_path, images=images, categories=categories, annotations=annotations)
    _, rejects = read_statements("coco", [path])
    kinds = ("number", "text") if as_text else ("text", "number")
    told = f"it is the {kinds[0]} {json.dumps(other)}, and the list has the {kinds[1]} {json.dumps(known)}"
    whats = [one.what for one in rejects.first]
    assert len(whats) == 3
    assert all(told in what for what in whats)
    assert [what.split(" that is not listed")[0] for what in whats] == [
        f"image {known} gives as absent a category",
        "annotation 1 refers to an image",
        "annotation 2 refers to a category",
    ]


@pytest.mark.parametrize("other", ["01", "1.5", "-", "9" * 5000, "one", "²", "", 2])
def test_an_id_that_is_no_other_form_of_one_is_not_listed(tmp_path: Path, other: object) -> None:
    path = written(
        tmp_path, images=[{"id": 1, "file_name": "a.jpg"}], annotations=[{"id": 1, "image_id": 1, "category_id": other}]
    )
    _, rejects = read_statements("coco", [path])
    assert [one.what for one in rejects.first] == ["annotation 1 refers to a category that is not listed"]
