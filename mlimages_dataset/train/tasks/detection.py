"""Detection: boxes and their classes, by Faster R-CNN (Wu et al. 2019, section 5.3).

Legend: B images in a batch, C classes.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
import torch

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.evaluation.detection import Detections, Interpolation, Judged, Rule, TrueBoxes, judged, mean
from mlimages_dataset.loaders.boxes import BoxedImages, BoxTransform
from mlimages_dataset.tables.equal_boxes import SIDES
from mlimages_dataset.tables.schemas import REGION_FLAGS, REGIONS, Origin
from mlimages_dataset.train import distributed
from mlimages_dataset.train.detection.detector import Detector
from mlimages_dataset.train.detection.found import Found, found_boxes
from mlimages_dataset.train.inputs import check_labels, labelled_places, named_place, read_classes
from mlimages_dataset.train.learning import NoLooks
from mlimages_dataset.train.losses.detection import CLASSES, DetectionLoss, region_scores, with_background
from mlimages_dataset.train.science import turns_upright
from mlimages_dataset.train.tasks.loaded import loaded
from mlimages_dataset.train.tasks.task import Judgement
from mlimages_dataset.train.weights.start import first_classifier

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from torch import Tensor

    from mlimages_dataset.loaders.boxes import BoxBatch
    from mlimages_dataset.loaders.views import EvaluationView
    from mlimages_dataset.tables.schemas import TableSchema
    from mlimages_dataset.train.checkpoint import Checkpoint
    from mlimages_dataset.train.config import Phase, Run
    from mlimages_dataset.train.detection.box_heads import Predicted
    from mlimages_dataset.train.detection.detector import Learnt
    from mlimages_dataset.train.inputs import Classes
    from mlimages_dataset.train.losses.definition import LossDefinition, State
    from mlimages_dataset.train.metrics import Reduce
    from mlimages_dataset.train.models import MultiLabelClassifier
    from mlimages_dataset.train.task_options import Detection
    from mlimages_dataset.train.tasks.task import RowsOf

RULE = Rule(groups=False, strict=True)
"""VOC's, on sides without its additional pixel: `mlimages-build evaluate-detections` has the official one."""
MEASURES = ("map50", "map50_11_points")
_EXAMPLE_BOXES = 4
_ONLY_SPECIAL = "marks each box of these pictures as difficult, a group or a crowd"
_TO_LEARN = "name other regions, or set detection.learn_difficult = true to learn these"
_TO_MEASURE = "name other regions: such boxes are not measured"


@dataclass(frozen=True, slots=True)
class DetectionMeasures:
    """Detections that were compared with true boxes.

    Attributes:
        found: the comparisons.
        scores_of: turns logits into scores, see `region_scores`.
    """

    found: Judged
    scores_of: Callable[[Tensor], Tensor]

    def __add__(self, other: DetectionMeasures) -> DetectionMeasures:
        return dataclasses.replace(self, found=self.found + other.found)

    def merged(self, reduce: Reduce) -> DetectionMeasures:  # noqa: ARG002 - rows of any number do not sum up
        """Return the measures over all ranks."""
        first, *others = distributed.gathered(self.found)
        return dataclasses.replace(self, found=sum(others, first))

    @property
    def lacking(self) -> str:
        """See `Measures`."""
        return "" if self.found.truths.any() else _ONLY_SPECIAL


@dataclass(frozen=True, slots=True)
class Detecting:
    """The task of detection; methods as in `Task`.

    Attributes:
        taught_by: the loss of the classes.
        options: of the run.
        seed: of the draws of boxes.
    """

    taught_by: LossDefinition
    options: Detection
    seed: int = field(default=0)
    predictions: ClassVar[TableSchema] = REGIONS

    unheeded: ClassVar[tuple[str, ...]] = ("--view",)

    @property
    def listed_above(self) -> float:
        """See `Task`: `detection.least_score`."""
        return self.options.least_score

    def classes(self, run: Run) -> Classes:
        """See `Task`: those of the vocabulary."""
        return read_classes(named_place(run.data.vocabulary, "vocabulary"))

    def data(self, run: Run, classes: Classes, *, training: bool) -> BoxedImages:
        """See `Task`."""
        places = labelled_places(run, training=training)
        check_labels(places.labels, named_place(run.data.vocabulary, "vocabulary"))
        data = BoxedImages(
            places.images,
            places.labels,
            n_classes=len(classes),
            transform=self._transform(run.phase(0).image_size, training=training, upright=run.data.upright),
            ancestors=self.options.ancestors,
            seed=run.seed,
        )
        if not (training and self.options.learn_difficult) and not data.index.n_plain_labels():
            raise DataError(_ONLY_SPECIAL, where=places.labels, remedy=_TO_LEARN if training else _TO_MEASURE)
        return data

    def look(self, data: BoxedImages, run: Run, phase: Phase, *, training: bool) -> None:
        """See `Task`."""
        data.transform = self._transform(phase.image_size, training=training, upright=run.data.upright)

    def view(self, checkpoint: Checkpoint, kind: EvaluationView) -> BoxTransform:  # noqa: ARG002 - as `Task`
        """See `Task`: whole pictures, whatever the kind."""
        return self._transform(checkpoint.image_size, training=False, upright=turns_upright(checkpoint.science))

    def inputs(self, batch: BoxBatch, images: Tensor) -> tuple[Any, ...]:
        """See `Task`: with the boxes that are learnt, and seeds that depend on the place in the run alone."""
        learnt = slice(None) if self.options.learn_difficult else ~batch.special
        boxes = batch.label_box[learnt].unique(return_inverse=True)
        truth = (batch.box_sample[boxes[0]], batch.sides[boxes[0]], boxes[1], batch.class_index[learnt])
        return images, batch.sizes, truth, self._seeds(batch.epoch, batch.positions.tolist())

    def applied(self, images: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
        """See `Task`."""
        return images, sizes

    def canvas(self, image_size: int) -> tuple[int, int]:
        """See `Task`: the longest side beside the short one; a batch with upright pictures too is padded to more."""
        short = max(self.options.short_sides, default=image_size)
        return short, max(self.options.long_side, short)

    def example(self, images: Tensor) -> tuple[Any, ...]:
        """See `Task`: each image has four boxes of one class."""
        n, (height, width) = len(images), images.shape[2:]
        device = images.device
        shares = torch.rand(n * _EXAMPLE_BOXES, 4, generator=torch.Generator().manual_seed(0)).to(device) / 2
        sides = (shares + torch.tensor([0, 0, 0.5, 0.5], device=device)) * images.new_tensor([width, height] * 2)
        boxes = torch.arange(len(sides), device=device)
        truth = (boxes // _EXAMPLE_BOXES, sides, boxes, torch.zeros_like(boxes))
        return images, torch.tensor([[height, width]] * n, device=device), truth, self._seeds(0, range(n))

    def cost(self, outputs: Learnt) -> Tensor:
        """See `Task`."""
        parts = [part for compared in outputs for part in (compared.logits, compared.offsets)]
        return torch.stack([part.float().square().sum() for part in parts]).sum()

    def bias(self, run: Run, data: BoxedImages) -> None:
        """See `Task`."""

    def network(self, checkpoint: Checkpoint, where: Path) -> Detector:
        """See `Task`."""

        def make(classifier: MultiLabelClassifier) -> Detector:
            return Detector(classifier, checkpoint.model_name, self.options)

        return loaded(make, checkpoint, where, called="detector")

    def model(self, run: Run, n_classes: int, vocabulary: str, bias: Tensor | None = None) -> Detector:  # noqa: ARG002 - as `Task`
        """See `Task`: `model.weights` are of a classifier, whose head is left out."""
        return Detector(first_classifier(run.model, n_classes, vocabulary), run.model.name, self.options)

    def loss(self, run: Run, n_classes: int, rates: Tensor | None = None) -> DetectionLoss:
        """See `Task`."""
        return DetectionLoss(self.taught_by.make(run, n_classes + 1, None if rates is None else with_background(rates)))

    def targets(self, batch: BoxBatch) -> tuple[()]:
        """See `Task`: the network needs them, and hands them on."""
        del batch
        return ()

    def check_state(self, found: State, wanted: State, n_classes: int, where: object) -> None:
        """See `Task`."""
        self.taught_by.check_state(_of_classes(found), _of_classes(wanted), n_classes + 1, where)

    def early_looks(self, *_: object, **__: object) -> NoLooks:
        """See `Task`."""
        return NoLooks()

    def measure_names(self, n_classes: int) -> tuple[str, ...]:  # noqa: ARG002 - as `Task`
        """See `Task`: the mean over classes of the area under precision and recall, and of VOC 2007's 11 points."""
        return MEASURES

    def measures(
        self, state: State, n_classes: int, *, device: torch.device, where: object = None
    ) -> DetectionMeasures:
        """See `Task`."""
        del device
        return DetectionMeasures(Judged.none(n_classes), region_scores(self.taught_by, state, n_classes, where))

    def measured(self, measures: DetectionMeasures, outputs: Predicted, batch: BoxBatch) -> DetectionMeasures:
        """See `Task`."""
        found = found_boxes(outputs, measures.scores_of, self.options)
        # A picture that cannot be read is replaced by another, which is counted at its own position.
        valid = (batch.rows == batch.positions).cpu().numpy()
        truth, detections = _true_boxes(batch), _detections(found)
        kept = valid[truth.image]
        truth = TrueBoxes(*(getattr(truth, one.name)[kept] for one in dataclasses.fields(truth)))
        detections = detections.select(valid[detections.image])
        n_classes = len(measures.found.truths)
        return dataclasses.replace(measures, found=measures.found + judged(truth, detections, n_classes, RULE))

    def judgement(self, measures: DetectionMeasures, state: State, n_classes: int) -> Judgement:
        """See `Task`."""
        del state, n_classes
        found = {
            name: mean(measures.found.average_precisions(way))
            for name, way in zip(MEASURES, (Interpolation.AREA, Interpolation.ELEVEN_POINTS), strict=True)
        }
        return Judgement({**found, "objects": int(measures.found.truths.sum())})

    def unfitted(self, state: State, n_classes: int) -> None:
        """See `Task`."""

    def rows(self, checkpoint: Checkpoint, *, raw: bool, source: str, above: float, where: object = None) -> RowsOf:
        """See `Task`: boxes with a score above `above`."""
        del raw
        scores_of = region_scores(self.taught_by, checkpoint.loss, checkpoint.n_classes, where)
        options = dataclasses.replace(self.options, least_score=above)

        def rows(outputs: Predicted, image_ids: Sequence[str], locations: Sequence[str]) -> pa.Table:
            del locations
            return region_rows(found_boxes(outputs, scores_of, options), image_ids, source)

        return rows

    def _seeds(self, epoch: int, positions: Sequence[int]) -> Tensor:
        """Return two seeds for each image: of the anchors and of the proposals, shape (B, 2)."""
        words = [np.random.SeedSequence([self.seed, epoch, position]).generate_state(2) for position in positions]
        return torch.from_numpy(np.stack(words).astype(np.int64))

    def _transform(self, short_side: int, *, training: bool, upright: bool) -> BoxTransform:
        return BoxTransform(
            image_size=short_side,
            long_side=self.options.long_side,
            sizes=self.options.short_sides if training else (),
            flip=self.options.flip if training else 0.0,
            upright=upright,
        )


def region_rows(found: Found, image_ids: Sequence[str], source: str) -> pa.Table:
    """Return found boxes as rows of a `regions` table, by ascending image."""
    n = len(found.score)
    sides = found.sides.float().cpu().numpy()
    columns = {
        "image_id": pa.array([image_ids[image] for image in found.image.tolist()], pa.string()),
        "source": pa.repeat(source, n),
        "class_index": found.class_index.cpu().numpy().astype(np.int32),
        **{side: sides[:, k] for k, side in enumerate(SIDES)},
        "confidence": found.score.float().cpu().numpy(),
        "origin": np.full(n, Origin.MODEL_PREDICTION, np.uint8),
        **{flag: np.zeros(n, np.bool_) for flag in REGION_FLAGS},
        "mask": pa.repeat("", n),
    }
    return pa.table(columns, schema=REGIONS.arrow)


def _of_classes(state: State) -> State:
    return {name.removeprefix(CLASSES): value for name, value in state.items()}


def _true_boxes(batch: BoxBatch) -> TrueBoxes:
    sample = batch.box_sample[batch.label_box]
    height, width = batch.sizes[sample].T
    shares = batch.sides[batch.label_box] / torch.stack([width, height, width, height], 1)
    arrays = (sample, batch.class_index, shares.double(), batch.special)
    return TrueBoxes(*(array.cpu().numpy() for array in arrays))


def _detections(found: Found) -> Detections:
    arrays = (found.image, found.class_index, found.sides.double(), found.score.double())
    return Detections(*(array.cpu().numpy() for array in arrays))
