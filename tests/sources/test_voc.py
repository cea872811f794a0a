"""Pascal VOC's files and folders state what their objects say."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from unittest import mock
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.sources import pieces as cutting
from mlimages_dataset.sources.contract import read_regions, read_statements
from mlimages_dataset.sources.registry import source_named
from mlimages_dataset.sources.voc import Voc

if TYPE_CHECKING:
    from pathlib import Path

OBJECT = (
    "<object><name>{name}</name>{more}<bndbox><xmin>{0}</xmin><ymin>{1}</ymin><xmax>{2}</xmax><ymax>{3}</ymax></bndbox>"
    "</object>"
)


def written(
    folder: Path, objects: str, *, stem: str = "Annotations/a", filename: str = "a.jpg", size: str | None = None
) -> Path:
    path = folder / f"{stem}.xml"
    path.parent.mkdir(parents=True, exist_ok=True)
    size = "<size><width>200</width><height>100</height></size>" if size is None else size
    path.write_text(f"<annotation><filename>{filename}</filename>{size}{objects}</annotation>", encoding="utf-8")
    return path


def dog(*box: float, more: str = "", name: str = "dog") -> str:
    return OBJECT.format(*box, more=more, name=name)


@given(data=st.data(), width=st.integers(1, 999), height=st.integers(1, 999))
def test_numbers_of_a_box_are_shares_as_they_stand(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, width: int, height: int
) -> None:
    left, right = sorted(data.draw(st.sets(st.integers(0, width), min_size=2, max_size=2)))
    top, bottom = sorted(data.draw(st.sets(st.integers(0, height), min_size=2, max_size=2)))
    size = f"<size><width>{width}</width><height>{height}</height></size>"
    path = written(tmp_path_factory.mktemp("voc"), dog(left, top, right, bottom), size=size)
    (row,) = read_regions("voc", [path])[0].to_pylist()
    pixels = (row["xmax"] - row["xmin"]) * width, (row["ymax"] - row["ymin"]) * height
    assert pixels == pytest.approx((right - left, bottom - top), abs=1e-3)
    assert row["xmin"] * width == pytest.approx(left, abs=1e-3)
    assert row["ymin"] * height == pytest.approx(top, abs=1e-3)
    assert not row["clipped"]


def test_flags_parts_and_masks_are_told(tmp_path: Path) -> None:
    flags = "<difficult>1</difficult><truncated>0</truncated><occluded> 1 </occluded><pose>Left</pose>"
    part = "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></part>"
    written(tmp_path, dog(0, 0, 200, 100, more=flags + part))
    for stem in ("a", "alone"):
        mask = tmp_path / "SegmentationClass" / f"{stem}.png"
        mask.parent.mkdir(exist_ok=True)
        mask.touch()
    found, rejects = read_regions("voc", [tmp_path])
    first, head = found.to_pylist()
    assert {name for name, value in first.items() if value is True} == {"difficult", "occluded"}
    assert [first[side] for side in ("xmin", "ymin", "xmax", "ymax")] == [0, 0, 1, 1]
    assert (head["class_id"], head["mask"], first["mask"]) == ("head", *["SegmentationClass/a.png"] * 2)
    assert [str(one) for one in rejects.first] == [
        f"{tmp_path}/SegmentationClass/alone.png: no .xml file in Annotations has its boxes: ''"
    ]


@pytest.mark.parametrize(
    ("stem", "filename", "image"),
    [
        ("Annotations/2007_000027", "2007_000027.jpg", "2007_000027.jpg"),
        ("VOC2007/Annotations/000001", "000001.jpg", "VOC2007/000001.jpg"),
        ("Annotations/n01440764/n01440764_10026", "%s", "n01440764/n01440764_10026"),
        ("Annotations/b", "C:\\pictures\\b.png", "b.png"),
        ("Annotations/b", "old name.jpg", "b"),
        ("Annotations/b.jpg", "b.jpg", "b.jpg"),
        ("Annotations/b", "", "b"),
    ],
)
def test_an_image_has_the_name_of_its_file(tmp_path: Path, stem: str, filename: str, image: str) -> None:
    written(tmp_path, dog(1, 1, 2, 2), stem=stem, filename=filename)
    assert read_statements("voc", [tmp_path])[0]["image_id"].to_pylist() == [image]


@pytest.mark.parametrize(
    ("stem", "filename", "is_told"),
    [
        ("Annotations/b", "old name.jpg", True),
        ("Annotations/b", "C:\\pictures\\c.jpg", True),
        ("Annotations/b", "B.jpg", True),
        ("Annotations/b", "b/", False),
        ("Annotations/b", "%s", False),
        ("Annotations/b", "", False),
        ("Annotations/b", "../JPEGImages/b.PNG", False),
        ("Annotations/b.jpg", "b.jpg", False),
        ("Annotations/cafe\u0301", "caf\u00e9.jpg", False),
        ("Annotations/n01440764_10026", "n01440764_10026_n01440764.JPEG", False),
    ],
)
@pytest.mark.parametrize("form", ["voc", "labelme"])
def test_a_file_that_names_another_picture_is_told_once(
    tmp_path: Path,
    form: str,
    stem: str,
    filename: str,
    is_told: bool,  # noqa: FBT001 - of pytest
) -> None:
    if form == "voc":
        written(tmp_path, dog(1, 1, 2, 2) + dog(1, 1, 2, 3), stem=stem, filename=filename)
    else:
        shape = {"label": "dog", "points": [[1, 1], [5, 5]], "shape_type": "rectangle"}
        document = {"shapes": [shape, shape], "imagePath": filename, "imageWidth": 9, "imageHeight": 9}
        (tmp_path / stem).parent.mkdir()
        (tmp_path / f"{stem}.json").write_text(json.dumps(document), "utf-8")
    for read in (read_statements, read_regions):
        found, log = read(form, [tmp_path])
        assert (found.num_rows, log.count, log.n_renamed, len(log.renamed)) == (2, 0, is_told, is_told)
        assert [one.text for one in log.renamed] == [filename.rpartition("\\")[2]] * is_told
        assert all(one.what.startswith("names another picture, and is read as ") for one in log.renamed)


@pytest.mark.parametrize(
    ("objects", "size", "told"),
    [
        (
            dog(0, 0, 2, 2, name=""),
            None,
            "object 1: it names no class: '0, 0, 2, 2'",
        ),
        ("<object><name>dog</name></object>", None, "object 1: it has no bndbox: 'dog'"),
        (dog(1, 1, 2, 2), "", "object 1: its image has no width and height: 'dog 1, 1, 2, 2'"),
        (dog(4, 0, 2, 2), None, "object 1: its box is inverted: 'dog 4, 0, 2, 2'"),
        (dog(200, 0, 210, 2), None, "object 1: its box lies outside the image: 'dog 200, 0, 210, 2'"),
    ],
)
def test_what_cannot_be_used_is_a_reject(tmp_path: Path, objects: str, size: str | None, told: str) -> None:
    path = written(tmp_path, objects + dog(1, 1, 2, 2), size=size)
    found, rejects = read_regions("voc", [path])
    assert found.num_rows == (size is None)
    assert str(rejects.first[0]) == f"{path}: {told}"


def test_a_bad_file_of_a_folder_is_passed_over_and_told(tmp_path: Path) -> None:
    written(tmp_path, dog(1, 1, 2, 2))
    for name, text in {"cut": "<annotation><obj", "other": "<annotations/>", "empty": " "}.items():
        (tmp_path / "Annotations" / f"{name}.xml").write_text(text)
    (tmp_path / "elsewhere.xml").write_text("<build/>")  # not in Annotations
    found, rejects = read_regions("voc", [tmp_path])
    assert found["image_id"].to_pylist() == ["a.jpg"]
    assert [one.what.partition(" (")[0].partition(";")[0] for one in rejects.first] == [
        "is not a complete XML file",
        "is empty",
        "is a file of <annotations>, not of <annotation>",
    ]
    for name in ("cut", "other", "empty"):
        with pytest.raises(DataError, match=rf"{name}\.xml: is "):
            read_regions("voc", [tmp_path / "Annotations" / f"{name}.xml"])
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DataError, match=r"nothing: holds no \.xml file"):
        read_regions("voc", [tmp_path / "nothing"])


def test_the_digest_of_a_folder_is_that_of_its_files_content(tmp_path: Path) -> None:
    source = source_named("voc")
    path = written(tmp_path, dog(1, 1, 2, 2))
    before = source.digest(tmp_path)
    (tmp_path / "a.jpg").write_bytes(b"a picture is no annotation")
    assert source.digest(tmp_path) == before
    path.write_text(path.read_text().replace("<xmax>2", "<xmax>3"))
    assert source.digest(tmp_path) != before


@pytest.mark.parametrize("list_of", ["ImageSets/Main/train.txt", "ImageSets/Segmentation/mine.txt", "val.txt"])
def test_a_list_of_a_split_stands_for_the_files_of_its_names(tmp_path: Path, list_of: str) -> None:
    for stem in "abc":
        written(tmp_path, dog(1, 1, 2, 2), stem=f"Annotations/{stem}", filename=f"{stem}.jpg")
    mask = tmp_path / "SegmentationClass" / "c.png"
    mask.parent.mkdir()
    mask.touch()
    (tmp_path / "SegmentationClass" / "alone.png").touch()
    path = tmp_path / list_of
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\xef\xbb\xbfc\r\n\r\na \nc\nd\n../a\n")
    found, rejects = read_regions("voc", [path])
    assert [(row["image_id"], row["mask"]) for row in found.to_pylist()] == [
        ("c.jpg", "SegmentationClass/c.png"),
        ("a.jpg", ""),
    ]
    assert [(one.line, one.what, one.text) for one in rejects.first] == [
        (4, "is listed already", "c"),
        (5, "has no file in Annotations", "d"),
        (6, "has no file in Annotations", "../a"),
    ]
    whole = read_regions("voc", [tmp_path])[0].to_pylist()
    assert all(row in whole for row in found.to_pylist())


def test_lists_of_splits_divide_their_folder_and_count_in_its_digest(tmp_path: Path) -> None:
    lists = tmp_path / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    stems = [f"{k:02}" for k in range(20)]
    for stem in stems:
        written(tmp_path, dog(1, 1, 2, 2), stem=f"Annotations/{stem}", filename=f"{stem}.jpg")
    for name, part in {"train": stems[::2], "val": stems[1::2]}.items():
        (lists / f"{name}.txt").write_text("\n".join(part))
    both = [lists / "train.txt", lists / "val.txt"]
    found, _ = read_regions("voc", both)
    with mock.patch.object(cutting, "PIECE_BYTES", 64):
        assert read_regions("voc", both)[0].equals(found)
    whole = read_regions("voc", [tmp_path])[0]
    assert sorted(found["image_id"].to_pylist()) == whole["image_id"].to_pylist()  # of one folder: they need no name
    source = source_named("voc")
    digests = {source.digest(path) for path in (*both, tmp_path)}
    written(tmp_path, dog(1, 1, 2, 3), stem="Annotations/00", filename="00.jpg")
    digests |= {source.digest(path) for path in both}
    assert len(digests) == 4


def test_a_list_without_a_picture_of_the_folder_is_refused(tmp_path: Path) -> None:
    written(tmp_path, dog(1, 1, 2, 2))
    path = tmp_path / "test.txt"
    path.write_text("000001\n000002\n")
    with pytest.raises(DataError, match=r"test\.txt: names no picture that has a file in .*Annotations; name a list"):
        read_regions("voc", [path])
    (tmp_path / "persons.txt").write_text("a 1\n")  # a number, as in ImageSets/Layout
    with pytest.raises(DataError, match=r"persons\.txt: lists images, and its name says no class; name the folder of"):
        read_regions("voc", [tmp_path / "persons.txt"])


@pytest.mark.shared_data
def test_the_real_files_have_their_own_counts(shared_data: Path) -> None:
    folder = shared_data / "voc"
    found, rejects = read_regions("voc", [folder])
    files = sorted((folder / "Annotations").glob("*.xml"))
    entries = [(file.stem, one) for file in files for one in ET.parse(file).iterfind("object")]  # noqa: S314 - known files
    assert (found.num_rows, len(set(found["image_id"].to_pylist()))) == (len(entries), len(files)) == (273, 100)
    assert sum(found["difficult"].to_pylist()) == sum(one.findtext("difficult") == "1" for _, one in entries) == 38
    assert [(f"{stem}.jpg", one.findtext("name")) for stem, one in entries] == list(
        zip(found["image_id"].to_pylist(), found["class_id"].to_pylist(), strict=True)
    )
    assert not any(found["clipped"].to_pylist())
    assert rejects.count == len(list((folder / "SegmentationClass").glob("*.png")))  # their files are not among these
    assert {one.source_id for one in Voc().classes(folder)} == set(found["class_id"].to_pylist())


NAMES = st.from_regex(r"[a-z0-9_]{1,12}", fullmatch=True)


@given(
    lines=st.dictionaries(NAMES, st.sampled_from([-1, 0, 1]), min_size=1), cls=st.sampled_from(["dog", "potted_plant"])
)
@pytest.mark.slow
def test_lists_of_a_class_state_what_is_present_and_absent(
    tmp_path_factory: pytest.TempPathFactory, lines: dict[str, int], cls: str
) -> None:
    path = tmp_path_factory.mktemp("lists") / "Main" / f"{cls}_trainval.txt"
    path.parent.mkdir()
    (path.parent / "trainval.txt").write_text("".join(f"{name}\n" for name in lines))
    path.write_text("".join(f"{name} {said:2d}\n" for name, said in lines.items()) + "\nx  2\ny\n")
    for given_ in (path, path.parent):
        found, rejects = read_statements("voc", [given_])
        told = {row["image_id"]: (row["class_id"], row["confidence"]) for row in found.to_pylist()}
        assert told == {name: (cls, float(said >= 0)) for name, said in lines.items()}
        assert [str(one).partition(", line ")[2] for one in rejects.first] == [
            f"{len(lines) + 2}: is no image with -1, 0 or 1: 'x  2'",
            f"{len(lines) + 3}: is no image with -1, 0 or 1: 'y'",
        ]


def test_a_list_without_a_class_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    path.write_text("2007_000027\n")
    with pytest.raises(DataError, match=r"train.txt: lists images, and its name says no class; name the folder"):
        read_statements("voc", [path])
    written(tmp_path / "voc", dog(1, 2, 30, 40))
    (tmp_path / "voc" / "ImageSets").mkdir()
    (tmp_path / "voc" / "ImageSets" / "dog_train.txt").write_text("b 1\n")
    assert read_statements("voc", [tmp_path / "voc"])[0]["image_id"].to_pylist() == ["a.jpg"], "lists are read if named"
