"""Print how much longer `labels` takes with a teacher's predictions of each image than without rules, on COCO.

    python -m tests.benchmarks.image_rule_speed [SHARED_DATA] [--repeat 3] [--copies 1 --copies 4]

82,081 images with half of their labels, and the predictions of at least 0.01 of the simulated teacher of
`image_rule`; for larger sizes, each image several times under other ids. Timed by turns, with one worker, are the work
of the stage alone and the whole command; the ratios are those of the fastest runs.
"""

from __future__ import annotations

import resource
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

import mlimages_dataset as ml
from mlimages_dataset.augment.hidden_labels import with_hidden
from mlimages_dataset.augment.labels_stage import label
from mlimages_dataset.augment.rules_stage import RULES_FILE, RuleOptions, rules
from mlimages_dataset.augment.splits import draws_of
from mlimages_dataset.pipeline.stage import Workplace
from mlimages_dataset.tables.label_columns import LabelColumns, array_of, columns_of
from mlimages_dataset.tables.parquet import write_table
from mlimages_dataset.tables.schemas import ANNOTATIONS, PREDICTIONS, Origin, TableSchema
from mlimages_dataset.vocab.folder import read_vocabulary
from tests.benchmarks.image_rule import teacher
from tests.benchmarks.measurement import command
from tests.benchmarks.rules_at_equal_recall import matrix_of, read_coco

if TYPE_CHECKING:
    import scipy.sparse as sp
    from numpy.typing import NDArray

QUALITY = 0.818


def write(
    folder: Path, schema: TableSchema, ids: pa.StringArray, labels: LabelColumns, classes: NDArray[np.int32]
) -> Path:
    """Write a table of labels whose classes are COCO's numbers, which `classes` maps to class indices."""
    mapped = classes[labels.class_index]
    order = np.lexsort((mapped, labels.images))
    moved = LabelColumns(labels.offsets, mapped[order], labels.confidence[order], labels.origin[order])
    texts = [pa.array([text] * len(ids)) for text in ("coco", "")]
    table = pa.Table.from_arrays([ids, *texts, array_of(moved)], schema=schema.arrow)
    write_table(folder / "part-00000.parquet", table.sort_by("image_id"), schema, {})
    return folder


def columns_of_scores(seen: sp.csr_array) -> LabelColumns:
    """Return a teacher's probabilities as labels."""
    seen.sort_indices()
    origin = np.full(seen.nnz, int(Origin.MODEL_PREDICTION), np.uint8)
    return LabelColumns(
        seen.indptr.astype(np.int32), seen.indices.astype(np.int32), seen.data.astype(np.float32), origin
    )


@click.command()
@click.argument("shared_data", type=click.Path(path_type=Path), default=Path("../shared/data"))
@click.option("--repeat", type=int, default=3)
@click.option("--copies", type=int, multiple=True, default=(1, 4), help="Times that each image is there.")
def main(shared_data: Path, repeat: int, copies: tuple[int, ...]) -> None:
    """Compare the times."""
    ids, labels = read_coco(shared_data / "coco" / "train_full.txt")
    with tempfile.TemporaryDirectory() as name:
        measure(shared_data, ids, labels, Path(name), repeat, copies)


def repeated(ids: pa.StringArray, labels: LabelColumns, n: int) -> tuple[pa.StringArray, LabelColumns]:
    """Return images n times, each time under other ids."""
    every = pa.concat_arrays([pc.binary_join_element_wise(ids, pa.scalar(str(one)), "-") for one in range(n)])
    return every, columns_of(pa.concat_arrays([array_of(labels)] * n))


def measure(  # noqa: PLR0917 - what `main` has
    shared_data: Path, ids: pa.StringArray, labels: LabelColumns, folder: Path, repeat: int, copies: tuple[int, ...]
) -> None:
    """Write the tables into a folder, and print the times."""
    vocabulary = ml.build_vocabulary(classes={"coco": "packaged:coco.csv"}, narrower=True, out=folder / "vocabulary")
    index_of = {row.source_id: row.class_index for row in vocabulary.mapping}
    names = [line.split("\t")[0] for line in (shared_data / "coco" / "classes_80_wn30.tsv").read_text().splitlines()]
    classes = np.array([index_of[name] for name in names if name in index_of], np.int32)
    kept = with_hidden(labels, draws_of(ids, "hide 0"), 0.5)
    scores = columns_of_scores(teacher(matrix_of(labels), QUALITY, seed=1))
    complete = write(folder / "complete", ANNOTATIONS, ids, labels, classes)
    predictions = write(folder / "predictions", PREDICTIONS, ids, scores, classes)
    options = RuleOptions(precision=0.9, pictures=True)
    summary = rules(vocabulary, complete, predictions, Workplace(folder / "rules"), options).summary
    click.echo("\n".join(summary.lines()))
    click.echo(f"{len(scores.class_index) / len(ids):.1f} predictions an image")
    learned = folder / "rules" / RULES_FILE
    for n in copies:
        at = folder / str(n)
        given = write(at / "given", ANNOTATIONS, *repeated(ids, kept, n), classes)
        seen = write(at / "predictions", PREDICTIONS, *repeated(ids, scores, n), classes)
        click.echo(f"{n * len(ids):,} images")
        compare(folder / "vocabulary", given, learned, seen, at, repeat)


def compare(  # noqa: PLR0917 - the inputs of a command
    vocabulary: Path, given: Path, learned: Path, predictions: Path, folder: Path, repeat: int
) -> None:
    """Print the times of images with and without predictions."""
    read = read_vocabulary(vocabulary)
    times: dict[str, list[tuple[float, float]]] = {"without rules": [], "with the rule image": []}
    for number in range(repeat + 1):  # the first turn compiles
        for which, (implications, seen) in zip(times, ((None, None), (learned, predictions)), strict=True):
            out = folder / f"{which} {number}"
            start = time.process_time()
            label(read, [given], Workplace(out / "work"), implications=implications, predictions=seen)
            work = time.process_time() - start
            of_rule = [] if seen is None else ["--implications", str(learned), "--predictions", str(seen)]
            places = ["--vocab", str(vocabulary), "--annotations", str(given), "--out", str(out / "whole")]
            whole = processor_time("labels", *places, *of_rule)
            times[which] += [(work, whole)] if number else []
    fastest = {which: tuple(map(min, zip(*found, strict=True))) for which, found in times.items()}
    for which, (work, whole) in fastest.items():
        click.echo(f"{which}: {work:.2f} s of processor time, the whole command {whole:.2f} s")
    alone, ruled = fastest.values()
    click.echo(f"{ruled[0] / alone[0]:.2f} times the work, {ruled[1] / alone[1]:.2f} times the command")


def processor_time(*words: str) -> float:
    """Return the seconds of processor time that `mlimages-build` takes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command(*words, "--workers", "1")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
