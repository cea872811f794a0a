"""Applies a trained network to pictures: predictions, features."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import pyarrow as pa
import torch
from torch import Tensor

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.loaders.views import EvaluationView
from mlimages_dataset.pipeline.folder import OutputFolder
from mlimages_dataset.pipeline.records import StageResult
from mlimages_dataset.pipeline.stage import Stage, run
from mlimages_dataset.tables.files import file_digest, listing_digest
from mlimages_dataset.tables.parquet import read_table, write_table
from mlimages_dataset.tables.schemas import CATEGORIES, LABEL_MAPS, PREDICTIONS
from mlimages_dataset.train import distributed
from mlimages_dataset.train.checkpoint import (
    Checkpoint,
    check_vocabulary,
    found_checkpoint,
    read_checkpoint,
)
from mlimages_dataset.train.computing import computing
from mlimages_dataset.train.config import Data, Loss, Phase, Run, Unknown
from mlimages_dataset.train.extract import feature_rows, features_schema
from mlimages_dataset.train.image_sizes import check_sizes
from mlimages_dataset.train.label_map_files import write_label_maps
from mlimages_dataset.train.learner import autocast
from mlimages_dataset.train.models import MultiLabelClassifier
from mlimages_dataset.train.pictures import Part, Pictures, picture_batches
from mlimages_dataset.train.predict import ClassName, Seen, top_classes
from mlimages_dataset.train.probabilities import lacks_fit, probabilities_of
from mlimages_dataset.train.science import turns_upright
from mlimages_dataset.train.tasks.registry import task_of_checkpoint
from mlimages_dataset.vocab.folder import categories_file, vocabulary_digests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from torch import nn

    from mlimages_dataset.core.decoding import Json
    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.records import StageOutcome
    from mlimages_dataset.pipeline.stage import Workplace
    from mlimages_dataset.tables.files import Inputs
    from mlimages_dataset.tables.schemas import TableSchema
    from mlimages_dataset.train.config import Execution
    from mlimages_dataset.train.tasks.task import AnyTask

_SHOWN_BAD = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """A trained network and the pictures that it is applied to.

    Attributes:
        checkpoint: the network's checkpoint: a file, or a run's folder for its newest.
        vocabulary: folder of the vocabulary that it was trained with; None for a task without one.
        images: folder of image shards, or of image files, or one such file.
        execution: device, precision and the like.
        batch_size: images per batch of each rank.
        workers: decoding workers per process.
        view: the part of a picture that a classifier sees; None for `CROP80`.
        image_size: side of the squares that it sees, in pixels (for detection the short side); 0 for the size that
            it was trained at last.
    """

    checkpoint: Path
    vocabulary: Location | None
    images: Location
    execution: Execution
    batch_size: int = 64
    workers: int = 4
    view: EvaluationView | None = None
    image_size: int = 0

    @property
    def chosen_view(self) -> EvaluationView:
        """The part of a picture that a classifier sees."""
        return EvaluationView.CROP80 if self.view is None else self.view

    @property
    def classes_of(self) -> Location:
        """The folder of the vocabulary.

        Raises:
            UsageError: there is none.
        """
        if self.vocabulary is None:
            raise UsageError("no vocabulary", remedy="name its folder with --vocabulary")
        return self.vocabulary


@dataclass(frozen=True, slots=True)
class AppliedSummary:
    """The pictures that a network was applied to.

    Attributes:
        images: number of pictures that the network has seen.
        unreadable: number of pictures that cannot be read.
        first_unreadable: the first of these, each with the reason.
    """

    images: int
    unreadable: int
    first_unreadable: tuple[str, ...]


def predict(
    application: Application,
    out: Location,
    *,
    above: float | None = None,
    source: str = "model",
    raw: bool = False,
    overwrite: bool = False,
    maps: Path | None = None,
    tell: Callable[[str], None] | None = None,
) -> StageOutcome[AppliedSummary] | None:
    """Write what a network says of a folder's pictures, as its task's table, and return the record, on rank 0.

    The loss decides what a probability means: for each class separately, calibrated by the checkpoint's fit, or with
    `softmax` for one class among all. The parts and their rows are the same for any number of ranks.

    Args:
        application: the network and the pictures.
        out: the folder to write into.
        above: classes, or boxes, with a higher probability are listed; None for what the task lists by default.
        source: value of the table's column `source`.
        raw: leave out the calibration.
        overwrite: replace what was built with other parameters or inputs.
        maps: the folder for a segmenter's label maps as files, see `write_label_maps`; None for the table alone.
        tell: is called on rank 0 with a sentence if the checkpoint lacks a calibration fit that it should have.

    Raises:
        UsageError: the checkpoint has another vocabulary, there is no picture, the folder holds something else, or
            `maps` is given and the network is no segmenter.
        DataError: an input is damaged.
        MLImagesError: another rank ended.
    """

    def schema(task: AnyTask, _: nn.Module) -> TableSchema:
        if maps is not None and task.predictions is not LABEL_MAPS:
            raise UsageError(
                "it is no segmenter, so there are no label maps",
                where=application.checkpoint,
                remedy="leave --maps out",
            )
        return task.predictions

    def rows_of(checkpoint: Checkpoint) -> _Rows:
        task = task_of_checkpoint(checkpoint, where=application.checkpoint)
        listed = task.listed_above if above is None else above
        rows_of_outputs = task.rows(checkpoint, raw=raw, source=source, above=listed, where=application.checkpoint)

        def rows(
            network: nn.Module, images: tuple[Tensor, Tensor], pictures: Pictures, numbers: Sequence[int]
        ) -> pa.Table:
            outputs = network(*task.applied(*images))
            ids = [pictures.image_id(number) for number in numbers]
            return rows_of_outputs(outputs, ids, [pictures.location(number) for number in numbers])

        return rows

    outcome = _apply(
        application,
        out,
        PREDICTIONS.name,
        lambda task: {"above": task.listed_above if above is None else above, "source": source, "raw": raw},
        schema_of=schema,
        rows_of=rows_of,
        overwrite=overwrite,
        done=lambda checkpoint: _tell_lacking_fit(checkpoint, application, raw=raw, tell=tell),
    )
    if maps is not None and outcome is not None:
        write_label_maps(out, maps)
    return outcome


def see(
    application: Application,
    *,
    top: int = 10,
    above: float = -1.0,
    raw: bool = False,
    tell: Callable[[str], None] | None = None,
) -> Iterator[Seen]:
    """Yield the predictions for each picture as they are computed, in the order of `predict`.

    Args:
        application: the network and the pictures.
        top: at most this many classes per picture.
        above: only classes with a higher probability.
        raw: leave out the calibration.
        tell: as for `predict`.

    Raises:
        UsageError: as `predict`; or there are several ranks.
        DataError: as `predict`.
    """
    with computing(application.execution, seed=0) as device:
        if distributed.n_ranks() > 1:
            raise UsageError("several ranks cannot print predictions", remedy="pass --out, or start one process")
        task, network, checkpoint = trained(application, device, needs_classes=False)
        _classifier(network, application)
        probabilities = probabilities_of(checkpoint, raw=raw, where=application.checkpoint)
        pictures = Pictures(application.images, task.view(checkpoint, application.chosen_view))
        size, pin = application.batch_size, device.type == "cuda"
        workers = application.workers if len(pictures) > size else 0  # a process takes longer to start than a batch
        parts, is_first = Part.all_of(len(pictures), size), True
        for _, batches in picture_batches(pictures, parts, batch_size=size, workers=workers, pin=pin):
            for batch in batches:
                found = {number: Seen(*_named(pictures, number), reason=why) for number, why in batch.bad}
                if batch.numbers:
                    if is_first:  # there are probabilities to report
                        _tell_lacking_fit(checkpoint, application, raw=raw, tell=tell)
                    is_first = False
                    with torch.inference_mode(), autocast(device, application.execution.precision):
                        logits = network(pictures.finish(batch.images.to(device))).float()
                    best = top_classes(probabilities(logits), top, above)
                    for number, classes in zip(batch.numbers, best, strict=True):
                        found[number] = Seen(*_named(pictures, number), classes)
                yield from (found[number] for number in sorted(found))


def _tell_lacking_fit(
    checkpoint: Checkpoint, application: Application, *, raw: bool, tell: Callable[[str], None] | None
) -> None:
    if tell is None or raw or distributed.rank() > 0 or not lacks_fit(checkpoint):
        return
    tell(
        f"{found_checkpoint(application.checkpoint)} holds no calibration fit, so only the weights of its loss are "
        "undone: `calibrate` makes a fit"
    )


def _named(pictures: Pictures, number: int) -> tuple[str, str]:
    return pictures.image_id(number), pictures.location(number)


def class_names(vocabulary: Location) -> list[ClassName]:
    """Return the names of the classes of the vocabulary in a folder, by class index; raises as `read_classes`."""
    categories = read_table(categories_file(vocabulary), CATEGORIES)
    return [
        ClassName(*both) for both in zip(categories["wnid"].to_pylist(), categories["name"].to_pylist(), strict=True)
    ]


def extract(application: Application, out: Location, *, overwrite: bool = False) -> StageOutcome[AppliedSummary] | None:
    """Write the pooled features of a folder's pictures and return their record, on rank 0; raises as `predict`."""

    def rows(network: nn.Module, images: tuple[Tensor, Tensor], pictures: Pictures, numbers: Sequence[int]) -> pa.Table:
        features = _classifier(network, application).features(images[0])
        return feature_rows(features, [pictures.image_id(number) for number in numbers])

    def schema(_: AnyTask, network: nn.Module) -> TableSchema:
        return features_schema(_classifier(network, application).n_features)

    return _apply(
        application,
        out,
        "features",
        lambda _: {},
        schema_of=schema,
        rows_of=lambda _: rows,
        overwrite=overwrite,
        needs_classes=False,
    )


_Rows: TypeAlias = "Callable[[nn.Module, tuple[Tensor, Tensor], Pictures, Sequence[int]], pa.Table]"
"""Makes the rows of a table from a network, images on its device with their sizes, and the pictures' numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """A table of a network's outputs for a folder's pictures.

    Attributes:
        application: the network and the pictures.
        network: the network, on the device.
        pictures: the pictures in their order.
        schema: schema of the table.
        inputs: digests of the table's inputs.
        rows: makes the rows of the table.
    """

    application: Application
    network: nn.Module
    pictures: Pictures
    schema: TableSchema
    inputs: Inputs
    rows: _Rows


def _apply(
    application: Application,
    out: Location,
    stage: str,
    parameters: Callable[[AnyTask], Mapping[str, Json]],
    *,
    schema_of: Callable[[AnyTask, nn.Module], TableSchema],
    rows_of: Callable[[Checkpoint], _Rows],
    overwrite: bool,
    needs_classes: bool = True,
    done: Callable[[Checkpoint], None] | None = None,
) -> StageOutcome[AppliedSummary] | None:
    """Write a table of a network's outputs for a folder's pictures; each rank writes some of its parts."""
    with computing(application.execution, seed=0) as device:
        task, network, checkpoint = trained(application, device, needs_classes=needs_classes)
        job = _Job(
            application=application,
            network=network,
            pictures=Pictures(application.images, task.view(checkpoint, application.chosen_view)),
            schema=schema_of(task, network),
            inputs=distributed.from_first(_inputs(application) if distributed.rank() == 0 else {}),
            rows=rows_of(checkpoint),
        )
        if distributed.rank() > 0:
            if distributed.from_first(value=False):
                _write_parts(job, out)
            return None
        began = False

        def work(at: Workplace) -> StageResult[AppliedSummary]:
            nonlocal began
            began = distributed.from_first(value=True)
            return _write_parts(job, at.out)

        how: dict[str, Json] = {
            "batch_size": application.batch_size,
            "precision": application.execution.precision.value,
            "view": application.chosen_view.value,
            **({"image_size": application.image_size} if application.image_size else {}),
        }
        applied = Stage(
            name=stage, parameters={**parameters(task), **how}, inputs=job.inputs, work=work, summary=AppliedSummary
        )
        try:
            outcome = run(applied, OutputFolder(out, overwrite=overwrite))
        finally:
            if not began:  # the table exists already, or the work failed: the other ranks have nothing to do
                distributed.from_first(value=False)
        if done is not None:
            done(checkpoint)
        return outcome


@torch.inference_mode()
def _write_parts(job: _Job, out: Location) -> StageResult[AppliedSummary]:
    """Write this rank's parts and return what all ranks have written."""
    application, device = job.application, next(job.network.parameters()).device
    parts = Part.all_of(len(job.pictures), application.batch_size)[distributed.rank() :: distributed.n_ranks()]
    batches = picture_batches(
        job.pictures, parts, batch_size=application.batch_size, workers=application.workers, pin=device.type == "cuda"
    )
    receipts, bad, n_seen = [], [], 0
    for part, of_part in batches:
        tables = [job.schema.arrow.empty_table()]
        for batch in of_part:
            bad += [f"{job.pictures.image_id(number)}: {why}" for number, why in batch.bad]
            n_seen += len(batch.numbers)
            if batch.numbers:
                images = job.pictures.finish(batch.images.to(device, non_blocking=True))
                with autocast(device, application.execution.precision):
                    tables.append(job.rows(job.network, (images, batch.sizes), job.pictures, batch.numbers))
        receipts.append(write_table(out / part.name, pa.concat_tables(tables), job.schema, job.inputs))
    written = [receipt for of_rank in distributed.gathered(receipts) for receipt in of_rank]
    all_bad = sorted(one for of_rank in distributed.gathered(bad) for one in of_rank)
    summary = AppliedSummary(sum(distributed.gathered(n_seen)), len(all_bad), tuple(all_bad[:_SHOWN_BAD]))
    return StageResult(tuple(sorted(written, key=lambda receipt: receipt.path.name)), summary)


def _classifier(network: nn.Module, application: Application) -> MultiLabelClassifier:
    """Return a network as a classifier.

    Raises:
        UsageError: it is of another task.
    """
    if not isinstance(network, MultiLabelClassifier):
        raise UsageError(
            "its network is no classifier, so there are neither features nor classes of whole pictures",
            where=application.checkpoint,
            remedy="write a table of what it finds with predict --out",
        )
    return network


def as_run(application: Application, labels: Location | None, checkpoint: Checkpoint) -> Run:
    """Return the settings by which a task opens the pictures and labels that it is evaluated on."""
    listed = tuple(json.loads(checkpoint.science.get("loss.absent_unless_listed", "[]")))
    return Run(
        epochs=1,
        data=Data(
            vocabulary=application.vocabulary,
            validation_images=application.images,
            validation_labels=labels,
            validation_view=application.chosen_view,
            upright=turns_upright(checkpoint.science),
        ),
        loss=Loss(unknown=Unknown.IGNORED, absent_unless_listed=listed) if listed else Loss(),
        phases=(Phase(image_size=checkpoint.image_size),),
    )


def trained(
    application: Application, device: torch.device, unknown: Unknown | None = None, *, needs_classes: bool = True
) -> tuple[AnyTask, nn.Module, Checkpoint]:
    """Return the task of a checkpoint, and its network on a device, for evaluation.

    Raises:
        UsageError: it has another vocabulary than the one that is named, its task does not heed a setting, or its
            network takes no images of the size.
        DataError: it is damaged.
    """
    path = found_checkpoint(application.checkpoint)
    checkpoint = read_checkpoint(path)
    if application.image_size:
        checkpoint = checkpoint.at_size(application.image_size)
    task = task_of_checkpoint(checkpoint, unknown=unknown, where=application.checkpoint)
    for option, given in (("--view", application.view is not None), ("--image-size", application.image_size > 0)):
        if given and option in task.unheeded:
            what = f"{option} changes nothing of what this network sees, which is whole pictures"
            raise UsageError(what, where=application.checkpoint, remedy=f"leave {option} out")
    if needs_classes or application.vocabulary is not None:
        classes = task.classes(as_run(application, None, checkpoint))
        check_vocabulary(checkpoint, path, classes.digest, len(classes))
    network = task.network(checkpoint, path).to(device).eval()
    check_sizes(network, [checkpoint.image_size], checkpoint.model_name, advice="pass --image-size ")
    return task, network, checkpoint


def _inputs(application: Application) -> dict[str, str]:
    return {
        **({} if application.vocabulary is None else vocabulary_digests(application.vocabulary)),
        "checkpoint": file_digest(found_checkpoint(application.checkpoint)),
        "images": (listing_digest if application.images.is_dir() else file_digest)(application.images),
    }
