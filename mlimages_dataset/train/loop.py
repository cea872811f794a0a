"""The training loop: steps, what is saved when, what stops it.

Legend: B images in a batch (of all ranks and passes), C classes. A step takes B images through the network, on each
rank in one or more passes whose gradients add up, and then updates the parameters once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, Self, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from mlimages_dataset.core.errors import ConfigError, DataError, MLImagesError
from mlimages_dataset.train import distributed
from mlimages_dataset.train.calibration import Calibration, calibration_of_weights
from mlimages_dataset.train.checkpoint import Checkpoint, Progress, generator_state, set_generator_state
from mlimages_dataset.train.config import Precision, Unknown, science
from mlimages_dataset.train.learning import JUDGED_FROM, LOOKS, EarlyLooks, expected_of
from mlimages_dataset.train.losses.label_counts import count_labels
from mlimages_dataset.train.losses.ml_images import MLImagesLoss
from mlimages_dataset.train.losses.softmax import SoftmaxLoss
from mlimages_dataset.train.losses.weighted_sigmoid import weighted_sigmoid_loss
from mlimages_dataset.train.models import batch_norms
from mlimages_dataset.train.optimizer import make_optimizer, set_rate
from mlimages_dataset.train.schedule import learning_rate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from torch.nn.parallel import DistributedDataParallel

    from mlimages_dataset.loaders import Batch
    from mlimages_dataset.train.checkpoint import CheckpointWriter, StateDict
    from mlimages_dataset.train.config import Execution, Run
    from mlimages_dataset.train.logs import RunLog

_SHOWN_IMAGES = 8
_AUTOCAST = {Precision.BFLOAT16: torch.bfloat16, Precision.FLOAT16: torch.float16}


class Feed(Protocol):
    """The batches of a run."""

    def n_steps(self, epoch: int) -> int:
        """Return the steps of an epoch."""

    def steps(self, epoch: int, first_step: int) -> Iterator[Sequence[Batch]]:
        """Yield this rank's batches, one a pass, of each step of an epoch from `first_step` on."""

    def finish(self, images: Tensor) -> Tensor:
        """Return images on the device, as they came in a batch, as the network takes them."""

    def state(self, epoch: int, step: int) -> StateDict:
        """Return the position after a step, for the checkpoint."""


@dataclass(slots=True)
class Learner:
    """What is learnt, and what learns it.

    Attributes:
        model: the network itself, whose state is saved.
        network: what images go through: the model, wrapped to sum gradients over ranks, and compiled.
        parallel: the wrapper; None for one rank.
        loss: called as loss(logits, targets, known).
        optimizer: of the model's parameters.
        scaler: of float16's losses.
        average: the moving average of the model; None without one.
        device: where all of it is.
        execution: how it is computed.
        clip_norm: longest gradient; 0 for any.
        unknown: what a class means that is not listed.
        calibration: the last fit of the run; None before the first.
    """

    model: nn.Module
    network: nn.Module
    parallel: DistributedDataParallel | None
    loss: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    average: AveragedModel | None
    device: torch.device
    execution: Execution
    clip_norm: float
    unknown: Unknown
    calibration: Calibration | None = None

    def known(self, batch: Batch) -> Tensor | None:
        """Return what the loss is told to be known; None where everything is."""
        return batch.known if self.unknown is Unknown.IGNORED else None

    @property
    def evaluated(self) -> nn.Module:
        """What is evaluated: the average where there is one."""
        return self.model if self.average is None else self.average.module


class Stopped(MLImagesError):  # noqa: N818 - it is no error: the run was asked to stop and did
    """The run was asked to stop, and saved itself."""


def make_learner(run: Run, model: nn.Module, loss: nn.Module, device: torch.device) -> Learner:
    """Return a learner on a device, whose gradients are summed over the ranks.

    Raises:
        ConfigError: the run asks for what the device or the model has not.
    """
    if run.model.sync_batch_norm:
        if device.type != "cuda":
            raise ConfigError("model.sync_batch_norm needs GPUs", remedy="leave it out, or use frozen_statistics")
        model = synchronised(model)
    model = model.to(device, memory_format=_layout(run.execution))  # type: ignore[call-overload]  # torch's overloads miss it
    optimizer = make_optimizer(model, run.optimizer)
    decay = run.optimizer.average_decay
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay)) if decay else None
    parallel = distributed.data_parallel(model, device, bucket_megabytes=run.execution.bucket_megabytes)
    network = model if parallel is None else parallel
    return Learner(
        model=model,
        network=cast("nn.Module", torch.compile(network)) if run.execution.compile else network,
        parallel=parallel,
        loss=loss.to(device),
        optimizer=optimizer,
        scaler=torch.amp.GradScaler(device.type, enabled=run.execution.precision is Precision.FLOAT16),
        average=average,
        device=device,
        execution=run.execution,
        clip_norm=run.optimizer.clip_norm,
        unknown=run.loss.unknown,
    )


def synchronised(model: nn.Module) -> nn.Module:
    """Return a model whose batch normalisation takes its statistics over all ranks.

    Raises:
        ConfigError: a normalisation does more than that, such as an activation, which PyTorch's conversion would drop.
    """
    plain = nn.modules.batchnorm._BatchNorm  # noqa: SLF001 - torch has no public name for all kinds
    for name, module in model.named_modules():
        if isinstance(module, plain) and type(module).forward is not plain.forward:
            raise ConfigError(
                f"model.sync_batch_norm cannot replace {name}, a {type(module).__name__}: it does more than normalise",
                remedy="leave it out, or use frozen_statistics",
            )
    return cast("nn.Module", nn.SyncBatchNorm.convert_sync_batchnorm(model))


def set_training(model: nn.Module, *, frozen_statistics: bool) -> None:
    """Set a model to training; with frozen statistics, its batch normalisation stays as in evaluation."""
    model.train()
    for module in batch_norms(model) if frozen_statistics else ():
        module.eval()


def check_one_image(learner: Learner, image_size: int) -> None:
    """Raise `ConfigError` where batch normalisation cannot learn from one image of a size, in pixels.

    It needs two values of each channel, and small images leave one in the last stage of a network.
    """
    few: list[str] = []

    def look(module: nn.Module, given: tuple[Tensor]) -> None:
        if given[0].numel() == given[0].shape[1]:
            few.append(type(module).__name__)

    hooks = [module.register_forward_pre_hook(look) for module in batch_norms(learner.model)]
    image = torch.zeros(1, 3, image_size, image_size, device=learner.device)
    learner.model.eval()
    with torch.inference_mode():
        learner.model(image.contiguous(memory_format=_layout(learner.execution)))
    for hook in hooks:
        hook.remove()
    if few:
        raise ConfigError(
            f"a pass has one image of {image_size} pixels, which leaves one value of a channel, too few to normalise",
            remedy="choose a larger image_size, or another batch_size or images_per_pass: an epoch's last pass has "
            "what these leave of its images",
        )


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """Return the context in which a network is computed in a precision."""
    return torch.autocast(device.type, dtype=_AUTOCAST.get(precision), enabled=precision in _AUTOCAST)


def take_step(learner: Learner, batches: Sequence[Batch], rate: float, finish: Callable[[Tensor], Tensor]) -> Tensor:
    """Update the parameters by one step and return this rank's loss, a float32 scalar on the device.

    Args:
        learner: is changed.
        batches: this rank's share of the batch, one a pass, on any device.
        rate: the learning rate.
        finish: what makes images on the device fit for the network.
    """
    layout = _layout(learner.execution)
    batches = [batch.to(learner.device, non_blocking=True) for batch in batches]
    n_images, first_row = sum(map(len, batches)), 0
    total = torch.zeros((), device=learner.device)
    loss_of = _loss_of_passes(learner, batches)
    for number, batch in enumerate(batches):
        with _sums_gradients(learner.parallel, last=number == len(batches) - 1):
            with autocast(learner.device, learner.execution.precision):
                logits = learner.network(finish(batch.images).contiguous(memory_format=layout))
            loss = loss_of(logits, batch, first_row) * (len(batch) / n_images)
            learner.scaler.scale(loss).backward()
        total += loss.detach()
        first_row += len(batch)
    set_rate(learner.optimizer, rate)
    if learner.clip_norm:
        learner.scaler.unscale_(learner.optimizer)
        nn.utils.clip_grad_norm_(learner.model.parameters(), learner.clip_norm)
    learner.scaler.step(learner.optimizer)
    learner.scaler.update()
    learner.optimizer.zero_grad(set_to_none=True)
    if learner.average is not None:
        learner.average.update_parameters(learner.model)
    return total


def _loss_of_passes(learner: Learner, batches: Sequence[Batch]) -> Callable[[Tensor, Batch, int], Tensor]:
    """Return what computes the loss of a pass from its logits, its batch on the device and its first row.

    The paper's loss weighs classes by the labels of the whole batch, so with several passes those are counted first.
    """
    loss = learner.loss
    if not isinstance(loss, MLImagesLoss) or len(batches) == 1:
        return lambda logits, batch, _: loss(logits, batch.targets, learner.known(batch))
    counts = [count_labels(batch.targets, learner.known(batch), loss.presence_threshold) for batch in batches]
    weights = loss.observe(sum(counts[1:], start=counts[0]))
    return lambda logits, batch, row: weighted_sigmoid_loss(logits, batch.targets, learner.known(batch), weights, row)


def _layout(execution: Execution) -> torch.memory_format:
    return torch.channels_last if execution.channels_last else torch.contiguous_format


def _sums_gradients(
    parallel: DistributedDataParallel | None, *, last: bool
) -> contextlib.AbstractContextManager[object]:
    """Return a context in which gradients are summed over ranks after the last pass only."""
    return contextlib.nullcontext() if last or parallel is None else parallel.no_sync()


class StopRequest:
    """Whether this process was asked to end, by SIGTERM, while the block lasts."""

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGTERM, self._ask)
        return self

    def __exit__(self, *error: object) -> None:
        signal.signal(signal.SIGTERM, self._before)

    def _ask(self, number: int, frame: object) -> None:  # noqa: ARG002 - as signals call it
        self.asked = True


def outlive_sigterm(worker: int) -> None:  # noqa: ARG001 - as `worker_init_fn` is called
    """Let a worker of a data loader ignore SIGTERM: it ends with its rank, which has a step to finish before.

    Schedulers send the signal to all processes of a job, and PyTorch fails a rank at once whose worker was killed.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What some rank found in a step.

    Attributes:
        progress: after the step.
        loss: this rank's, on the device.
        images: this rank's.
        not_finite: some rank's loss is not finite.
        stop: some rank was asked to stop.
    """

    progress: Progress
    loss: Tensor
    images: tuple[str, ...]
    not_finite: bool = False
    stop: bool = False


class Watch:
    """Tells every rank alike what any of them found, a step later: so no GPU waits for its host."""

    def __init__(self, device: torch.device, progress: Progress) -> None:
        self._host = torch.zeros(2, pin_memory=device.type == "cuda")
        self._copied = torch.cuda.Event() if device.type == "cuda" else None
        self._noted: tuple[Progress, Tensor, tuple[str, ...]] = progress, torch.zeros((), device=device), ()

    def note(self, progress: Progress, loss: Tensor, images: tuple[str, ...], *, stop: bool) -> Verdict:
        """Begin to tell the others of a step, and return the verdict on the one before.

        Args:
            progress: after the step.
            loss: this rank's.
            images: this rank's.
            stop: this rank was asked to stop.
        """
        before = self.settle()
        found = torch.stack(((~torch.isfinite(loss)).float(), torch.full_like(loss, float(stop))))
        self._host.copy_(distributed.sum_over_ranks(found), non_blocking=True)
        if self._copied is not None:
            self._copied.record()
        self._noted = progress, loss, images
        return before

    def settle(self) -> Verdict:
        """Return the verdict on the step noted last, as soon as the device has come to it."""
        if self._copied is not None:
            self._copied.synchronize()
        not_finite, stop = self._host.tolist()
        return Verdict(*self._noted, not_finite=not_finite > 0, stop=stop > 0)


@dataclass(slots=True)
class Pace:
    """How fast it goes since the last line of the log.

    Attributes:
        loss: sum of this rank's losses, on the device.
        steps: taken.
        images: of all ranks.
        waited: seconds that this rank waited for data.
        since: when it began, in seconds of `time.perf_counter`.
    """

    loss: Tensor
    steps: int = 0
    images: int = 0
    waited: float = 0.0
    since: float = field(default_factory=time.perf_counter)

    def add(self, loss: Tensor, images: int, waited: float) -> None:
        """Count a step."""
        self.loss = self.loss + loss
        self.steps += 1
        self.images += images
        self.waited += waited

    def values(self) -> dict[str, float]:
        """Return the mean loss over steps and ranks, images a second of all ranks, and the share of time that the rank
        waited which waited longest. Every rank calls it.
        """  # noqa: D205 - three results in one sentence
        loss = distributed.sum_over_ranks(self.loss / self.steps).item() / distributed.n_ranks()
        seconds = time.perf_counter() - self.since
        waited = max(distributed.gathered(self.waited / seconds))
        return {"loss": loss, "images/s": self.images / seconds, "data wait": waited}


@dataclass(frozen=True, slots=True)
class Judgement:
    """What an evaluation says of a network.

    Attributes:
        measures: by name, `checkpoints.best` among them.
        calibration: fitted on the evaluation's images; None where the loss has no probabilities to fit.
    """

    measures: Mapping[str, float]
    calibration: Calibration | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a run works with beside its learner.

    Attributes:
        feed: its batches.
        n_classes: of the head.
        vocabulary: digest of the vocabulary.
        writer: of its checkpoints.
        log: what it tells.
        evaluate: judges a network on the validation images after an epoch, on every rank; None without any.
        stop: whether it was asked to end.
    """

    feed: Feed
    n_classes: int
    vocabulary: str
    writer: CheckpointWriter
    log: RunLog
    evaluate: Callable[[nn.Module, int], Judgement] | None
    stop: StopRequest


def train(run: Run, learner: Learner, around: Surroundings, progress: Progress) -> Progress:
    """Train to the last epoch and return how far that is.

    Raises:
        Stopped: the run was asked to; it has saved itself.
        DataError: a loss is not finite.
    """
    early = _early_looks(run, learner, around, progress)
    for epoch in range(progress.epoch, run.epochs):
        progress = _train_epoch(run, learner, around, progress, early)
        judgement = _evaluate(run, learner, around, progress)
        measure = -1.0 if judgement is None else judgement.measures[run.checkpoints.best]
        best = measure > progress.best
        progress = dataclasses.replace(
            progress, best=max(progress.best, measure)
        )  # which stays where the measure is no number
        if judgement is not None and judgement.calibration is not None:
            learner.calibration = judgement.calibration
        _save(run, learner, around, progress, best=best, wait=epoch + 1 == run.epochs)
    return progress


def restore(learner: Learner, checkpoint: Checkpoint) -> None:
    """Set a learner as the checkpoint's was; with another number of ranks, random generators begin anew."""
    learner.model.load_state_dict(checkpoint.model)
    learner.loss.load_state_dict(checkpoint.loss)
    learner.optimizer.load_state_dict(checkpoint.optimizer)
    learner.scaler.load_state_dict(checkpoint.scaler)
    if learner.average is not None:
        learner.average.load_state_dict(checkpoint.average)
    kept = Calibration.from_state(checkpoint.calibration) if checkpoint.calibration else None
    learner.calibration = kept if kept is not None and kept.n_images else None
    if len(checkpoint.generators) == distributed.n_ranks():
        set_generator_state(checkpoint.generators[distributed.rank()])


def _early_looks(run: Run, learner: Learner, around: Surroundings, progress: Progress) -> EarlyLooks:
    """Return what looks at the first steps of a run; at none where it is past them, or has warned before."""
    over = progress.total_steps >= max(LOOKS) or distributed.from_first(around.log.has_warned)
    begun = progress.total_steps
    at = () if over else tuple(step - begun for step in LOOKS if step > begun)
    return early_looks(run, learner, around.feed, at, begun=begun)


def early_looks(run: Run, learner: Learner, feed: Feed, at: Sequence[int], *, begun: int = 0) -> EarlyLooks:
    """Return what looks at a learner after `at` steps more, of a run that has taken `begun` steps."""
    steps = feed.n_steps(0) * run.epochs - begun if at else 0
    expected = expected_of(run, steps, begun=begun, trained=begun > 0 or run.model.weights is not None)

    def logits(images: Tensor) -> Tensor:
        return logits_without_trace(learner, feed.finish(images))

    return EarlyLooks(
        expected, logits, learner.known, learner.device, at=at, judged_from=min(JUDGED_FROM, max(at, default=0))
    )


@torch.no_grad()
def logits_without_trace(learner: Learner, images: Tensor) -> Tensor:
    """Return the logits that images have in training, float32, shape (B, C).

    Neither the model's buffers nor the random numbers of later steps change, and units dropped out are the same each
    time.
    """
    buffers = [buffer.clone() for buffer in learner.model.buffers()]
    with torch.random.fork_rng([learner.device] if learner.device.type == "cuda" else []):
        torch.manual_seed(0)
        with autocast(learner.device, learner.execution.precision):
            logits = learner.model(images.contiguous(memory_format=_layout(learner.execution)))
    for buffer, before in zip(learner.model.buffers(), buffers, strict=True):
        buffer.copy_(before)
    return cast("Tensor", logits.float())


def _train_epoch(run: Run, learner: Learner, around: Surroundings, progress: Progress, early: EarlyLooks) -> Progress:
    """Take the remaining steps of an epoch and return the beginning of the next."""
    epoch, n_steps = progress.epoch, around.feed.n_steps(progress.epoch)
    set_training(learner.network, frozen_statistics=run.model.frozen_statistics)
    learner.loss.train()
    watch, nothing = Watch(learner.device, progress), torch.zeros((), device=learner.device)
    pace = Pace(nothing)
    for batches, waited in _timed(around.feed.steps(epoch, progress.step)):
        rate = learning_rate(run, epoch, progress.step, n_steps)
        early.before(batches)
        loss = take_step(learner, batches, rate, around.feed.finish)
        progress = dataclasses.replace(progress, step=progress.step + 1, total_steps=progress.total_steps + 1)
        images = tuple(image_id for batch in batches for image_id in batch.image_ids)
        pace.add(loss, distributed.n_ranks() * len(images), waited)
        verdict = watch.note(progress, loss, images, stop=around.stop.asked)
        tell = progress.total_steps % run.logs.every_steps == 0
        save = _falls_on(progress.total_steps, run.checkpoints.every_steps) and progress.step < n_steps
        if tell or save or verdict.stop or verdict.not_finite or progress.step == n_steps:
            _refuse_not_finite(verdict, around)
            verdict = watch.settle()
            _refuse_not_finite(verdict, around)
        if (found := early.after(batches, loss, rate)) is not None:
            around.log.warning(progress.total_steps, found.sentence(), found.last.to_log())
        if tell:
            around.log.tell("train", progress.total_steps, {"epoch": epoch, "rate": rate, **pace.values()})
            pace = Pace(nothing)
        if save or verdict.stop:
            _save(run, learner, around, progress, best=False, wait=verdict.stop)
        if verdict.stop:
            raise Stopped(f"stopped after step {progress.total_steps:,} and saved", remedy="run it again to go on")
    return dataclasses.replace(progress, epoch=epoch + 1, step=0)


def _timed(steps: Iterator[Sequence[Batch]]) -> Iterator[tuple[Sequence[Batch], float]]:
    """Yield each step's batches with the seconds that it took to get them."""
    while True:
        began = time.perf_counter()
        batches = next(steps, None)
        if batches is None:
            return
        yield batches, time.perf_counter() - began


def _falls_on(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _refuse_not_finite(verdict: Verdict, around: Surroundings) -> None:
    """Raise `DataError`, on every rank alike, where a step's loss is not finite."""
    if not verdict.not_finite:
        return
    done = verdict.progress
    mine = () if bool(torch.isfinite(verdict.loss)) else verdict.images
    images = [image_id for of_rank in distributed.gathered(mine) for image_id in of_rank]
    saved = around.writer.newest()
    around.log.tell("not finite", done.total_steps, {"epoch": done.epoch, "images": " ".join(images)})
    more = f" and {len(images) - _SHOWN_IMAGES:,} more (see the log)" if len(images) > _SHOWN_IMAGES else ""
    raise DataError(
        f"the loss of step {done.total_steps:,} (epoch {done.epoch}, step {done.step}) is not finite, with the images "
        f"{', '.join(images[:_SHOWN_IMAGES])}{more}",
        remedy=f"look at these or lower the learning rate; the last good checkpoint is {saved or 'none'}",
    )


def _evaluate(run: Run, learner: Learner, around: Surroundings, progress: Progress) -> Judgement | None:
    """Return what is said of the network after an epoch, and tell the measures; None where it is not time."""
    last = progress.epoch == run.epochs
    if around.evaluate is None or not (last or _falls_on(progress.epoch, run.evaluate_epochs)):
        return None
    distributed.copy_from_first(learner.evaluated.buffers())  # each rank has seen other images
    judgement = around.evaluate(learner.evaluated, progress.epoch - 1)
    around.log.tell("evaluation", progress.total_steps, {"epoch": progress.epoch - 1, **judgement.measures})
    return judgement


def _save(
    run: Run,
    learner: Learner,
    around: Surroundings,
    progress: Progress,
    *,
    best: bool,
    wait: bool,
) -> None:
    """Give rank 0 a checkpoint to write; every rank calls it.

    Its calibration is the run's last fit. Before the first one, the loss's weights alone are undone.
    """
    calibration = learner.calibration
    if calibration is None and not isinstance(learner.loss, SoftmaxLoss):
        calibration = calibration_of_weights(learner.loss, around.n_classes)
    generators = distributed.gathered(generator_state())
    if distributed.rank() == 0:
        checkpoint = Checkpoint(
            progress=progress,
            model_name=run.model.name,
            n_classes=around.n_classes,
            image_size=run.phase(max(progress.epoch - (progress.step == 0), 0)).image_size,
            vocabulary=around.vocabulary,
            science=science(run),
            model=learner.model.state_dict(),
            average={} if learner.average is None else learner.average.state_dict(),
            optimizer=learner.optimizer.state_dict(),
            loss=learner.loss.state_dict(),
            scaler=learner.scaler.state_dict(),
            generators=generators,
            sampler=around.feed.state(progress.epoch, progress.step),
            calibration={} if calibration is None else calibration.state(),
        )
        around.writer.save(checkpoint, best=best, wait=wait)
    if wait:
        distributed.wait_for_all()
