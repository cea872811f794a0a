"""The loop and evaluation know a task and nothing else: they train and measure one that they have never seen."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from mlimages_dataset.tables.schemas import PREDICTIONS
from mlimages_dataset.train.computing import computing
from mlimages_dataset.train.learner import make_learner
from mlimages_dataset.train.learning import NoLooks
from mlimages_dataset.train.losses.task_loss import TaskLoss
from mlimages_dataset.train.stage import train_in
from mlimages_dataset.train.stopping import StopRequest
from mlimages_dataset.train.tasks.task import Judgement, OfImages
from tests.train.synthetic import CLASSES, SIZE, Program, TensorFeed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from mlimages_dataset.loaders import Batch, MLImages
    from mlimages_dataset.loaders.transforms import EvalTransform
    from mlimages_dataset.loaders.views import EvaluationView
    from mlimages_dataset.tables.schemas import TableSchema
    from mlimages_dataset.train.checkpoint import Checkpoint
    from mlimages_dataset.train.config import Phase, Run
    from mlimages_dataset.train.inputs import Classes
    from mlimages_dataset.train.losses.definition import State
    from mlimages_dataset.train.metrics import Reduce
    from mlimages_dataset.train.tasks.task import AnyTask, RowsOf


@pytest.fixture(autouse=True)
def _as_found() -> Iterator[None]:
    """Undo what a run sets for its process."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(mode=False)


class Brightness(NamedTuple):
    """How bright each image of a batch is, shape (B,)."""

    values: Tensor


class SquaredError(TaskLoss[Brightness]):
    """The mean squared error."""

    def forward(self, outputs: Tensor, values: Tensor) -> Tensor:
        """Return it, a float32 scalar."""
        return functional.mse_loss(outputs.squeeze(1), values)


@dataclass(frozen=True)
class Errors:
    """Sum of absolute errors of some images, and their number."""

    total: float = 0.0
    images: int = 0

    def __add__(self, other: Errors) -> Errors:
        return Errors(self.total + other.total, self.images + other.images)

    def merged(self, reduce: Reduce) -> Errors:
        """Return the sums over ranks."""
        total, images = reduce(torch.tensor([self.total, float(self.images)])).tolist()
        return Errors(total, int(images))


class Regression(OfImages):
    """The task of telling how bright an image is."""

    @property
    def predictions(self) -> TableSchema:
        """See `Task`."""
        return PREDICTIONS

    @property
    def unheeded(self) -> tuple[str, ...]:
        """See `Task`."""
        return ()

    @property
    def listed_above(self) -> float:
        """See `Task`."""
        return 0.5

    def classes(self, run: Run) -> Classes:
        """See `Task`."""
        raise NotImplementedError

    def data(self, run: Run, classes: Classes, *, training: bool) -> MLImages:
        """See `Task`."""
        raise NotImplementedError

    def look(self, data: MLImages, run: Run, phase: Phase, *, training: bool) -> None:
        """See `Task`."""

    def view(self, checkpoint: Checkpoint, kind: EvaluationView) -> EvalTransform:
        """See `Task`."""
        raise NotImplementedError

    def bias(self, run: Run, data: MLImages) -> None:
        """See `Task`."""

    def network(self, checkpoint: Checkpoint, where: Path) -> nn.Module:
        """See `Task`."""
        raise NotImplementedError

    def model(self, run: Run, n_classes: int, vocabulary: str, bias: Tensor | None = None) -> nn.Module:  # noqa: ARG002 - as of `Task`
        """See `Task`."""
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE * SIZE, 1))

    def loss(self, run: Run, n_classes: int, rates: Tensor | None = None) -> SquaredError:  # noqa: ARG002 - as of `Task`
        """See `Task`."""
        return SquaredError()

    def targets(self, batch: Batch) -> Brightness:
        """See `Task`."""
        return Brightness(batch.images.mean((1, 2, 3)))

    def check_state(self, found: State, wanted: State, n_classes: int, where: object) -> None:
        """See `Task`."""

    def early_looks(
        self,
        run: Run,  # noqa: ARG002 - as of `Task`
        outputs: Callable[[Tensor], Tensor],  # noqa: ARG002 - as above
        device: torch.device,  # noqa: ARG002 - as above
        *,
        at: Sequence[int],  # noqa: ARG002 - as above
        steps: int,  # noqa: ARG002 - as above
        begun: int,  # noqa: ARG002 - as above
    ) -> NoLooks:
        """See `Task`."""
        return NoLooks()

    def measure_names(self, n_classes: int) -> tuple[str, ...]:  # noqa: ARG002 - as of `Task`
        """See `Task`."""
        return ("error",)

    def measures(self, state: State, n_classes: int, *, device: torch.device, where: object = None) -> Errors:  # noqa: ARG002 - as of `Task`
        """See `Task`."""
        return Errors()

    def measured(self, measures: Errors, outputs: Tensor, batch: Batch) -> Errors:
        """See `Task`."""
        return measures + Errors((outputs.squeeze(1) - self.targets(batch).values).abs().sum().item(), len(batch))

    def judgement(self, measures: Errors, state: State, n_classes: int) -> Judgement:  # noqa: ARG002 - as of `Task`
        """See `Task`."""
        return Judgement({"error": measures.total / measures.images})

    def unfitted(self, state: State, n_classes: int) -> None:
        """See `Task`."""

    def rows(self, checkpoint: Checkpoint, *, raw: bool, source: str, above: float, where: object = None) -> RowsOf:
        """See `Task`."""
        raise NotImplementedError


TASK: AnyTask = Regression()


@pytest.mark.parametrize("passes", [1, 2])
def test_the_loop_trains_a_task_that_it_has_never_seen(tmp_path: Path, passes: int) -> None:
    run = Program(out="", epochs=30, rate=0.002).run()
    with computing(run.execution, run.seed) as device, StopRequest() as stop:
        learner = make_learner(run, TASK.model(run, 1, ""), TASK.loss(run, 1), device)
        learner = dataclasses.replace(learner, task=TASK)
        train_in(tmp_path, run, learner, TensorFeed(16, passes), CLASSES, evaluate=None, stop=stop)
    lines = map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines())
    losses = [line["loss"] for line in lines if line["kind"] == "train"]
    assert sum(losses[-4:]) < sum(losses[:4]) / 4
