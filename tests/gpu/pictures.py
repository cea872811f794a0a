"""Shards of real photographs and labels of as many classes as are published, made on the spot."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from mlimages_dataset.core.locations import location
from mlimages_dataset.images.stage import IngestOptions, ingest_stage
from mlimages_dataset.pipeline.engine import local
from mlimages_dataset.pipeline.folder import OutputFolder
from mlimages_dataset.pipeline.stage import Engine, run
from mlimages_dataset.tables.parquet import write_table
from mlimages_dataset.tables.schemas import CATEGORIES, LABELS, MAPPING
from mlimages_dataset.train.supply import available_cores
from tests.gpu.trials import Job, NotTriedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

CLASSES = 11_166
"""Of Tencent ML-Images."""
SMALL_CLASSES = 500
LABELS_PER_IMAGE = 8.72
"""Mean number of labels (Tencent ML-Images, section 3.3)."""
IMAGES, SMALL_IMAGES = 4096, 256
SHARDS, TABLE, VOCABULARY = "shards", "labels", "vocabulary"
_SUFFIXES = {".jpg", ".jpeg"}


def n_classes(job: Job) -> int:
    """Return how many classes the labels have."""
    return SMALL_CLASSES if job.small else CLASSES


def make_data(job: Job) -> str:
    """Write shards, labels and a vocabulary into the job's folder, and return what they are."""
    files = sorted(path for path in Path(job.images).rglob("*") if path.suffix.lower() in _SUFFIXES)
    if not files:
        raise NotTriedError(f"{job.images} has no JPEG file")
    n_images = SMALL_IMAGES if job.small else IMAGES
    copies = job.path("copies")
    copies.mkdir()
    for number in range(n_images):
        _linked(files[number % len(files)], copies / f"{number:06d}.jpg")
    began, cores = time.perf_counter(), available_cores()
    with contextlib.nullcontext(map) if job.small else local(cores) as mapper:
        shards = job.path(SHARDS)
        stage = ingest_stage([location(str(copies))], IngestOptions(), shards)
        run(stage, OutputFolder(shards), Engine(mapper=mapper))
    seconds = time.perf_counter() - began
    write_labels(job.path("."), n_images, n_classes(job))
    shutil.rmtree(copies)
    kilobytes = np.mean([path.stat().st_size for path in files]) / 1e3
    pictures = f"{n_images:,} pictures: {len(files)} photographs of {kilobytes:,.0f} kB under many names"
    ingested = f"ingested at {n_images / seconds:,.0f} images/s on {1 if job.small else cores} of {cores} cores"
    return f"{pictures}, {ingested}; labels of {n_classes(job):,} classes"


def write_labels(folder: Path, n_images: int, n_of_classes: int) -> None:
    """Write a vocabulary of some classes, and labels of images 000000, 000001 and so on."""
    indices = np.arange(n_of_classes, dtype=np.int32)
    wnids = [f"n{number:08d}" for number in range(n_of_classes)]
    none: list[list[str]] = [[] for _ in wnids]
    zeros = np.zeros(n_of_classes, np.int32)
    columns = [indices, wnids, wnids, indices, zeros - 1, none, zeros, none, none, zeros.astype(np.int64)]
    categories = pa.table([pa.array(column) for column in columns], names=CATEGORIES.arrow.names)
    write_table(folder / VOCABULARY / "categories.parquet", categories.cast(CATEGORIES.arrow), CATEGORIES, {})
    write_table(folder / VOCABULARY / "mapping.parquet", MAPPING.arrow.empty_table(), MAPPING, {})
    rng = np.random.default_rng(0)
    share = shares(n_of_classes)
    ids = [f"{number:06d}" for number in range(n_images)]
    labels = [_labels(rng, share) for _ in ids]
    table = pa.table([ids, ["made up"] * n_images, [""] * n_images, labels], schema=LABELS.arrow)
    write_table(folder / TABLE / "part-00000.parquet", table, LABELS, {})


def shares(n_of_classes: int) -> NDArray[np.float64]:
    """Return each class's share of the labels, as unequal as the published ones: a power law."""
    share = 1 / np.arange(1, n_of_classes + 1) ** 0.8
    return np.asarray(share / share.sum())


def _labels(rng: np.random.Generator, share: NDArray[np.float64]) -> list[dict[str, float]]:
    drawn = np.unique(rng.choice(len(share), 1 + rng.poisson(LABELS_PER_IMAGE - 1), p=share))
    confidences = rng.choice([0.8, 0.9, 1.0], len(drawn))
    return [
        {"class_index": int(index), "confidence": float(confidence), "origin": 0}
        for index, confidence in zip(drawn, confidences, strict=True)
    ]


def _linked(file: Path, link: Path) -> None:
    """Give a file another name, or copy it where the file system has no second names for it."""
    try:
        os.link(file.resolve(), link)
    except OSError:
        shutil.copyfile(file, link)


def refuse_missing(job: Job) -> None:
    """Raise `NotTriedError` where the shards were not made."""
    if not (job.path(SHARDS) / "manifest.json").is_file() or not job.path(TABLE).is_dir():
        raise NotTriedError("there are no shards: see data")
