"""Small folders as VOC and ImageNet are kept, with pictures of noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from mlimages_dataset.sources.label_maps import VOC_CLASSES, png_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

CLASSES = VOC_CLASSES[1:]
SIDE = 64
Object = tuple[str, tuple[float, float, float, float]]


def write_picture(path: Path, seed: int = 0) -> None:
    """Write a picture of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (SIDE, SIDE, 3), np.uint8)).save(path)


def write_described(year: Path, image: str, objects: Iterable[Object]) -> None:
    """Write a picture of a year and its file of objects."""
    write_picture(year / "JPEGImages" / f"{image}.jpg")
    (year / "Annotations").mkdir(exist_ok=True)
    boxes = "".join(
        f"<object><name>{name}</name><difficult>0</difficult><bndbox>"
        + "".join(
            f"<{side}>{value:g}</{side}>" for side, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
        )
        + "</bndbox></object>"
        for name, box in objects
    )
    size = f"<size><width>{SIDE}</width><height>{SIDE}</height><depth>3</depth></size>"
    xml = f"<annotation><filename>{image}.jpg</filename>{size}{boxes}</annotation>"
    (year / "Annotations" / f"{image}.xml").write_text(xml, encoding="utf-8")


def write_set(year: Path, name: str, images: Sequence[str], kind: str = "Main") -> None:
    """Write an image set of a year."""
    path = year / "ImageSets" / kind / f"{name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{image}\n" for image in images), encoding="utf-8")


def write_kit(folder: Path) -> Path:
    """Write a VOCdevkit: an object of each class in 2007's and 2012's trainval and in 2007's test; and return it."""
    kit = folder / "VOCdevkit"
    box = (8.0, 8.0, 40.0, 48.0)
    for year, sets in (("VOC2007", ("trainval", "test")), ("VOC2012", ("trainval",))):
        for number, name in enumerate(sets):
            images = [f"{number}000{k:02}" for k in range(len(CLASSES) // 2)]
            for k, image in enumerate(images):
                write_described(kit / year, image, [(CLASSES[2 * k], box), (CLASSES[2 * k + 1], box)])
            write_set(kit / year, name, images)
    write_described(kit / "VOC2012", "unused", [("head", box)])
    return kit


def write_maps(kit: Path, training: Sequence[str], measured: Sequence[str]) -> Path:
    """Write pictures with label maps into a kit's year 2012 and return the year's folder."""
    year = kit / "VOC2012"
    (year / "SegmentationClass").mkdir(parents=True, exist_ok=True)
    for number, image in enumerate((*training, *measured)):
        write_picture(year / "JPEGImages" / f"{image}.jpg", number)
        label_map = np.full((SIDE, SIDE), number % 21, np.uint8)
        (year / "SegmentationClass" / f"{image}.png").write_bytes(png_of(label_map))
    write_set(year, "train", training, "Segmentation")
    write_set(year, "val", measured, "Segmentation")
    return year


def write_imagenet(folder: Path, wnids: Sequence[str], n_images: int = 2) -> Path:
    """Write folders of pictures by wnid, under train and val."""
    for split in ("train", "val"):
        for number, wnid in enumerate(wnids):
            for k in range(n_images):
                name = f"{wnid}_{k}.JPEG" if split == "train" else f"ILSVRC2012_val_{number:04}{k:04}.JPEG"
                write_picture(folder / split / wnid / name, number)
    return folder
