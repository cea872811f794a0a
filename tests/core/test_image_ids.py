"""A picture has one id, whatever names it."""

from __future__ import annotations

import unicodedata

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.core.image_ids import PICTURE_SUFFIXES, are_ids, image_id, image_ids


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("n02084071/rex.jpg", "n02084071/rex"),
        ("n02084071/rex.JPG", "n02084071/rex"),
        ("n02084071/rex", "n02084071/rex"),
        ("./n02084071/rex.jpeg", "n02084071/rex"),
        ("rex.jpg", "rex"),
        ("n01440764/n01440764_10026.JPEG", "n01440764_10026"),
        ("train/n01440764/n01440764_10026.JPEG", "n01440764_10026"),
        ("n01440764_10026", "n01440764_10026"),
        ("n01440764_10026_n01440764.JPEG", "n01440764_10026"),
        ("n01440764_10026_n01440764", "n01440764_10026"),
        ("data/train_images_0/n01440764_10026_n01440764.JPEG", "n01440764_10026"),
        ("Data/CLS-LOC/val/ILSVRC2012_val_00000001", "ILSVRC2012_val_00000001"),
        ("val/n01751748/ILSVRC2012_val_00000001.JPEG", "ILSVRC2012_val_00000001"),
        ("ILSVRC2012_val_00000001_n01751748.JPEG", "ILSVRC2012_val_00000001"),
        ("ILSVRC2014_train_0003/ILSVRC2014_train_00031234.JPEG", "ILSVRC2014_train_00031234"),
        ("mine/ILSVRC2012_val_1.JPEG", "mine/ILSVRC2012_val_1"),
        ("mine/notes_n01751748.JPEG", "mine/notes_n01751748"),
        ("n02084071\\rex.jpg", "n02084071/rex"),
        (".\\n02084071\\rex.jpg", "n02084071/rex"),
        ("C:\\My Pictures\\n01440764\\n01440764_10026.JPEG", "n01440764_10026"),
        ("dogs/a\\b.jpg", "dogs/a\\b"),
        ("a/b/c d.e.Png", "a/b/c d.e"),
        ("rex.jpg.webp", "rex"),
        ("john.smit", "john.smit"),
        ("v1.2", "v1.2"),
        ("notes.txt", "notes.txt"),
        (".jpg", ".jpg"),
        ("dogs/.jpg", "dogs/.jpg"),
        ("https://host/a/b.jpg", "https://host/a/b.jpg"),
        ("https://host/a/b.jpg?x=1#y", "https://host/a/b.jpg?x=1#y"),
        ("https://host/a/n02121620_1.JPEG?x=1/n01440764_2#y", "n02121620_1"),
        ("https://host/a?id=n02121620_1.JPEG", "https://host/a?id=n02121620_1.JPEG"),
        ("http://host/n02084071_7.JPEG", "n02084071_7"),
        ("000a1249af2bc5f0", "000a1249af2bc5f0"),
        ("cafe\u0301/hu\u0308nd.jpg", "caf\u00e9/h\u00fcnd"),
        ("00000.tar/000000012.jpg", "000000012"),
        ("test/0.tar/7.jpg", "test/7"),
        ("0.tar/n01440764/n01440764_10026.JPEG", "n01440764_10026"),
        ("data/train-0.parquet/17/cats/1.jpg", "cats/1"),
        ("data/train-0.parquet/17", "data/train-0.parquet/17"),
        ("https://host/0.tar/7.jpg", "https://host/0.tar/7.jpg"),
        ("data/train-0.parquet/17/https://host/7.jpg", "https://host/7.jpg"),
        ("VOC2012/JPEGImages/2007_000032.jpg", "VOC2012/2007_000032"),
        ("voc\\JPEGImages\\2007_000032.jpg", "voc/2007_000032"),
        ("0.tar/JPEGImages/2007_000032.jpg", "2007_000032"),
        ("JPEGImages/", "JPEGImages/"),
        ("myJPEGImages/a.jpg", "myJPEGImages/a"),
        ("train2017/000000000009.jpg", "000000000009"),
        ("coco/images/val2014/COCO_val2014_000000000042.jpg", "COCO_val2014_000000000042"),
        ("train2017/cat.jpg", "train2017/cat"),
        ("cats/000000000009.jpg", "cats/000000000009"),
        ("open-images/train_0/000a1249af2bc5f0.jpg", "000a1249af2bc5f0"),
        ("train/000a1249af2bc5f0", "000a1249af2bc5f0"),
        ("cats/000a1249af2bc5f0.jpg", "cats/000a1249af2bc5f0"),
        ("http://images.cocodataset.org/train2017/000000000009.jpg",) * 2,
        ("dogs/rex.HEIC", "dogs/rex"),
        ("dogs/rex.jp2", "dogs/rex"),
        ("dogs/rex.jxl", "dogs/rex"),
        ("0.tar/", "0.tar/"),
        ("0.tar", "0.tar"),
        ("", ""),
    ],
)
def test_ids_of_names_as_people_have_them(name: str, expected: str) -> None:
    assert image_id(name) == expected


PARTS = st.sampled_from(
    [
        "n02084071",
        "n02084071_7",
        "rex",
        "a b",
        "x.y",
        "\u00e9",
        "e\u0301",
        ".",
        "..",
        "",
        "jpg",
        "a\\b",
        "ILSVRC2012_val_00000001",
        "n02084071_7_n02084071",
        "x_n02084071",
        "0.tar",
        "JPEGImages",
        "train2017",
        "000000000009",
        "000a1249af2bc5f0",
        "train",
        "a.parquet",
        "17",
    ]
)
NAMES = st.builds(
    lambda start, parts, suffixes: start + "/".join(parts) + "".join(suffixes),
    st.sampled_from(["", "./", "././", "https://host/"]),
    st.lists(PARTS, min_size=1, max_size=5),
    st.lists(st.sampled_from([*PICTURE_SUFFIXES, ".JPG", ".Tiff", ".txt", ".", "/"]), max_size=3),
)


@given(st.lists(st.one_of(NAMES, st.text(st.characters(exclude_categories=["Cs"]), max_size=12)), max_size=5))
def test_an_ids_id_is_itself_and_names_do_not_meet(names: list[str]) -> None:
    ids = image_ids(pa.array(names, pa.string()))
    assert image_ids(ids).equals(ids)
    assert ids.to_pylist() == [image_id(name) for name in names], "each by itself"
    assert all(unicodedata.is_normalized("NFC", one) for one in ids.to_pylist())


@given(st.lists(st.text(alphabet="ab0./\\_né", max_size=6)), st.integers(0, 3))
def test_what_is_told_quickly_to_be_an_id_is_one(names: list[str], before: int) -> None:
    column = pa.array(["x/y"] * before + names, pa.string()).slice(before)
    if are_ids(column):
        assert [image_id(name) for name in names] == names
    assert are_ids(column) == (not any(sign in name for name in names for sign in "./\\_é"))
