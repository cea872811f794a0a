"""Write the packaged class lists of ImageNet and Open Images from the packages that publish them.

    python scripts/build_class_lists.py timm-*.whl tensorflow_datasets-*.whl openimages.names

The wheels are those of timm (1.0.31) and tensorflow-datasets (4.9.10) on PyPI; `openimages.names` lies in
`/usr/share/darknet/data` of Debian's package darknet (0.0.0+git20180914).
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from itertools import pairwise
from pathlib import Path

import click

IMAGENET_11K = "timm/data/_info/imagenet21k_miil_synsets.txt"
IMAGENET_FALL_2011 = "timm/data/_info/imagenet22k_synsets.txt"
OPEN_IMAGES_BOXABLE = "tensorflow_datasets/object_detection/open_images_classes_boxable.txt"

N_IMAGENET_11K = 11_221
N_IMAGENET_FALL_2011 = 21_841
N_OPEN_IMAGES_BOXABLE = 601

# Both Open Images lists were sorted by a locale that ignores punctuation, but one as bare mids and the other as lines
# "mid,name": "09f2" < "09f20", yet "09f20Hippopotamus" < "09f2Crocodile". This is the one pair where it matters.
LAST_BY_NAME, FIRST_BY_NAME = "/m/09f_2", "/m/09f20"

DATA = Path(__file__).resolve().parent.parent / "mlimages_dataset" / "vocab" / "data"


def lines_in_wheel(wheel: Path, member: str) -> list[str]:
    """Return the lines of a text file in a wheel, blank ones left out."""
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read(member).decode("utf-8")
    return [line.strip() for line in text.splitlines() if line.strip()]


def distinct(lines: list[str], pattern: str, count: int) -> list[str]:
    """Return the lines as they are, once they are known to be `count` distinct ids.

    Raises:
        click.ClickException: A line is no id, is repeated, or the list has another length than its publisher gives.
    """
    for line in lines:
        if not re.fullmatch(pattern, line):
            raise click.ClickException(f"{line!r} does not look like {pattern}: is this the right package?")
    if len(set(lines)) != count or len(lines) != count:
        raise click.ClickException(f"{len(lines)} lines with {len(set(lines))} distinct ids instead of {count} each.")
    return lines


def name_order(mids: list[str]) -> list[str]:
    """Return the mids in the order in which the list of names was sorted."""
    exchanged = {LAST_BY_NAME: FIRST_BY_NAME, FIRST_BY_NAME: LAST_BY_NAME}
    return [exchanged.get(mid, mid) for mid in mids]


def named_classes(mids: list[str], names: list[str]) -> list[tuple[str, str]]:
    """Return (mid, name) pairs, by mid, from two lists that were sorted apart.

    Raises:
        click.ClickException: The lists differ in length, or the pairs are not in the order in which the names were
            sorted, so that some name would stand beside a wrong mid.
    """
    if len(mids) != len(names):
        raise click.ClickException(f"{len(names)} names for {len(mids)} mids: these lists do not belong together.")
    pairs = list(zip(name_order(mids), names, strict=True))
    for above, below in pairwise(pairs):
        if collation_key(*above) > collation_key(*below):
            raise click.ClickException(f"{above} is sorted behind {below}: mids and names are out of step.")
    return sorted(pairs)


def collation_key(mid: str, name: str) -> str:
    """Return what a locale that ignores punctuation and case compares of the line `mid,name`."""
    return re.sub(r"[\W_]", "", mid + name).casefold()


def csv_text(rows: list[tuple[str, str]]) -> str:
    """Return the rows as CSV with the header of Open Images' class descriptions."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("LabelName", "DisplayName"))
    writer.writerows(rows)
    return text.getvalue()


def write_lines(path: Path, lines: list[str]) -> None:
    """Write the lines, sorted, one a line."""
    path.write_text("".join(f"{line}\n" for line in sorted(lines)), encoding="utf-8", newline="\n")


@click.command()
@click.argument("timm_wheel", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("tfds_wheel", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("boxable_names", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--out", default=DATA, show_default=True, type=click.Path(file_okay=False, path_type=Path))
def main(timm_wheel: Path, tfds_wheel: Path, boxable_names: Path, out: Path) -> None:
    """Write the packaged class lists from timm, tensorflow-datasets and darknet."""
    wnid, mid = r"n\d{8}", r"/[mg]/[0-9a-z_]+"
    imagenet_11k = distinct(lines_in_wheel(timm_wheel, IMAGENET_11K), wnid, N_IMAGENET_11K)
    fall_2011 = distinct(lines_in_wheel(timm_wheel, IMAGENET_FALL_2011), wnid, N_IMAGENET_FALL_2011)
    mids = distinct(lines_in_wheel(tfds_wheel, OPEN_IMAGES_BOXABLE), mid, N_OPEN_IMAGES_BOXABLE)
    names = [name for name in boxable_names.read_text(encoding="utf-8").splitlines() if name]

    out.mkdir(parents=True, exist_ok=True)
    write_lines(out / "imagenet11k.txt", imagenet_11k)
    write_lines(out / "imagenet_fall2011.txt", fall_2011)
    boxable = csv_text(named_classes(mids, names))
    (out / "open_images_boxable.csv").write_text(boxable, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
