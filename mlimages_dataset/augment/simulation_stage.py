"""The stage that writes a simulated sample as raw files in the publishers' formats."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from mlimages_dataset.augment.annotate import AnnotatedFiles
from mlimages_dataset.augment.simulation import simulate
from mlimages_dataset.core.documents import written_csv
from mlimages_dataset.pipeline.records import StageResult
from mlimages_dataset.pipeline.stage import NoSummary, Stage
from mlimages_dataset.tables.files import write_bytes
from mlimages_dataset.tables.label_columns import array_of
from mlimages_dataset.tables.parquet import write_table
from mlimages_dataset.tables.schemas import PREDICTIONS
from mlimages_dataset.vocab.folder import read_vocabulary, vocabulary_digests

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mlimages_dataset.augment.simulation import Simulation
    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.stage import Workplace

SIMULATION = "simulation"
SIMULATED_SOURCES = ("imagenet-simulated", "open-images-simulated")
"""Names of the annotated collections that a simulation adds."""
PREDICTIONS_FOLDER = "predictions"
_FILES = ("imagenet.txt", "open-images.csv")
_FORMATS = ("imagenet", "open-images")
_OPEN_IMAGES_HEADER = ("ImageID", "Source", "LabelName", "Confidence")


def simulation_stage(vocabulary: Location, how: Simulation) -> Stage[NoSummary]:
    """Return the stage that writes a simulated sample as raw files and a `predictions` table; raises as `simulate`."""
    inputs = vocabulary_digests(vocabulary)

    def work(at: Workplace) -> StageResult[NoSummary]:
        sample = simulate(read_vocabulary(vocabulary), how)
        n_images = len(sample.predicted_ids)
        rows = pa.table(
            {
                "image_id": sample.predicted_ids,
                "source": ["simulated"] * n_images,
                "location": [""] * n_images,
                "labels": array_of(sample.predictions),
            },
            schema=PREDICTIONS.arrow,
        ).sort_by("image_id")
        imagenet, open_images = _FILES
        receipts = (
            write_bytes(at.out / imagenet, "".join(f"{line}\n" for line in sample.imagenet_lines).encode()),
            write_bytes(at.out / open_images, _csv(_OPEN_IMAGES_HEADER, sample.open_images_rows)),
            write_table(at.out / PREDICTIONS_FOLDER / "part-00000.parquet", rows, PREDICTIONS, at.inputs),
        )
        return StageResult(receipts, NoSummary())

    return Stage(
        name=SIMULATION,
        parameters=how,
        inputs=inputs,
        work=work,
        summary=NoSummary,
        into=SIMULATION,
        folders=("", PREDICTIONS_FOLDER),
    )


def simulated_files(folder: Location) -> list[AnnotatedFiles]:
    """Return the annotated collections that a simulation wrote into a folder."""
    return [
        AnnotatedFiles(name=name, format=form, files=(folder / file,))
        for name, form, file in zip(SIMULATED_SOURCES, _FORMATS, _FILES, strict=True)
    ]


def _csv(header: Sequence[str], rows: Sequence[Sequence[str]]) -> bytes:
    return written_csv([header, *rows]).encode()
