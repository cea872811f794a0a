"""Write the packaged sample of COCO's complete labels.

    python scripts/build_coco_sample.py train_full.txt classes.tsv

The list has an image's file name, a comma, and class numbers on each line; the class file has COCO's name first on each
line, tab-separated, and a class's number is its line's, from 0 (as for `coco_annotations.py`). Of the images, those
whose names have the lowest SHA-256 are taken, so the sample does not depend on the order of the list.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import itertools
from pathlib import Path

import click
from coco_annotations import annotation_rows

SAMPLE = Path(__file__).resolve().parent.parent / "mlimages_dataset" / "samples" / "coco.csv.gz"
N_IMAGES = 5_000


def sample_csv(images: dict[str, list[str]]) -> str:
    """Return the sampled images with their labels, separated by bars, ascending by image."""
    chosen = sorted(images, key=lambda name: hashlib.sha256(name.encode()).digest())[:N_IMAGES]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("image_id", "label"))
    writer.writerows((name.removesuffix(".jpg"), "|".join(images[name])) for name in sorted(chosen))
    return text.getvalue()


@click.command()
@click.argument("images", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("classes", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def main(images: Path, classes: Path) -> None:
    """Write the sample into the package."""
    names = [line.split("\t")[0] for line in classes.read_text("utf-8").splitlines() if line]
    with images.open(encoding="utf-8") as lines:
        grouped = itertools.groupby(annotation_rows(lines, names), key=lambda row: row[0])
        labels = {name: [label for _, label in rows] for name, rows in grouped}
    SAMPLE.write_bytes(gzip.compress(sample_csv(labels).encode(), mtime=0))


if __name__ == "__main__":
    main()
