"""The augmented training list of Pascal VOC 2012 with its label maps, made from VOC and SBD.

Training: the images of VOC's own training list and those of SBD (its training and validation lists), without the images
of VOC's validation list. Validation: VOC's own. Wu et al. 2019, section 5.4, use it: 10,582 images to train on. (The
"1,149" validation images in its text are a slip: VOC 2012 has 1,449.)

Label maps of VOC's lists are VOC's own, those of other images SBD's.

* VOC: http://host.robots.ox.ac.uk/pascal/VOC/voc2012/
* SBD: http://home.bharathh.info/pubs/codes/SBD/download.html
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.core.listed import first_of
from mlimages_dataset.pipeline.folder import OutputFolder
from mlimages_dataset.pipeline.records import StageResult
from mlimages_dataset.pipeline.stage import Engine, Stage, run
from mlimages_dataset.sources.label_maps import VOC_CLASSES, png_of, read_label_map, sbd_reader
from mlimages_dataset.sources.picture_objects import size_of
from mlimages_dataset.sources.places import read_file
from mlimages_dataset.sources.voc import MASKS
from mlimages_dataset.sources.voc_results import read_image_set
from mlimages_dataset.tables.files import digests, listing_digest, prefixed, write_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.records import StageOutcome
    from mlimages_dataset.pipeline.stage import Workplace
    from mlimages_dataset.sources.label_maps import LabelMap
    from mlimages_dataset.tables.files import Receipt

PUBLISHED = {"train": 10_582, "val": 1_449}
"""Images of each list in the usual releases of VOC 2012 and SBD."""
_NAMED, _OF_A_JOB = 4, 200


@dataclass(frozen=True, slots=True)
class SegmentationLists:
    """The images of both lists.

    Attributes:
        train: sorted, without an image of `val`.
        val: sorted.
        voc: the images that have label maps of VOC.
        left_out: images of SBD that are in `val`.
    """

    train: tuple[str, ...]
    val: tuple[str, ...]
    voc: frozenset[str]
    left_out: int

    @classmethod
    def of(cls, train: Sequence[str], val: Sequence[str], sbd: Sequence[str]) -> SegmentationLists:
        """Return the lists made from VOC's two lists and all images of SBD."""
        held = frozenset(val)
        everything = (frozenset(train) | frozenset(sbd)) - held
        left_out = len(held & frozenset(sbd))
        return cls(tuple(sorted(everything)), tuple(sorted(held)), frozenset(train) | held, left_out)


@dataclass(frozen=True, slots=True)
class SegmentationListSummary:
    """What was written.

    Attributes:
        train: images to train on.
        val: images to evaluate on.
        train_of_voc: those of `train` with a label map of VOC; the others have SBD's.
        left_out: images of SBD that are left out, because VOC evaluates on them.
    """

    train: int
    val: int
    train_of_voc: int
    left_out: int

    def lines(self) -> list[str]:
        """Return the counts, and how they differ from the published ones."""
        return [
            f"{self.train:>12,}  images to train on: {self.train_of_voc:,} with label maps of VOC, the others of SBD",
            f"{self.val:>12,}  images to evaluate on",
            f"{self.left_out:>12,}  images of SBD left out, because VOC evaluates on them",
            *self.findings(),
        ]

    def findings(self) -> list[str]:
        """Return a sentence for each list whose number of images is not the published one."""
        return [
            f"{name}.txt has {n:,} images, but {PUBLISHED[name]:,} are published: check that VOC 2012 and SBD are whole"
            for name, n in (("train", self.train), ("val", self.val))
            if n != PUBLISHED[name]
        ]


def write_segmentation_list(
    out: Location, voc: Location, sbd: Location, *, overwrite: bool = False, engine: Engine | None = None
) -> StageOutcome[SegmentationListSummary]:
    """Write `train.txt`, `val.txt` and `SegmentationClass/IMAGE.png` of all their images.

    Args:
        out: the folder to write into.
        voc: VOC's folder `VOC2012`, or the one above it.
        sbd: SBD's folder with `cls`, `train.txt` and `val.txt`, or the one above it.
        overwrite: replace what was made from other files.
        engine: runs parts of the label maps; None for this process.

    Raises:
        UsageError: a folder, list, label map or picture is missing.
        DataError: a list names an image twice, both of VOC's name one, a label map is malformed, or it has another
            size than its picture.
    """
    voc, sbd = _inside(voc, "VOC2012", "JPEGImages"), _inside(sbd, "dataset", "cls")
    sets = voc / "ImageSets" / "Segmentation"
    files = [sets / "train.txt", sets / "val.txt", sbd / "train.txt", sbd / "val.txt"]
    train, val, *of_sbd = [read_image_set(path) for path in files]
    if both := sorted(set(train) & set(val)):
        raise DataError(f"names {both[0]}, which val.txt names too", where=files[0], remedy="obtain VOC 2012 again")
    lists = SegmentationLists.of(train, val, [image for one in of_sbd for image in one])
    _check_all_there(lists, voc, sbd)
    stage = Stage(
        name="segmentation-list",
        parameters={},
        inputs={
            **prefixed("voc", digests(files[:2])),
            **prefixed("sbd", digests(files[2:])),
            "voc/SegmentationClass": listing_digest(voc / MASKS),
            "sbd/cls": listing_digest(sbd / "cls"),
        },
        work=functools.partial(_write, lists, voc, sbd),
        summary=SegmentationListSummary,
        folders=("", MASKS),
    )
    return run(stage, OutputFolder(out, overwrite=overwrite), engine or Engine())


def _inside(folder: Location, name: str, sign: str) -> Location:
    """Return the folder itself, or the one of a name in it, whichever has `sign`."""
    for one in (folder, folder / name):
        if (one / sign).is_dir():
            return one
    raise UsageError(f"there is no folder {sign} in it", where=folder, remedy=f"name the folder {name}")


def _check_all_there(lists: SegmentationLists, voc: Location, sbd: Location) -> None:
    """Raise a `UsageError` if an image has no label map or no picture."""
    maps, matlab = _names(voc / MASKS, ".png"), _names(sbd / "cls", ".mat")
    pictures = _names(voc / "JPEGImages", ".jpg") | _names(sbd / "img", ".jpg")
    images = sorted({*lists.train, *lists.val})
    _refuse([one for one in images if one in lists.voc and one not in maps], "label maps", voc / MASKS)
    _refuse([one for one in images if one not in lists.voc and one not in matlab], "label maps", sbd / "cls")
    _refuse([one for one in images if one not in pictures], "pictures", voc / "JPEGImages")


def _names(folder: Location, suffix: str) -> set[str]:
    return {path.name.removesuffix(suffix) for path in folder.glob(f"*{suffix}")}


def _refuse(missing: Sequence[str], what: str, folder: Location) -> None:
    if missing:
        told = first_of(missing, _NAMED)
        raise UsageError(
            f"has no {what} of {len(missing):,} images of the lists ({told})", where=folder, remedy="complete it"
        )


def _write(
    lists: SegmentationLists, voc: Location, sbd: Location, at: Workplace
) -> StageResult[SegmentationListSummary]:
    images = sorted({*lists.train, *lists.val})
    jobs = [images[first : first + _OF_A_JOB] for first in range(0, len(images), _OF_A_JOB)]
    receipts: list[Receipt] = []
    for written in at.engine.mapper(functools.partial(_write_maps, lists.voc, voc, sbd, at.out / MASKS), jobs):
        receipts += written
        at.engine.progress(len(written))
    for name, listed in (("train.txt", lists.train), ("val.txt", lists.val)):
        receipts.append(write_bytes(at.out / name, "".join(f"{image}\n" for image in listed).encode()))
    of_voc = len(lists.voc & frozenset(lists.train))
    summary = SegmentationListSummary(len(lists.train), len(lists.val), of_voc, lists.left_out)
    return StageResult(tuple(receipts), summary)


def _write_maps(
    of_voc: frozenset[str], voc: Location, sbd: Location, out: Location, images: Sequence[str]
) -> list[Receipt]:
    return [write_bytes(out / f"{image}.png", content) for image, content in _maps(of_voc, voc, sbd, images)]


def _maps(of_voc: frozenset[str], voc: Location, sbd: Location, images: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Yield images with their label maps as PNGs; VOC's are checked and copied as they are."""
    with sbd_reader() as read_sbd:
        for image in images:
            is_of_voc = image in of_voc
            path = voc / MASKS / f"{image}.png" if is_of_voc else sbd / "cls" / f"{image}.mat"
            label_map = read_label_map(path, len(VOC_CLASSES)) if is_of_voc else read_sbd(path)
            _check_size(label_map, path, [voc / "JPEGImages" / f"{image}.jpg", sbd / "img" / f"{image}.jpg"])
            yield image, path.read_bytes() if is_of_voc else png_of(label_map)


def _check_size(label_map: LabelMap, path: Location, pictures: Sequence[Location]) -> None:
    """Raise a `DataError` if a label map is not as large as its picture, the first of `pictures` that there is."""
    picture = next(one for one in pictures if one.is_file())
    width, height = size_of(read_file(picture))
    if math.isnan(width):
        raise DataError("is no picture that can be read", where=picture, remedy="obtain it again")
    if label_map.shape != (height, width):
        what = f"it has {label_map.shape[1]} x {label_map.shape[0]} pixels, but {picture} {width:g} x {height:g}"
        raise DataError(what, where=path, remedy="obtain both again")
