"""The files of a catalogue.

Legend: N rows, L labels of all of them, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from mlimages_dataset.tables.schemas import LABELS

FORMAT = "mlimages.catalogue/3"
BLOCK_ROWS = 1 << 16
"""Rows of each Arrow batch but the last: row i stands in batch i // BLOCK_ROWS."""

ROWS_FILE, CLASSES_FILE, ROWS_OF_CLASS_FILE = "rows.arrow", "classes.npy", "rows_of_class.npy"
FACTS_KEY = b"mlimages.catalogue"
ROWS = pa.schema(
    [
        pa.field("folder", pa.int16(), nullable=False),
        pa.field("picture", pa.int32(), nullable=False),
        pa.field("source", pa.int16(), nullable=False),
        LABELS.arrow.field("labels"),
    ]
)
"""`folder` is the number of the store, `picture` that of the picture in it, `source` that of the row's source."""


def store_file(number: int) -> str:
    """Return the file name of what a store's finder saved, if it saved anything."""
    return f"store-{number}.arrow"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a catalogue as a whole.

    Attributes:
        n_classes: C.
        sources: the names of the rows' source numbers.
        rows: N.
        labels: L.
        without_picture: labelled images of the table without a picture in any store.
    """

    n_classes: int
    sources: tuple[str, ...]
    rows: int
    labels: int
    without_picture: int
