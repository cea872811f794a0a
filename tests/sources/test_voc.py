"""Pascal VOC's files and folders state what their objects say."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.core.errors import DataError
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
    ("objects", "size", "told"),
    [
        (
            dog(0, 0, 2, 2, name=""),
            None,
            "object 1: it has no image, no class, or a name that is no Unicode text: '0, 0, 2, 2'",
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
