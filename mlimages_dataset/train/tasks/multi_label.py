"""Multi-label classification: any number of classes per image (one, with a loss for one label).

Legend: B images in a batch, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from mlimages_dataset.tables.schemas import PREDICTIONS
from mlimages_dataset.train.calibration import Calibration
from mlimages_dataset.train.config import Unknown
from mlimages_dataset.train.evaluation import Evaluation, evaluated_ks, measure_names, measures_of
from mlimages_dataset.train.learning import JUDGED_FROM, EarlyLooks, expected_of
from mlimages_dataset.train.losses.multi_label import BatchLabels
from mlimages_dataset.train.models import batch_norms, create_model
from mlimages_dataset.train.predict import prediction_rows
from mlimages_dataset.train.probabilities import probabilities_of
from mlimages_dataset.train.tasks.task import Judgement
from mlimages_dataset.train.weights.start import start_from

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pyarrow as pa
    import torch
    from torch import Tensor

    from mlimages_dataset.loaders import Batch
    from mlimages_dataset.tables.schemas import TableSchema
    from mlimages_dataset.train.checkpoint import Checkpoint
    from mlimages_dataset.train.config import Run
    from mlimages_dataset.train.losses.definition import LossDefinition, State
    from mlimages_dataset.train.losses.multi_label import MultiLabelLoss
    from mlimages_dataset.train.models import MultiLabelClassifier
    from mlimages_dataset.train.tasks.task import RowsOf


@dataclass(frozen=True, slots=True)
class MultiLabel:
    """The task of multi-label classification; methods as in `Task`.

    Attributes:
        taught_by: the loss.
        unknown: what a class means that an image's labels do not list.
    """

    taught_by: LossDefinition
    unknown: Unknown
    predictions: ClassVar[TableSchema] = PREDICTIONS

    def model(self, run: Run, n_classes: int, vocabulary: str, bias: Tensor | None = None) -> MultiLabelClassifier:
        """See `Task`: a backbone and a linear head."""
        model = create_model(run.model.name, n_classes, norm_epsilon=run.model.batch_norm_epsilon)
        for module in batch_norms(model):
            module.momentum = run.model.batch_norm_momentum
        if bias is not None:
            model.set_bias(bias)
        if run.model.weights is not None:
            start_from(model, run.model.weights, run.model, vocabulary)
        return model

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
        """See `Task`: precision, recall and F1 at each k, and the mean average precision."""
        return measure_names(n_classes)

    def measures(self, state: State, n_classes: int, *, device: torch.device, where: object = None) -> Evaluation:
        """See `Task`."""
        scores = self.taught_by.scores(state, n_classes, where)
        return Evaluation.empty(n_classes, ks=evaluated_ks(n_classes), device=device, scores_of=scores)

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
