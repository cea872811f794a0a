"""Print how much longer `labels` takes with a teacher's predictions of each image than without rules, on COCO.

    python -m tests.benchmarks.image_rule_speed [SHARED_DATA] [--repeat 3]

82,081 images with half of their labels, and the predictions of at least 0.01 of the simulated teacher of
`image_rule`. The work of the stage is timed, by turns, with one worker; the ratio is that of the fastest runs.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
import pyarrow as pa

import mlimages_dataset as ml
from mlimages_dataset.augment.hidden_labels import with_hidden
from mlimages_dataset.augment.labels_stage import label
from mlimages_dataset.augment.rules_stage import RULES_FILE, RuleOptions, rules
from mlimages_dataset.augment.splits import draws_of
from mlimages_dataset.pipeline.stage import Workplace
from mlimages_dataset.tables.label_columns import LabelColumns, array_of
from mlimages_dataset.tables.parquet import write_table
from mlimages_dataset.tables.schemas import ANNOTATIONS, PREDICTIONS, Origin, TableSchema
from tests.benchmarks.image_rule import teacher
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
def main(shared_data: Path, repeat: int) -> None:
    """Compare the times."""
    ids, labels = read_coco(shared_data / "coco" / "train_full.txt")
    vocabulary = ml.build_vocabulary(classes={"coco": "packaged:coco.csv"}, narrower=True)
    index_of = {row.source_id: row.class_index for row in vocabulary.mapping}
    names = [line.split("\t")[0] for line in (shared_data / "coco" / "classes_80_wn30.tsv").read_text().splitlines()]
    classes = np.array([index_of[name] for name in names if name in index_of], np.int32)
    kept = with_hidden(labels, draws_of(ids, "hide 0"), 0.5)
    scores = columns_of_scores(teacher(matrix_of(labels), QUALITY, seed=1))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        complete = write(folder / "complete", ANNOTATIONS, ids, labels, classes)
        given = write(folder / "given", ANNOTATIONS, ids, kept, classes)
        predictions = write(folder / "predictions", PREDICTIONS, ids, scores, classes)
        options = RuleOptions(precision=0.9, pictures=True)
        summary = rules(vocabulary, complete, predictions, Workplace(folder / "rules"), options).summary
        click.echo("\n".join(summary.lines()))
        click.echo(f"{len(scores.class_index) / len(ids):.1f} predictions an image")
        times: dict[str, list[float]] = {"without rules": [], "with the rule image": []}
        for number in range(repeat + 1):  # the first turn compiles
            for which, (implications, seen) in zip(
                times, ((None, None), (folder / "rules" / RULES_FILE, predictions)), strict=True
            ):
                at = Workplace(folder / f"{which} {number}")
                start = time.process_time()
                label(vocabulary, [given], at, implications=implications, predictions=seen)
                times[which] += [time.process_time() - start] if number else []
        for which, found in times.items():
            click.echo(f"{which}: {min(found):.2f} s of processor time")
        alone, ruled = map(min, times.values())
        click.echo(f"{ruled / alone:.2f} times")


if __name__ == "__main__":
    main()
