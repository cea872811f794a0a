"""What the default build says of each packaged photograph, as a table that was read beside the pictures."""

from __future__ import annotations

import csv
import io

from mlimages_dataset import samples
from tests.golden.boxable_classes import default_vocabulary
from tests.golden.inputs_and_tables import FOLDER

PHOTOGRAPH_LABELS = FOLDER / "photograph_labels.csv"
HEADER = ("image_id", "wnid", "name", "origin")


def photograph_labels() -> str:
    """Return the present labels of the photographs as CSV, annotated ones first, then their ancestors."""
    vocabulary = default_vocabulary()
    index_of_id = {row.source_id: row.class_index for row in vocabulary.mapping}
    annotated: dict[str, set[int]] = {}
    with samples.labels_csv().open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if float(row["confidence"]) > 0:
                annotated.setdefault(row["image_id"], set()).add(index_of_id[row["label"]])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    closure = vocabulary.closure
    for image_id, classes in sorted(annotated.items()):
        above = {int(a) for c in classes for a in closure.indices[closure.indptr[c] : closure.indptr[c + 1]]}
        for origin, members in (("annotated", classes), ("ancestor", above - classes)):
            for member in sorted(members):
                category = vocabulary.categories[member]
                writer.writerow((image_id, category.wnid, category.name.split(", ")[0], origin))
    return text.getvalue()
