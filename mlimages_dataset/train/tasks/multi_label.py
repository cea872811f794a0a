"""Multi-label classification: any number of classes per image (one, with a loss for one label).

Legend: B images in a batch, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.loaders import MLImages
from mlimages_dataset.loaders.transforms import eval_transform, train_transform
from mlimages_dataset.tables.schemas import PREDICTIONS
from mlimages_dataset.train.calibration import Calibration
from mlimages_dataset.train.config import Unknown
from mlimages_dataset.train.evaluation import NO_LABEL, TOP_KS, Evaluation, evaluated_ks, measure_names, measures_of
from mlimages_dataset.train.inputs import check_labels, class_bias, labelled_places, named_place, read_classes
from mlimages_dataset.train.learning import JUDGED_FROM, EarlyLooks, expected_of
from mlimages_dataset.train.losses.multi_label import BatchLabels
from mlimages_dataset.train.models import create_model
from mlimages_dataset.train.predict import prediction_rows
from mlimages_dataset.train.probabilities import probabilities_of
from mlimages_dataset.train.science import turns_upright
from mlimages_dataset.train.tasks.task import Judgement, OfImages
from mlimages_dataset.train.transfer import load_weights
from mlimages_dataset.train.weights.start import first_classifier

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import pyarrow as pa
    import torch
    from torch import Tensor

    from mlimages_dataset.loaders import Batch
    from mlimages_dataset.loaders.transforms import EvalTransform, Transform
    from mlimages_dataset.loaders.views import EvaluationView
    from mlimages_dataset.tables.schemas import TableSchema
    from mlimages_dataset.train.checkpoint import Checkpoint
    from mlimages_dataset.train.config import Phase, Run
    from mlimages_dataset.train.inputs import Classes
    from mlimages_dataset.train.losses.definition import LossDefinition, State
    from mlimages_dataset.train.losses.multi_label import MultiLabelLoss
    from mlimages_dataset.train.models import MultiLabelClassifier
    from mlimages_dataset.train.tasks.task import RowsOf


@dataclass(frozen=True, slots=True)
class MultiLabel(OfImages):
    """The task of multi-label classification; methods as in `Task`.

    Attributes:
        taught_by: the loss.
        unknown: what a class means that an image's labels do not list.
    """

    taught_by: LossDefinition
    unknown: Unknown
    predictions: ClassVar[TableSchema] = PREDICTIONS
    listed_above: ClassVar[float] = 0.5
    unheeded: ClassVar[tuple[str, ...]] = ()

    def classes(self, run: Run) -> Classes:
        """See `Task`: those of the vocabulary."""
        return read_classes(named_place(run.data.vocabulary, "vocabulary"))

    def data(self, run: Run, classes: Classes, *, training: bool) -> MLImages:
        """See `Task`."""
        places = labelled_places(run, training=training)
        check_labels(places.labels, named_place(run.data.vocabulary, "vocabulary"))
        data = MLImages(
            places.images,
            places.labels,
            split=None,
            transform=_transform(run, run.phase(0), training=training),
            seed=run.seed,
            absent_unless_listed=run.loss.absent_unless_listed if training else False,
            n_classes=len(classes),
        )
        if not data.rows_of_class.offsets[-1]:
            raise DataError(NO_LABEL, where=places.labels, remedy="name labels that say what is present")
        if not training:
            data.mark_complete(run.loss.absent_unless_listed)
        return data

    def look(self, data: MLImages, run: Run, phase: Phase, *, training: bool) -> None:
        """See `Task`."""
        data.transform = _transform(run, phase, training=training)

    def view(self, checkpoint: Checkpoint, kind: EvaluationView) -> EvalTransform:
        """See `Task`: upright pictures, if it was trained on such."""
        return eval_transform(checkpoint.image_size, kind, upright=turns_upright(checkpoint.science))

    def bias(self, run: Run, data: MLImages) -> Tensor | None:
        """See `Task`: the log-odds of each class's share of the training images."""
        return class_bias(data) if run.loss.prior_bias else None

    def network(self, checkpoint: Checkpoint, where: Path) -> MultiLabelClassifier:
        """See `Task`."""
        network = create_model(checkpoint.model_name, checkpoint.n_classes, norm_epsilon=checkpoint.norm_epsilon(where))
        load_weights(network, checkpoint.weights(), where)
        return network

    def model(self, run: Run, n_classes: int, vocabulary: str, bias: Tensor | None = None) -> MultiLabelClassifier:
        """See `Task`: a backbone and a linear head."""
        return first_classifier(run.model, n_classes, vocabulary, bias)

    def loss(self, run: Run, n_classes: int, rates: Tensor | None = None) -> MultiLabelLoss:
        """See `Task`."""
        return self.taught_by.make(run, n_classes, rates)

    def targets(self, batch: Batch) -> BatchLabels:
        """See `Task`."""
        return BatchLabels(batch.targets, batch.known if self.unknown is Unknown.IGNORED else None)

    def check_state(self, found: State, wanted: State, n_classes: int, where: object) -> None:
        """See `Task`."""
        self.taught_by.check_state(found, wanted, n_classes, where)

    def early_looks(
        self,
        run: Run,
        outputs: Callable[[Tensor], Tensor],
        device: torch.device,
        *,
        at: Sequence[int],
        steps: int,
        begun: int,
    ) -> EarlyLooks:
        """See `Task`."""
        expected = expected_of(run, steps, begun=begun, trained=begun > 0 or run.model.weights is not None)
        judged_from = min(JUDGED_FROM, max(at, default=0))
        return EarlyLooks(expected, outputs, self.targets, device, at=at, judged_from=judged_from)

    def measure_names(self, n_classes: int) -> tuple[str, ...]:
        """See `Task`: precision, recall and F1 at each k, the mean average precision, and accuracies of one label."""
        return measure_names(n_classes, one_label=self.taught_by.one_label)

    def measures(self, state: State, n_classes: int, *, device: torch.device, where: object = None) -> Evaluation:
        """See `Task`."""
        scores = self.taught_by.scores(state, n_classes, where)
        top_ks = evaluated_ks(n_classes, TOP_KS) if self.taught_by.one_label else ()
        return Evaluation.empty(n_classes, ks=evaluated_ks(n_classes), top_ks=top_ks, device=device, scores_of=scores)

    def measured(self, measures: Evaluation, outputs: Tensor, batch: Batch) -> Evaluation:
        """See `Task`."""
        # A picture that cannot be read is replaced by another, which is counted at its own position.
        return measures.updated(outputs.float(), *self.targets(batch), valid=batch.rows == batch.positions)

    def judgement(self, measures: Evaluation, state: State, n_classes: int) -> Judgement:
        """See `Task`: calibrated where the loss allows it."""
        weights = self.unfitted(state, n_classes)
        if weights is None:
            return Judgement(measures_of(measures.summary()))
        calibration = measures.calibration(weights)
        summary = measures.summary(calibration=calibration)
        found = {**measures_of(summary), "labels": summary.labels, "labels said": summary.labels_said}
        return Judgement(found, calibration)

    def unfitted(self, state: State, n_classes: int) -> Calibration | None:
        """See `Task`: what undoes the loss's weights."""
        if self.taught_by.one_label:
            return None
        return Calibration.of_weights(self.taught_by.odds_factor(state, n_classes))

    def rows(self, checkpoint: Checkpoint, *, raw: bool, source: str, above: float, where: object = None) -> RowsOf:
        """See `Task`."""
        probabilities = probabilities_of(checkpoint, raw=raw, where=where)

        def rows(outputs: Tensor, image_ids: Sequence[str], locations: Sequence[str]) -> pa.Table:
            return prediction_rows(probabilities(outputs.float()), image_ids, locations, source=source, above=above)

        return rows


def _transform(run: Run, phase: Phase, *, training: bool) -> Transform:
    upright = run.data.upright
    if training:
        return train_transform(phase.image_size, upright=upright)
    return eval_transform(phase.image_size, run.data.validation_view, upright=upright)
