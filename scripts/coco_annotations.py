"""Write a list of completely annotated images as the CSV that `mlimages-build annotate` reads, and its classes.

    python scripts/coco_annotations.py train_full.txt classes_80_wn30.tsv --out coco

The list has an image's file name, a comma, and class numbers separated by spaces on each line; the class file has a
name and a WordNet 3.0 id, tab-separated, on each line, and a class's number is its line's, from 0.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


def annotation_rows(lines: Iterable[str], wnids: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield (image_id, wnid) of each label in the list.

    Raises:
        click.ClickException: A line is no file name and class numbers, or a number has no class.
    """
    for number, line in enumerate(lines, 1):
        image, comma, classes = line.strip().partition(",")
        if not comma:
            raise click.ClickException(f"Line {number}: {line.strip()[:60]!r} has no comma behind a file name.")
        for word in classes.split():
            if not word.isdecimal() or int(word) >= len(wnids):
                raise click.ClickException(f"Line {number}: {word!r} is no class number below {len(wnids)}.")
            yield image.strip(), wnids[int(word)]


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a header and rows."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


@click.command()
@click.argument("images", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("classes", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True)
def main(images: Path, classes: Path, out: Path) -> None:
    """Write OUT/annotations.csv and OUT/classes.csv."""
    named = [line.split("\t") for line in classes.read_text("utf-8").splitlines() if line]
    out.mkdir(parents=True, exist_ok=True)
    write_csv(out / "classes.csv", ("id", "name"), [(wnid, name) for name, wnid in named])
    with images.open(encoding="utf-8") as lines:
        write_csv(out / "annotations.csv", ("image_id", "label"), annotation_rows(lines, [wnid for _, wnid in named]))


if __name__ == "__main__":
    main()
