"""The stage that finds copies: lists of copies and of leaks between splits, and labels without copies."""

from __future__ import annotations

import collections
import contextlib
import functools
import hashlib
import operator
import re
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from mlimages_dataset.core.documents import written_csv
from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.core.locations import relative
from mlimages_dataset.images.check import inspect
from mlimages_dataset.images.duplicates import (
    Fingerprints,
    HashTolerance,
    alike_pairs,
    distances,
    exact_groups,
    groups_of,
    picture_hashes,
)
from mlimages_dataset.images.index import ImageIndex, image_parts, saved_rows, stored_picture
from mlimages_dataset.images.lookup import Lookup, store_inputs
from mlimages_dataset.images.merging import ImageLabels, labels_of, merged, with_labels
from mlimages_dataset.images.shards import ShardReader
from mlimages_dataset.images.subset_stage import LABELS_FOLDER, label_folders
from mlimages_dataset.images.verification import MOST_CLASSES
from mlimages_dataset.pipeline.engine import unreported
from mlimages_dataset.pipeline.records import StageResult
from mlimages_dataset.pipeline.stage import Stage
from mlimages_dataset.tables.batches import label_batches
from mlimages_dataset.tables.files import Receipt, write_bytes
from mlimages_dataset.tables.label_columns import array_of
from mlimages_dataset.tables.parquet import TableWriter, scan_table, schema_of, table_digests, table_parts, table_writer
from mlimages_dataset.tables.schemas import ANNOTATIONS, LABELS, PREDICTIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.engine import Mapper
    from mlimages_dataset.pipeline.stage import Workplace
    from mlimages_dataset.tables.files import Inputs
    from mlimages_dataset.tables.schemas import TableSchema

COPIES_FILE = "duplicates.csv"
LEAKAGE_FILE = "leakage.csv"
_PICTURES_OF_JOB = 4096
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Copies:
    """The pictures of a folder, in groups of copies.

    Attributes:
        prints: the digests and hashes that the groups follow from.
        pixels: of each picture, int64, shape (N,).
        group: the number of each picture's group, int64, shape (N,).
        same_bytes: the first picture with the same bytes, int64, shape (N,).
    """

    prints: Fingerprints
    pixels: NDArray[np.int64]
    group: NDArray[np.int64]
    same_bytes: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Part:
    prints: Fingerprints
    pixels: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class DuplicatesSummary:
    """What was found.

    Attributes:
        images: pictures that were compared.
        groups: groups of copies.
        copies: pictures that are copies of others.
        copies_of_equal_bytes: those with the bytes of another.
        without_perceptual_hash: pictures compared by their bytes only.
        splits: of the labels.
        leaking_images: pictures with a copy in another split.
        label_rows_merged_away: label rows merged into those of copies; None where that was not asked for.
    """

    images: int
    groups: int
    copies: int
    copies_of_equal_bytes: int
    without_perceptual_hash: int
    splits: tuple[str, ...]
    leaking_images: int
    label_rows_merged_away: int | None = None

    def lines(self) -> list[str]:
        """Return the counts as lines."""
        texts = {
            "images": "pictures",
            "copies": "of them are copies of others",
            "groups": "groups of copies",
            "copies_of_equal_bytes": "copies of equal bytes",
            "without_perceptual_hash": "pictures compared by their bytes only",
            "leaking_images": "pictures with a copy in another split",
            "label_rows_merged_away": "label rows merged into those of copies",
        }
        counts = {name: getattr(self, name) for name in texts}
        return [f"{n:>12,}  {texts[name]}" for name, n in counts.items() if n is not None]


def duplicates_stage(
    images: Location,
    *,
    labels: Location | None = None,
    tolerance: HashTolerance | None = None,
    merge: bool = False,
) -> Stage[DuplicatesSummary]:
    """Return the stage that finds the copies among the pictures of a folder, and writes lists of them.

    It writes `duplicates.csv` with a row for each picture that has a copy. With labels it also writes `leakage.csv`
    with the pictures that have a copy in another split, and with `merge` the label table with merged copies, in
    `labels/`.

    Args:
        images: folder of images.
        labels: folder of a label table, whose sub-folders are its splits.
        tolerance: how much the hashes of copies may differ; None for equal bytes only.
        merge: write the label table with one row for all copies of a picture.

    Raises:
        UsageError, DataError: a table or shard is missing or damaged; or there are no labels to merge.
    """
    if merge and labels is None:
        raise UsageError("there are no labels to merge", remedy="pass --labels")
    inputs = store_inputs(images)
    if labels is not None:
        inputs |= table_digests("labels", labels)

    def work(at: Workplace) -> StageResult[DuplicatesSummary]:
        copies = find_copies(images, tolerance, mapper=at.engine.mapper, progress=at.engine.progress)
        index = Lookup(images)
        if isinstance(index.store, ImageIndex):
            index.store.refuse_other_rows(len(copies.prints))
        return write_copies(copies, index, at, labels, merge=merge)

    return Stage(
        name="duplicates",
        parameters={"likeness": None if tolerance is None else asdict(tolerance), "merge": merge},
        inputs=inputs,
        work=work,
        summary=DuplicatesSummary,
        folders=("", *(label_folders(labels) if merge else ())),
    )


def find_copies(
    images: Location,
    tolerance: HashTolerance | None,
    *,
    mapper: Mapper = map,
    progress: Callable[[int], None] = unreported,
) -> Copies:
    """Return the groups of copies among the pictures of a store, in its order."""
    perceptual = tolerance is not None
    jobs: list[Callable[[], _Part]]
    if ImageIndex.recognises(images):
        look = functools.partial(_fingerprints, folder=images.absolute(), perceptual=perceptual)
        jobs = [functools.partial(look, part) for part in image_parts(images)]
    else:
        theirs = functools.partial(_fingerprints_of, Lookup(images.absolute()), perceptual=perceptual)
        jobs = [functools.partial(theirs, first) for first in range(0, len(Lookup(images)), _PICTURES_OF_JOB)]
    parts: list[_Part] = []
    for part in mapper(operator.call, jobs):
        parts.append(part)
        progress(len(part.prints))
    prints = Fingerprints.joined([part.prints for part in parts])
    same_bytes = exact_groups(prints)
    exact = np.stack([same_bytes, np.arange(len(prints))], axis=1)
    pairs = exact if tolerance is None else np.concatenate([exact, alike_pairs(prints, tolerance)])
    pixels = np.concatenate([part.pixels for part in parts])
    return Copies(prints, pixels, groups_of(len(prints), pairs), same_bytes)


def _fingerprints(part: str, *, folder: Location, perceptual: bool) -> _Part:
    """Return the fingerprints and the pixels of a part's saved pictures.

    Raises:
        DataError: the digest of a row is none, or not that of its picture, which is read for perceptual hashes only.
    """
    reader = ShardReader(folder)
    digests, pixels, hashes = [], [], []
    for row in saved_rows(folder / part):
        if not _DIGEST.fullmatch(row["digest"]):
            raise DataError(
                f"the digest of {row['image_id']} is {row['digest']!r}, which is none",
                where=folder / part,
                remedy="run mlimages-build images verify",
            )
        digests.append(row["digest"])
        pixels.append(row["width"] * row["height"])
        hashes.append(_hashes(stored_picture(reader, row)) if perceptual else None)
    return _part(digests, pixels, hashes)


def _fingerprints_of(lookup: Lookup, first: int, *, perceptual: bool) -> _Part:
    """Return the fingerprints and the pixels of the pictures of others' store from the first on."""
    digests, pixels, hashes = [], [], []
    for k, content in lookup.contents(np.arange(first, min(first + _PICTURES_OF_JOB, len(lookup)))):
        # One that cannot be read is alike to none.
        unlike = f"{lookup.store.image_id(k)} cannot be read".encode()
        digests.append(hashlib.sha256(unlike if content is None else content).hexdigest())
        found = inspect(content or b"", decode=False)
        pixels.append(max(0, found.width) * max(0, found.height))
        hashes.append(_hashes(content) if perceptual and content is not None else None)
    return _part(digests, pixels, hashes)


def _part(digests: Sequence[str], pixels: Sequence[int], hashes: Sequence[tuple[int, int] | None]) -> _Part:
    known = np.array([found is not None for found in hashes], np.bool_)
    both = np.array([found or (0, 0) for found in hashes], np.uint64).reshape(-1, 2)
    prints = Fingerprints(np.array([int(one[:16], 16) for one in digests], np.uint64), both[:, 0], both[:, 1], known)
    return _Part(prints, np.array(pixels, np.int64))


def _hashes(content: bytes) -> tuple[int, int] | None:
    """Return a picture's hashes; None if it has none or cannot be decoded."""
    try:
        return picture_hashes(content)
    except Exception:  # noqa: BLE001 - decoders raise exceptions of every kind; images verify lists such pictures
        return None


def write_copies(
    copies: Copies, index: Lookup, at: Workplace, labels: Location | None, *, merge: bool
) -> StageResult[DuplicatesSummary]:
    """Write the lists of copies and the merged labels; see `duplicates_stage`."""
    out, inputs = at.out, at.inputs
    splits = [] if labels is None else sorted({relative(part.parent, labels) for part in table_parts(labels)})
    in_split = np.zeros((len(splits), len(index)), np.bool_)
    if labels is not None:
        for part in table_parts(labels):
            for batch in scan_table(part, _schema_of(part), columns=["image_id"]):
                rows = index.rows_of(batch.column("image_id"))
                in_split[splits.index(relative(part.parent, labels)), rows[rows >= 0]] = True
    listed = np.flatnonzero(_shared(copies.group, np.ones(len(index), np.bool_)))
    leaking = np.flatnonzero(_leaking(copies.group, in_split))
    receipts = [write_bytes(out / COPIES_FILE, _lines(copies, index, splits, in_split, listed))]
    if len(splits) > 1:
        receipts.append(write_bytes(out / LEAKAGE_FILE, _lines(copies, index, splits, in_split, leaking)))
    n_groups = len(np.unique(copies.group[listed]))
    summary = DuplicatesSummary(
        images=len(index),
        groups=n_groups,
        copies=len(listed) - n_groups,
        copies_of_equal_bytes=int(np.count_nonzero(copies.same_bytes != np.arange(len(index)))),
        without_perceptual_hash=int(np.count_nonzero(~copies.prints.hashed)),
        splits=tuple(splits),
        leaking_images=len(leaking),
    )
    if merge and labels is not None:
        rows_before = rows_after = 0
        for split, members in zip(splits, in_split, strict=True):
            for receipt, before in _merged_parts(
                labels, split, out / LABELS_FOLDER, copies, members=members, index=index, inputs=inputs
            ):
                receipts += [] if receipt is None else [receipt]
                rows_before += before
                rows_after += 0 if receipt is None else receipt.rows
        summary = replace(summary, label_rows_merged_away=rows_before - rows_after)
    return StageResult(tuple(receipts), summary)


def _shared(group: NDArray[np.int64], among: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return whether the group of each picture has several members among some pictures, bool, shape (N,)."""
    several = np.bincount(group[among], minlength=int(group.max(initial=0)) + 1) > 1
    return np.asarray(several[group])


def _leaking(group: NDArray[np.int64], in_split: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return whether each picture is in a split, and it or a copy in another split, bool, shape (N,)."""
    n_splits = np.zeros(int(group.max(initial=0)) + 1, np.int64)
    for members in in_split:
        n_splits[np.unique(group[members])] += 1
    return np.asarray((n_splits[group] > 1) & in_split.any(axis=0))


def _kept(copies: Copies, preferred: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the kept picture of each group, int64: preferred ones first, then the most pixels, then the first."""
    order = np.lexsort((np.arange(len(copies.group)), -copies.pixels, ~preferred, copies.group))
    return np.asarray(order[np.unique(copies.group[order], return_index=True)[1]], np.int64)


def _lines(
    copies: Copies, index: Lookup, splits: list[str], in_split: NDArray[np.bool_], rows: NDArray[np.int64]
) -> bytes:
    """Return some pictures as CSV, group by group, the kept picture first."""
    kept = _kept(copies, np.any(in_split, axis=0))[copies.group[rows]] if len(rows) else rows
    bits = distances(copies.prints.frequencies[rows], copies.prints.frequencies[kept])
    order = np.lexsort((rows, rows != kept, copies.group[rows]))
    lines: list[tuple[object, ...]] = [("group", "image_id", "likeness", "different_bits", "pixels", "splits")]
    for at in order:
        row, original = rows[at], kept[at]
        same = copies.same_bytes[row] == copies.same_bytes[original]
        likeness = "kept" if row == original else "same bytes" if same else "alike"
        names = " ".join(split for split, members in zip(splits, in_split, strict=True) if members[row])
        lines.append((copies.group[row], index.store.image_id(row), likeness, bits[at], copies.pixels[row], names))
    return written_csv(lines).encode()


def _merged_parts(
    labels: Location,
    split: str,
    out: Location,
    copies: Copies,
    *,
    members: NDArray[np.bool_],
    index: Lookup,
    inputs: Inputs,
) -> Iterator[tuple[Receipt | None, int]]:
    """Write the parts of one split with copies merged; yield each part's receipt and its number of rows before."""
    parts = [part for part in table_parts(labels) if relative(part.parent, labels) == split]
    group = np.where(_shared(copies.group, members), copies.group, -1)
    found: dict[int, list[ImageLabels]] = collections.defaultdict(list)
    for part in parts:
        for batch, columns in label_batches(part, MOST_CLASSES):
            for at, of_row in _copied_rows(batch, index, group):
                found[of_row].append(labels_of(columns, at))
    kept = _kept(copies, members)
    for part in parts:
        rows = 0
        with contextlib.ExitStack() as stack:
            writer: TableWriter | None = None
            for batch, columns in label_batches(part, MOST_CLASSES):
                rows += batch.num_rows
                stays = np.ones(batch.num_rows, np.bool_)
                replaced: dict[int, ImageLabels] = {}
                index_rows = index.rows_of(batch.column("image_id"))
                for at, of_row in _copied_rows(batch, index, group):
                    # If an image has several rows, the first gets all labels.
                    stays[at] = index_rows[at] == kept[of_row] and of_row in found
                    if stays[at]:
                        replaced[at] = merged(found.pop(of_row))
                table = pa.Table.from_batches([batch])
                together = array_of(with_labels(columns, replaced))
                table = table.set_column(len(batch.columns) - 1, table.schema.field("labels"), together)
                remaining = table.filter(pa.array(stays))
                if remaining.num_rows and writer is None:
                    writer = stack.enter_context(table_writer(out / relative(part, labels), _schema_of(part), inputs))
                if writer is not None:
                    writer.write(remaining)
        yield (None if writer is None else writer.receipt), rows


def _copied_rows(batch: pa.RecordBatch, index: Lookup, group: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Yield row and group of the rows of a batch whose picture has copies; `group` is -1 for other pictures."""
    rows = index.rows_of(batch.column("image_id"))
    groups = np.where(rows >= 0, group[rows], -1) if len(group) else np.full(len(rows), -1)
    for at in np.flatnonzero(groups >= 0):
        yield int(at), int(groups[at])


def _schema_of(part: Location) -> TableSchema:
    return schema_of(part, (LABELS, ANNOTATIONS, PREDICTIONS))
