"""The interface through which the loop, evaluation and prediction use a task.

Legend: B images in a batch, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeAlias, TypeVar

import pyarrow as pa

from mlimages_dataset.loaders.batch import ImageBatch

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import Tensor, nn

    from mlimages_dataset.loaders.dataset import CataloguedImages
    from mlimages_dataset.loaders.views import EvaluationView
    from mlimages_dataset.tables.schemas import TableSchema
    from mlimages_dataset.train.calibration import Calibration
    from mlimages_dataset.train.checkpoint import Checkpoint
    from mlimages_dataset.train.config import Phase, Run
    from mlimages_dataset.train.inputs import Classes
    from mlimages_dataset.train.learning import Looks
    from mlimages_dataset.train.losses.definition import State
    from mlimages_dataset.train.losses.task_loss import TaskLoss
    from mlimages_dataset.train.metrics import Reduce
    from mlimages_dataset.train.pictures import PictureView

RowsOf: TypeAlias = Callable[[Any, Sequence[str], Sequence[str]], pa.Table]
"""Returns rows of the task's table from a network's outputs, and the ids and the places of their images."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """The result of an evaluation.

    Attributes:
        measures: measures by name, including `checkpoints.best`.
        calibration: calibration fitted on the evaluation's images; None if the loss has no probabilities to fit.
    """

    measures: Mapping[str, float]
    calibration: Calibration | None = None


class Measures(Protocol):
    """The sums of an evaluation; those of parts of the images add up."""

    def __add__(self, other: Self, /) -> Self:
        """Return the measures of both parts."""

    def merged(self, reduce: Reduce) -> Self:
        """Return the measures over all ranks; `reduce` sums a tensor over them."""

    @property
    def lacking(self) -> str:
        """Why there is nothing to measure, in words; empty if there is something."""


_Targets = TypeVar("_Targets", bound=tuple[object, ...])
_Measures = TypeVar("_Measures", bound=Measures)
_Batch = TypeVar("_Batch", bound=ImageBatch)


class Task(Protocol[_Targets, _Measures, _Batch]):
    """What is learnt: data, a model, a loss, the targets of a batch, measures that add up, rows of predictions.

    `state` is the loss's state dict, of the run's loss or of a checkpoint; `where` is the checkpoint's place, for
    messages.
    """

    @property
    def predictions(self) -> TableSchema:
        """The table that predictions are written to."""

    def classes(self, run: Run) -> Classes:
        """Return the classes that a run learns.

        Raises:
            ConfigError: it names no vocabulary, and the task needs one.
            UsageError, DataError: there is none, or it is damaged.
        """

    def data(self, run: Run, classes: Classes, *, training: bool) -> CataloguedImages[Any, _Batch]:
        """Return the images and labels that a run trains on, or those that it is evaluated on.

        Raises:
            UsageError, DataError: they are missing or damaged, or no picture has a label.
        """

    def look(self, data: Any, run: Run, phase: Phase, *, training: bool) -> None:
        """Set how data, as `data` returned them, make the samples of a phase."""

    def view(self, checkpoint: Checkpoint, kind: EvaluationView) -> PictureView:
        """Return what a checkpoint's network sees of pictures without labels."""

    def inputs(self, batch: _Batch, images: Tensor) -> tuple[Any, ...]:
        """Return the network's arguments for a batch.

        Args:
            batch: on the device.
            images: the batch's as the network has them, float32.
        """

    def applied(self, images: Tensor, sizes: Tensor) -> tuple[Any, ...]:
        """Return the network's arguments, in evaluation mode, for images without labels.

        Args:
            images: as the network has them, float32, shape (B, 3, H, W).
            sizes: height and width of each without padding, int64, shape (B, 2).
        """

    def canvas(self, image_size: int) -> tuple[int, int]:
        """Return height and width of the largest images of a phase, for estimates of memory and speed."""

    def example(self, images: Tensor) -> tuple[Any, ...]:
        """Return the network's arguments for images of noise with some labels, for estimates of memory and speed."""

    def cost(self, outputs: Any) -> Tensor:
        """Return a scalar that depends on all outputs for an `example`, to time a backward pass with."""

    def bias(self, run: Run, data: Any) -> Tensor | None:
        """Return the first bias of a new head, shape (C,); None for zeros."""

    def network(self, checkpoint: Checkpoint, where: Path) -> nn.Module:
        """Return a checkpoint's network with its weights.

        Raises:
            UsageError, DataError: they do not fit.
        """

    @property
    def unheeded(self) -> tuple[str, ...]:
        """Those of `--view` and `--image-size` that change nothing of what an evaluated network sees."""

    @property
    def listed_above(self) -> float:
        """The probability above which classes, or boxes, are listed in a table by default."""

    def model(self, run: Run, n_classes: int, vocabulary: str, bias: Tensor | None = None) -> nn.Module:
        """Return the network that a run starts from.

        Args:
            run: the run.
            n_classes: C.
            vocabulary: digest of the run's.
            bias: of a head that `model.weights` do not set, shape (C,); None for zeros.

        Raises:
            UsageError: there is no such network, or `model.weights` are not of it.
            DataError: the file of these is damaged.
        """

    def loss(self, run: Run, n_classes: int, rates: Tensor | None = None) -> TaskLoss[_Targets]:
        """Return the loss.

        Args:
            run: the run.
            n_classes: C.
            rates: the concurrent rates of `loss.pair_counts`, sparse, shape (C, C); None without such a table.
        """

    def targets(self, batch: _Batch) -> _Targets:
        """Return the targets of a batch for the loss, on the batch's device."""

    def check_state(self, found: State, wanted: State, n_classes: int, where: object) -> None:
        """Raise `UsageError` where a checkpoint's loss, `found`, was another than the run's, `wanted`."""

    def early_looks(
        self,
        run: Run,
        outputs: Callable[[Tensor], Tensor],
        device: torch.device,
        *,
        at: Sequence[int],
        steps: int,
        begun: int,
    ) -> Looks[_Batch]:
        """Return the watcher of a run's first steps.

        Args:
            run: the run.
            outputs: returns the network's of images, as they came in a batch, as in training and without a trace.
            device: of the network.
            at: after which steps, from now on.
            steps: of the run, from now on.
            begun: steps that it has taken before.
        """

    def measure_names(self, n_classes: int) -> tuple[str, ...]:
        """Return the names of a judgement's measures, by which `checkpoints.best` may choose."""

    def measures(self, state: State, n_classes: int, *, device: torch.device, where: object = None) -> _Measures:
        """Return the measures for no images.

        Raises:
            DataError: a checkpoint lacks the state that the loss's scores need.
        """

    def measured(self, measures: _Measures, outputs: Any, batch: _Batch) -> _Measures:
        """Return the measures with one more batch, without pictures that could not be read."""

    def judgement(self, measures: _Measures, state: State, n_classes: int) -> Judgement:
        """Return the judgement of a network by its measures."""

    def unfitted(self, state: State, n_classes: int) -> Calibration | None:
        """Return a checkpoint's calibration before any fit; None if there is nothing to calibrate."""

    def rows(self, checkpoint: Checkpoint, *, raw: bool, source: str, above: float, where: object = None) -> RowsOf:
        """Return the function that makes rows of predictions.

        Args:
            checkpoint: of the network.
            raw: leave the calibration out.
            source: the table's column of that name.
            above: classes with a higher probability are listed.
            where: the checkpoint's place.

        Raises:
            DataError: the checkpoint lacks the state that the loss's scores need.
        """


AnyTask: TypeAlias = Task[Any, Any, Any]
"""A task with any kinds of targets, measures and batches."""


class OfImages:
    """Parts of a task whose network takes images alone, each as in `Task`."""

    __slots__ = ()

    def inputs(self, batch: Any, images: Tensor) -> tuple[Any, ...]:
        """See `Task`."""
        del batch
        return (images,)

    def applied(self, images: Tensor, sizes: Tensor) -> tuple[Any, ...]:
        """See `Task`."""
        del sizes
        return (images,)

    def canvas(self, image_size: int) -> tuple[int, int]:
        """See `Task`: squares."""
        return image_size, image_size

    def example(self, images: Tensor) -> tuple[Any, ...]:
        """See `Task`."""
        return (images,)

    def cost(self, outputs: Tensor) -> Tensor:
        """See `Task`."""
        return outputs.float().square().mean()
