"""Label tables in the formats that others read: the published text form, CSV, Hugging Face, Croissant.

Tables are read in batches and written as they come, so memory does not grow with the rows; the same tables give the
same bytes. What a format cannot say is left out and counted.

Legend: N images, L labels in all of them, C categories.
"""

from __future__ import annotations

import enum
import functools
import operator
import shutil
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import csv

from mlimages_dataset.augment.shared_ids import shared_ids
from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.exports.cards import (
    ORIGIN_NAMES,
    Publication,
    croissant,
    hugging_face_card,
    hugging_face_features,
)
from mlimages_dataset.pipeline.records import StageResult
from mlimages_dataset.pipeline.stage import Stage
from mlimages_dataset.sources.class_lists import TENCENT_HEADER
from mlimages_dataset.tables.batches import label_batches
from mlimages_dataset.tables.files import PARTIAL_PREFIX, Receipt, whole_file, write_bytes
from mlimages_dataset.tables.parquet import COMPRESSION, table_digests, table_parts, table_writer, write_table
from mlimages_dataset.tables.schemas import ANNOTATIONS, CATEGORIES, LABELS, MAPPING, PREDICTIONS
from mlimages_dataset.version import __version__
from mlimages_dataset.vocab.stage import (
    CATEGORIES_FILE,
    MAPPING_FILE,
    read_vocabulary,
    refuse_other_vocabulary,
    vocabulary_digests,
)
from mlimages_dataset.vocab.tables import categories_table, mapping_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.stage import Workplace
    from mlimages_dataset.tables.files import Inputs
    from mlimages_dataset.tables.label_columns import LabelColumns
    from mlimages_dataset.vocab.vocabulary import Vocabulary

_Job: TypeAlias = "tuple[Location, Location]"
_AnyJob = TypeVar("_AnyJob")
_Written: TypeAlias = "tuple[Receipt, ExportCounts]"

BLOCK_BYTES = 1 << 24
DICTIONARY_FILE = "dictionary_and_semantic_hierarchy.txt"
FOLDERS = ("", "data", "train", "val")
"""Where the formats write, relative to the output folder."""
CARD_FILE, CROISSANT_FILE = "README.md", "croissant.json"
HUGGING_FACE_NAMES = {"train": "train", "val": "validation"}
"""What `datasets` calls the splits."""
# What ends a word, or is trimmed from a line, where the published text form is read.
_UNSAYABLE = r"[\x00-\x20\x7f\x{85}\x{feff}\p{Z}]"

LONG_FORM = pa.schema(
    [
        ("image_id", pa.string()),
        ("label", pa.string()),
        ("class_index", pa.int32()),
        ("confidence", pa.float32()),
        ("origin", pa.string()),
        ("location", pa.string()),
    ]
)
"""The columns of exported CSV, one row a label."""


class ExportFormat(enum.Enum):
    """The formats that label tables can be written in."""

    TENCENT = "tencent"
    CSV = "csv"
    HUGGING_FACE = "huggingface"
    CROISSANT = "croissant"


_WITHOUT_SOURCES = frozenset({ExportFormat.TENCENT, ExportFormat.CSV})


@dataclass(frozen=True, slots=True)
class ExportCounts:
    """What was written and what the format could not say; counts of parts add up.

    Attributes:
        images: images written.
        labels: labels written.
        absent_labels: labels of verified absence left out.
        images_without_labels: images left out because no label that the format can say remains.
        unsayable_images: images left out because their address holds white space or nothing.
        images_of_several_rows: ids that several rows have, whose sources the format does not say.
    """

    images: int = 0
    labels: int = 0
    absent_labels: int = 0
    images_without_labels: int = 0
    unsayable_images: int = 0
    images_of_several_rows: int = 0

    @property
    def seen(self) -> int:
        """Images written and left out."""
        return self.images + self.images_without_labels + self.unsayable_images

    def lines(self) -> list[str]:
        """Return the counts as lines."""
        texts = {
            "images": "images",
            "labels": "labels",
            "absent_labels": "labels of verified absence left out: the format cannot say them",
            "images_without_labels": "images left out: no label remains that the format can say",
            "unsayable_images": "images left out: their address holds white space",
            "images_of_several_rows": "image ids of several rows: the format does not say which source a row is of",
        }
        counts = {name: getattr(self, name) for name in texts}
        return [f"{n:>12,}  {texts[name]}" for name, n in counts.items() if n or name in {"images", "labels"}]

    def __add__(self, other: ExportCounts) -> ExportCounts:
        return ExportCounts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


def export_stage(
    vocabulary: Location, labels: Location, form: ExportFormat, publication: Publication
) -> Stage[ExportCounts]:
    """Return the stage that writes label tables in another format; its work is `export`.

    Raises:
        UsageError, DataError: a table is missing, damaged, or of another vocabulary.
    """
    inputs = {**vocabulary_digests(vocabulary), **table_digests("labels", labels)}
    refuse_other_vocabulary(inputs, [labels])
    return Stage(
        name="export",
        parameters={"format": form.value, **asdict(publication)},
        inputs=inputs,
        work=lambda at: export(read_vocabulary(vocabulary), labels, form, at, publication=publication),
        summary=ExportCounts,
        folders=FOLDERS,
    )


def export(
    vocabulary: Vocabulary,
    tables: Location,
    form: ExportFormat,
    at: Workplace,
    *,
    publication: Publication = Publication(),  # noqa: B008 - frozen
) -> StageResult[ExportCounts]:
    """Write label tables in another format.

    Args:
        vocabulary: the vocabulary of the tables.
        tables: a folder with the tables train/ and val/, or with one table, which is taken for train.
        form: the format.
        at: where to write.
        publication: what the publisher says of the data set, for the formats that can say it.

    Raises:
        UsageError, DataError: a table is missing or damaged, or of another vocabulary.
    """
    writer = _Writer(vocabulary, splits_of(tables.absolute()), at, publication)
    match form:
        case ExportFormat.TENCENT:
            receipts, counts = writer.write_tencent()
        case ExportFormat.CSV:
            receipts, counts = writer.write_csv()
        case ExportFormat.HUGGING_FACE:
            receipts, counts = writer.write_hugging_face()
        case ExportFormat.CROISSANT:
            receipts, counts = writer.write_croissant()
    if form in _WITHOUT_SOURCES:
        parts = [part for of_split in writer.splits.values() for part in of_split]
        shared = shared_ids(parts, (LABELS, ANNOTATIONS, PREDICTIONS), at.out)
        counts = replace(counts, images_of_several_rows=shared.ids)
    if not counts.images:
        raise DataError("no image has a label that the format can say", where=tables, remedy="choose another format")
    return StageResult(tuple(receipts), counts)


def splits_of(tables: Location) -> dict[str, list[Location]]:
    """Return the parts of each split in a folder of label tables.

    Raises:
        UsageError: there is no part, or one in a sub-folder other than train and val.
    """
    splits: dict[str, list[Location]] = {}
    for part in table_parts(tables):
        splits.setdefault("train" if part.parent == tables else part.parent.name, []).append(part)
    strangers = sorted(set(splits) - set(HUGGING_FACE_NAMES))
    if strangers:
        raise UsageError(
            f"holds tables in {strangers[0]}, not only in train and val",
            where=tables,
            remedy="name the folder that mlimages-build labels wrote, or that of a single table",
        )
    return dict(sorted(splits.items()))


def tencent_dictionary(vocabulary: Vocabulary) -> bytes:
    """Return the published dictionary's form of a vocabulary: index, wnid, primary parent and names.

    Raises:
        DataError: a name holds a tab or a line break.
    """
    rows = [TENCENT_HEADER]
    for index, category in enumerate(vocabulary.categories):
        if any(sign in category.name for sign in "\t\r\n"):
            raise DataError(f"the name of {category.wnid} holds a tab or a line break", remedy="choose another format")
        rows.append((str(index), category.wnid, str(category.parent), category.name))
    return "".join("\t".join(row) + "\n" for row in rows).encode()


def tencent_text(rows: pa.RecordBatch, columns: LabelColumns) -> tuple[pa.Buffer, ExportCounts]:
    """Return the published text form of N images' present labels, each line ended, and the counts.

    A line is the image's location, or its id where there is none, and `class_index:confidence` of each present label,
    tab-separated, with the shortest decimals that read back as the same float32. Absent labels, images without present
    labels and addresses with white space cannot be said; origins are not said.
    """
    location = rows.column("location")
    address = pc.if_else(pc.equal(location, ""), rows.column("image_id"), location)
    present = columns.confidence > 0
    n_present = np.bincount(columns.images[present], minlength=len(columns))
    unsayable = pc.or_(pc.equal(address, ""), pc.match_substring_regex(address, _UNSAYABLE))
    unsayable = unsayable.to_numpy(zero_copy_only=False)
    written = ~unsayable & (n_present > 0)
    chosen = present & written[columns.images]
    pairs = pc.binary_join_element_wise(
        _decimals(columns.class_index[chosen]), _decimals(columns.confidence[chosen]), ":"
    )
    offsets = np.concatenate(([0], np.cumsum(n_present[written]))).astype(np.int32)
    labels = pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets), pairs), "\t")
    lines = pc.binary_join_element_wise(address.filter(pa.array(written)), labels, "\t")
    counts = ExportCounts(
        images=int(written.sum()),
        labels=int(chosen.sum()),
        absent_labels=int((~present & ~unsayable[columns.images]).sum()),
        images_without_labels=int((~unsayable & (n_present == 0)).sum()),
        unsayable_images=int(unsayable.sum()),
    )
    return _each_ended(lines), counts


def long_form(rows: pa.RecordBatch, columns: LabelColumns, wnids: pa.StringArray) -> tuple[pa.Table, ExportCounts]:
    """Return one row a label in the columns of `LONG_FORM`, L rows, and the counts."""
    images = pa.array(columns.images)
    table = pa.Table.from_arrays(
        [
            rows.column("image_id").take(images),
            wnids.take(pa.array(columns.class_index)),
            pa.array(columns.class_index),
            pa.array(columns.confidence),
            pa.array(ORIGIN_NAMES).take(pa.array(columns.origin)),
            rows.column("location").take(images),
        ],
        schema=LONG_FORM,
    )
    without = int((np.diff(columns.offsets) == 0).sum())
    return table, ExportCounts(len(columns) - without, len(table), images_without_labels=without)


def hugging_face_schema(wnids: Sequence[str]) -> pa.Schema:
    """Return the Arrow schema of label tables as `datasets` wants them: `ClassLabel` numbers are int64."""
    label = pa.struct([("class_index", pa.int64()), ("confidence", pa.float32()), ("origin", pa.int64())])
    texts = [(name, pa.string()) for name in ("image_id", "source", "location")]
    return pa.schema([*texts, ("labels", pa.list_(label))], metadata={"huggingface": hugging_face_features(wnids)})


@dataclass(frozen=True, slots=True)
class _Writer:
    """One export: each method writes one format and returns the receipts and counts."""

    vocabulary: Vocabulary
    splits: Mapping[str, Sequence[Location]]
    at: Workplace
    publication: Publication

    def write_tencent(self) -> tuple[list[Receipt], ExportCounts]:
        dictionary = write_bytes(self.at.out / DICTIONARY_FILE, tencent_dictionary(self.vocabulary))
        text = functools.partial(_write_tencent_part, n_classes=len(self.vocabulary))
        receipts, counts = self._joined(text, "{}_urls.txt", b"")
        return [dictionary, *receipts], counts

    def write_csv(self) -> tuple[list[Receipt], ExportCounts]:
        text = functools.partial(_write_csv_part, wnids=self._wnids)
        head = pa.BufferOutputStream()
        csv.write_csv(LONG_FORM.empty_table(), head)
        return self._joined(text, "{}.csv", head.getvalue().to_pybytes())

    def write_hugging_face(self) -> tuple[list[Receipt], ExportCounts]:
        jobs = [
            (part, self.at.out / "data" / f"{HUGGING_FACE_NAMES[split]}-{number:05d}-of-{len(parts):05d}.parquet")
            for split, parts in self.splits.items()
            for number, part in enumerate(parts)
        ]
        results = list(self._done(functools.partial(_write_shard, wnids=self._wnids), jobs))
        shards = [shard for shard, _ in results]
        sizes: dict[str, tuple[int, int]] = {}
        for split in self.splits:
            name = HUGGING_FACE_NAMES[split]
            of_split = [shard for shard in shards if shard.path.name.startswith(f"{name}-")]
            sizes[name] = sum(shard.rows for shard in of_split), sum(shard.bytes for shard in of_split)
        card = write_bytes(self.at.out / CARD_FILE, hugging_face_card(self.publication, self._wnids, sizes).encode())
        return [*self._vocabulary_tables(), *shards, card], _sum([counts for _, counts in results])

    def write_croissant(self) -> tuple[list[Receipt], ExportCounts]:
        # One file a split: readers of Croissant check the digest of a single file, not of a set of files.
        work = functools.partial(_write_split, n_classes=len(self.vocabulary), inputs=dict(self.at.inputs))
        jobs = [(tuple(parts), self.at.out / split / "part-00000.parquet") for split, parts in self.splits.items()]
        results = list(self._done(work, jobs))
        files = dict(zip(self.splits, (receipt for receipt, _ in results), strict=True))
        tables = self._vocabulary_tables()
        text = croissant(self.publication, len(self.vocabulary), files, tables, version=__version__)
        receipts = [*files.values(), *tables, write_bytes(self.at.out / CROISSANT_FILE, text)]
        return receipts, _sum([counts for _, counts in results])

    def _joined(self, work: Callable[[_Job], _Written], name: str, head: bytes) -> tuple[list[Receipt], ExportCounts]:
        """Let jobs write the text of each part, and join them to one file a split, in which `head` comes first."""
        receipts, found = [], []
        for split, parts in self.splits.items():
            path = self.at.out / name.format(split)
            jobs = [(part, self.at.out / f"{PARTIAL_PREFIX}{split}-{number:05d}") for number, part in enumerate(parts)]
            with whole_file(path) as sink:
                sink.write(head)
                for text, counts in self._done(work, jobs):
                    with text.path.open("rb") as stream:
                        shutil.copyfileobj(stream, sink, BLOCK_BYTES)
                    text.path.unlink()
                    found.append(counts)
            receipts.append(Receipt(path, -1, sink.size, sink.digest.hexdigest(), ""))
        return receipts, _sum(found)

    def _done(self, work: Callable[[_AnyJob], _Written], jobs: Sequence[_AnyJob]) -> Iterator[_Written]:
        for receipt, counts in self.at.engine.mapper(work, jobs):
            yield receipt, counts
            self.at.engine.progress(counts.seen)

    @property
    def _wnids(self) -> list[str]:
        return [category.wnid for category in self.vocabulary.categories]

    def _vocabulary_tables(self) -> tuple[Receipt, Receipt]:
        """Write the vocabulary's own tables: with them the folder can be read as a vocabulary too."""
        return (
            write_table(self.at.out / CATEGORIES_FILE, categories_table(self.vocabulary), CATEGORIES, self.at.inputs),
            write_table(self.at.out / MAPPING_FILE, mapping_table(self.vocabulary), MAPPING, self.at.inputs),
        )


def _write_tencent_part(job: _Job, *, n_classes: int) -> _Written:
    """Write a part's lines of the published text form."""
    part, path = job
    found = []
    with whole_file(path) as sink:
        for rows, columns in label_batches(part, n_classes):
            text, counts = tencent_text(rows, columns)
            sink.write(text)
            found.append(counts)
    return Receipt(path, -1, sink.size, sink.digest.hexdigest(), ""), _sum(found)


def _write_csv_part(job: _Job, *, wnids: Sequence[str]) -> _Written:
    """Write a part's lines of CSV, without the header."""
    part, path = job
    names = pa.array(wnids, pa.string())
    found = []
    with whole_file(path) as sink:
        for rows, columns in label_batches(part, len(wnids)):
            table, counts = long_form(rows, columns, names)
            csv.write_csv(table, pa.PythonFile(sink, mode="w"), csv.WriteOptions(include_header=False))
            found.append(counts)
    return Receipt(path, -1, sink.size, sink.digest.hexdigest(), ""), _sum(found)


def _write_shard(job: _Job, *, wnids: Sequence[str]) -> _Written:
    """Write a part as Parquet with the schema that `datasets` wants."""
    part, path = job
    schema = hugging_face_schema(wnids)
    counts = ExportCounts()
    with (
        whole_file(path) as sink,
        pq.ParquetWriter(
            pa.PythonFile(sink, mode="w"), schema, compression=COMPRESSION, write_page_checksum=True
        ) as writer,
    ):
        for rows, columns in label_batches(part, len(wnids)):
            writer.write_table(pa.Table.from_batches([rows]).cast(schema))
            counts += _everything(columns)
    return Receipt(path, counts.images, sink.size, sink.digest.hexdigest(), ""), counts


def _write_split(job: tuple[tuple[Location, ...], Location], *, n_classes: int, inputs: Inputs) -> _Written:
    """Write parts as one table."""
    parts, path = job
    counts = ExportCounts()
    with table_writer(path, LABELS, inputs) as writer:
        for part in parts:
            for rows, columns in label_batches(part, n_classes):
                writer.write(rows)
                counts += _everything(columns)
    assert writer.receipt is not None
    return writer.receipt, counts


def _everything(columns: LabelColumns) -> ExportCounts:
    """Return the counts of rows of which the format says everything."""
    return ExportCounts(images=len(columns), labels=len(columns.class_index))


def _sum(counts: Sequence[ExportCounts]) -> ExportCounts:
    return functools.reduce(operator.add, counts, ExportCounts())


def _decimals(numbers: np.ndarray) -> pa.StringArray:
    """Return the shortest decimals that read back as the same numbers; few are distinct, and each is made once."""
    encoded = pa.array(numbers).dictionary_encode()
    return pc.cast(encoded.dictionary, pa.string()).take(encoded.indices)


def _each_ended(lines: pa.StringArray) -> pa.Buffer:
    """Return the bytes of lines with a line break after each."""
    whole = pa.ListArray.from_arrays(pa.array([0, len(lines)], pa.int32()), lines)
    text = pc.binary_join(whole, "\n")[0].as_buffer()
    return pa.py_buffer(b"".join((text, b"\n"))) if len(lines) else pa.py_buffer(b"")
