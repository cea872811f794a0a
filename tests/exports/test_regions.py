"""Exported regions are what others read, and come back as they were."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools.coco import COCO

import mlimages_dataset as ml
from cli.main import main
from mlimages_dataset.augment.annotate import AnnotatedFiles
from mlimages_dataset.augment.regions_stage import map_regions
from mlimages_dataset.core.errors import DataError, SchemaError, UsageError
from mlimages_dataset.exports.coco import INSTANCES_FILE
from mlimages_dataset.exports.export import export
from mlimages_dataset.exports.open_images import BOXES_FILE
from mlimages_dataset.pipeline.engine import local
from mlimages_dataset.pipeline.stage import Engine, Workplace
from mlimages_dataset.sources.contract import read_regions
from mlimages_dataset.sources.voc import Voc
from mlimages_dataset.tables.parquet import read_table, write_table
from mlimages_dataset.tables.schemas import IMAGES, LABELS, REGION_FLAGS, REGIONS
from mlimages_dataset.vocab.merging import ClassList, merged_vocabulary
from mlimages_dataset.vocab.reviewed import Reviewed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mlimages_dataset.exports.counts import ExportCounts
    from mlimages_dataset.vocab.vocabulary import Vocabulary
    from mlimages_dataset.vocab.wordnet import WordNet

SIDES = ("xmin", "ymin", "xmax", "ymax")
MASK = '{"size":[2,3],"counts":"132"}'
shares = st.tuples(st.floats(0, 0.5, width=32), st.floats(0.5078125, 1, width=32))


@st.composite
def regions(draw: st.DrawFn) -> dict[str, Any]:
    """Return a row of a table of regions of six categories."""
    (xmin, xmax), (ymin, ymax) = draw(shares), draw(shares)
    return {
        "image_id": draw(st.sampled_from(["a", "b/c", "Übung, 1", "https://h/x"])),
        "source": "s",
        "class_index": draw(st.integers(0, 5)),
        "xmin": xmin,
        "ymin": ymin,
        "xmax": xmax,
        "ymax": ymax,
        "confidence": draw(st.sampled_from([1.0, 0.25])),
        "origin": draw(st.integers(0, 1)),
        **{flag: draw(st.booleans()) for flag in REGION_FLAGS},
        "mask": draw(st.sampled_from(["", MASK, "SegmentationClass/a.png", "{cut", '{"size":[3,4]}'])),
    }


def key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in REGIONS.arrow.names)


def tables(folder: Path, rows: Sequence[dict[str, Any]], sizes: Mapping[str, tuple[int, int]]) -> tuple[Path, Path]:
    """Write regions, a part each two images, and the table of their images; return the folders."""
    by_image = [list(group) for _, group in itertools.groupby(sorted(rows, key=key), lambda row: row["image_id"])]
    for number in range(0, len(by_image), 2):
        part = pa.Table.from_pylist([row for group in by_image[number : number + 2] for row in group], REGIONS.arrow)
        write_table(folder / "regions" / f"part-{number // 2:05d}.parquet", part, REGIONS, {})
    images = [
        {"image_id": name, "width": width, "height": height, "status": "saved" if width else "missing"}
        for name, (width, height) in sizes.items()
    ]
    blank = {field.name: "" if field.type == pa.string() else 0 for field in IMAGES.arrow}
    table = pa.Table.from_pylist([{**blank, **row} for row in images], IMAGES.arrow)
    write_table(folder / "pictures" / "part-00000.parquet", table, IMAGES, {})
    return folder / "regions", folder / "pictures"


def exported(
    vocabulary: Vocabulary, given_regions: Path, form: str, out: Path, images: Path | None = None, **options: Any
) -> ExportCounts:
    return export(vocabulary, given_regions, form, Workplace(out, engine=Engine(**options)), images=images).summary


def loaded(path: Path) -> COCO:
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


@settings(max_examples=25)
@given(rows=st.lists(regions(), min_size=1, max_size=20), size=st.tuples(*[st.integers(1, 9000)] * 2))
def test_pycocotools_loads_what_comes_back_within_half_a_pixel(
    tmp_path_factory: pytest.TempPathFactory,
    mini_vocabulary: Vocabulary,
    rows: list[dict[str, Any]],
    size: tuple[int, int],
) -> None:
    folder = tmp_path_factory.mktemp("coco")
    width, height = size
    known = dict.fromkeys({row["image_id"] for row in rows} - {"a"}, size)
    stated, pictures = tables(folder, rows, known | {"a": (0, 0), "other": (7, 7)})
    kept = [row for row in sorted(rows, key=key) if row["image_id"] in known]
    if not kept:
        with pytest.raises(DataError, match="no image has a region that the format can hold"):
            exported(mini_vocabulary, stated, "coco", folder / "out", pictures)
        return
    counts = exported(mini_vocabulary, stated, "coco", folder / "out", pictures)
    assert (counts.images, counts.regions) == (len(known), len(kept))
    assert counts.unsized_images == ("a" in {row["image_id"] for row in rows})
    assert counts.unsaid_masks == sum(row["mask"] not in {"", MASK} for row in kept)
    path = folder / "out" / INSTANCES_FILE
    content = loaded(path)
    assert sorted(content.getImgIds()) == sorted({one["image_id"] for one in content.loadAnns(content.getAnnIds())})
    assert [one["name"] for one in content.loadCats(content.getCatIds())] == [
        one.wnid for one in mini_vocabulary.categories
    ]
    for row, one in zip(kept, content.loadAnns(content.getAnnIds()), strict=True):
        image = content.imgs[one["image_id"]]
        assert (image["file_name"], image["width"], image["height"]) == (row["image_id"], *size)
        assert (one["category_id"], one["iscrowd"], one.get("ignore", 0)) == (
            row["class_index"],
            row["crowd"],
            row["difficult"],
        )
        x, y, across, down = one["bbox"]
        sides = [side * scale for side, scale in zip((row[s] for s in SIDES), (width, height) * 2, strict=True)]
        assert [x, y, x + across, y + down] == pytest.approx(sides, abs=0.01)
        assert (one["segmentation"] == json.loads(MASK)) == (row["mask"] == MASK)
    again, rejects = read_regions("coco", [path])
    assert (again.num_rows, rejects.count) == (len(kept), 0)
    for row, one in zip(kept, again.to_pylist(), strict=True):
        same = ("confidence", *REGION_FLAGS)
        assert [one[name] for name in same] == [row[name] for name in same]
        assert (one["image_id"], one["class_id"]) == (row["image_id"], str(row["class_index"]))
        assert one["mask"] == (row["mask"] if row["mask"] == MASK else "")
        assert [one[side] for side in SIDES] == pytest.approx([row[side] for side in SIDES], abs=0.01 / min(size))


@settings(max_examples=25)
@given(rows=st.lists(regions(), min_size=1, max_size=20))
@pytest.mark.slow
def test_boxes_of_open_images_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, mini_vocabulary: Vocabulary, rows: list[dict[str, Any]]
) -> None:
    folder = tmp_path_factory.mktemp("boxes")
    stated, _ = tables(folder, rows, {})
    counts = exported(mini_vocabulary, stated, "open-images", folder / "out")
    assert (counts.images, counts.regions) == (len({row["image_id"] for row in rows}), len(rows))
    assert counts.unsaid_flags == sum(row["difficult"] or row["crowd"] for row in rows)
    assert counts.unsaid_masks == sum(bool(row["mask"]) for row in rows)
    again, rejects = read_regions("open-images", [folder / "out" / BOXES_FILE])
    assert rejects.count == 0
    names = [one.mids[0] if one.mids else one.wnid for one in mini_vocabulary.categories]
    same = ("image_id", *SIDES, "confidence", "occluded", "truncated", "group_of", "depiction", "inside")
    for row, one in zip(sorted(rows, key=key), again.to_pylist(), strict=True):
        assert [one[name] for name in same] == [row[name] for name in same]
        assert one["class_id"] == names[row["class_index"]]


@pytest.mark.slow
def test_many_workers_write_the_same_bytes(tmp_path: Path, mini_vocabulary: Vocabulary) -> None:
    row = dict.fromkeys(REGION_FLAGS, False) | {"source": "s", "confidence": 1.0, "origin": 0, "mask": "", "ymin": 0.0}
    rows = [
        {**row, "image_id": f"{n // 3:03}", "class_index": n % 3, "xmin": n / 100, "xmax": 1.0, "ymax": 0.5}
        for n in range(60)
    ]
    stated, pictures = tables(tmp_path, rows, {f"{n:03}": (100 + n, 50) for n in range(19)})
    with local(2) as mapper:
        for form, file in (("coco", INSTANCES_FILE), ("open-images", BOXES_FILE)):
            exported(mini_vocabulary, stated, form, tmp_path / form, pictures)
            exported(mini_vocabulary, stated, form, tmp_path / f"{form}-2", pictures, mapper=mapper)
            one, two = ((tmp_path / name / file).read_bytes() for name in (form, f"{form}-2"))
            assert one == two
            assert sorted(path.name for path in (tmp_path / form).iterdir()) == [file]
    assert len(loaded(tmp_path / "coco" / INSTANCES_FILE).getAnnIds()) == 57  # the last image's size is not known


@pytest.mark.parametrize("form", ["coco", "voc-results"])
def test_a_folder_of_picture_files_is_answered_by_the_command_that_makes_their_sizes(
    tmp_path: Path, mini_vocabulary: Vocabulary, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    files = tmp_path / "JPEG Images"
    (files / "b").mkdir(parents=True)
    for name in ("a", "b/c"):
        Image.new("RGB", (40, 30)).save(files / f"{name}.jpg")
    blank = dict.fromkeys(REGION_FLAGS, False) | {"source": "s", "confidence": 1.0, "origin": 0, "mask": ""}
    row = {**blank, "class_index": 0, "xmin": 0.0, "ymin": 0.0, "xmax": 1.0, "ymax": 1.0}
    stated, _ = tables(tmp_path, [{**row, "image_id": name} for name in ("a", "b/c")], {})
    with pytest.raises(UsageError, match=r"JPEG Images: holds no images table") as refused:
        exported(mini_vocabulary, stated, form, tmp_path / "out", files)
    monkeypatch.chdir(tmp_path)
    advised = shlex.split(str(refused.value).partition(" run mlimages-build ")[2].partition(" and name it")[0])
    assert CliRunner().invoke(main, [*advised[:-1], "sized"]).exit_code == 0
    assert exported(mini_vocabulary, stated, form, tmp_path / "out", Path("sized")).images == 2


def test_what_cannot_be_exported_is_refused(tmp_path: Path, mini_vocabulary: Vocabulary) -> None:
    blank = dict.fromkeys(REGION_FLAGS, False) | {"source": "s", "confidence": 1.0, "origin": 0, "mask": ""}
    row = {**blank, "image_id": "a", "class_index": 0, "xmin": 0.0, "ymin": 0.0, "xmax": 1.0, "ymax": 1.0}
    stated, pictures = tables(tmp_path, [row], {"a": (5, 5)})
    with pytest.raises(UsageError, match=r"boxes of this format are in pixels.*--images"):
        exported(mini_vocabulary, stated, "coco", tmp_path / "out")
    with pytest.raises(UsageError, match=r"regions: holds no images table"):
        exported(mini_vocabulary, stated, "coco", tmp_path / "out", stated)
    with pytest.raises(SchemaError, match=r"the table's schema is images/1, but regions/1 is needed"):
        exported(mini_vocabulary, pictures, "open-images", tmp_path / "out")
    other, _ = tables(tmp_path / "other", [{**row, "class_index": 999}], {})
    with pytest.raises(DataError, match=r"a class index is not in 0\.\."):
        exported(mini_vocabulary, other, "open-images", tmp_path / "out")
    write_table(tmp_path / "labels" / "val" / "part-00000.parquet", LABELS.arrow.empty_table(), LABELS, {})
    with pytest.raises(UsageError, match=r"labels.val: holds labels, and this format is for boxes"):
        exported(mini_vocabulary, tmp_path / "labels", "open-images", tmp_path / "out")


@pytest.mark.shared_data
def test_the_real_boxes_go_out_and_come_back(shared_data: Path, wordnet: WordNet, tmp_path: Path) -> None:
    folder = shared_data / "voc"
    classes = ClassList(source="voc", classes=tuple(Voc().classes(folder)))
    vocabulary = merged_vocabulary(
        [classes], wordnet, Reviewed(), image_counts={}, imagenet_all=frozenset(), box_parents={}
    )
    collection = AnnotatedFiles(name="voc", format="voc", files=(folder,), ids_of="voc")
    made = map_regions(vocabulary, collection, Workplace(tmp_path / "regions"))
    rows = pa.concat_tables([read_table(one.path, REGIONS) for one in made.receipts]).to_pylist()
    assert made.summary.regions + made.summary.dropped + made.summary.unknown == 273
    sizes = {}
    for path in (folder / "JPEGImages").iterdir():
        with Image.open(path) as photograph:
            sizes[path.stem] = photograph.size
    _, pictures = tables(tmp_path / "more", [], sizes)
    counts = exported(vocabulary, tmp_path / "regions", "coco", tmp_path / "out", pictures)
    assert (counts.images, counts.regions) == (100, len(rows))
    again, _ = read_regions("coco", [tmp_path / "out" / INSTANCES_FILE])
    for row, one in zip(rows, again.to_pylist(), strict=True):
        width, height = sizes[row["image_id"]]
        for side, scale in zip(SIDES, (width, height) * 2, strict=True):
            assert abs(row[side] - one[side]) * scale < 0.5
        assert (one["image_id"], one["difficult"]) == (row["image_id"], row["difficult"])


def test_an_export_to_coco_is_a_class_list_of_the_same_categories(tmp_path: Path) -> None:
    classes = pd.DataFrame(
        {"id": ["d", "c", "m"], "name": ["dog", "cat", "my brand mug"], "parent": ["", "", "n03797390"]}
    )
    vocabulary = ml.build_vocabulary(classes={"mine": classes}, narrower=True)
    sides = {"xmin": 0.1, "ymin": 0.1, "xmax": 0.5, "ymax": 0.5}
    stated = ml.regions(pd.DataFrame({"image_id": ["a", "a", "b"], "label": ["d", "c", "m"], **sides}), vocabulary)
    stated.write(tmp_path / "regions")
    _, pictures = tables(tmp_path / "sizes", [], {"a": (10, 10), "b": (10, 10)})
    exported(vocabulary, tmp_path / "regions", "coco", tmp_path / "out", pictures)
    path = tmp_path / "out" / INSTANCES_FILE
    again = ml.build_vocabulary(classes={"coco": path}, narrower=True)
    names = [[category.name for category in one.categories] for one in (vocabulary, again)]
    assert sorted(names[0]) == sorted(names[1])
    found = ml.regions(path, again, format="coco").to_pandas()
    assert sorted(zip(found["image_id"], found["name"], strict=True)) == sorted(
        zip(stated.to_pandas()["image_id"], stated.to_pandas()["name"], strict=True)
    )


def test_a_name_may_be_a_wnid() -> None:
    frame = pd.DataFrame({"id": ["1", "2"], "name": ["n02084071", "cat"]})
    vocabulary = ml.build_vocabulary(classes={"mine": frame})
    assert vocabulary.category("1").wnid == "n02084071"


def test_only_saved_pictures_without_a_region_count_each_once(tmp_path: Path, mini_vocabulary: Vocabulary) -> None:
    blank = dict.fromkeys(REGION_FLAGS, False) | {"source": "s", "confidence": 1.0, "origin": 0, "mask": ""}
    sides = {"xmin": 0.0, "ymin": 0.0, "xmax": 1.0, "ymax": 1.0, "class_index": 0}
    stated, pictures = tables(tmp_path, [{**blank, **sides, "image_id": name} for name in "abc"], {})
    again = pq.read_table(stated / "part-00001.parquet", schema=REGIONS.arrow)  # an image of two parts
    write_table(stated / "part-00002.parquet", again, REGIONS, {})
    statuses = {"a": "saved", "b": "saved", "c": "broken", "cut": "broken", "d": "saved", "e": "saved"}
    empty = {field.name: "" if field.type == pa.string() else 5 for field in IMAGES.arrow}
    rows = [{**empty, "image_id": name, "status": status} for name, status in statuses.items()]
    for number, some in enumerate((rows, rows[-1:])):  # e is in two tables
        table = pa.Table.from_pylist(some, IMAGES.arrow)
        write_table(pictures / f"part-{number:05d}.parquet", table, IMAGES, {})
    counts = exported(mini_vocabulary, stated, "coco", tmp_path / "out", pictures)
    assert counts.pictures_without_regions == 2


@pytest.mark.parametrize("others", [0, 1, 3])
def test_pictures_without_a_region_are_counted(tmp_path: Path, mini_vocabulary: Vocabulary, others: int) -> None:
    blank = dict.fromkeys(REGION_FLAGS, False) | {"source": "s", "confidence": 1.0, "origin": 0, "mask": ""}
    row = {**blank, "image_id": "a", "class_index": 0, "xmin": 0.0, "ymin": 0.0, "xmax": 1.0, "ymax": 1.0}
    sizes = {"a": (5, 5), "broken": (0, 0)} | {f"other {number}": (7, 7) for number in range(others)}
    stated, pictures = tables(tmp_path, [row], sizes)
    counts = exported(mini_vocabulary, stated, "coco", tmp_path / "out", pictures)
    assert (counts.images, counts.pictures_without_regions) == (1, others)
    assert any("no region" in line for line in counts.lines()) == bool(others)
