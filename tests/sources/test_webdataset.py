"""What shards state is what the files beside their pictures say, and each picture is a statement or a reject."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.core.image_ids import image_id
from mlimages_dataset.sources.contract import read_statements
from mlimages_dataset.sources.samples import MOST_ITEMS, beside, by_key, key_of, stated
from tests.images.foreign_folders import img2dataset_folder, tar_folder
from tests.images.test_archives import tar_of

if TYPE_CHECKING:
    from pathlib import Path


def said(path: Path) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in read_statements("webdataset", [path])[0].to_pylist()]


def test_classes_are_those_of_files_beside_pictures_or_of_paths(tmp_path: Path) -> None:
    members = {
        "1.cls": b"3",
        "1.jpg": b"",
        "1.json": b'{"label": "four", "url": "https://host/1.jpg"}',
        "2.json": b'{"width": 3, "classes": ["dog", 7, null, " "], "category": "no"}',
        "2.jpeg": b"",
        "cat/3.png": b"",
        "cat/3.txt": b"a dog",
        "n01440764_4.JPEG": b"",
        "5.jpg": b"",
        "5.cls": b"wolf\r\nfox\n\n",
    }
    shard = tar_folder(tmp_path, {"train/00000.tar": members}) / "train" / "00000.tar"
    expected = [
        ("00000.tar/1.jpg", "3", 1.0, "https://host/1.jpg"),
        ("00000.tar/2.jpeg", "dog", 1.0, "00000.tar/2.jpeg"),
        ("00000.tar/2.jpeg", "7", 1.0, "00000.tar/2.jpeg"),
        ("00000.tar/cat/3.png", "cat", 1.0, "00000.tar/cat/3.png"),
        ("00000.tar/n01440764_4.JPEG", "n01440764", 1.0, "00000.tar/n01440764_4.JPEG"),
        ("00000.tar/5.jpg", "wolf", 1.0, "00000.tar/5.jpg"),
        ("00000.tar/5.jpg", "fox", 1.0, "00000.tar/5.jpg"),
    ]
    assert said(shard) == expected
    below = [tuple(text.replace("00000.tar/", "train/00000.tar/") for text in (row[0], row[3])) for row in expected]
    below = [(image, place) for image, place in below]
    assert [(row[0], row[3]) for row in said(tmp_path)] == below


def test_captions_are_no_classes(tmp_path: Path) -> None:
    found, rejects = read_statements("webdataset", [img2dataset_folder(tmp_path, [b"1"] * 3)])
    assert found.num_rows == 0
    assert rejects.count == 3
    assert str(rejects.first[0]) == f"{tmp_path / '00000.tar'}: nothing says its class: '000000000.jpg'"


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({"a.cls": b"1"}, "no picture has this key: 'a.cls'"),
        ({"a.jpg": b"", "a.cls": b"\xff\xfe1\0"}, "its class is no text: 'a.jpg'"),
        ({"a.jpg": b"", "a.json": b"{"}, r"its JSON cannot be read \(Expecting"),
        ({"a.jpg": b"", "a.json": b"[3]"}, "its JSON is no object: 'a.jpg'"),
        ({"a.jpg": b"", "a.json": b'{"label": 1.5}'}, "its label is no class or list of classes: '1.5': 'a.jpg'"),
        ({"a.jpg": b"", "a.json": b'{"label": "\\ud800"}'}, "its JSON cannot be read"),
        (
            {"a.jpg": b"", "a.json": b'{"labels": ["dog"], "confidence": [0.4]}'},
            "its confidence is not heard",
        ),
        ({"a.jpg": b"", "a.json": b'{"label": "dog", "Score": 0.4}'}, "its Score is not heard"),
        ({"a.jpg": b"", "a.json": b"[" * 100_000}, "its JSON cannot be read"),
        ({"../a.jpg": b""}, "its name leads out of the archive: '../a.jpg'"),
    ],
)
def test_what_cannot_be_used_is_a_reject(tmp_path: Path, members: dict[str, bytes], told: str) -> None:
    path = tmp_path / "0.tar"
    path.write_bytes(tar_of({**members, "good.jpg": b"", "good.cls": b"1"}))
    found, rejects = read_statements("webdataset", [path])
    assert found["class_id"].to_pylist() == ["1"]
    assert rejects.count == 1
    with pytest.raises(AssertionError, match=told):
        raise AssertionError(str(rejects.first[0]))


def test_two_members_of_one_name_are_one_statement_and_one_reject(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "0.tar", "w") as shard:
        for name in ("a.jpg", "a.cls", "c.jpg", "c.cls", "a.jpg", "a.cls", "d.jpg", "d.cls", "d.cls"):
            header = tarfile.TarInfo(name)
            header.size = 1
            shard.addfile(header, io.BytesIO(b"1"))
    found, rejects = read_statements("webdataset", [tmp_path / "0.tar"])
    assert found["image_id"].to_pylist() == ["0.tar/a.jpg", "0.tar/c.jpg"]
    assert [reject.what for reject in rejects.first] == ["a second picture of this name", "two members are named d.cls"]


def test_pictures_of_one_id_in_two_shards_have_different_names(tmp_path: Path) -> None:
    shard = {"a.jpg": b"", "a.cls": b"1"}
    names = [row[0] for row in said(tar_folder(tmp_path, {"0.tar": shard, "1.tar": shard}))]
    assert len(set(names)) == 2
    assert {image_id(name) for name in names} == {"a"}


def test_places_that_are_no_shards_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no \.tar file in it"):
        read_statements("webdataset", [tmp_path])
    (tmp_path / "x.tar").write_bytes(b"\x1f\x8b\x08\0" * 300)
    with pytest.raises(DataError, match=r"x\.tar: is not a complete tar archive"):
        read_statements("webdataset", [tmp_path])


STEMS = st.sampled_from(["a", "b", "a.b", "x/a", ".a", ""])
SUFFIXES = st.sampled_from([".jpg", ".PNG", ".cls", ".json", ".txt", ".npy", ".mp4", ".seg.png", ""])
NAMES = st.lists(st.builds(lambda stem, suffix: stem + suffix, STEMS, SUFFIXES), unique=True, max_size=12)


@given(NAMES)
def test_each_file_is_a_picture_or_beside_pictures_of_its_key(names: list[str]) -> None:
    groups = list(by_key(names, str))
    assert [name for group in groups for name in group] == names
    for group in groups:
        assert len({key_of(name) for name in group}) == 1
        assert key_of(group[0]) or len(group) == 1
        found = beside(group)
        for picture, others in found.items():
            assert PurePath(group[picture]).suffix.lower() in {".jpg", ".png"}
            assert not set(others) & set(found)
            assert all(PurePath(group[other]).suffix in {".cls", ".json", ".txt", ".npy"} for other in others)


def test_a_key_without_end_is_not_held_without_end() -> None:
    assert max(map(len, by_key((f"a.{k}" for k in range(1000)), str))) == MOST_ITEMS
    assert max(map(len, by_key((f"a.{k}" for k in range(100)), str, lambda _: 1 << 25))) == 2


@given(
    st.one_of(st.binary(max_size=50), st.from_type(type(None)).map(lambda _: b"null")),
    st.sampled_from(["a.json", "a.cls"]),
)
def test_whatever_a_file_holds_is_classes_or_a_reason(content: bytes, name: str) -> None:
    found = stated({name: content})
    assert not (found.wrong and found.classes)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["label", "cls", "url", "x"]), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["label", "cls", "url", "x"]), JSON))
def test_objects_of_any_content_are_classes_or_a_reason(content: dict[str, Any]) -> None:
    found = stated({"a.json": json.dumps(content).encode()})
    label = next((content[key] for key in ("label", "cls") if content.get(key) is not None), None)
    if isinstance(label, str | int) and not isinstance(label, bool) and not found.wrong:
        assert found.classes == ((str(label).strip(),) if str(label).strip() else ())
