"""Pascal VOC as people have it: a folder VOCdevkit with VOC2007 and VOC2012.

http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/index.html
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from mlimages_dataset.augment.annotate import AnnotatedFiles
from mlimages_dataset.augment.regions_stage import REGIONS_FOLDER, regions_stage
from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.images.segmentation_list import write_segmentation_list
from mlimages_dataset.pipeline.folder import OutputFolder
from mlimages_dataset.pipeline.records import StageResult
from mlimages_dataset.pipeline.stage import NoSummary, Stage, run
from mlimages_dataset.sources.label_maps import VOC_CLASSES
from mlimages_dataset.sources.voc import ANNOTATIONS, pixel_boxes
from mlimages_dataset.sources.voc_results import read_image_set
from mlimages_dataset.tables.parquet import read_table, table_parts, table_writer
from mlimages_dataset.tables.schemas import REGIONS
from mlimages_dataset.train.paper.prepared import Prepared
from mlimages_dataset.vocab.folder import VOCABULARY, vocabulary_digests
from mlimages_dataset.vocab.packaged import packaged_class_list
from mlimages_dataset.vocab.stage import VocabularyFiles, vocabulary_stage
from mlimages_dataset.vocab.vocabulary import Ancestors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.stage import Workplace

DEVKIT, YEARS = "VOCdevkit", ("VOC2007", "VOC2012")
PICTURES, SETS = "JPEGImages", "ImageSets"
COLLECTION = "voc"
AUGMENTED_LISTS = ("trainaug.txt", "train_aug.txt")
"""The names under which people keep the augmented training list, beside SegmentationClassAug."""
_SHOWN = 3
_SITE = "http://host.robots.ox.ac.uk/pascal/VOC/"


def prepare_detection(data: Location, out: Location) -> Prepared:
    """Return VOC 2007 and 2012 trainval to be learnt, and VOC 2007 test to be measured on (section 5.3).

    Args:
        data: the folder VOCdevkit, or the one above it.
        out: the folder for the vocabulary of the twenty classes and for the boxes.

    Raises:
        UsageError, DataError: a folder, a picture or its file of boxes is missing, or an object cannot be learnt.
    """
    kit = devkit(data, YEARS)
    sets = {
        "trainval": [image for year in YEARS for image in _described(kit / year, "trainval")],
        "test": _described(kit / YEARS[0], "test"),
    }
    folder = OutputFolder(out)
    lists = VocabularyFiles(classes=((COLLECTION, packaged_class_list("voc.csv")),), ancestors=Ancestors.LISTED)
    run(vocabulary_stage(lists, into=VOCABULARY), folder)
    whole = f"{REGIONS_FOLDER}/{COLLECTION}"
    given = AnnotatedFiles(name=COLLECTION, format="voc", files=(kit,))
    run(regions_stage(out / VOCABULARY, given, into=whole), folder)
    for name, images in sets.items():
        run(_selection_stage(folder, whole, name, images), folder)
    return Prepared(
        images=kit,
        labels=out / REGIONS_FOLDER / "trainval",
        vocabulary=out / VOCABULARY,
        measured_images=kit,
        measured_labels=out / REGIONS_FOLDER / "test",
        n_images=len(sets["trainval"]),
        n_measured=len(sets["test"]),
    )


def prepare_segmentation(data: Location, out: Location, sbd: Location | None = None) -> Prepared:
    """Return VOC 2012's augmented training list, or where there is none its own, and its val (section 5.4).

    Args:
        data: the folder VOCdevkit, or the one above it.
        out: the folder for the augmented list.
        sbd: SBD's folder, from which the list is made; None to use trainaug.txt beside VOC's own lists, if it is there.

    Raises:
        UsageError, DataError: a folder, a list, a label map or a listed picture is missing.
    """
    year = devkit(data, YEARS[1:]) / YEARS[1]
    training, measured, notes = _own_lists(year) if sbd is None else _made_lists(year, sbd, out / "lists")
    n_images, n_measured = (len(_pictured(year, path)) for path in (training, measured))
    return Prepared(
        images=year / PICTURES,
        labels=training,
        vocabulary=None,
        measured_images=year / PICTURES,
        measured_labels=measured,
        n_images=n_images,
        n_measured=n_measured,
        notes=notes,
    )


def _own_lists(year: Location) -> tuple[Location, Location, tuple[str, ...]]:
    """Return the lists to learn and to measure that VOC's folder holds, and what people must know of them."""
    lists = year / SETS / "Segmentation"
    for name in AUGMENTED_LISTS:
        if (lists / name).is_file():
            return lists / name, lists / "val.txt", ()
    note = "train.txt is not the augmented list that the paper trains on: name SBD's folder with --sbd"
    return lists / "train.txt", lists / "val.txt", (note,)


def _made_lists(year: Location, sbd: Location, out: Location) -> tuple[Location, Location, tuple[str, ...]]:
    """Return the same of lists that are made from VOC and SBD; raises as `write_segmentation_list`."""
    notes = write_segmentation_list(out, year, sbd).summary.findings()
    return out / "train.txt", out / "val.txt", tuple(notes)


def devkit(data: Location, years: Sequence[str]) -> Location:
    """Return the folder that holds the folders of some years: the one given, or VOCdevkit in it.

    Raises:
        UsageError: a year is missing, or a link, which lists of pictures do not follow.
    """
    kit = data / DEVKIT if (data / DEVKIT).is_dir() else data
    missing = [year for year in years if not (kit / year).is_dir()]
    if missing:
        raise UsageError(
            f"holds no {' and no '.join(missing)}",
            where=kit,
            remedy=f"name the folder {DEVKIT} with {' and '.join(years)} of {_SITE}",
        )
    for place in (kit / year / inner for year in years for inner in ("", PICTURES, ANNOTATIONS)):
        if place.is_symlink():
            raise UsageError("is a link to a folder", where=place, remedy="put the folder itself there")
    return kit


def _described(year: Location, name: str) -> list[str]:
    """Return the ids of an image set whose pictures are there, and whose objects can all be learnt.

    Raises:
        UsageError, DataError: something is missing, or an object has another class or no box.
    """
    images = _pictured(year, year / SETS / "Main" / f"{name}.txt")
    faults = [fault for image in images for fault in _faults(year / ANNOTATIONS / f"{image}.xml")]
    if faults:
        more = f"; and {len(faults) - _SHOWN:,} more" if len(faults) > _SHOWN else ""
        raise DataError(
            f"{'; '.join(faults[:_SHOWN])}{more}",
            where=year / ANNOTATIONS,
            remedy=f"correct these objects, or take their images out of {SETS}/Main/{name}.txt",
        )
    return [f"{year.name}/{image}" for image in images]


def _pictured(year: Location, image_set: Location) -> list[str]:
    """Return the images of a set, of which each has a picture.

    Raises:
        UsageError: there is no such set.
        DataError: it is empty, or a picture is missing.
    """
    if not image_set.is_file():
        raise UsageError("there is no such image set", where=image_set, remedy=f"complete {year.name} from {_SITE}")
    images = read_image_set(image_set)
    folder = year / PICTURES
    there = {path.stem for path in folder.iterdir()} if folder.is_dir() else set()
    absent = [image for image in images if image not in there]
    if absent:
        more = f" and {len(absent) - 1:,} more" if len(absent) > 1 else ""
        raise DataError(
            f"names {absent[0]}{more}, of which there is no picture in {folder}",
            where=image_set,
            remedy=f"complete {PICTURES}, or take these names out",
        )
    return images


def _faults(path: Location) -> list[str]:
    """Return a clause for each object of a file that cannot be learnt.

    Raises:
        DataError: there is no such file, or it is none of VOC.
    """
    if not path.is_file():
        raise DataError("there is no such file", where=path, remedy=f"complete {ANNOTATIONS}")
    faults = []
    for number, (name, sides, _) in enumerate(pixel_boxes(path), 1):
        xmin, ymin, xmax, ymax = sides
        box = ", ".join(f"{side:g}" for side in sides)
        if name not in VOC_CLASSES[1:]:
            faults.append(f"object {number} of {path.name} is a {name!r}, which is none of the twenty classes")
        elif not all(map(math.isfinite, sides)) or xmin >= xmax or ymin >= ymax:
            faults.append(f"object {number} of {path.name}, a {name}, has a box without area ({box})")
    return faults


def _selection_stage(folder: OutputFolder, whole: str, name: str, images: Sequence[str]) -> Stage[NoSummary]:
    """Return the stage that copies the regions of an image set from those of all images."""
    place = folder.path / whole

    def work(at: Workplace) -> StageResult[NoSummary]:
        wanted = pa.array(images, pa.string())
        with table_writer(at.out / "part-00000.parquet", REGIONS, at.inputs) as writer:
            for part in table_parts(place):
                rows = read_table(part, REGIONS)
                writer.write(rows.filter(pc.is_in(rows["image_id"], wanted)))
        assert writer.receipt is not None
        return StageResult((writer.receipt,), NoSummary())

    return Stage(
        name=f"{REGIONS_FOLDER}/{name}",
        parameters={},
        inputs={
            **vocabulary_digests(folder.path / VOCABULARY),
            REGIONS_FOLDER: folder.content_digest(whole),
            "images": hashlib.sha256("\n".join(images).encode()).hexdigest(),
        },
        work=work,
        summary=NoSummary,
        into=f"{REGIONS_FOLDER}/{name}",
    )
