"""The stage that chooses a subset: its list, its label rows, and its pictures."""

from __future__ import annotations

import collections
import contextlib
import functools
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from mlimages_dataset.augment.splits import draws_of
from mlimages_dataset.core.ahead import ahead
from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.core.locations import folder_stays, relative
from mlimages_dataset.images.check import Inspection, inspect, suffix_of
from mlimages_dataset.images.index import ImageIndex, image_parts, stored_picture
from mlimages_dataset.images.lookup import Lookup, store_inputs
from mlimages_dataset.images.parts import (
    PART_IMAGES,
    ImagesSummary,
    PartCounts,
    WrittenPart,
    clear_shards,
    grouped,
    job_name,
    jobs_of,
    part_writer,
)
from mlimages_dataset.images.statuses import Status
from mlimages_dataset.images.subset import Candidates, Rows, Rules, chosen_images, subtree
from mlimages_dataset.images.verification import MOST_CLASSES
from mlimages_dataset.pipeline.engine import unreported
from mlimages_dataset.pipeline.folder import OutputFolder
from mlimages_dataset.pipeline.records import StageResult
from mlimages_dataset.pipeline.stage import Engine, Stage, Workplace, run
from mlimages_dataset.tables.batches import label_batches
from mlimages_dataset.tables.files import Receipt, digests, prefixed, whole_file
from mlimages_dataset.tables.parquet import (
    BATCH_ROWS,
    TableWriter,
    row_count,
    scan_table,
    schema_of,
    table_digests,
    table_parts,
    table_writer,
)
from mlimages_dataset.tables.schemas import ANNOTATIONS, IMAGES, LABELS, PREDICTIONS
from mlimages_dataset.vocab.folder import categories_file, read_vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.records import StageOutcome
    from mlimages_dataset.tables.files import Inputs
    from mlimages_dataset.tables.label_columns import LabelColumns

LIST_FILE = "images.csv"
"""The images of a subset and their URLs, as `mlimages-build images download` reads it."""

LABELS_FOLDER = "labels"
IMAGES_FOLDER = "images"

_LIST = pa.schema([("image_id", pa.string()), ("location", pa.string())])
_LINES = arrow_csv.ParseOptions(newlines_in_values=True)
_AS_TEXT = arrow_csv.ConvertOptions(column_types=_LIST, strings_can_be_null=False)


def choose_subset(
    out: Location,
    rules: Rules,
    *,
    labels: Location | None = None,
    images: Location | None = None,
    vocabulary: Location | None = None,
    shards: bool = False,
    overwrite: bool = False,
    progress: Callable[[int], None] = unreported,
) -> StageOutcome[SubsetSummary]:
    """Choose images from a label table, a folder of images, or both, and write them.

    Writes the list `images.csv` for `images download`, the chosen rows of the label table below `labels/`, and with
    `shards` the pictures into the folder of images `images/`.

    Args:
        out: the output folder.
        rules: which images are chosen.
        labels: folder of a `labels`, `annotations` or `predictions` table.
        images: folder of images; only its saved pictures are chosen.
        vocabulary: the folder of the labels' vocabulary, for names of categories.
        shards: copy the pictures too.
        overwrite: replace a subset by other rules or from other tables.
        progress: is called with the number of pictures copied.

    Raises:
        UsageError: a rule needs a table that is not given.
        UsageError, DataError: a table is missing or damaged.
    """
    _check_subset(rules, labels, images, vocabulary, shards=shards)
    pictures = {} if images is None else store_inputs(images)
    tables = {} if labels is None else table_digests("labels", labels)
    names = {} if vocabulary is None else prefixed("vocabulary", digests([categories_file(vocabulary)]))
    stage = Stage(
        name="subset",
        parameters={**asdict(rules), "under": list(rules.under)},
        inputs={**pictures, **tables, **names},
        work=lambda at: subset(rules, at, labels=labels, images=images, vocabulary=vocabulary),
        summary=SubsetSummary,
        folders=("", *label_folders(labels)),
    )
    chosen = OutputFolder(out, overwrite=overwrite)
    with chosen.held():
        outcome = run(stage, chosen)
        if images is not None and shards:
            if not folder_stays(chosen.path, IMAGES_FOLDER):
                place = chosen.path / IMAGES_FOLDER
                raise UsageError("is a link to a folder elsewhere", where=place, remedy="remove the link")
            copies = OutputFolder(chosen.path / IMAGES_FOLDER, overwrite=overwrite)
            run(copy_stage(chosen.path / LIST_FILE, images), copies, Engine(progress=progress))
    return outcome


@dataclass(frozen=True, slots=True)
class SubsetSummary:
    """What was chosen.

    Attributes:
        candidates: images that may be chosen.
        images: images that are chosen.
        bytes: size of their pictures.
        categories: categories with an image; None without labels.
        categories_below_minimum: those of them with fewer images than the minimum; None without labels.
    """

    candidates: int
    images: int
    bytes: int
    categories: int | None = None
    categories_below_minimum: int | None = None

    def lines(self) -> list[str]:
        """Return the counts that there are."""
        lines = [f"{self.images:>12,}  of {self.candidates:,} images"]
        if self.bytes:
            lines.append(f"{self.bytes / 1e6:>12,.1f}  MB of pictures")
        if self.categories is not None:
            lines.append(f"{self.categories:>12,}  categories with an image")
        if self.categories_below_minimum:
            lines.append(f"{self.categories_below_minimum:>12,}  of them with fewer than the minimum")
        return lines


def copy_stage(listed: Location, images: Location) -> Stage[ImagesSummary]:
    """Return the stage that copies listed pictures of a folder of images; its work is `copy_pictures`."""
    return Stage(
        name="subset",
        parameters={},
        inputs={**store_inputs(images), **digests([listed])},
        work=lambda at: copy_pictures(listed, images, at),
        summary=ImagesSummary,
        resumes=True,
        jobs_of=jobs_of,
    )


def _check_subset(
    rules: Rules, labels: Location | None, images: Location | None, vocabulary: Location | None, *, shards: bool
) -> None:
    needs = (
        (labels is None and images is None, "there is nothing to choose from", "pass --labels, --images or both"),
        (labels is None and (rules.by_category or rules.under), "categories need labels", "pass --labels"),
        (images is None and rules.bytes is not None, "sizes are known only of saved pictures", "pass --images"),
        (images is None and shards, "there are no pictures to copy", "pass --images"),
        (vocabulary is None and rules.under, "--under needs the vocabulary of the labels", "pass --vocab"),
    )
    for missing, what, remedy in needs:
        if missing:
            raise UsageError(what, remedy=remedy)


def subset(
    rules: Rules, at: Workplace, *, labels: Location | None, images: Location | None, vocabulary: Location | None
) -> StageResult[SubsetSummary]:
    """Write the list and the label rows of the images that rules choose; see `choose_subset`."""
    index = None if images is None else Lookup(images)
    allowed = subtree(read_vocabulary(vocabulary), rules.under) if vocabulary is not None and rules.under else None
    draws, summary = _chosen(rules, labels, index, allowed)
    receipts: list[Receipt] = []
    with whole_file(at.out / LIST_FILE) as sink, arrow_csv.CSVWriter(pa.PythonFile(sink, mode="w"), _LIST) as lines:
        listed = _Listed(lines, draws)
        if labels is None:
            assert index is not None
            for ids in _ids_of(index):
                listed.add(ids, pa.array([""] * len(ids)), draws_of(ids, rules.salt))
        else:
            for part in table_parts(labels):
                receipts += _chosen_part(
                    part, at.out / LABELS_FOLDER / relative(part, labels), rules, listed, at.inputs
                )
    receipts.append(Receipt(at.out / LIST_FILE, -1, sink.size, sink.digest.hexdigest(), ""))
    return StageResult(tuple(receipts), summary)


def _chosen(
    rules: Rules, labels: Location | None, index: Lookup | None, allowed: NDArray[np.bool_] | None
) -> tuple[NDArray[np.uint64], SubsetSummary]:
    """Return the draws of the images that rules choose, ascending, uint64, and their counts.

    Raises:
        UsageError: none is chosen.
    """
    if labels is not None:
        parts = table_parts(labels)
        read = _LabelledRows(parts, rules, index, allowed)
        candidates = Candidates.of(read, sum(row_count(part) for part in parts))
    else:
        assert index is not None
        candidates = Candidates.of(functools.partial(_indexed_rows, index, rules), len(index))
    chosen = chosen_images(rules, candidates)
    if not len(chosen):
        raise UsageError(
            f"none of {len(candidates.draws):,} images is chosen", remedy="allow a larger budget, or check the tables"
        )
    summary = SubsetSummary(len(candidates.draws), len(chosen), int(candidates.sizes[chosen].sum()))
    if candidates.categories is not None:
        of_class = candidates.categories.counts(chosen)
        below = np.count_nonzero((of_class < rules.min_per_category) & (of_class > 0))
        summary = replace(summary, categories=int(np.count_nonzero(of_class)), categories_below_minimum=int(below))
    return np.sort(candidates.draws[chosen]), summary


class _LabelledRows:
    """Reads the rows of a label table that have an allowed label and, if an index is given, a saved picture."""

    def __init__(
        self, parts: Sequence[Location], rules: Rules, index: Lookup | None, allowed: NDArray[np.bool_] | None
    ) -> None:
        self._parts = parts
        self._rules = rules
        self._index = index
        self._allowed = allowed
        self._rows: list[NDArray[np.int32]] = []
        """Of each batch, the numbers of its pictures in the index: found once."""

    def __call__(self) -> Iterator[Rows]:
        """Yield the rows."""
        n_classes = MOST_CLASSES if self._allowed is None else len(self._allowed)
        batches = (pair for part in self._parts for pair in label_batches(part, n_classes, columns=["image_id"]))
        for number, (batch, columns) in enumerate(ahead(batches)):
            yield self._chosen(number, batch.column("image_id"), columns.only(columns.confidence > 0))

    def _chosen(self, number: int, image_ids: pa.StringArray, labels: LabelColumns) -> Rows:
        possible = np.ones(len(labels), np.bool_)
        sizes = None
        if self._allowed is not None:
            labels = labels.only(self._allowed[labels.class_index])
            possible &= np.diff(labels.offsets) > 0
        if self._index is not None:
            if number == len(self._rows):
                self._rows.append(self._index.rows_of(image_ids).astype(np.int32))
            rows = self._rows[number]
            possible &= rows >= 0
            sizes = self._index.sizes[rows[possible]]
        counts, classes, draws = np.diff(labels.offsets), labels.class_index, draws_of(image_ids, self._rules.salt)
        if not possible.all():
            counts, classes, draws = counts[possible], classes[np.repeat(possible, counts)], draws[possible]
        return Rows(draws, sizes, (counts, classes) if self._rules.by_category else None)


def _indexed_rows(index: Lookup, rules: Rules) -> Iterator[Rows]:
    first = 0
    for ids in _ids_of(index):
        yield Rows(draws_of(ids, rules.salt), index.sizes[first : first + len(ids)])
        first += len(ids)


def _ids_of(index: Lookup) -> Iterator[pa.StringArray]:
    """Yield the ids of an index in batches."""
    for first in range(0, len(index), BATCH_ROWS):
        yield index.store.image_ids.slice(first, BATCH_ROWS).cast(pa.string())


class _Listed:
    """Writes ids and locations of the chosen images, each image once; `draws` are their draws, ascending."""

    def __init__(self, lines: arrow_csv.CSVWriter, draws: NDArray[np.uint64]) -> None:
        self._lines = lines
        self._draws = draws
        self._done = np.zeros(len(draws), np.bool_)

    def add(self, image_ids: pa.StringArray, locations: pa.StringArray, draws: NDArray[np.uint64]) -> pa.BooleanArray:
        """Write the chosen images of a batch that are not written yet; return which images are chosen."""
        at = np.searchsorted(self._draws, draws).clip(max=len(self._draws) - 1)
        chosen = self._draws[at] == draws
        rows = np.flatnonzero(chosen & ~self._done[at])
        new = np.sort(rows[np.unique(at[rows], return_index=True)[1]])
        self._done[at[new]] = True
        self._lines.write_batch(pa.record_batch([image_ids.take(new), locations.take(new)], schema=_LIST))
        return pa.array(chosen)


def _chosen_part(part: Location, path: Location, rules: Rules, listed: _Listed, inputs: Inputs) -> list[Receipt]:
    """Write the chosen rows of a part of a label table, if there are any, and list their images."""
    schema = schema_of(part, (LABELS, ANNOTATIONS, PREDICTIONS))
    with contextlib.ExitStack() as stack:
        writer: TableWriter | None = None
        for batch in ahead(scan_table(part, schema)):
            image_ids = batch.column("image_id")
            rows = batch.filter(listed.add(image_ids, batch.column("location"), draws_of(image_ids, rules.salt)))
            if rows.num_rows and writer is None:
                writer = stack.enter_context(table_writer(path, schema, inputs))
            if writer is not None:
                writer.write(rows)
    return [] if writer is None or writer.receipt is None else [writer.receipt]


def copy_pictures(listed: Location, images: Location, at: Workplace) -> StageResult[ImagesSummary]:
    """Copy the listed pictures of one folder of images into another, in the order of the former's rows.

    Raises:
        DataError: a picture's digest is not that of its row, or a listed picture is missing.
        UsageError: a shard cannot be read.
    """
    clear_shards(at.out, at.journal)
    index = Lookup(images)
    wanted = _listed_rows(listed, index)
    counts = PartCounts.empty()
    receipts: list[Receipt] = []
    for number, rows in enumerate(grouped(_wanted_pictures(images, index, wanted), PART_IMAGES)):
        copy = functools.partial(_copy_part, rows, number, at)
        part = at.journal.once(job_name(number), copy, WrittenPart)
        collections.deque(rows, maxlen=0)  # those of a part that was finished before
        counts += part.counts
        receipts += part.receipts
        at.engine.progress(part.counts.asked)
    return StageResult(tuple(receipts), counts.summary())


@dataclass(frozen=True, slots=True)
class _Picture:
    """A picture to copy: `read` returns its bytes, what it is, and its masks."""

    image_id: str
    read: Callable[[], tuple[bytes, Inspection, Mapping[str, bytes]]]


def _copy_part(pictures: Iterator[_Picture], number: int, at: Workplace) -> WrittenPart:
    with part_writer(at.out, number, at.inputs) as writer:
        for one in pictures:
            content, found, masks = one.read()
            if found.status is Status.SAVED:
                writer.save(one.image_id, content, found, masks)
            else:
                writer.refuse(one.image_id, found)
    return writer.written


def _listed_rows(listed: Location, index: Lookup) -> NDArray[np.bool_]:
    """Return whether each picture of an index is in a list, bool, shape (N,)."""
    wanted = np.zeros(len(index), np.bool_)
    with listed.open("rb") as stream, arrow_csv.open_csv(stream, parse_options=_LINES, convert_options=_AS_TEXT) as ids:
        for batch in ids:
            rows = index.rows_of(batch.column("image_id"))
            if len(missing := np.flatnonzero(rows < 0)):
                raise DataError(
                    f"names {batch.column('image_id')[int(missing[0])]}, which has no picture",
                    where=listed,
                    remedy="choose the subset again",
                )
            wanted[rows] = True
    return wanted


def _wanted_pictures(images: Location, index: Lookup, wanted: NDArray[np.bool_]) -> Iterator[_Picture]:
    """Yield the wanted pictures of a store; `wanted` has one value for each, bool, shape (N,)."""
    numbers = np.flatnonzero(wanted)
    if isinstance(index.store, ImageIndex):
        rows = _wanted_rows(images, index.store, wanted)
        for k, row in zip(numbers.tolist(), rows, strict=True):
            yield _Picture(row["image_id"], functools.partial(_ours, row, index.store, k))
    else:
        for k in numbers.tolist():
            yield _Picture(index.store.image_id(k), functools.partial(_theirs, index, k))


def _wanted_rows(images: Location, index: ImageIndex, wanted: NDArray[np.bool_]) -> Iterator[Mapping[str, Any]]:
    """Yield the wanted rows of a folder of ours; `wanted` has one value for each saved row, bool, shape (N,).

    Raises:
        DataError: its tables have other rows than the index.
    """
    first = 0
    for path in image_parts(images):
        for batch in scan_table(images / path, IMAGES):
            saved = batch.filter(pc.equal(batch.column("status"), Status.SAVED.value))
            chosen = wanted[first : first + saved.num_rows]
            first += saved.num_rows
            if len(chosen) < saved.num_rows:
                break
            yield from saved.filter(pa.array(chosen)).to_pylist()
    index.refuse_other_rows(first)


def _ours(row: Mapping[str, Any], store: ImageIndex, k: int) -> tuple[bytes, Inspection, Mapping[str, bytes]]:
    content = stored_picture(store.reader, row)
    found = Inspection(Status.SAVED, row["detail"], row["width"], row["height"], suffix_of(content))
    return content, found, store.masks(k)


def _theirs(index: Lookup, k: int) -> tuple[bytes, Inspection, Mapping[str, bytes]]:
    content = next(index.store.read_many(np.array([k])))
    if content is None:
        return b"", Inspection(Status.BROKEN, index.why_not_read(k)), {}
    found = inspect(content)
    return content, found, index.store.masks(k) if found.status is Status.SAVED else {}


def label_folders(labels: Location | None) -> list[str]:
    """Return the folders, relative to an output folder, in which parts of a label table are written."""
    if labels is None:
        return []
    inside = {relative(part.parent, labels) for part in table_parts(labels)}
    return sorted(LABELS_FOLDER if folder == "." else f"{LABELS_FOLDER}/{folder}" for folder in inside)
