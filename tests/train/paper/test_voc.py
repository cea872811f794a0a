"""A VOCdevkit becomes the regions and lists of a run, or is refused in a sentence."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from mlimages_dataset.core.errors import DataError, MLImagesError, UsageError
from mlimages_dataset.loaders.label_maps import MappedImages, MapTransform
from mlimages_dataset.tables.parquet import read_table, table_parts
from mlimages_dataset.tables.schemas import REGIONS
from mlimages_dataset.train.config import Phase, Run
from mlimages_dataset.train.paper.voc import prepare_detection, prepare_segmentation
from mlimages_dataset.vocab.folder import read_vocabulary
from tests.train.paper.kits import CLASSES, write_described, write_kit, write_maps, write_picture, write_set

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mlimages_dataset.core.locations import Location

BOX = (8.0, 8.0, 40.0, 48.0)
WORDNETS = {"pottedplant": "n11536230", "motorbike": "n03790512", "diningtable": "n03201208", "tvmonitor": "n03211117"}
"""pot plant, motorcycle, dining table, display."""


def rows(folder: Location) -> pa.Table:
    return pa.concat_tables(read_table(part, REGIONS) for part in table_parts(folder))


def test_each_image_set_has_its_regions_and_every_class_is_a_category(tmp_path: Path) -> None:
    kit = write_kit(tmp_path)
    prepared = prepare_detection(tmp_path, tmp_path / "out")
    assert (prepared.images, prepared.n_images, prepared.n_measured) == (kit, 20, 10)
    assert prepared.vocabulary is not None
    vocabulary = read_vocabulary(prepared.vocabulary)
    kept = {row.source_id: row for row in vocabulary.mapping}
    assert set(kept) == set(CLASSES)
    assert len({row.class_index for row in kept.values()} - {-1}) == 20
    assert {name: kept[name].wnid for name in WORDNETS} == WORDNETS
    for folder, years in ((prepared.labels, ("VOC2007", "VOC2012")), (prepared.measured_labels, ("VOC2007",))):
        found = rows(folder)
        stated = {
            (f"{year}/{path.stem}", kept[entry.text or ""].class_index)
            for year in years
            for path in (kit / year / "Annotations").glob("*.xml")
            for entry in ET.parse(path).iterfind("object/name")  # noqa: S314 - our own
            if path.stem[0] == ("0" if folder is prepared.labels else "1")
        }
        pairs = list(zip(found["image_id"].to_pylist(), found["class_index"].to_pylist(), strict=True))
        assert len(pairs) == len(stated)
        assert set(pairs) == stated
        assert found["image_id"].to_pylist() == sorted(found["image_id"].to_pylist())


def test_preparing_again_does_nothing_new(tmp_path: Path) -> None:
    write_kit(tmp_path)
    first = prepare_detection(tmp_path, tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.parquet")}
    assert prepare_detection(tmp_path, tmp_path / "out") == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.parquet")} == before


def without_2012(kit: Path) -> None:
    (kit / "VOC2012").rename(kit / "VOC2011")


def without_a_picture(kit: Path) -> None:
    (kit / "VOC2007" / "JPEGImages" / "000003.jpg").unlink()


def without_a_description(kit: Path) -> None:
    (kit / "VOC2012" / "Annotations" / "000003.xml").unlink()


def with_a_zebra(kit: Path) -> None:
    write_described(kit / "VOC2007", "100004", [("dog", BOX), ("zebra", BOX)])


def with_a_thin_box(kit: Path) -> None:
    write_described(kit / "VOC2012", "000004", [("dog", (8, 8, 8, 20)), ("cat", (9, 30, 20, 12))])


def with_a_link(kit: Path) -> None:
    (kit / "VOC2012").rename(kit / "elsewhere")
    (kit / "VOC2012").symlink_to(kit / "elsewhere")


def without_a_set(kit: Path) -> None:
    (kit / "VOC2007" / "ImageSets" / "Main" / "test.txt").unlink()


@pytest.mark.parametrize(
    ("spoil", "kind", "parts"),
    [
        (
            without_2012,
            UsageError,
            ("VOCdevkit: holds no VOC2012; name the folder VOCdevkit with VOC2007 and VOC2012",),
        ),
        (without_a_picture, DataError, ("trainval.txt: names 000003, of which there is no picture in ", "; complete ")),
        (without_a_description, DataError, ("000003.xml: there is no such file; complete Annotations",)),
        (with_a_zebra, DataError, ("object 2 of 100004.xml is a 'zebra', which is none of the twenty", "; correct ")),
        (
            with_a_thin_box,
            DataError,
            ("object 1 of 000004.xml, a dog, has a box without area (8, 8, 8, 20); object 2 ", "(9, 30, 20, 12); "),
        ),
        (with_a_link, UsageError, ("VOC2012: is a link to a folder; put the folder itself there",)),
        (without_a_set, UsageError, ("test.txt: there is no such image set; complete VOC2007 from http",)),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_cannot_be_learnt_is_refused_before_training(
    tmp_path: Path, spoil: Callable[[Path], None], kind: type[MLImagesError], parts: tuple[str, ...]
) -> None:
    spoil(write_kit(tmp_path))
    with pytest.raises(kind) as caught:
        prepare_detection(tmp_path, tmp_path / "out")
    assert all(part in str(caught.value) for part in parts), str(caught.value)


def test_a_folder_that_is_no_devkit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no VOC2007 and no VOC2012; name the folder VOCdevkit"):
        prepare_detection(tmp_path, tmp_path / "out")


def test_objects_outside_the_image_sets_need_not_be_of_the_twenty(tmp_path: Path) -> None:
    kit = write_kit(tmp_path)
    write_described(kit / "VOC2012", "other", [("zebra", (8, 8, 8, 8))])
    assert prepare_detection(kit, tmp_path / "out").n_images == 20


def test_the_augmented_list_of_a_kit_is_preferred_and_its_lack_is_told(tmp_path: Path) -> None:
    year = write_maps(tmp_path / "VOCdevkit", ["a", "b"], ["c"])
    prepared = prepare_segmentation(tmp_path, tmp_path / "out")
    assert (prepared.labels.name, prepared.n_images, prepared.n_measured) == ("train.txt", 2, 1)
    assert "train.txt is not the augmented list" in prepared.notes[0]
    (year / "SegmentationClass").rename(year / "SegmentationClassAug")
    write_set(year, "trainaug", ["b"], "Segmentation")
    prepared = prepare_segmentation(tmp_path, tmp_path / "out")
    assert (prepared.labels.name, prepared.n_images, prepared.notes) == ("trainaug.txt", 1, ())
    data = MappedImages(prepared.images, prepared.labels, n_classes=21, transform=MapTransform(), cache=tmp_path / "c")
    assert [data.catalogue.image_id(row) for row in range(len(data))] == ["b"]


def test_a_missing_map_and_a_missing_picture_are_named(tmp_path: Path) -> None:
    year = write_maps(tmp_path, ["a", "b"], ["c"])
    write_picture(year / "JPEGImages" / "d.jpg")
    write_set(year, "train", ["a", "d"], "Segmentation")
    prepared = prepare_segmentation(tmp_path, tmp_path / "out")
    with pytest.raises(DataError, match=r"there is no label map of d; list only those in it in train\.txt"):
        MappedImages(prepared.images, prepared.labels, n_classes=21, transform=MapTransform(), cache=tmp_path / "cache")
    write_set(year, "val", ["c", "e", "f"], "Segmentation")
    with pytest.raises(DataError, match=r"val\.txt: names e and 1 more, of which there is no picture in "):
        prepare_segmentation(tmp_path, tmp_path / "out")


def test_a_run_that_counts_steps_gets_as_many_epochs_as_these_take(tmp_path: Path) -> None:
    write_maps(tmp_path, ["a", "b", "c"], ["d"])
    prepared = prepare_segmentation(tmp_path, tmp_path / "out")
    run = Run(epochs=1, steps=7, phases=(Phase(batch_size=2),))
    assert prepared.given_to(run).epochs == 4  # of two steps each
    assert prepared.given_to(Run(epochs=3)).epochs == 3
    assert prepared.given_to(Run(epochs=3, evaluate_epochs=0)).data.validation_labels is None
    assert prepared.given_to(Run(epochs=3)).data.validation_labels == prepared.measured_labels
