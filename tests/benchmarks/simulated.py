"""Tables and files of the size of the published data sets, simulated over the packaged vocabulary.

They are written once into a folder and found there again. Categories are drawn with the published imbalance (a power
law). Legend: N images, C categories.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pyarrow as pa
from pyarrow import csv

from mlimages_dataset.tables.label_columns import LabelColumns, array_of
from mlimages_dataset.tables.parquet import table_parts, table_writer
from mlimages_dataset.tables.schemas import ANNOTATIONS, PREDICTIONS, Origin
from mlimages_dataset.vocab.packaged import packaged_class_list
from tests.benchmarks.measurement import command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from mlimages_dataset.tables.schemas import TableSchema

PARTS = 34
"""Parts of an annotations table; those of 17.6 million images then have half a million each."""
PREDICTED_CLASSES = 1_134
"""Categories that the published teacher predicts (Tencent ML-Images, section 3.2)."""
_PREDICTED_PER_IMAGE = 6
_CSV_BLOCK_ROWS = 2_000_000
_SHUFFLED_PART_ROWS = 1 << 18


def vocabulary_folder(folder: Path) -> Path:
    """Return the folder of the vocabulary of the packaged ImageNet-11k list, written unless it is there."""
    out = folder / "vocabulary"
    command("vocab", "--imagenet", packaged_class_list("imagenet11k.txt"), "--out", out)
    return out


def box_vocabulary_folder(folder: Path) -> Path:
    """Return the folder of the vocabulary of Open Images' box classes, written unless it is there."""
    out = folder / "box-vocabulary"
    classes = packaged_class_list("open_images_boxable.csv")
    command("vocab", "--open-images", classes, "--narrower", "--out", out)
    return out


def annotations_folder(folder: Path, n_images: int, n_classes: int) -> Path:
    """Return a folder of an `annotations` table: 61 % of the images have one label, as ImageNet's, the rest 2 to 7."""
    return _written(
        folder / f"annotations-{n_images}",
        ANNOTATIONS,
        (_annotations(number, size, n_classes) for number, size in enumerate(_part_sizes(n_images))),
    )


def predictions_folder(folder: Path, n_images: int, n_classes: int) -> Path:
    """Return a folder of a `predictions` table of the same images in the same order.

    Each image has 6 of 1,134 categories or fewer, five of six with more than 0.95. Most often one is chosen by the
    image's first category, so that there are strong pairs.
    """
    return _written(
        folder / f"predictions-{n_images}",
        PREDICTIONS,
        (_predictions(number, size, n_classes) for number, size in enumerate(_part_sizes(n_images))),
    )


def shuffled_folder(ordered: Path) -> Path:
    """Return a folder with the rows of a folder's `predictions` table in no order."""
    folder = ordered.with_name(f"{ordered.name}-shuffled")
    if folder.exists():
        return folder
    with duckdb.connect() as connection:
        connection.execute(f"SET temp_directory = '{folder}-scratch'; SET enable_progress_bar = false")
        rows = connection.sql(f"SELECT * FROM read_parquet('{ordered}/*.parquet') ORDER BY hash(image_id)")
        batches = rows.to_arrow_reader(_SHUFFLED_PART_ROWS)
        tables = (pa.Table.from_batches([batch]).cast(PREDICTIONS.arrow) for batch in batches)
        return _written(folder, PREDICTIONS, tables)


def first_parts(given: Path, parts: int) -> Path:
    """Return a folder with the first parts of another, which are not copied."""
    folder = given.with_name(f"{given.name}-first-{parts}")
    folder.mkdir(exist_ok=True)
    for path in table_parts(given)[:parts]:
        if not (folder / path.name).exists():
            os.link(str(path), folder / path.name)
    return folder


def label_file(folder: Path, n_rows: int, n_images: int) -> Path:
    """Return a file of the shape of Open Images V1's machine labels: an image's rows near each other, not together."""
    path = folder / f"labels-{n_rows}.csv"
    if path.exists():
        return path
    classes = pa.array(packaged_class_list("imagenet11k.txt").read_text(encoding="utf-8").split())
    popularity = _power_law(len(classes), 0.8)
    rng = np.random.default_rng(1)
    partial = path.with_suffix(".partial")
    with partial.open("wb") as stream:
        stream.write(b"ImageID,Source,LabelName,Confidence\n")
        for done in range(0, n_rows, _CSV_BLOCK_ROWS):
            rows = min(_CSV_BLOCK_ROWS, n_rows - done)
            window = int(rows / n_rows * n_images * 1.2) + 1
            images = (done * n_images // n_rows + rng.integers(0, window, rows)) % n_images
            scattered = images * np.int64(2_654_435_761) % np.int64(1 << 40)
            table = pa.table(
                {
                    "image": pa.array([f"{image:016x}" for image in scattered.tolist()]),
                    "source": pa.array(["machine"] * rows),
                    "label": classes.take(pa.array(rng.choice(len(classes), rows, p=popularity))),
                    "confidence": pa.array(rng.choice([0.5, 0.6, 0.7, 0.8, 0.9, 1.0], rows)),
                }
            )
            csv.write_csv(table, stream, csv.WriteOptions(include_header=False, quoting_style="none"))
    partial.rename(path)
    return path


def box_file(folder: Path, n_rows: int, n_images: int) -> Path:
    """Return a file of the shape of Open Images' boxes: rows ascend by image.

    Classes are those of the boxes, with the published imbalance of about 1 to 100,000 (a power law); images have 1 to
    some hundred boxes; sides have six digits. Flags are 1 as often as published, and -1 (unknown) for boxes that are
    not drawn by hand.
    """
    path = folder / f"boxes-{n_rows}.csv"
    if path.exists():
        return path
    classes = csv.read_csv(packaged_class_list("open_images_boxable.csv"))["LabelName"].combine_chunks()
    popularity, rng = _power_law(len(classes), 1.8), np.random.default_rng(2)
    flags = {"IsOccluded": 0.66, "IsTruncated": 0.25, "IsGroupOf": 0.06, "IsDepiction": 0.05, "IsInside": 0.001}
    partial = path.with_suffix(".partial")
    header = ("ImageID", "Source", "LabelName", "Confidence", "XMin", "XMax", "YMin", "YMax", *flags)
    with partial.open("wb") as stream:
        stream.write((",".join(header) + "\n").encode())
        for done in range(0, n_rows, _CSV_BLOCK_ROWS):
            rows = min(_CSV_BLOCK_ROWS, n_rows - done)
            popular = rng.geometric(n_images / n_rows, rows)
            images = np.repeat(done + np.arange(rows), popular)[:rows]  # a number of its own for each image
            by_hand = rng.random(rows) < 0.9
            low, size = rng.random((2, rows)), rng.beta(0.6, 1.4, (2, rows))
            sides = np.stack([low * (1 - size), low * (1 - size) + size], axis=1)
            table = pa.table(
                {
                    "ImageID": pa.array([f"{image * 0x9E3779:016x}" for image in images.tolist()]),
                    "Source": pa.array(np.where(by_hand, "xclick", "activemil")),
                    "LabelName": classes.take(pa.array(rng.choice(len(classes), rows, p=popularity))),
                    "Confidence": pa.array(np.ones(rows, np.int8)),
                    **{
                        side: pa.array([f"{value:.6f}" for value in of_side.tolist()])
                        for side, of_side in zip(header[4:8], sides.reshape(4, rows), strict=True)
                    },
                    **{
                        name: pa.array(np.where(by_hand, rng.random(rows) < share, -1).astype(np.int8))
                        for name, share in flags.items()
                    },
                }
            )
            csv.write_csv(table, stream, csv.WriteOptions(include_header=False, quoting_style="none"))
    partial.rename(path)
    return path


def _part_sizes(n_images: int) -> list[int]:
    return [len(part) for part in np.array_split(np.arange(n_images), PARTS) if len(part)]


def _written(folder: Path, schema: TableSchema, tables: Iterator[pa.Table]) -> Path:
    """Write tables as a folder's parts unless it is there whole."""
    partial = folder.with_name(f"{folder.name}.partial")
    if not folder.exists():
        for number, table in enumerate(tables):
            with table_writer(partial / f"part-{number:05d}.parquet", schema, {}) as writer:
                writer.write(table)
        partial.rename(folder)
    return folder


def _annotations(number: int, size: int, n_classes: int) -> pa.Table:
    offsets, class_index = _annotated(number, size, n_classes)
    confidence = np.random.default_rng((2, number)).choice(np.asarray([0.8, 0.9, 1], np.float32), len(class_index))
    columns = LabelColumns(offsets, class_index, confidence, np.zeros(len(class_index), np.uint8))
    return _images(number, size, columns, ANNOTATIONS)


def _annotated(number: int, size: int, n_classes: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the offsets, shape (N + 1,), and the categories of the labels of one part's images."""
    rng = np.random.default_rng((1, number))
    n_labels = np.where(rng.random(size) < 0.61, 1, rng.integers(2, 8, size)).astype(np.int64)
    classes = np.random.default_rng(0).permutation(n_classes)
    drawn = classes[rng.choice(n_classes, int(n_labels.sum()), p=_power_law(n_classes, 0.7))]
    return _rows_of(np.repeat(np.arange(size), n_labels), drawn, size, n_classes)


def _predictions(number: int, size: int, n_classes: int) -> pa.Table:
    rng = np.random.default_rng((3, number))
    predicted = np.random.default_rng(4).choice(n_classes, PREDICTED_CLASSES, replace=False)
    favourite = np.random.default_rng(5).choice(predicted, n_classes)
    offsets, annotated = _annotated(number, size, n_classes)
    drawn = rng.choice(predicted, (size, _PREDICTED_PER_IMAGE))
    with_favourite = rng.random(size) < 0.95
    drawn[:, 0] = np.where(with_favourite, favourite[annotated[offsets[:-1]]], drawn[:, 0])
    images = np.repeat(np.arange(size), _PREDICTED_PER_IMAGE)
    offsets, class_index = _rows_of(images, drawn.ravel(), size, n_classes)
    confidence = rng.uniform(0.94, 1, len(class_index)).astype(np.float32)
    origin = np.full(len(class_index), Origin.MODEL_PREDICTION, np.uint8)
    return _images(number, size, LabelColumns(offsets, class_index, confidence, origin), PREDICTIONS)


def _rows_of(
    images: NDArray[np.int64], classes: NDArray[np.int64], size: int, n_classes: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Return the offsets and the categories of labels sorted by image and category, without repeats."""
    keys = np.unique(images * n_classes + classes)
    counts = np.bincount(keys // n_classes, minlength=size)
    return np.concatenate(([0], np.cumsum(counts))).astype(np.int32), (keys % n_classes).astype(np.int32)


def _images(number: int, size: int, columns: LabelColumns, schema: TableSchema) -> pa.Table:
    identity = [f"{number:03d}{image:013x}" for image in range(size)]
    fields = [identity, ["simulated"] * size, [f"https://example.org/{name}.jpg" for name in identity]]
    return pa.Table.from_arrays([*map(pa.array, fields), array_of(columns)], schema=schema.arrow)


def _power_law(n: int, exponent: float) -> NDArray[np.float64]:
    popularity = 1 / np.arange(1, n + 1) ** exponent
    return np.asarray(popularity / popularity.sum())
