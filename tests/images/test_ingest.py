"""Every member of a source ends as one row with one right status, whatever it is and however often a run is cut."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import tarfile
import tempfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from upath import UPath

from mlimages_dataset.core.errors import DataError, MLImagesError, UsageError
from mlimages_dataset.core.image_ids import image_ids
from mlimages_dataset.core.locations import as_text
from mlimages_dataset.images import ingest as module
from mlimages_dataset.images import repeats
from mlimages_dataset.images.check import Limits, inspect
from mlimages_dataset.images.file_store import FileStore
from mlimages_dataset.images.index import ImageIndex
from mlimages_dataset.images.ingest import Form, checked, read_class_ids
from mlimages_dataset.images.members import Member
from mlimages_dataset.images.resize import ResizeOptions
from mlimages_dataset.images.stage import IngestOptions, IngestSummary, ingest_stage
from mlimages_dataset.images.verification import verify_images
from mlimages_dataset.pipeline import engine
from mlimages_dataset.pipeline.folder import OutputFolder
from mlimages_dataset.pipeline.records import read_manifest
from mlimages_dataset.pipeline.stage import Engine, run
from mlimages_dataset.sources.contract import read_regions, read_statements
from mlimages_dataset.tables.files import listing_digest, write_bytes
from mlimages_dataset.tables.parquet import read_table, table_parts
from mlimages_dataset.tables.schemas import IMAGES
from tests.images.folders import picture
from tests.images.test_archives import special, tar_of
from tests.images.test_orientation import behind_the_pixels, by_pillow, stating
from tests.images.test_tfrecords import record, tencent
from tests.images.test_zips import zip_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.records import StageOutcome

CATS = [picture(k, 40 + k, 30) for k in range(7)]


def ingested(out: Location, *sources: Location, mapper: engine.Mapper = map, **options: Any) -> StageOutcome[Any]:
    return run(ingest_stage(sources, IngestOptions(**options), out), OutputFolder(out), Engine(mapper=mapper))


def rows(folder: Location) -> list[dict[str, Any]]:
    return [row for part in table_parts(folder) for row in read_table(part, IMAGES).to_pylist()]


def labels(folder: Path) -> list[tuple[str, str, str]]:
    with (folder / "labels.csv").open(newline="") as stream:
        header, *lines = csv.reader(stream)
    assert header == ["image_id", "label", "confidence"]
    return [(image_id, label, confidence) for image_id, label, confidence in lines]


def pictures_of(folder: Location) -> dict[str, bytes]:
    index = ImageIndex.open(folder)
    return {index.image_id(k): index.read(k) for k in range(len(index))}


def png(**settings: Any) -> bytes:
    sink = io.BytesIO()
    settings.pop("image").save(sink, settings.pop("form", "PNG"), **settings)
    return sink.getvalue()


def imagenet_tar() -> bytes:
    """Return ImageNet's training pictures as they are distributed: one tar of a tar per synset."""
    synsets = {"n01440764": CATS[:3], "n01443537": CATS[3:]}
    return tar_of(
        {
            f"{wnid}.tar": tar_of({f"{wnid}_{k}.JPEG": content for k, content in enumerate(contents)})
            for wnid, contents in synsets.items()
        }
    )


@pytest.mark.parametrize("name", ["ILSVRC2012_img_train.tar", "ILSVRC2012_img_train.tar.gz"])
def test_imagenets_archive_of_archives(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(gzip.compress(imagenet_tar()) if name.endswith("gz") else imagenet_tar())
    outcome = ingested(tmp_path / "out", tmp_path / name, part_images=3)
    expected = {f"n01440764_{k}": CATS[k] for k in range(3)} | {f"n01443537_{k}": CATS[3 + k] for k in range(4)}
    assert pictures_of(tmp_path / "out") == expected
    assert labels(tmp_path / "out") == [(image_id, image_id[:9], "1") for image_id in expected]
    assert outcome.record.summary["statuses"] == {"saved": 7}
    assert [len(read_table(part, IMAGES)) for part in table_parts(tmp_path / "out")] == [3, 3, 1]
    assert verify_images(tmp_path / "out") == (7, [])
    with tarfile.open(tmp_path / "out" / "shard-00000.tar") as shard:
        assert shard.getnames() == [f"n01440764_{k}.jpg" for k in range(3)]


def test_validation_pictures_have_no_class(tmp_path: Path) -> None:
    (tmp_path / "val.tar").write_bytes(tar_of({f"ILSVRC2012_val_0000000{k}.JPEG": CATS[k] for k in range(2)}))
    ingested(tmp_path / "out", tmp_path / "val.tar")
    assert [row["image_id"] for row in rows(tmp_path / "out")] == ["ILSVRC2012_val_00000000", "ILSVRC2012_val_00000001"]
    assert labels(tmp_path / "out") == []


def test_a_synsets_own_archive_names_its_class(tmp_path: Path) -> None:
    (tmp_path / "n01440764.tar").write_bytes(tar_of({"1.JPEG": CATS[0]}))
    ingested(tmp_path / "out", tmp_path / "n01440764.tar")
    assert labels(tmp_path / "out") == [("n01440764/1", "n01440764", "1")]


def test_a_folder_of_folders(tmp_path: Path) -> None:
    for k, name in enumerate(("cat/1.jpg", "cat/2.jpg", "dog/1.jpg")):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(CATS[k])
    ingested(tmp_path / "out", tmp_path / "in")
    assert pictures_of(tmp_path / "out") == {"cat/1": CATS[0], "cat/2": CATS[1], "dog/1": CATS[2]}
    assert labels(tmp_path / "out") == [("cat/1", "cat", "1"), ("cat/2", "cat", "1"), ("dog/1", "dog", "1")]


def test_masks_of_voc_are_no_photographs(tmp_path: Path) -> None:
    for name in ("JPEGImages/a.jpg", "SegmentationClass/a.png", "SegmentationObject/a.png"):
        (tmp_path / "voc" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "voc" / name).write_bytes(CATS[0])
    outcome = ingested(tmp_path / "out", tmp_path / "voc")
    assert outcome.record.summary["statuses"] == {"saved": 1, "mask": 2}
    assert {row["image_id"]: row["status"] for row in rows(tmp_path / "out")} == {
        "a": "saved",
        "SegmentationClass/a": "mask",
        "SegmentationObject/a": "mask",
    }
    assert labels(tmp_path / "out") == []


def test_pictures_of_whole_voc_and_coco_folders_have_the_ids_of_their_annotations(tmp_path: Path) -> None:
    size = "<size><width>40</width><height>30</height></size>"
    box = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
    content = {
        "images": [{"id": 9, "file_name": "000000000009.jpg", "width": 40, "height": 30}],
        "annotations": [{"image_id": 9, "category_id": 1, "bbox": [1, 2, 8, 7]}],
        "categories": [{"id": 1, "name": "dog"}],
    }
    files = {
        **{f"VOCdevkit/VOC{year}/JPEGImages/000001.jpg": CATS[k] for k, year in enumerate((2007, 2012))},
        **{
            f"VOCdevkit/VOC{year}/Annotations/000001.xml": (
                f"<annotation>{size}<object><name>dog</name>{box}</object></annotation>".encode()
            )
            for year in (2007, 2012)
        },
        "coco/train2017/000000000009.jpg": CATS[2],
        "coco/annotations/instances_train2017.json": json.dumps(content).encode(),
    }
    for name, written in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(written)
    for form, folder, file in (
        ("voc", "VOCdevkit", "VOCdevkit"),
        ("voc", "VOCdevkit/VOC2007", "VOCdevkit/VOC2007"),
        ("coco", "coco", "coco/annotations/instances_train2017.json"),
    ):
        out = tmp_path / f"out-{folder.replace('/', '-')}"
        ingested(out, tmp_path / folder)
        stated = read_regions(form, [tmp_path / file])[0]["image_id"].combine_chunks()
        assert set(pictures_of(out)) == set(image_ids(stated).to_pylist()), form


def test_labels_keep_all_digits_of_their_confidences(tmp_path: Path) -> None:
    stated = {0: 1.0, 1: 0.9999999, 2: 1 - 2**-24, 3: 0.8, 4: 1e-10, 5: 0.1234567}
    (tmp_path / "a.tfrecord").write_bytes(record(tencent("n1.jpg", CATS[0], stated)))
    ingested(tmp_path / "out", tmp_path / "a.tfrecord")
    found = {int(label): confidence for _, label, confidence in labels(tmp_path / "out")}
    assert {k: np.float32(text) for k, text in found.items()} == {k: np.float32(value) for k, value in stated.items()}
    assert (found[0], found[3]) == ("1", "0.8")


@pytest.mark.parametrize("name", ["train.tfrecord", "part-of-many"])
def test_tfrecords(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(
        b"".join(record(tencent(f"n0000000{k}_1.JPEG", CATS[k], {k: 1.0, 7: 0.5})) for k in range(3))
    )
    classes = tmp_path / "classes.txt"
    classes.write_text("\n".join(f"n0000001{k}" for k in range(8)) + "\n")
    form = Form.AUTO if name.endswith("tfrecord") else Form.TFRECORDS
    ingested(tmp_path / "out", tmp_path / name, form=form, class_ids=read_class_ids(classes))
    assert list(pictures_of(tmp_path / "out").values()) == CATS[:3]
    assert labels(tmp_path / "out")[:2] == [("n00000000_1", "n00000010", "1"), ("n00000000_1", "n00000017", "0.5")]


def test_class_ids_of_the_published_dictionary(shared_data: Path) -> None:
    ids = read_class_ids(shared_data / "tencent" / "dictionary_first_9418.txt")
    assert (len(ids), ids[0], len(set(ids))) == (9418, "n00002452", 9418)


def bomb() -> bytes:
    """Return a PNG of few bytes that says it has 16 gigapixels."""
    content = bytearray(png(image=Image.new("L", (1, 1))))
    content[16:24] = (1 << 17).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    return bytes(content)


SIXTEEN_BITS = Image.fromarray(np.linspace(0, 65535, 64).reshape(8, 8).astype(np.uint16))
FRAMES = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
BAD_INPUT: dict[str, tuple[bytes | tarfile.TarInfo, str]] = {
    "fine.jpg": (CATS[0], "saved"),
    "animated.gif": (png(image=FRAMES[0], form="GIF", save_all=True, append_images=FRAMES[1:]), "saved"),
    "cmyk.jpg": (picture(1, mode="CMYK"), "saved"),
    "deep.png": (png(image=SIXTEEN_BITS), "saved"),
    "empty.jpg": (b"", "empty"),
    "page.jpg": (b"<!doctype html><html>gone</html>", "not_an_image"),
    "cut.jpg": (CATS[0][:-300], "broken"),
    "bomb.png": (bomb(), "too_many_pixels"),
    "huge.jpg": (bytes(20_001), "too_large"),
    "../escape.jpg": (CATS[1], "unsafe_name"),
    "/absolute.jpg": (CATS[1], "unsafe_name"),
    "link.jpg": (special("link.jpg", tarfile.SYMTYPE, "/etc/passwd"), "unsafe_name"),
    "hard.jpg": (special("hard.jpg", tarfile.LNKTYPE, "fine.jpg"), "unsafe_name"),
    "device.jpg": (special("device.jpg", tarfile.CHRTYPE), "unsafe_name"),
    "fine.png": (CATS[2], "repeated_id"),
}


def test_bad_input_is_a_status_and_nothing_is_written_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "bad.tar").write_bytes(tar_of({name: content for name, (content, _) in BAD_INPUT.items()}))
    ingested(tmp_path / "deep" / "out", tmp_path / "bad.tar", limits=Limits(bytes=20_000))
    found = rows(tmp_path / "deep" / "out")
    assert [row["status"] for row in found] == [status for _, status in BAD_INPUT.values()]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.tar", "deep"]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out"]
    details = {row["image_id"]: row["detail"] for row in found}
    assert details["animated"] == "animated: its first frame counts"
    assert details["link"] == "a link to /etc/passwd"
    assert verify_images(tmp_path / "deep" / "out") == (4, [])


def test_a_broken_picture_takes_no_id(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(tar_of({"a.pdf": b"a text", "a.jpg": CATS[0], "a.png": CATS[1]}))
    ingested(tmp_path / "out", tmp_path / "a.tar")
    assert [row["status"] for row in rows(tmp_path / "out")] == ["not_an_image", "saved", "repeated_id"]
    assert pictures_of(tmp_path / "out") == {"a": CATS[0]}


def test_a_picture_under_two_classes_has_both_labels(tmp_path: Path) -> None:
    inner = {f"{wnid}.tar": tar_of({"n00000001_5.JPEG": CATS[0]}) for wnid in ("n00000001", "n00000002")}
    (tmp_path / "a.tar").write_bytes(tar_of(inner))
    ingested(tmp_path / "out", tmp_path / "a.tar")
    assert [row["status"] for row in rows(tmp_path / "out")] == ["saved", "repeated_id"]
    assert labels(tmp_path / "out") == [("n00000001_5", "n00000001", "1"), ("n00000001_5", "n00000002", "1")]


def test_names_of_any_bytes_are_text(tmp_path: Path) -> None:
    (tmp_path / "in" / "d\udcff").mkdir(parents=True)
    for name in ("d\udcff/b\udcffc.jpg", "d\udcff/b\udcfec.jpg"):
        (tmp_path / "in" / name).write_bytes(CATS[0])
    (tmp_path / "in" / "e.tar").write_bytes(
        tar_of({"\udcff.jpg": CATS[0], "l": special("l", tarfile.SYMTYPE, "\udcff")})
    )
    ingested(tmp_path / "out", tmp_path / "in")
    assert [(row["image_id"], row["status"]) for row in rows(tmp_path / "out")] == [
        ("dÿ/bþc", "saved"),
        ("dÿ/bÿc", "saved"),
        ("e/ÿ", "saved"),
        ("e/l", "unsafe_name"),
    ]
    assert labels(tmp_path / "out")[0] == ("dÿ/bþc", "dÿ", "1")


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sets(st.binary(min_size=1, max_size=3).filter(lambda name: not {*name} & {*b"\0/\\"}), max_size=4))
def test_names_that_are_not_utf_8_stay_different(tmp_path: Path, names: set[bytes]) -> None:
    odd = {os.fsdecode(b"x" + name) for name in names if as_text(os.fsdecode(name)) != os.fsdecode(name)}
    source, out = Path(tempfile.mkdtemp(dir=tmp_path)), Path(tempfile.mkdtemp(dir=tmp_path)) / "out"
    paths = [*(f"cat/{name}.jpg" for name in odd), *(f"{name}/1.jpg" for name in odd), "cat/a\nb.jpg", "cat/A\tb.jpg"]
    for path in [*paths, "cat/a\tb.jpg"]:
        (source / path).parent.mkdir(exist_ok=True)
        (source / path).write_bytes(CATS[0])
    (out.parent / "z.tar").write_bytes(tar_of(dict.fromkeys(paths, CATS[0])))
    ingested(out, source)
    ingested(out.parent / "tar", out.parent / "z.tar")
    assert {row["status"] for row in rows(out)} == {row["status"] for row in rows(out.parent / "tar")} == {"saved"}
    assert len({row["image_id"] for row in rows(out)}) == len(paths) + 1 == len(rows(out.parent / "tar")) + 1
    assert len({label for _, label, _ in labels(out)}) == len(odd) + 1
    ids = sorted(row["image_id"] for row in rows(out))
    assert ids == sorted(FileStore.open(source).image_ids.to_pylist())


def test_a_source_and_a_class_may_have_any_name(tmp_path: Path) -> None:
    source = tmp_path / "in\udcff"
    (source / "caf\udce9").mkdir(parents=True)
    (source / "caf\udce9" / "1.jpg").write_bytes(CATS[0])
    ingested(tmp_path / "out", source)
    assert labels(tmp_path / "out") == [("café/1", "café", "1")]
    assert not ingested(tmp_path / "out", source).fresh
    assert list(read_manifest(tmp_path / "out").stages["ingest"].inputs) == ["inÿ"]


ALIKE = [
    ("cat/1.jpg", "cat/1.png", ""),
    ("cat/1.JPG", "cat/1.jpg", ""),
    ("cat/1.jpeg", "cat/1.jpg", ""),
    ("cat/cafe\u0301.jpg", "cat/caf\u00e9.jpg", " (the same letters: the names differ in their encoding only)"),
    ("n01440764_1.jpg", "x/n01440764_1.jpg", ""),
]


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize(("first", "second", "why"), ALIKE)
def test_two_pictures_of_one_id_are_told_by_both_names(
    tmp_path: Path,
    first: str,
    second: str,
    why: str,
    several: bool,  # noqa: FBT001 - of pytest
) -> None:
    (tmp_path / "a.tar").write_bytes(tar_of({first: CATS[0]} if several else {first: CATS[0], second: CATS[1]}))
    (tmp_path / "b.zip").write_bytes(zip_of({second: CATS[1]}))
    ingested(tmp_path / "out", *([tmp_path / "a.tar", tmp_path / "b.zip"] if several else [tmp_path / "a.tar"]))
    kept, other = rows(tmp_path / "out")
    names = [f"{first} of a.tar", f"{second} of b.zip"] if several else [first, second]
    why = "" if several else why
    assert (kept["status"], other["status"]) == ("saved", "repeated_id")
    assert other["detail"] == f"an earlier picture has the id, {names[0]}; this one is {names[1]}{why}"
    assert len(labels(tmp_path / "out")) == 2


def test_a_picture_whose_id_one_of_long_ago_has_is_told_by_its_own_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repeats, "_RECENT", 2)
    (tmp_path / "a.tar").write_bytes(tar_of(dict.fromkeys(("1.jpg", "2.jpg", "1.png"), CATS[0])))
    ingested(tmp_path / "out", tmp_path / "a.tar")
    assert rows(tmp_path / "out")[-1]["detail"] == "an earlier picture has the id; this one is 1.png"


def statement_ids(folder: Path) -> list[str]:
    names = read_statements("imagenet", [folder])[0]["image_id"].combine_chunks()
    ids: list[str] = image_ids(names).to_pylist()
    return ids


def linked(folder: Path, files: Sequence[str], links: dict[str, str]) -> Path:
    """Return a folder with pictures, and links to what is relative to it."""
    for k, name in enumerate(files):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(CATS[k])
    for name, target in links.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(folder / target)
    return folder


@pytest.mark.parametrize(
    ("links", "saved", "told"),
    [
        ({"a": "cat"}, [], {"a": "a link to cat, which is read there: it is not followed"}),
        ({"z/deep": "cat/old"}, [], {"z/deep": "a link to cat/old, which is read there: it is not followed"}),
        ({"cat/up": "."}, [], {"cat/up": "a link to a folder that it lies in: it is not followed"}),
        ({"cat/up": "../.."}, [], {"cat/up": "a link to a folder that it lies in: it is not followed"}),
        ({"pet": "../far"}, ["pet/x/3"], {}),
        ({"pet": "../far", "red": "../far"}, ["pet/x/3"], {"red": "the same folder as pet: it is not read again"}),
        ({"pet": "../far/x", "red": "../far"}, ["pet/3"], {"red/x": "the same folder as pet: it is not read again"}),
        ({"pet": "../far", "red": "../far/x"}, ["pet/x/3"], {"red": "the same folder as pet/x: it is not read again"}),
        ({"pet": "../far", "../far/back": "cat"}, ["pet/x/3"], {"pet/back": "a link to cat, which is read there"}),
        ({"pet": "../far", "../far/on": "../far"}, ["pet/x/3"], {"pet/on": "a link to a folder that it lies in"}),
        ({"pet": ".store/c"}, ["pet/4"], {}),
        ({"pet/5.jpg": "cat/1.jpg"}, ["pet/5"], {}),
        ({"pet/5.jpg": ".store/c/4.jpg"}, ["pet/5"], {}),
        ({"gone": "nowhere", "ring": "ring"}, [], {"gone": "a broken link", "ring": "cannot be read"}),
    ],
)
def test_no_file_is_read_twice_because_of_a_link_to_a_folder_and_each_link_is_told(
    tmp_path: Path, links: dict[str, str], saved: list[str], told: dict[str, str]
) -> None:
    files = ["cat/1.jpg", "cat/old/2.jpg", "../far/x/3.jpg", ".store/c/4.jpg"]
    outcome = ingested(tmp_path / "out", linked(tmp_path / "in", files, links))
    found = rows(tmp_path / "out")
    assert [row["image_id"] for row in found if row["status"] == "saved"] == ["cat/1", "cat/old/2", *saved]
    details = {row["image_id"]: row["detail"] for row in found if row["status"] != "saved"}
    assert details.keys() == told.keys()
    assert all(details[path].startswith(why) for path, why in told.items())
    inner = [row["detail"] for row in found if row["image_id"] == "pet/5"]
    to_file = links.get("pet/5.jpg") == "cat/1.jpg"
    assert not inner or inner == (["a link to cat/1.jpg"] if to_file else [""])
    assert outcome.summary.links == to_file
    # A folder of files is the same pictures as a store, and a change behind a link that is followed is noticed.
    assert sorted(FileStore.open(tmp_path / "in").image_ids.to_pylist()) == sorted(["cat/1", "cat/old/2", *saved])
    assert sorted(statement_ids(tmp_path / "in")) == sorted(["cat/1", "cat/old/2", *saved])
    if "pet" in links:  # also where it is read at its own, hidden, place
        before = listing_digest(tmp_path / "in")
        (tmp_path / "in" / "pet" / "new.jpg").write_bytes(b"")
        assert listing_digest(tmp_path / "in") != before


def test_smaller_pictures(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(tar_of({"large.png": picture(1, 200, 100, form="PNG"), "small.jpg": CATS[0]}))
    ingested(tmp_path / "out", tmp_path / "a.tar", resize=ResizeOptions(short_edge=40, quality=80))
    assert [(row["width"], row["height"]) for row in rows(tmp_path / "out")] == [(80, 40), (40, 30)]
    assert pictures_of(tmp_path / "out")["small"] == CATS[0]
    assert verify_images(tmp_path / "out") == (2, [])


def test_pictures_that_are_not_stored_upright_are_turned_when_asked(tmp_path: Path) -> None:
    files = {f"{number}.jpg": stating(number) for number in range(1, 9)} | {"9.png": behind_the_pixels(6)}
    (tmp_path / "a.tar").write_bytes(tar_of(files))
    ingested(tmp_path / "kept", tmp_path / "a.tar")
    assert pictures_of(tmp_path / "kept") == {name[0]: content for name, content in files.items()}
    assert [row["detail"] for row in rows(tmp_path / "kept")] == [
        "",
        *(f"EXIF orientation {number}" for number in (*range(2, 9), 6)),
    ]
    outcome = ingested(tmp_path / "out", tmp_path / "a.tar", resize=ResizeOptions(upright=True, quality=95))
    assert outcome.summary.turned == 8
    for row, content in zip(rows(tmp_path / "out"), files.values(), strict=True):
        stored = Image.open(io.BytesIO(pictures_of(tmp_path / "out")[row["image_id"]]))
        expected = by_pillow(content)
        assert (row["width"], row["height"]) == stored.size == expected.shape[1::-1]
        assert np.abs(np.asarray(stored, float) - expected).mean() < 4
    assert pictures_of(tmp_path / "out")["1"] == files["1.jpg"], "it was upright"
    assert verify_images(tmp_path / "out") == (9, [])
    with pytest.raises(UsageError):
        ingested(tmp_path / "out", tmp_path / "a.tar")


def digests(outcome: StageOutcome[IngestSummary], out: Location) -> dict[str, str]:
    files = {path: record.sha256 for path, record in read_manifest(out).files.items()}
    return files | {"": str(outcome.record.summary)}


@pytest.mark.slow
def test_engines_and_stores_change_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(imagenet_tar())
    expected = digests(ingested(tmp_path / "one", tmp_path / "a.tar", part_images=3), tmp_path / "one")
    with engine.local(2) as mapper:
        two = ingested(tmp_path / "two", tmp_path / "a.tar", part_images=3, mapper=mapper)
    assert digests(two, tmp_path / "two") == expected
    remote = UPath("memory://ingest-of-test")
    (remote / "a.tar").write_bytes(imagenet_tar())
    assert digests(ingested(remote / "out", remote / "a.tar", part_images=3), remote / "out") == expected
    remote.fs.rm(remote.path, recursive=True)


class Cut(Exception):  # noqa: N818 - it stands for a signal
    """The run ends here."""


@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_a_cut_run_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    (tmp_path / "a.tar").write_bytes(imagenet_tar())
    whole = ingested(tmp_path / "whole", tmp_path / "a.tar", part_images=2)
    done = []

    def stop(images: int) -> None:
        done.append(images)
        if len(done) > after:
            raise Cut

    options = IngestOptions(part_images=2)
    with pytest.raises(Cut):
        run(
            ingest_stage([tmp_path / "a.tar"], options, tmp_path / "out"),
            OutputFolder(tmp_path / "out"),
            Engine(progress=stop),
        )
    assert not (tmp_path / "out" / "labels.csv").exists()
    looked_at = []

    def counting(content: bytes, limits: Limits, **others: Any) -> Any:
        looked_at.append(content)
        return inspect(content, limits, **others)

    monkeypatch.setattr("mlimages_dataset.images.ingest.inspect", counting)
    again = run(ingest_stage([tmp_path / "a.tar"], options, tmp_path / "out"), OutputFolder(tmp_path / "out"))
    assert len(looked_at) == max(0, 7 - 2 * (after + 1)), "finished parts are not looked at again"
    assert digests(again, tmp_path / "out") == digests(whole, tmp_path / "whole")
    assert not run(ingest_stage([tmp_path / "a.tar"], options, tmp_path / "out"), OutputFolder(tmp_path / "out")).fresh


def test_a_cut_run_with_other_options_is_replaced_if_asked_for_and_leaves_no_shard_behind(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(imagenet_tar())

    def stop(images: int) -> None:
        if images < 2:
            raise Cut

    with pytest.raises(Cut):
        run(
            ingest_stage([tmp_path / "a.tar"], IngestOptions(part_images=2), tmp_path / "out"),
            OutputFolder(tmp_path / "out"),
            Engine(progress=stop),
        )
    options = IngestOptions(part_images=100)
    with pytest.raises(UsageError, match=r"finished parts? of an interrupted run with another"):
        run(ingest_stage([tmp_path / "a.tar"], options, tmp_path / "out"), OutputFolder(tmp_path / "out"))
    run(ingest_stage([tmp_path / "a.tar"], options, tmp_path / "out"), OutputFolder(tmp_path / "out", overwrite=True))
    assert verify_images(tmp_path / "out") == (7, [])


def test_a_changed_source_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(imagenet_tar())
    ingested(tmp_path / "out", tmp_path / "a.tar")
    (tmp_path / "a.tar").write_bytes(tar_of({"a.jpg": CATS[0]}))
    with pytest.raises(UsageError, match=r"input a\.tar changed"):
        ingested(tmp_path / "out", tmp_path / "a.tar")


@pytest.mark.parametrize(
    ("make", "kind", "told"),
    [
        (lambda _: None, UsageError, "there is no such file or folder"),
        (lambda path: path.mkdir(), DataError, "holds no file"),
        (lambda path: path.write_bytes(CATS[0]), UsageError, "is neither a folder, nor a tar or zip archive"),
    ],
)
def test_sources_that_are_none_are_told(
    tmp_path: Path, make: Callable[[Path], None], kind: type[MLImagesError], told: str
) -> None:
    make(tmp_path / "in")
    with pytest.raises(kind, match=told):
        ingested(tmp_path / "out", tmp_path / "in")
    assert not list((tmp_path / "out").glob("[!m]*")), "nothing but the manifest is left"


def test_the_output_may_not_be_in_the_source(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(UsageError, match="the output folder is in it"):
        ingested(tmp_path / "in" / "out", tmp_path / "in")


@given(st.lists(st.integers(0, 300), max_size=40), st.integers(1, 9), st.integers(1, 600))
def test_chunks_hold_every_member_in_order_and_little_memory(sizes: Sequence[int], most: int, most_bytes: int) -> None:
    alive: list[int] = []
    largest = 0

    def member(k: int) -> Member:
        def content() -> bytes:
            nonlocal largest
            alive.append(k)
            largest = max(largest, len(alive))
            return bytes(sizes[k])

        return Member(str(k), content)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK_MEMBERS", most)
        patch.setattr(module, "CHUNK_BYTES", most_bytes)
        found = []
        for one in checked(map(member, range(len(sizes))), Limits()):
            found.append(one.image_id)
            alive.remove(int(one.image_id))
    assert found == [str(k) for k in range(len(sizes))]
    assert largest <= 2 * most


@pytest.mark.parametrize("name", ["shard-00001.tar", "part-00001.parquet"])
def test_a_finished_folder_is_mended_without_its_good_parts(tmp_path: Path, name: str) -> None:
    write_bytes(tmp_path / "a.tar", tar_of({f"{k}.jpg": content for k, content in enumerate(CATS)}))
    ingested(tmp_path / "out", tmp_path / "a.tar", part_images=2)
    before = read_manifest(tmp_path / "out").files
    written = {path: (tmp_path / "out" / path).stat().st_mtime_ns for path in before}
    (tmp_path / "out" / name).unlink()
    (tmp_path / "a.tar").rename(tmp_path / "away.tar")
    with pytest.raises(UsageError, match="there is no such file"):
        ingested(tmp_path / "out", tmp_path / "a.tar", part_images=2)
    assert sorted(before) == sorted([name, *(path for path in before if (tmp_path / "out" / path).is_file())])
    (tmp_path / "away.tar").rename(tmp_path / "a.tar")
    assert ingested(tmp_path / "out", tmp_path / "a.tar", part_images=2).fresh
    assert read_manifest(tmp_path / "out").files == before
    now = {path: (tmp_path / "out" / path).stat().st_mtime_ns for path in before}
    assert {path for path in before if now[path] != written[path]} == {
        "labels.csv",
        "part-00001.parquet",
        "shard-00001.tar",
    }


def test_a_refused_ingest_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write_bytes(tmp_path / "real" / "a.jpg", CATS[0])
    for out, source in (("e1", "empty"), ("e2", "nowhere"), ("real/sub", "real")):
        with pytest.raises(MLImagesError):
            ingested(tmp_path / out, tmp_path / source)
        assert not (tmp_path / out).exists()
