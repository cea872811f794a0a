"""Segmentation: the class of every pixel, by DeepLab's ASPP-L (Wu et al. 2019, section 5.4).

Legend: B images in a batch, C classes.
"""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import pyarrow as pa
import torch

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.evaluation.segmentation import Confusion
from mlimages_dataset.loaders.label_maps import MappedImages, MapTransform
from mlimages_dataset.sources.label_maps import VOC_CLASSES, png_of
from mlimages_dataset.tables.schemas import LABEL_MAPS
from mlimages_dataset.train.inputs import Classes, labelled_places
from mlimages_dataset.train.learning import NoLooks
from mlimages_dataset.train.losses.pixels import PixelLoss, PixelTargets
from mlimages_dataset.train.segmentation import Segmented, Segmenter
from mlimages_dataset.train.tasks.loaded import loaded
from mlimages_dataset.train.tasks.task import Judgement, OfImages
from mlimages_dataset.train.weights.start import first_classifier

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

    from mlimages_dataset.loaders.label_maps import MapBatch
    from mlimages_dataset.loaders.views import EvaluationView
    from mlimages_dataset.tables.schemas import TableSchema
    from mlimages_dataset.train.checkpoint import Checkpoint
    from mlimages_dataset.train.config import Phase, Run
    from mlimages_dataset.train.losses.definition import State
    from mlimages_dataset.train.metrics import Reduce
    from mlimages_dataset.train.models import MultiLabelClassifier
    from mlimages_dataset.train.task_options import Segmentation
    from mlimages_dataset.train.tasks.task import RowsOf

MEASURES = ("miou", "pixel_accuracy")
_NO_PIXEL = "gives no pixel of these pictures a class"


@dataclass(frozen=True, slots=True)
class PixelMeasures:
    """The pixels of some images by true and by predicted class."""

    confusion: Confusion
    device: torch.device

    def __add__(self, other: PixelMeasures) -> PixelMeasures:
        return dataclasses.replace(self, confusion=self.confusion + other.confusion)

    def merged(self, reduce: Reduce) -> PixelMeasures:
        """Return the measures over all ranks."""
        pixels = reduce(torch.from_numpy(self.confusion.pixels).to(self.device)).cpu().numpy()
        return dataclasses.replace(self, confusion=Confusion(pixels))

    @property
    def lacking(self) -> str:
        """See `Measures`."""
        return "" if self.confusion.pixels.any() else _NO_PIXEL


@dataclass(frozen=True, slots=True)
class Segmenting(OfImages):
    """The task of segmentation; methods as in `Task`."""

    options: Segmentation
    predictions: ClassVar[TableSchema] = LABEL_MAPS
    unheeded: ClassVar[tuple[str, ...]] = ("--view", "--image-size")
    listed_above: ClassVar[float] = 0.0
    """Of no effect: every pixel has a class."""

    def classes(self, run: Run) -> Classes:
        """See `Task`: those that the run file lists, or VOC's."""
        del run
        names = self.options.classes or VOC_CLASSES
        return Classes(names, hashlib.sha256("\n".join(names).encode()).hexdigest())

    def data(self, run: Run, classes: Classes, *, training: bool) -> MappedImages:
        """See `Task`."""
        places = labelled_places(run, training=training)
        data = MappedImages(
            places.images,
            places.labels,
            n_classes=len(classes),
            transform=self._transform(run.phase(0).image_size, training=training),
            seed=run.seed,
        )
        if not data.rows_of_class.offsets[-1]:
            raise DataError(_NO_PIXEL, where=places.labels, remedy="name maps with other values than 255")
        return data

    def look(self, data: MappedImages, run: Run, phase: Phase, *, training: bool) -> None:
        """See `Task`."""
        data.transform = self._transform(phase.image_size, training=training)
        del run

    def view(self, checkpoint: Checkpoint, kind: EvaluationView) -> MapTransform:
        """See `Task`: whole pictures, whatever the kind."""
        del kind
        return self._transform(checkpoint.image_size, training=False)

    def inputs(self, batch: MapBatch, images: Tensor) -> tuple[Tensor, Tensor]:
        """See `Task`."""
        return images, batch.sizes

    def applied(self, images: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
        """See `Task`."""
        return images, sizes

    def bias(self, run: Run, data: MappedImages) -> None:
        """See `Task`."""

    def network(self, checkpoint: Checkpoint, where: Path) -> Segmenter:
        """See `Task`."""

        def make(classifier: MultiLabelClassifier) -> Segmenter:
            return Segmenter(classifier, checkpoint.model_name, self.options)

        return loaded(make, checkpoint, where, called="network")

    def model(self, run: Run, n_classes: int, vocabulary: str, bias: Tensor | None = None) -> Segmenter:
        """See `Task`: `model.weights` are of a classifier, whose head is left out."""
        del bias
        return Segmenter(first_classifier(run.model, n_classes, vocabulary), run.model.name, self.options)

    def loss(self, run: Run, n_classes: int, rates: Tensor | None = None) -> PixelLoss:
        """See `Task`."""
        del run, n_classes, rates
        return PixelLoss()

    def targets(self, batch: MapBatch) -> PixelTargets:
        """See `Task`."""
        return PixelTargets(batch.maps)

    def check_state(self, found: State, wanted: State, n_classes: int, where: object) -> None:
        """See `Task`."""

    def early_looks(self, *_: object, **__: object) -> NoLooks:
        """See `Task`."""
        return NoLooks()

    def measure_names(self, n_classes: int) -> tuple[str, ...]:
        """See `Task`: the mean over classes of intersection over union, and the share of pixels with their class."""
        del n_classes
        return MEASURES

    def measures(self, state: State, n_classes: int, *, device: torch.device, where: object = None) -> PixelMeasures:
        """See `Task`."""
        del state, where
        return PixelMeasures(Confusion.empty(n_classes), device)

    def measured(self, measures: PixelMeasures, outputs: Segmented, batch: MapBatch) -> PixelMeasures:
        """See `Task`: each picture at the size at which it is stored."""
        found = measures.confusion
        for k in (batch.rows == batch.positions).nonzero()[:, 0].tolist():  # see `MultiLabel.measured`
            height, width = batch.map_sizes[k].tolist()
            truth = batch.maps[k, :height, :width].cpu().numpy()
            found += Confusion.of(truth, outputs.class_map(k), len(found.pixels))
        return dataclasses.replace(measures, confusion=found)

    def judgement(self, measures: PixelMeasures, state: State, n_classes: int) -> Judgement:
        """See `Task`."""
        del state, n_classes
        found = measures.confusion
        values = (found.mean_intersection_over_union(), found.pixel_accuracy())
        return Judgement(dict(zip(MEASURES, values, strict=True)))

    def unfitted(self, state: State, n_classes: int) -> None:
        """See `Task`."""

    def rows(self, checkpoint: Checkpoint, *, raw: bool, source: str, above: float, where: object = None) -> RowsOf:
        """See `Task`: maps as PNGs of the pictures' sizes."""
        del checkpoint, raw, above, where

        def rows(outputs: Segmented, image_ids: Sequence[str], locations: Sequence[str]) -> pa.Table:
            del locations
            maps = [outputs.class_map(k) for k in range(len(image_ids))]
            columns = [
                pa.array(image_ids, pa.string()),
                pa.repeat(source, len(maps)),
                pa.array([one.shape[1] for one in maps], pa.int32()),
                pa.array([one.shape[0] for one in maps], pa.int32()),
                pa.array([png_of(one) for one in maps], pa.binary()),
            ]
            return pa.table(columns, schema=LABEL_MAPS.arrow)

        return rows

    def _transform(self, image_size: int, *, training: bool) -> MapTransform:
        return MapTransform(
            image_size=image_size,
            scales=self.options.scales,
            whole=self.options.whole,
            flip=self.options.flip if training else 0.0,
            training=training,
        )
