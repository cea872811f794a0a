"""Machine code of all compiled loops, made when a wheel is built: `python -m mlimages_dataset.recipes.compile_ahead`.

Each loop is called once with arrays as its callers make them. A new loop needs a call here; a test names those without.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa

from mlimages_dataset.augment.ancestors import augment, augmentation_rules
from mlimages_dataset.augment.audit import audit_rows
from mlimages_dataset.augment.region_order import COMPILED_ROWS, in_order
from mlimages_dataset.augment.rules import LabelRules, Ramps, candidates
from mlimages_dataset.augment.seen import Predicted, Teacher
from mlimages_dataset.augment.tally import tally
from mlimages_dataset.core import sparse as sp
from mlimages_dataset.core.compiled import environment_for_others, ship, sort_in_place
from mlimages_dataset.core.locations import location
from mlimages_dataset.evaluation.box_fusion import Fusion, fused
from mlimages_dataset.evaluation.detection import Detections, Rule, TrueBoxes, judged
from mlimages_dataset.images.duplicates import pairs_within
from mlimages_dataset.images.indexed import first_at_least
from mlimages_dataset.images.jpeg import whole_size
from mlimages_dataset.images.subset import by_minimum, memberships, starts_of
from mlimages_dataset.loaders.catalogue.build import append_rows
from mlimages_dataset.loaders.colour import Shift, shift_colour
from mlimages_dataset.loaders.geometry import Box, resize, rotate
from mlimages_dataset.recipes.first_calls import STAGES, call_loops, two_categories, two_images
from mlimages_dataset.sources.blocks import Block
from mlimages_dataset.sources.json_items import items_of
from mlimages_dataset.sources.polygons import Polygons
from mlimages_dataset.sources.quotes import last_row_end
from mlimages_dataset.sources.usual_rows import Field, fields_of, usual_boxes
from mlimages_dataset.tables.arrays import texts
from mlimages_dataset.tables.equal_boxes import SIDES
from mlimages_dataset.tables.label_columns import LabelColumns
from mlimages_dataset.tables.parquet import read_table, table_parts, write_table
from mlimages_dataset.tables.schemas import ANNOTATIONS, PREDICTIONS, REGION_FLAGS, REGIONS
from mlimages_dataset.tables.texts import extreme_texts


def call_all_loops() -> None:
    """Call every compiled loop once."""
    with TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        call_loops(folder, *STAGES)
        _call_loops_over_labels(Path(folder))
        _call_loops_over_files(Path(folder))
    _call_loops_over_pixels()
    _call_loops_over_boxes()
    sort_in_place(np.arange(2))
    extreme_texts(texts(["a"]), np.zeros(1, np.int64), np.zeros(1, np.int64), np.ones(1, np.int64))
    pairs_within(np.arange(2, dtype=np.uint64), 1)
    first_at_least(np.zeros(1 << 12, np.uint64), np.zeros(1, np.uint64))
    rows, labels = np.arange(2, dtype=np.int32), (np.ones(2, np.int32), np.zeros(2, np.int32))
    by_minimum(memberships(rows, starts_of(rows, labels[0], 2), [labels], 1), 1, 2)


def _call_loops_over_labels(folder: Path) -> None:
    """Call those over label columns in memory of one's own, and those that read predictions."""
    vocabulary = two_categories()
    labels = LabelColumns(
        np.arange(2, dtype=np.int32), np.ones(1, np.int32), np.ones(1, np.float32), np.zeros(1, np.uint8)
    )
    augment(labels, augmentation_rules(vocabulary.closure))
    audit_rows(labels, vocabulary.closure)
    weights = sp.csr_array(np.eye(2))
    one = np.zeros((2, 1))
    ramps = Ramps(one.astype(np.float32), one.astype(np.float32) + 1, one)
    pair = np.array([[0, 1]], np.int32)
    rules = LabelRules(np.arange(2, dtype=np.int32), np.zeros(2), weights, pair, weights[:1], 0.5, ramps)
    candidates(weights, rules, Predicted.of_matrix(weights))
    (part,), said = table_parts(two_images(location(str(folder)) / "annotated")), location(str(folder / "said.parquet"))
    rows = read_table(part, ANNOTATIONS)
    write_table(said, rows, PREDICTIONS, {})
    Teacher((said,), np.zeros(2, np.float32), said).of_part(part).of(rows["image_id"].combine_chunks())


def _call_loops_over_files(folder: Path) -> None:
    listed = folder / "labels.csv"
    listed.write_text("image_id,label\na,b\n", "utf-8")
    tally("csv", [location(str(listed))], "csv", location(str(folder / "counts.csv")))
    path = folder / "items.json"
    path.write_text(json.dumps([{"id": 1, "of": {"deep": [1]}}]), "utf-8")
    for shallow in (False, True):
        list(items_of(location(str(path)), shallow=shallow))
    photographs = files("mlimages_dataset.samples") / "photographs"
    whole_size(next(one for one in photographs.iterdir() if one.name.endswith(".jpg")).read_bytes())
    Polygons(((0.0, 0.0, 4.0, 0.0, 4.0, 4.0),), 8, 8).mask()


def _call_loops_over_pixels() -> None:
    pixels = np.zeros((8, 8, 3), np.uint8)
    for number in (int, float):
        box = Box(number(0), number(0), number(8), number(8))
        planes = resize(pixels, box, 4, limits=box)
    pixels.flags.writeable = False
    resize(pixels, box, 4, limits=box)
    rotate(planes, 1.0)
    shift_colour(planes, Shift())
    offsets, classes, confidence = np.arange(2, dtype=np.int32), np.zeros(1, np.int32), np.ones(1, np.float32)
    for column in (offsets, classes, confidence):
        column.setflags(write=False)
    append_rows(offsets, classes, confidence, 0, np.zeros(1, np.int64), np.zeros(1, np.int32))


def _call_loops_over_boxes() -> None:
    one, sides = np.zeros(1, np.int64), np.array([[0.0, 0.0, 1.0, 1.0]])
    truth = TrueBoxes(one, one, sides, np.zeros(1, np.bool_))
    judged(truth, Detections(one, one, sides, np.ones(1)), 1, Rule(groups=True))
    box = {"image_id": "a", "source": "a", "class_index": 0, "confidence": 0.5, "origin": 3, "mask": ""}
    box |= dict.fromkeys(SIDES, 0.5) | dict.fromkeys(REGION_FLAGS, False)
    regions = pa.Table.from_pylist([box], REGIONS.arrow)
    fused([regions], Fusion(), source="a")
    in_order(regions.take(np.zeros(COMPILED_ROWS, np.int64)))
    last_row_end(b'"a"\n', ",")
    usual_boxes(Block(b"a\n", [1], header=False), ",", fields_of(("a",), {"a": Field.IMAGE}))


if __name__ == "__main__":
    for_others = environment_for_others()
    if not for_others.items() <= os.environ.items():  # Numba reads them when it is imported
        sys.exit(subprocess.call([sys.executable, *sys.orig_argv[1:]], env={**os.environ, **for_others}))  # noqa: S603 - this command
    call_all_loops()
    print(f"{ship(Path(sys.argv[1]))} loops compiled ahead")  # noqa: T201 - for who builds the wheel
