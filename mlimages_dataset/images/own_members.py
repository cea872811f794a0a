"""The saved pictures of a folder of shards that we wrote, as members of a source: under their ids, not their keys."""

from __future__ import annotations

import csv
import functools
import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.core.listed import first_of
from mlimages_dataset.core.locations import system_errors
from mlimages_dataset.images.check import Inspection
from mlimages_dataset.images.index import ImageIndex, image_parts, saved_rows, stored_picture
from mlimages_dataset.images.members import Member, held
from mlimages_dataset.images.statuses import Status
from mlimages_dataset.pipeline.records import read_manifest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from mlimages_dataset.core.locations import Location

LABELS_FILE = "labels.csv"
"""The labels that the sources themselves state, for `mlimages-build annotate --format csv`."""
CAPTIONS_FILE = "captions.csv"
"""The captions beside pictures: the columns image_id and caption."""
LABELS_HEADER = ("image_id", "label", "confidence")
CAPTIONS_HEADER = ("image_id", "caption")
_IMAGES = "images"
_LISTED = 3


def holds_own_images(folder: Location) -> bool:
    """Return whether we wrote a folder, and finished pictures into it."""
    try:
        return ImageIndex.recognises(folder) and bool(image_parts(folder))
    except (UsageError, DataError):  # another's manifest, or of another stage
        return False


def refuse_no_pictures(folder: Location) -> None:
    """Raise `UsageError` for a folder that we wrote and that is none of pictures: a build, labels, an export.

    Its figures and tables would be read as pictures and what belongs to them.
    """
    try:
        stages = read_manifest(folder).stages
    except (UsageError, DataError):  # it has none, or another's
        return
    if not stages:
        return
    if not holds_own_images(folder / _IMAGES):
        what = f"holds no pictures, but what mlimages-build wrote: {first_of(stages, _LISTED)}"
        raise UsageError(what, where=folder, remedy="name the folder, archive or shards of the pictures themselves")
    raise UsageError("is a build, not a folder of pictures", where=folder, remedy=f"name {folder / _IMAGES}")


def own_members(folder: Location, *, most_bytes: int) -> Iterator[Member]:
    """Yield the saved pictures of a folder that `images ingest` or `download` wrote, with what it states of them.

    Labels and captions are those of its own files. Without a file of labels, the id tells the class as a path does.

    Raises:
        UsageError: it holds no finished images.
        DataError: a table, a shard or a file of labels is damaged.
    """
    store = ImageIndex.open(folder)
    labels, captions = _Lines(store, LABELS_FILE, LABELS_HEADER), _Lines(store, CAPTIONS_FILE, CAPTIONS_HEADER)
    rows = itertools.chain.from_iterable(saved_rows(folder / part) for part in image_parts(folder))
    for k, row in enumerate(rows):
        stated = None if labels.is_missing else tuple((name, float(number)) for name, number in labels.of(k))
        yield Member(
            row["image_id"],
            functools.partial(_content, store, row, most_bytes),
            labels=stated,
            captions=tuple(text for (text,) in captions.of(k)),
            masks=tuple((tag, held(content)) for tag, content in store.masks(k).items()),
        )


def _content(store: ImageIndex, row: Mapping[str, Any], most_bytes: int) -> bytes | Inspection:
    if row["bytes"] > most_bytes:
        return Inspection(Status.TOO_LARGE, f"{row['bytes']:,} bytes, more than {most_bytes:,}")
    try:
        return stored_picture(store.reader, row)
    except DataError as error:
        return Inspection(Status.BROKEN, error.what)


class _Lines:
    """The lines of a CSV file of a folder by the picture that their first column names.

    Attributes:
        is_missing: whether the folder has no such file.
    """

    def __init__(self, store: ImageIndex, name: str, header: tuple[str, ...]) -> None:
        path = store.folder / name
        self.is_missing = not path.is_file()
        lines = [] if self.is_missing else list(_rows(path, header))
        numbers = store.rows_of(pa.array([line[0] for line in lines], pa.string()))
        order = np.argsort(numbers, kind="stable")
        self._numbers: NDArray[np.int64] = numbers[order]
        self._lines = [lines[at][1:] for at in order]

    def of(self, k: int) -> list[tuple[str, ...]]:
        """Return the further columns of the lines of picture k."""
        first, end = np.searchsorted(self._numbers, [k, k + 1])
        return self._lines[first:end]


def _rows(path: Location, header: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield the rows of a CSV file behind its header.

    Raises:
        DataError: it has other columns, or a confidence that is no number.
    """
    with system_errors(path), path.open("r", encoding="utf-8", newline="") as stream:
        try:
            for number, row in enumerate(csv.reader(stream)):
                _check(row, header, is_header=number == 0)
                if number:
                    yield tuple(row)
        except (ValueError, csv.Error) as error:  # UnicodeDecodeError is a ValueError
            raise DataError(f"is damaged ({error})", where=path, remedy="obtain the folder again") from error


def _check(row: list[str], header: tuple[str, ...], *, is_header: bool) -> None:
    """Raise `ValueError` unless a row fits a header."""
    if len(row) != len(header) or (is_header and tuple(row) != header):
        raise ValueError(f"{row} stands where {', '.join(header)} should")
    if header is LABELS_HEADER and not is_header:
        float(row[-1])
