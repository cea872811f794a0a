"""Time `labels` against the time that pyarrow alone needs to write the same output.

    python -m tests.benchmarks.labels_at_scale [--rows 17609752] [--folder DIR] [--workers 2]

Annotations of the size of Tencent ML-Images are simulated over the packaged vocabulary: 61 % of the images have one
label, as those of ImageNet, the others two to seven; categories are drawn with the published imbalance (a power law).
"""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mlimages_dataset.augment.labels import LabelColumns, array_of
from mlimages_dataset.augment.stage import label
from mlimages_dataset.engine import local
from mlimages_dataset.schemas import ANNOTATIONS, LABELS
from mlimages_dataset.storage import COMPRESSION, table_parts, table_writer
from mlimages_dataset.vocab.reviewed import packaged_reviewed, parse_reviewed
from mlimages_dataset.vocab.sources import parse_imagenet_synsets
from mlimages_dataset.vocab.stage import packaged_class_list, packaged_imagenet
from mlimages_dataset.vocab.vocabulary import ClassList, Vocabulary, build_vocabulary
from mlimages_dataset.vocab.wordnet import load_wordnet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlimages_dataset.locations import Location

PART_ROWS = 1 << 19


def packaged_vocabulary() -> Vocabulary:
    """Return the vocabulary of the packaged ImageNet-11k list."""
    classes = parse_imagenet_synsets(packaged_class_list("imagenet11k.txt").read_text().splitlines(), "imagenet11k.txt")
    return build_vocabulary(
        [ClassList(source="imagenet", classes=tuple(classes))],
        load_wordnet(),
        parse_reviewed(packaged_reviewed(), "reviewed.toml"),
        image_counts={},
        imagenet_all=packaged_imagenet(),
        box_parents={},
    )


def simulated_rows(n_rows: int, n_classes: int, seed: tuple[int, int]) -> pa.Table:
    """Return rows of the `annotations` table, about 2.1 labels each."""
    rng = np.random.default_rng(seed)
    sizes = np.where(rng.random(n_rows) < 0.61, 1, rng.integers(2, 8, n_rows)).astype(np.int64)
    popularity = 1 / np.arange(1, n_classes + 1) ** 0.7
    classes = np.random.default_rng(0).permutation(n_classes)
    drawn = classes[rng.choice(n_classes, int(sizes.sum()), p=popularity / popularity.sum())]
    images = np.repeat(np.arange(n_rows), sizes)
    keys = np.unique(images * n_classes + drawn)
    kept, class_index = keys // n_classes, (keys % n_classes).astype(np.int32)
    offsets = np.concatenate(([0], np.cumsum(np.bincount(kept, minlength=n_rows)))).astype(np.int32)
    confidence = rng.choice(np.asarray([0.8, 0.9, 1], np.float32), len(keys))
    columns = LabelColumns(offsets, class_index, confidence, np.zeros(len(keys), np.uint8))
    identity = [f"{seed[1]:03d}{number:013x}" for number in range(n_rows)]
    fields = [identity, ["simulated"] * n_rows, [f"https://example.org/{name}.jpg" for name in identity]]
    return pa.Table.from_arrays([*map(pa.array, fields), array_of(columns)], schema=ANNOTATIONS.arrow)


def write_annotations(folder: Path, n_rows: int, n_classes: int) -> int:
    """Write simulated annotations unless they are there, and return their labels."""
    labels = 0
    for number, start in enumerate(range(0, n_rows, PART_ROWS)):
        path = folder / f"part-{number:05d}.parquet"
        rows = min(PART_ROWS, n_rows - start)
        if not path.exists():
            with table_writer(path, ANNOTATIONS, {}) as writer:
                writer.write(simulated_rows(rows, n_classes, (rows, number)))
        labels += pq.read_table(path)["labels"].combine_chunks().values.__len__()
    return labels


def time_of_writing_alone(parts: Sequence[Location], out: Path) -> float:
    """Return the seconds that pyarrow needs to write tables that it holds in memory, part by part."""
    seconds = 0.0
    out.mkdir(parents=True, exist_ok=True)
    for part in parts:
        table = pq.read_table(part)
        start = time.perf_counter()
        pq.write_table(table, out / part.name, compression=COMPRESSION)
        with (out / part.name).open("rb") as stream:
            os.fsync(stream.fileno())
        seconds += time.perf_counter() - start
        (out / part.name).unlink()
    return seconds


@click.command()
@click.option("--rows", default=17_609_752, show_default=True)
@click.option("--folder", type=click.Path(path_type=Path), required=True)
@click.option("--workers", default=2, show_default=True)
@click.option("--repeat", default=3, show_default=True)
def main(rows: int, folder: Path, workers: int, repeat: int) -> None:
    """Print the ratio of each repetition and their median."""
    vocabulary = packaged_vocabulary()
    given = folder / f"annotations-{rows}"
    n_in = write_annotations(given, rows, len(vocabulary))
    ratios = []
    for _ in range(repeat):
        out = folder / "labels"
        with local(workers) as mapper:
            start = time.perf_counter()
            result = label(vocabulary, [given], out, inputs={}, mapper=mapper)
            ours = time.perf_counter() - start
        alone = time_of_writing_alone(table_parts(out), folder / "alone")
        ratios.append(ours / alone)
        train = result.summary["train"]
        assert isinstance(train, dict)
        print(
            f"{rows:,} images, {n_in:,} labels in, {train['labels']:,} out: {ours:.1f} s with {workers} workers, "
            f"writing alone {alone:.1f} s, ratio {ratios[-1]:.2f}"
        )
        for part in table_parts(out):
            assert pq.read_schema(part).metadata[b"mlimages.schema"].decode() == LABELS.label
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(f"median ratio {np.median(ratios):.2f}; largest process {peak / 1024:.0f} MiB; {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
