"""One row of the paper's tables: the data are prepared, a network is trained and measured, and the figures compared."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from mlimages_dataset.core.errors import ConfigError, MLImagesError
from mlimages_dataset.tables.files import write_bytes
from mlimages_dataset.train import distributed
from mlimages_dataset.train.apply import Application
from mlimages_dataset.train.caltech import Protocol
from mlimages_dataset.train.caltech_stage import measure_transfer
from mlimages_dataset.train.checkpoint import found_checkpoint
from mlimages_dataset.train.computing import computing
from mlimages_dataset.train.config import Execution, Precision, TaskName
from mlimages_dataset.train.evaluation import EvaluationSummary, measures_of
from mlimages_dataset.train.judge import evaluate
from mlimages_dataset.train.logs import json_text
from mlimages_dataset.train.paper.imagenet import prepare_imagenet
from mlimages_dataset.train.paper.rows import Collection, Figure, label
from mlimages_dataset.train.paper.voc import prepare_detection, prepare_segmentation
from mlimages_dataset.train.run_command import is_first_rank
from mlimages_dataset.train.stage import finetune, pretrain
from mlimages_dataset.train.weights.reading import Said, read_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from mlimages_dataset.core.decoding import Json
    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.train.caltech_stage import Transfer
    from mlimages_dataset.train.config import Run
    from mlimages_dataset.train.paper.prepared import Prepared
    from mlimages_dataset.train.paper.rows import Row

_Value = TypeVar("_Value")
DATA, RUN, RESULT_FILE = "data", "run", "result.json"
"""The folders of the prepared data and of the run, and the file of the result, in the folder of a transfer."""
_MOST_IMAGES = 64
"""Images of a batch of the evaluation."""


@dataclass(frozen=True, slots=True)
class Transferred:
    """A row's result.

    Attributes:
        row: the row.
        n_images: number of pictures that were learnt.
        n_measured: number of those that were measured on.
        measures: the run's last checkpoint's measures by image size and name, shares of 1; 0 for the run's own size.
        notes: what people must know of the data.
    """

    row: Row
    n_images: int
    n_measured: int
    measures: Mapping[int, Mapping[str, float]]
    notes: tuple[str, ...] = ()

    def percent(self, figure: Figure) -> float:
        """Return our value beside a figure of the paper, in percent."""
        return 100 * self.measures[figure.image_size][figure.measure]

    def lines(self) -> list[str]:
        """Return our figures, each beside the paper's."""
        row = self.row
        learnt = f"learnt from {self.n_images:,} images (the paper: {row.images:,})"
        measured = f"measured on {self.n_measured:,} (the paper: {row.measured_on:,})"
        told = [f"{row.name}: {learnt}, {measured}", *self.notes, f"{'here':>8} {'paper':>8}"]
        return told + [f"{self.percent(one):8.2f} {one.percent:8.2f}  % {label(one)}" for one in row.figures]

    def to_json(self) -> dict[str, Json]:
        """Return the figures, the paper's and all measures."""
        figures: list[Json] = [{**dataclasses.asdict(one), "here": self.percent(one)} for one in self.row.figures]
        return {
            "row": self.row.name,
            "table": self.row.table,
            "images": self.n_images,
            "measured_on": self.n_measured,
            "figures": figures,
            "measures": {str(size): dict(found) for size, found in self.measures.items()},
            "notes": list(self.notes),
        }


def transfer(
    row: Row, run: Run, data: Location, out: Path, *, tell: Callable[[str], None], sbd: Location | None = None
) -> Transferred:
    """Run a row, or go on with one that was interrupted, and return its result, on every rank.

    Args:
        row: the row, of any collection but Caltech-256.
        run: its run file, with the weights that it starts from.
        data: the collection, as its publisher or most people keep it.
        out: the folder for the prepared data, the run, and the result.
        tell: is called on rank 0 with a sentence before the work that takes long.
        sbd: SBD's folder, for segmentation; see `prepare_segmentation`.

    Raises:
        ConfigError: the run starts from no weights.
        UsageError, DataError: the data or the weights cannot be used, or as `pretrain`.
    """
    if row.from_weights and run.model.weights is None:
        raise ConfigError(f"{row.name} starts from trained weights", remedy="name them with --weights")

    def prepare() -> Prepared:
        if run.model.weights is not None:  # before the hours that follow
            read_weights(run.model.weights, Said(architecture=run.model.name))
        tell(f"preparing {row.collection.value} from {data}")
        if row.collection is Collection.IMAGENET:
            return prepare_imagenet(data, out / DATA)
        if row.collection is Collection.VOC_DETECTION:
            return prepare_detection(data, out / DATA)
        return prepare_segmentation(data, out / DATA, sbd)

    prepared = _on_first_rank(run, prepare)
    given = prepared.given_to(run)
    (finetune if row.from_weights else pretrain)(given, out / RUN)
    measures = {size: _measures(given, prepared, out / RUN, size) for size in row.image_sizes}
    result = Transferred(row, prepared.n_images, prepared.n_measured, measures, prepared.notes)
    if is_first_rank():
        write_bytes(out / RESULT_FILE, (json_text(result.to_json(), indent=2) + "\n").encode())
    return result


def measure_features(weights: Location, data: Location, out: Location, tell: Callable[[str], None]) -> Transfer | None:
    """Return what an SVM finds in a checkpoint's features of Caltech-256, on rank 0; raises as `measure_transfer`.

    Args:
        weights: the checkpoint.
        data: the folder of classes.
        out: the folder for features and results.
        tell: as for `transfer`.
    """
    execution = Execution(precision=Precision.FLOAT32)
    application = Application(checkpoint=found_checkpoint(weights), vocabulary=None, images=data, execution=execution)
    return measure_transfer(application, Protocol(), out, tell=tell)


def _on_first_rank(run: Run, work: Callable[[], _Value]) -> _Value:
    """Return what rank 0 makes, on every rank, or raise its error."""
    with computing(run.execution, run.seed):
        found: _Value | MLImagesError | None = None
        if distributed.rank() == 0:
            try:
                found = work()
            except MLImagesError as error:
                found = error
        found = distributed.from_first(found)
    if isinstance(found, MLImagesError):
        raise found
    assert found is not None
    return found


def _measures(run: Run, prepared: Prepared, folder: Path, image_size: int) -> dict[str, float]:
    """Return the measures of a run's newest checkpoint at an image size."""
    application = Application(
        checkpoint=folder,
        vocabulary=prepared.vocabulary,
        images=prepared.measured_images,
        execution=run.execution,
        batch_size=min(run.phases[-1].batch_size, _MOST_IMAGES),
        workers=run.data.workers,
        view=run.data.validation_view if run.task is TaskName.MULTI_LABEL else None,
        image_size=image_size,
    )
    found = evaluate(application, prepared.measured_labels)
    return measures_of(found) if isinstance(found, EvaluationSummary) else dict(found.measures)
