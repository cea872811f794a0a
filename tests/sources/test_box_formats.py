"""One picture's boxes are the same regions in every format that people have them in, and no file breaks a reader."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco_mask

from mlimages_dataset.core.errors import DataError, MLImagesError, UsageError
from mlimages_dataset.sources.class_files import classes_of_files
from mlimages_dataset.sources.coco import coco_classes
from mlimages_dataset.sources.contract import read_regions, read_statements
from mlimages_dataset.sources.layout import Layout
from mlimages_dataset.sources.registry import names, source_named
from mlimages_dataset.sources.rejects import RejectLog
from tests.images.foreign_folders import class_label, features, image_table, write_parquet
from tests.sources.test_contract import boxes_sample
from tests.sources.test_fuzz import FILES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SIDES = ("xmin", "ymin", "xmax", "ymax")
NAMES = ("dog", "traffic light")
BOXES = [name for name in names() if source_named(name).has_regions]


class Box(NamedTuple):
    """A box in pixels of a picture, both ends whole numbers, and its class's number."""

    label: int
    left: int
    top: int
    right: int
    bottom: int


class Picture(NamedTuple):
    """A picture's size and boxes."""

    width: int
    height: int
    boxes: list[Box]


@st.composite
def pictures(draw: st.DrawFn) -> Picture:
    """Return a picture with boxes in it."""
    width, height = draw(st.integers(2, 3000)), draw(st.integers(2, 3000))
    corners = st.tuples(
        st.integers(0, len(NAMES) - 1), *[st.integers(0, side - 1) for side in (width, height)], *[st.integers(1)] * 2
    )
    boxes = [
        Box(label, left, top, left + 1 + more % (width - left), top + 1 + further % (height - top))
        for label, left, top, more, further in draw(st.lists(corners, min_size=1, max_size=5))
    ]
    return Picture(width, height, boxes)


def as_coco(folder: Path, picture: Picture) -> Path:
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": picture.width, "height": picture.height}],
        "annotations": [
            {
                "id": at,
                "image_id": 1,
                "category_id": one.label,
                "bbox": [one.left, one.top, one.right - one.left, one.bottom - one.top],
            }
            for at, one in enumerate(picture.boxes)
        ],
        "categories": [{"id": at, "name": name} for at, name in enumerate(NAMES)],
    }
    return _written(folder / "coco.json", json.dumps(content))


def as_voc(folder: Path, picture: Picture) -> Path:
    objects = "".join(
        f"<object><name>{NAMES[one.label]}</name><bndbox><xmin>{one.left}</xmin><ymin>{one.top}</ymin>"
        f"<xmax>{one.right}</xmax><ymax>{one.bottom}</ymax></bndbox></object>"
        for one in picture.boxes
    )
    size = f"<size><width>{picture.width}</width><height>{picture.height}</height></size>"
    text = f"<annotation><filename>a.jpg</filename>{size}{objects}</annotation>"
    _written(folder / "voc" / "Annotations" / "a.xml", text)
    return folder / "voc"


def as_cvat(folder: Path, picture: Picture) -> Path:
    boxes = "".join(
        f'<box label="{NAMES[one.label]}" xtl="{one.left}" ytl="{one.top}" xbr="{one.right}.00" ybr="{one.bottom}"/>'
        for one in picture.boxes
    )
    image = f'<image id="0" name="a.jpg" width="{picture.width}" height="{picture.height}">{boxes}</image>'
    return _written(folder / "cvat.xml", f"<annotations><version>1.1</version>{image}</annotations>")


def as_labelme(folder: Path, picture: Picture) -> Path:
    shapes = [
        {
            "label": NAMES[one.label],
            "points": [[one.right, one.top], [one.left, one.bottom]],
            "shape_type": "rectangle",
        }
        for one in picture.boxes
    ]
    document = {"imagePath": "a.jpg", "imageWidth": picture.width, "imageHeight": picture.height, "shapes": shapes}
    _written(folder / "labelme" / "a.json", json.dumps(document))
    return folder / "labelme"


def as_yolo(folder: Path, picture: Picture) -> Path:
    lines = "".join(
        f"{one.label} "
        f"{(one.left + one.right) / 2 / picture.width:.6f} {(one.top + one.bottom) / 2 / picture.height:.6f} "
        f"{(one.right - one.left) / picture.width:.6f} {(one.bottom - one.top) / picture.height:.6f}\n"
        for one in picture.boxes
    )
    _written(folder / "yolo" / "labels" / "a.txt", lines)
    _written(folder / "yolo" / "data.yaml", f"path: .\ntrain: images\nnames: [{', '.join(NAMES)}]\n")
    return folder / "yolo"


def as_open_images(folder: Path, picture: Picture) -> Path:
    rows = "".join(
        f'a.jpg,,{NAMES[one.label]},,"{_comma(one.left / picture.width)}","{_comma(one.right / picture.width)}",'
        f'"{_comma(one.top / picture.height)}","{_comma(one.bottom / picture.height)}",,,,,\n'
        for one in picture.boxes
    )
    header = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,"
    return _written(folder / "boxes.csv", f"{header}IsInside\n{rows}")


def as_huggingface(folder: Path, picture: Picture) -> Path:
    boxes = [[one.left, one.top, one.right - one.left, one.bottom - one.top] for one in picture.boxes]
    objects = {"bbox": boxes, "category": [one.label for one in picture.boxes]}
    sides = {"width": [picture.width], "height": [picture.height]}
    table = image_table([{"bytes": b"", "path": "a.jpg"}], objects=[objects], **sides)
    path = folder / "huggingface" / "train-0.parquet"
    write_parquet(path, table, metadata=features(objects={"bbox": [], "category": [class_label(*NAMES)]}))
    return path.parent


def _png(width: int, height: int) -> bytes:
    stream = io.BytesIO()
    Image.new("L", (width, height)).save(stream, "PNG")
    return stream.getvalue()


def _comma(number: float) -> str:
    return f"{number:.10f}".rstrip("0").rstrip(".").replace(".", ",")


def _written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


FORMS: dict[str, Callable[[Path, Picture], Path]] = {
    "coco": as_coco,
    "voc": as_voc,
    "cvat": as_cvat,
    "labelme": as_labelme,
    "yolo": as_yolo,
    "open-images": as_open_images,
    "huggingface": as_huggingface,
}


def regions(form: str, path: Path) -> list[tuple[Any, ...]]:
    """Return image, class and sides of each box, in that order, of files without rejects."""
    found, rejects = read_regions(form, [path])
    assert rejects.count == 0, rejects.first
    name_of = {one.source_id: one.name for one in coco_classes(path)} if form == "coco" else {}
    return sorted(
        (Path(row["image_id"]).stem, name_of.get(row["class_id"], row["class_id"]), *(row[side] for side in SIDES))
        for row in found.to_pylist()
    )


@pytest.mark.parametrize(("order", "width"), [("", 20), ("xywh", 20), ("xyxy", 10)])
def test_the_order_of_a_box_is_what_its_user_states(tmp_path: Path, order: str, width: int) -> None:
    picture = {"width": [100], "height": [50]}
    objects = {"bbox": [[10, 5, 20, 15]], "category": ["dog"]}
    write_parquet(tmp_path / "a.parquet", image_table([{"bytes": b"", "path": "a.jpg"}], objects=[objects], **picture))
    source = source_named("huggingface")
    piece = source.piece_as_stated(tmp_path / "a.parquet", Layout(box_order=order))
    (row,) = [row for batch in source.regions(piece, RejectLog()) for row in batch.to_pylist()]
    assert row["xmax"] - row["xmin"] == pytest.approx(width / 100)
    with pytest.raises(ValueError, match="yxyx"):
        Layout(box_order="yxyx")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("labels", "pictures"), [("labels/train", "images/train"), ("labels", "images"), ("x", "x")])
def test_polygons_of_yolo_have_the_pixels_of_coco(tmp_path: Path, labels: str, pictures: str, packed: bool) -> None:  # noqa: FBT001 - of pytest
    """The oracle is pycocotools; without its picture, a polygon is an outline that is left out."""
    shares = [0.1, 0.2, 0.9, 0.3, 0.55, 0.95, 0.2, 0.7]
    members = {
        f"set/{labels}/a.txt": f"0 {' '.join(map(str, shares))}\n0 0.5 0.5 0.2 0.2\n".encode(),
        f"set/{labels}/lonely.txt": f"0 {' '.join(map(str, shares))}\n".encode(),
        f"set/{pictures}/a.png": _png(40, 30),
        "set/data.yaml": b"names: [dog]\n",
    }
    for name, content in members.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    place: Any = tmp_path / "set"
    if packed:
        with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        place = tmp_path / "set.zip"
    found, rejects = read_regions("yolo", [place])
    assert rejects.count == 0
    rows = {(Path(row["image_id"]).name, row["outline"], bool(row["mask"])): row for row in found.to_pylist()}
    assert set(rows) == {("a", False, True), ("a", False, False), ("lonely", True, False)}
    points = [value * (40, 30)[at % 2] for at, value in enumerate(shares)]
    (wanted,) = coco_mask.frPyObjects([points], 30, 40)
    assert json.loads(rows["a", False, True]["mask"])["counts"] == wanted["counts"].decode()


@pytest.mark.parametrize(
    ("form", "file", "picture"),
    [
        ("voc", "Annotations/a.xml", "JPEGImages/a.png"),
        ("voc", "annotations/xmls/a.xml", "images/a.png"),
        ("voc", "a.xml", "a.png"),
        ("labelme", "a.json", "a.png"),
    ],
)
def test_a_size_that_the_file_does_not_say_is_its_pictures(tmp_path: Path, form: str, file: str, picture: str) -> None:
    text = (
        "<annotation><object><name>dog</name><bndbox><xmin>10</xmin><ymin>15</ymin><xmax>20</xmax><ymax>30</ymax>"
        "</bndbox></object></annotation>"
        if form == "voc"
        else '{"imageWidth": null, "imageHeight": null, "shapes": [{"label": "dog", "points": [[10, 15], [20, 30]], '
        '"shape_type": "rectangle"}]}'
    )
    _written(tmp_path / file, text)
    _, rejects = read_regions(form, [tmp_path])
    assert rejects.count == 1
    assert "no width and height" in str(rejects.first[0])
    (tmp_path / picture).parent.mkdir(exist_ok=True)
    (tmp_path / picture).write_bytes(_png(40, 30))
    found, rejects = read_regions(form, [tmp_path])
    assert rejects.count == 0
    (row,) = found.to_pylist()
    assert row["image_id"] == "a"
    assert [row[side] for side in SIDES] == pytest.approx([0.25, 0.5, 0.5, 1.0])


@settings(max_examples=40)
@given(picture=pictures())
@pytest.mark.slow
def test_the_same_boxes_are_the_same_regions_in_every_format(
    tmp_path_factory: pytest.TempPathFactory, picture: Picture
) -> None:
    folder = tmp_path_factory.mktemp("forms")
    expected = sorted(
        (
            NAMES[one.label],
            one.left / picture.width,
            one.top / picture.height,
            one.right / picture.width,
            one.bottom / picture.height,
        )
        for one in picture.boxes
    )
    for form, write in FORMS.items():
        found = sorted(row[1:] for row in regions(form, write(folder, picture)))
        # Near values may stand in another order.
        for name in NAMES:
            for at in range(1, 5):
                told, wanted = (sorted(row[at] for row in rows if row[0] == name) for rows in (found, expected))
                assert told == pytest.approx(wanted, abs=2e-6), (form, name)


def test_every_source_of_boxes_is_compared() -> None:
    assert {*FORMS, "boxes"} == set(BOXES)


OTHER_FORMS = {
    "coco_format_v1/instances_default.json": "coco",
    "coco_format_v2/instances_v2.json": "coco",
    "cvat_format/annotations.xml": "cvat",
    "labelme": "labelme",
    "yolo_format": "yolo",
    "openimages_format/all_bounding_boxes.csv": "open-images",
}


@pytest.mark.shared_data
@pytest.mark.parametrize("place", OTHER_FORMS)
def test_other_peoples_forms_of_vocs_boxes_are_its_boxes(shared_data: Path, place: str) -> None:
    folder = shared_data / "voc"
    found, _ = read_regions("voc", [folder])
    own = sorted(
        (Path(row["image_id"]).stem, row["class_id"], *(row[side] for side in SIDES)) for row in found.to_pylist()
    )
    others = regions(OTHER_FORMS[place], folder / "other_forms" / place)
    assert len(others) == len(own) == 273
    for mine, other in zip(own, others, strict=True):
        assert mine[:2] == other[:2]
        with Image.open(folder / "JPEGImages" / f"{mine[0]}.jpg") as photograph:
            width, height = photograph.size
        pixels = [side * scale for side, scale in zip(mine[2:], (width, height, width, height), strict=True)]
        told = [side * scale for side, scale in zip(other[2:], (width, height, width, height), strict=True)]
        assert told == pytest.approx(pixels, abs=0.01)


def fuzzed(content: bytes, changes: Sequence[tuple[int, int, bytes]]) -> bytes:
    """Return content in which some stretches are other bytes."""
    for at, length, put in changes:
        start = at % (len(content) + 1)
        content = content[:start] + put + content[start + length :]
    return content


SPLICES = st.sampled_from(
    [
        *b"\0\xff\n,\"'<>&[]{}:;-",
        b"NaN",
        b"1e999",
        b"-1",
        b"\\ud800",
        b"<![CDATA[",
        b"&x;",
        b"null",
        b"[[[[",
        b"99999999999",
    ]
).map(lambda one: bytes([one]) if isinstance(one, int) else one)
CHANGES = st.lists(
    st.tuples(st.integers(0, 1 << 16), st.integers(0, 40), st.one_of(SPLICES, st.binary(max_size=6))),
    min_size=1,
    max_size=6,
)


def check_fuzzed(name: str, folder: Path, changes: Sequence[tuple[int, int, bytes]]) -> None:
    """Check that a file of a format in which some stretches are other bytes is read, or refused in a sentence."""
    *_, path = boxes_sample(name, folder)
    path.write_bytes(fuzzed(path.read_bytes(), changes))
    for read in (read_regions, read_statements):
        try:
            found, rejects = read(name, [path])
        except MLImagesError as error:
            assert error.remedy  # noqa: PT017
        else:
            assert found.num_rows >= 0
            assert all(str(one).encode() for one in rejects.first)


@pytest.mark.parametrize("name", BOXES)
@settings(max_examples=10)
@given(changes=CHANGES)
def test_no_file_breaks_a_reader(
    tmp_path_factory: pytest.TempPathFactory, name: str, changes: list[tuple[int, int, bytes]]
) -> None:
    check_fuzzed(name, tmp_path_factory.mktemp("fuzz"), changes)


@pytest.mark.slow
@pytest.mark.parametrize("name", BOXES)
@settings(max_examples=FILES, suppress_health_check=[HealthCheck.too_slow])
@given(changes=CHANGES)
def test_none_of_many_files_breaks_a_reader(
    tmp_path_factory: pytest.TempPathFactory, name: str, changes: list[tuple[int, int, bytes]]
) -> None:
    check_fuzzed(name, tmp_path_factory.mktemp("fuzz"), changes)


# Each format's own ways


def test_shapes_of_cvat_have_the_least_boxes_that_hold_them(tmp_path: Path) -> None:
    shapes = (
        '<box label="b" occluded="1" xtl="10" ytl="10" xbr="30" ybr="20" rotation="90">'
        '<attribute name="difficult">true</attribute></box>'
        '<polygon label="p" points="1.5,2;7,9;3,4"/><ellipse label="e" cx="50" cy="40" rx="10" ry="5"/>'
        '<mask label="m" rle="1, 2" left="5" top="6" width="7" height="8"/>'
        '<polyline label="l" points="1,1;2,2"/><tag label="t"/>'
    )
    text = f'<annotations><image name="a.jpg" width="100" height="100">{shapes}</image><track id="3" label="x"/>'
    path = _written(tmp_path / "a.xml", f"{text}</annotations>")
    found, rejects = read_regions("cvat", [path])
    told = {row["class_id"]: tuple(100 * row[side] for side in SIDES) for row in found.to_pylist()}
    assert told == {
        "b": pytest.approx((15, 5, 25, 25), abs=1e-4),
        "p": pytest.approx((1.5, 2, 7, 9)),
        "e": pytest.approx((40, 35, 60, 45)),
        "m": pytest.approx((5, 6, 12, 14)),
    }
    box = found.to_pylist()[0]
    assert (box["occluded"], box["difficult"], box["outline"]) == (True, True, True)
    assert sorted(str(one).partition(": ")[2] for one in rejects.first) == [
        "shape 5 of image a.jpg: a polyline marks no area: 'l 1,1;2,2'",
        "track 3: a video's track names no image: 'x'",
    ]
    assert set(read_statements("cvat", [path])[0]["class_id"].to_pylist()) == set("bpemlt")


def test_shapes_of_labelme_have_the_least_boxes_that_hold_them(tmp_path: Path) -> None:
    shapes = [
        {"label": "c", "points": [[50, 50], [50, 60]], "shape_type": "circle"},
        {"label": "p", "points": [[1, 2], [7, 9], [3, 4]], "flags": {"occluded": True, "mine": True}},
        {"label": "l", "points": [[1, 2], [7, 9]], "shape_type": "line"},
        {"label": "r", "points": [[1, 2]], "shape_type": "rectangle"},
        {"label": "s", "points": [[1, 2], [3, 4]], "shape_type": "rectangle", "score": 0.5},
        {"label": "x", "points": [[1, 2], [3, 4]], "shape_type": "rectangle", "score": 7},
        {"label": [3], "points": [[1, 2], [3, 4]], "shape_type": "rectangle"},
        5,
    ]
    document = {"imagePath": "..\\a.jpg", "imageWidth": 100, "imageHeight": 100, "shapes": shapes}
    path = _written(tmp_path / "a.json", json.dumps(document))
    found, rejects = read_regions("labelme", [path])
    told = {row["class_id"]: tuple(100 * row[side] for side in SIDES) for row in found.to_pylist()}
    assert told == {
        "c": pytest.approx((40, 40, 60, 60)),
        "p": pytest.approx((1, 2, 7, 9)),
        "s": pytest.approx((1, 2, 3, 4)),
    }
    assert [(row["occluded"], row["confidence"]) for row in found.to_pylist()] == [(False, 1), (True, 1), (False, 0.5)]
    assert set(found["image_id"].to_pylist()) == {"a.jpg"}
    assert sorted(one.what for one in rejects.first) == [
        "shape 3: a line marks no area",
        "shape 4: it has no two points",
        "shape 6: its score is 7, no number in 0..1",
        "shape 7: it names no class",
        "shape 8 is no object",
    ]


@pytest.mark.parametrize(
    ("names_file", "content"),
    [
        ("data.yaml", "nc: 2\nnames:\n  0: dog\n  1: cat\n"),
        ("data.yaml", "names: [dog, cat]\n"),
        ("obj.names", "dog\r\ncat\r\n"),
        ("classes.txt", "\ufeffdog\ncat"),
    ],
)
def test_yolos_layouts(tmp_path: Path, names_file: str, content: str) -> None:
    _written(tmp_path / names_file, content)
    _written(tmp_path / "train.txt", "data/obj_train_data/b.jpg\n")
    _written(tmp_path / "README.dataset.txt", "made by a tool")
    _written(tmp_path / "labels" / "train" / "a.txt", "1 0.5 0.5 1 1\n")
    _written(tmp_path / "obj_train_data" / "b.txt", "0 0.5 0.5 1 1 0.25\n\n0 0 0 1 0 1 1\n")
    _written(tmp_path / "valid" / "labels" / "test.txt", "0 0.5 0.5 1 1\n7 0.5 0.5 1 1\nx 0 0 0 0\n0 1 2\n")
    _written(tmp_path / "labels" / "empty.txt", "")
    found, rejects = read_regions("yolo", [tmp_path])
    assert [(row["image_id"], row["class_id"], row["confidence"], row["outline"]) for row in found.to_pylist()] == [
        ("train/a", "cat", 1, False),
        ("b", "dog", 0.25, False),
        ("b", "dog", 1, True),
        ("valid/test", "dog", 1, False),
    ]
    assert [str(one).removeprefix(f"{tmp_path}/valid/labels/test.txt, ") for one in rejects.first] == [
        "line 2: its class is not the number of one of 2: '7 0.5 0.5 1 1'",
        "line 3: its class is not the number of one of 2: 'x 0 0 0 0'",
        "line 4: has 3 fields, not a class and a box or polygon: '0 1 2'",
    ]
    assert source_named("yolo").digest(tmp_path) != source_named("yolo").digest(tmp_path / "obj_train_data")


BOMB = "c0: &c0 [x]\n" + "".join(f"c{at}: &c{at} [*c{at - 1}, *c{at - 1}]\n" for at in range(1, 31))
"""A list of 2^30 items, in a kilobyte of YAML."""


@pytest.mark.parametrize("form", ["names: [{}]", "names:\n- {}", "names:\n  0: {}", 'names:\n  "0": {}'])
@pytest.mark.parametrize(
    "name", ["yes", "No", "on", "null", "~", "007", "1e5", "1_000", "3.10", "0x10", "12:30:45", "2024-01-01", "NA"]
)
def test_names_of_yolo_are_those_that_yaml_writes(tmp_path: Path, form: str, name: str) -> None:
    _written(tmp_path / "data.yaml", form.format(name))
    _written(tmp_path / "a.txt", "0 0.5 0.5 0.5 0.5\n")
    assert read_statements("yolo", [tmp_path])[0]["class_id"].to_pylist() == [name]
    assert [one.name for one in classes_of_files(tmp_path)] == [name]


MERGE_BOMB = "m0: &m0 {names: [dog]}\n" + "".join(
    f"m{at}: &m{at} {{<<: [{', '.join([f'*m{at - 1}'] * 9)}]}}\n" for at in range(1, 31)
)
"""Mappings that merge one another 9^30 times."""


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("base: &base\n  names: [a, b]\n<<: *base\n", ["a", "b"]),
        ("base: &base {names: [a, b]}\n<<: *base\nnames: [c]\n", ["c"]),
        ("some: &some {0: a, 1: b}\nnames: {<<: *some, 1: c, 2: d}\n", ["a", "c", "d"]),
        ("x: &x {0: a}\ny: &y {0: b, 1: c}\nnames: {<<: [*x, *y]}\n", ["a", "c"]),
        ("x: &x {0: a}\ny: &y {<<: *x, 1: c}\nz: &z {0: d, 2: e}\nnames: {<<: [*y, *z]}\n", ["a", "c", "e"]),
        ("names: &self {<<: *self, 0: a}\n", ["a"]),
        (f"{MERGE_BOMB}<<: *m30\n", ["dog"]),
    ],
)
def test_names_of_yolo_may_be_merged(tmp_path: Path, content: str, names: list[str]) -> None:
    _written(tmp_path / "data.yaml", content)
    _written(tmp_path / "a.txt", "0 0.5 0.5 0.5 0.5\n")
    assert [one.name for one in classes_of_files(tmp_path)] == names


def test_a_class_that_a_merged_mapping_names_twice_is_told(tmp_path: Path) -> None:
    _written(tmp_path / "data.yaml", "x: &x {0: a, 0: b}\nnames: {<<: *x}\n")
    _written(tmp_path / "a.txt", "0 0.5 0.5 0.5 0.5\n")
    with pytest.raises(DataError, match="names has the class 0 twice"):
        classes_of_files(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_names_of_yolo_in_lines_are_read_as_those_of_other_lists(tmp_path: Path, encoding: str, end: str) -> None:
    (tmp_path / "classes.txt").write_bytes(f"dog{end}caf\xe9{end}".encode(encoding))
    _written(tmp_path / "a.txt", "1 0.5 0.5 0.5 0.5\n")
    assert read_statements("yolo", [tmp_path])[0]["class_id"].to_pylist() == ["caf\xe9"]


def test_key_points_of_yolo_stand_behind_a_box(tmp_path: Path) -> None:
    _written(tmp_path / "pose.yaml", "kpt_shape: [2, 2]\nnames: [person]\n")
    _written(tmp_path / "a.txt", "0 0.5 0.5 0.5 0.5 0.4 0.4 0.6 0.6\n")
    (row,) = read_regions("yolo", [tmp_path])[0].to_pylist()
    assert [row[side] for side in SIDES] == [0.25, 0.25, 0.75, 0.75]


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"a.txt": "0 0 0 1 1"}, "nothing names the classes"),
        ({"a.txt": "0 0 0 1 1", "classes.txt": "dog\ndog\n"}, r"classes\.txt: two classes are named dog"),
        ({"a.txt": "0 0 0 1 1", "data.yaml": "names: [a, [}"}, r"data\.yaml: is no YAML file"),
        ({"a.txt": "0 0 0 1 1", "data.yaml": "names: []"}, r"data\.yaml: names no class"),
        ({"classes.txt": "dog\n"}, r"holds no \.txt file"),
        ({"a.txt": "0 0 0 1 1", "data.yaml": "names: {a: dog, 0: cat}"}, "names has the key 'a', which is no number"),
        ({"a.txt": "0 0 0 1 1", "data.yaml": "names: {-1: dog, 0: cat}"}, "names has the key '-1', which is no number"),
        ({"a.txt": "0 0 0 1 1", "data.yaml": "names: {0.0: dog}"}, r"names has the key '0\.0', which is no number"),
        ({"a.txt": "0 0 0 1 1", "data.yaml": "names: {true: dog}"}, "names has the key 'true', which is no number"),
        ({"a.txt": "0 0 0 1 1", "data.yaml": "names: {? [0] : dog}"}, "names has the key '', which is no number"),
        ({"a.txt": "0 0 0 1 1", "data.yaml": "names:\n  0: dog\n  00: cat"}, "line 3: names has the class 00 twice"),
        ({"a.txt": "0 0 0 1 1", "data.yaml": "names: [[dog, puppy]]"}, "class 0 has no name"),
        ({"a.txt": "0 0 0 1 1", "data.yaml": "names: [dog, ' ']"}, "class 1 has no name"),
        ({"a.txt": "0 0 0 1 1", "data.yaml": f"{BOMB}names: [*c30]"}, "class 0 has no name"),
        ({"a.txt": "0 0 0 1 1", "classes.txt": "\ufeffdog\n\0"}, "is not a text file"),
    ],
)
def test_a_folder_of_yolo_that_does_not_name_its_classes_is_refused(
    tmp_path: Path, files: dict[str, str], told: str
) -> None:
    folder = tmp_path / "one" / "two" / "three"
    for name, text in files.items():
        _written(folder / name, text)
    with pytest.raises(DataError, match=told):
        read_regions("yolo", [folder])


OPEN_IMAGES = "ImageID,LabelName,XMin,XMax,YMin,YMax,Confidence,IsInside"


def test_rows_of_open_images_that_cannot_be_used_are_rejects(tmp_path: Path) -> None:
    rows = [
        "1,a,0,1,0,1,1,-1",
        "2,a,1,0,0,1,1,1",
        "3,a,0,1,0,1,0,1",
        "4,a,0,1,0,1,1,7",
        ",a,0,1,0,1,1,0",
        "5,a,x,1,0,1,1,1",
    ]
    path = _written(tmp_path / "boxes.csv", "\n".join([OPEN_IMAGES, *rows, "6,a,0.5,1.5,0,1,1,1"]))
    found, rejects = read_regions("open-images", [path])
    assert [(row["image_id"], row["inside"], row["clipped"]) for row in found.to_pylist()] == [
        ("1", False, False),
        ("6", True, True),
    ]
    assert sorted((one.line, one.what) for one in rejects.first) == [
        (3, "its box is inverted"),
        (4, "its confidence is no number above 0 and up to 1"),
        (5, "a flag is none of 1, 0 and -1"),
        (6, "no ImageID or no LabelName"),
        (7, "a side of its box is no finite number"),
    ]


def test_columns_of_open_images_are_known_by_name(tmp_path: Path) -> None:
    path = _written(
        tmp_path / "boxes.csv", "YMax,XMax,YMin,XMin,IsGroupOf,LabelName,XClick1X,ImageID\n1,0.5,0.25,0,1,/m/1,0,9\n"
    )
    (row,) = read_regions("open-images", [path])[0].to_pylist()
    assert (row["image_id"], row["class_id"], *(row[side] for side in SIDES)) == ("9", "/m/1", 0, 0.25, 0.5, 1)
    assert (row["group_of"], row["confidence"]) == (True, 1)


def test_segmentations_of_open_images_name_their_masks(tmp_path: Path) -> None:
    header = "MaskPath,ImageID,LabelName,BoxID,BoxXMin,BoxXMax,BoxYMin,BoxYMax,PredictedIoU,Clicks"
    path = _written(tmp_path / "masks.csv", f"{header}\n9_m1.png,9,/m/1,b,0,0.5,0.25,1,0,\n")
    (row,) = read_regions("open-images", [path])[0].to_pylist()
    assert (row["mask"], *(row[side] for side in SIDES)) == ("9_m1.png", 0, 0.25, 0.5, 1)
    assert read_statements("open-images", [path])[0]["class_id"].to_pylist() == ["/m/1"]


def test_a_yes_at_a_point_is_presence_and_a_no_is_nothing(tmp_path: Path) -> None:
    header = "ImageId,X,Y,Label,EstimatedYesNo,Source,YesVotes,NoVotes,UnsureVotes,TextLabel"
    rows = [f"{n},0.5,0.5,/m/1,{answer},ih,1,0,0," for n, answer in enumerate(("yes", "no", "unsure"))]
    path = _written(tmp_path / "points.csv", "\n".join([header, *rows]))
    assert read_statements("open-images", [path])[0].to_pylist() == [
        {"image_id": "0", "class_id": "/m/1", "confidence": 1, "location": ""}
    ]
    with pytest.raises(UsageError, match=r"points\.csv: has no boxes"):
        read_regions("open-images", [path])


def test_a_size_of_hundreds_of_digits_is_none(tmp_path: Path) -> None:
    shape = {"label": "dog", "points": [[1, 2], [7, 9]], "shape_type": "rectangle"}
    document = {"imagePath": "a.jpg", "imageWidth": 10**400, "imageHeight": 5, "shapes": [shape]}
    path = _written(tmp_path / "a.json", json.dumps(document))
    found, rejects = read_regions("labelme", [path])
    assert (found.num_rows, [str(one) for one in rejects.first]) == (
        0,
        [f"{path}: shape 1: its image has no width and height: 'dog [1, 2], [7, 9]'"],
    )
