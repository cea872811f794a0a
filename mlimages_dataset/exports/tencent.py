"""The published text form: an image's address and `class_index:confidence` of each label, and a dictionary.

Legend: N images, L labels in all of them.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.exports.counts import ExportCounts, summed
from mlimages_dataset.exports.writing import UNSAYABLE
from mlimages_dataset.sources.class_lists import TENCENT_HEADER
from mlimages_dataset.tables.batches import label_batches
from mlimages_dataset.tables.files import Receipt, whole_file, write_bytes

if TYPE_CHECKING:
    from mlimages_dataset.exports.writing import Export, Job, PartWritten, Written
    from mlimages_dataset.tables.label_columns import LabelColumns
    from mlimages_dataset.vocab.vocabulary import Vocabulary

DICTIONARY_FILE = "dictionary_and_semantic_hierarchy.txt"


def write(export: Export) -> Written:
    """Write `train_urls.txt`, `val_urls.txt` and the dictionary.

    Raises:
        DataError: a name of the vocabulary holds a tab or a line break.
    """
    dictionary = write_bytes(export.at.out / DICTIONARY_FILE, tencent_dictionary(export.vocabulary))
    text = functools.partial(_write_part, n_classes=len(export.vocabulary))
    receipts, counts = export.joined(text, "{}_urls.txt", b"")
    return [dictionary, *receipts], counts


def tencent_dictionary(vocabulary: Vocabulary) -> bytes:
    """Return the published dictionary's form of a vocabulary: index, wnid, primary parent and names.

    Raises:
        DataError: a name holds a tab or a line break.
    """
    rows = [TENCENT_HEADER]
    for index, category in enumerate(vocabulary.categories):
        if any(sign in category.wnid + category.name for sign in "\t\r\n"):
            what = f"the id or the name of {category.wnid!r} holds a tab or a line break"
            raise DataError(what, remedy="choose another format")
        rows.append((str(index), category.wnid, str(category.parent), category.name))
    return "".join("\t".join(row) + "\n" for row in rows).encode()


def tencent_text(rows: pa.RecordBatch, columns: LabelColumns) -> tuple[pa.Buffer, ExportCounts]:
    """Return the published text form of N images' present labels, each line ended, and the counts.

    A line is the image's location, or its id where there is none, and `class_index:confidence` of each present label,
    tab-separated, with the shortest decimals that read back as the same float32. Absent labels, images without present
    labels and addresses with white space cannot be written; origins are not written.
    """
    location = rows.column("location")
    address = pc.if_else(pc.equal(location, ""), rows.column("image_id"), location)
    present = columns.confidence > 0
    n_present = np.bincount(columns.images[present], minlength=len(columns))
    unsayable = pc.or_(pc.equal(address, ""), pc.match_substring_regex(address, UNSAYABLE))
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


def _write_part(job: Job, *, n_classes: int) -> PartWritten:
    """Write a part's lines."""
    part, path = job
    found = []
    with whole_file(path) as sink:
        for rows, columns in label_batches(part, n_classes):
            text, counts = tencent_text(rows, columns)
            sink.write(text)
            found.append(counts)
    return Receipt(path, -1, sink.size, sink.digest.hexdigest(), ""), summed(found)


def _decimals(numbers: np.ndarray) -> pa.StringArray:
    """Return the shortest decimals that read back as the same numbers; few differ, and each is made once."""
    encoded = pa.array(numbers).dictionary_encode()
    return pc.cast(encoded.dictionary, pa.string()).take(encoded.indices)


def _each_ended(lines: pa.StringArray) -> pa.Buffer:
    """Return the bytes of lines with a line break after each."""
    whole = pa.ListArray.from_arrays(pa.array([0, len(lines)], pa.int32()), lines)
    text = pc.binary_join(whole, "\n")[0].as_buffer()
    return pa.py_buffer(b"".join((text, b"\n"))) if len(lines) else pa.py_buffer(b"")
