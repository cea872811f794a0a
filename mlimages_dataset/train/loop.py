"""The training loop: steps, checkpoints, stopping. It is independent of the task, which the learner holds."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.train import distributed
from mlimages_dataset.train.bad_pictures import BadPictures
from mlimages_dataset.train.calibration import fit_in
from mlimages_dataset.train.checkpoint import Checkpoint, RunProgress, generator_state, set_generator_state
from mlimages_dataset.train.learner import Learner, logits_without_trace, set_training, take_step
from mlimages_dataset.train.learning import LOOKS
from mlimages_dataset.train.schedule import learning_rate
from mlimages_dataset.train.science import science
from mlimages_dataset.train.stopping import Stopped, StopRequest
from mlimages_dataset.train.watch import Pace, StepReport, Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mlimages_dataset.loaders.batch import ImageBatch
    from mlimages_dataset.train.checkpoint import CheckpointWriter, StateDict
    from mlimages_dataset.train.config import Run
    from mlimages_dataset.train.learning import Looks
    from mlimages_dataset.train.logs import RunLog
    from mlimages_dataset.train.tasks.task import Judgement

_SHOWN_IMAGES = 8


class Feed(Protocol):
    """The batches of a run."""

    def n_steps(self, epoch: int) -> int:
        """Return the steps of an epoch."""

    def steps(self, epoch: int, first_step: int) -> Iterator[Sequence[ImageBatch]]:
        """Yield this rank's batches, one per pass, for each step of an epoch from `first_step` on."""

    def finish(self, images: Tensor) -> Tensor:
        """Turn a batch's images on the device into the network's input."""

    def state(self, epoch: int, step: int) -> StateDict:
        """Return the position after a step, for the checkpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """The objects that a run needs besides its learner.

    Attributes:
        feed: the run's batches.
        n_classes: number of classes of the head.
        vocabulary: digest of the vocabulary.
        writer: writer of the checkpoints.
        log: the run's log.
        evaluate: evaluates a network on the validation images after an epoch, on every rank; None without them.
        stop: whether the run was asked to stop.
    """

    feed: Feed
    n_classes: int
    vocabulary: str
    writer: CheckpointWriter
    log: RunLog
    evaluate: Callable[[nn.Module, int], Judgement] | None
    stop: StopRequest


def train(run: Run, learner: Learner, around: RunContext, progress: RunProgress) -> RunProgress:
    """Train to the last epoch, or to the last step where the run counts steps, and return the progress.

    Raises:
        Stopped: the run was asked to stop; it has saved a checkpoint.
        DataError: a loss is not finite, or too many pictures cannot be decoded.
    """
    early = _early_looks(run, learner, around, progress)
    bad = BadPictures(run.data.bad_image_share, around.log)
    while not _is_over(run, progress):
        progress = _train_epoch(run, learner, around, progress, early=early, bad=bad)
        judgement = _evaluate(run, learner, around, progress)
        measure = -1.0 if judgement is None else judgement.measures[run.checkpoints.best]
        best = measure > progress.best
        progress = dataclasses.replace(progress, best=max(progress.best, measure))  # which stays if the measure is NaN
        if judgement is not None and judgement.calibration is not None:
            learner.calibration = judgement.calibration
        _save(run, learner, around, progress, best=best, wait=_is_over(run, progress))
    return progress


def _is_over(run: Run, progress: RunProgress) -> bool:
    return progress.epoch >= run.epochs or 0 < run.steps <= progress.total_steps


def restore(learner: Learner, checkpoint: Checkpoint) -> None:
    """Restore a learner from a checkpoint; with another number of ranks, random generators are seeded anew."""
    learner.model.load_state_dict(checkpoint.model)
    learner.loss.load_state_dict(checkpoint.loss)
    learner.optimizer.load_state_dict(checkpoint.optimizer)
    learner.scaler.load_state_dict(checkpoint.scaler)
    if learner.average is not None:
        learner.average.load_state_dict(checkpoint.average)
    learner.calibration = fit_in(checkpoint.calibration)
    if len(checkpoint.generators) == distributed.n_ranks():
        set_generator_state(checkpoint.generators[distributed.rank()])


def _early_looks(run: Run, learner: Learner, around: RunContext, progress: RunProgress) -> Looks[Any]:
    """Return the watcher of a run's first steps; it watches none if they are over, or if the run has already warned."""
    over = progress.total_steps >= max(LOOKS) or distributed.from_first(around.log.has_warned)
    begun = progress.total_steps
    at = () if over else tuple(step - begun for step in LOOKS if step > begun)
    return early_looks(run, learner, around.feed, at, begun=begun)


def early_looks(run: Run, learner: Learner, feed: Feed, at: Sequence[int], *, begun: int = 0) -> Looks[Any]:
    """Return the watcher of a learner after each number of further steps in `at`; the run has taken `begun` steps."""
    of_epochs = feed.n_steps(0) * run.epochs if at else begun
    steps = min(run.steps or of_epochs, of_epochs) - begun

    def outputs(images: Tensor) -> Tensor:
        return logits_without_trace(learner, feed.finish(images))

    return learner.task.early_looks(run, outputs, learner.device, at=at, steps=steps, begun=begun)


def _train_epoch(
    run: Run, learner: Learner, around: RunContext, progress: RunProgress, *, early: Looks[Any], bad: BadPictures
) -> RunProgress:
    """Run the remaining steps of an epoch, or of the run, and return the progress after them."""
    epoch, n_steps = progress.epoch, around.feed.n_steps(progress.epoch)
    set_training(learner.network, frozen_statistics=run.model.frozen_statistics)
    learner.loss.train()
    of_rank = run.phase(epoch).batch_size // distributed.n_ranks()
    bad.begin(epoch, n_images=n_steps * of_rank, skipped=progress.step * of_rank)
    watch, nothing = Watch(learner.device, progress), torch.zeros((), device=learner.device)
    pace = Pace(nothing)
    for batches, waited in _timed(around.feed.steps(epoch, progress.step)):
        rate = learning_rate(run, epoch, progress.step, n_steps)
        bad.add(batches, progress.total_steps)
        early.before(batches)
        loss = take_step(learner, batches, rate, around.feed.finish)
        progress = dataclasses.replace(progress, step=progress.step + 1, total_steps=progress.total_steps + 1)
        images = tuple(image_id for batch in batches for image_id in batch.image_ids)
        pace.add(loss, distributed.n_ranks() * len(images), waited)
        report = watch.note(progress, loss, images, stop=around.stop.asked)
        tell = progress.total_steps % run.logs.every_steps == 0
        last = progress.step == n_steps or _is_over(run, progress)
        save = _falls_on(progress.total_steps, run.checkpoints.every_steps) and not last
        if tell or save or report.stop or report.not_finite or last:
            _refuse_not_finite(report, around)
            report = watch.settle()
            _refuse_not_finite(report, around)
        if (found := early.after(batches, loss, rate)) is not None:
            around.log.warning(progress.total_steps, found.sentence(), found.last.to_log())
        if tell or last:
            around.log.tell("train", progress.total_steps, {"epoch": epoch, "rate": rate, **pace.values()})
            pace = Pace(nothing)
        if save or report.stop:
            _save(run, learner, around, progress, best=False, wait=report.stop)
        if report.stop:
            raise Stopped(
                f"stopped after step {progress.total_steps:,} and saved", remedy="run the same command again to resume"
            )
        if _is_over(run, progress):
            break
    bad.end(progress.total_steps, whole=progress.step == n_steps)
    if _is_over(run, progress) and progress.step < n_steps:
        return progress  # the same run with more steps goes on here
    return dataclasses.replace(progress, epoch=epoch + 1, step=0)


def _timed(steps: Iterator[Sequence[ImageBatch]]) -> Iterator[tuple[Sequence[ImageBatch], float]]:
    """Yield each step's batches with the seconds spent waiting for them."""
    while True:
        began = time.perf_counter()
        batches = next(steps, None)
        if batches is None:
            return
        yield batches, time.perf_counter() - began


def _falls_on(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _last_epoch(progress: RunProgress) -> int:
    """Return the epoch of the last step that was taken, 0 before the first."""
    return max(progress.epoch - (progress.step == 0), 0)


def _refuse_not_finite(report: StepReport, around: RunContext) -> None:
    """Raise `DataError`, on every rank, if a step's loss is not finite."""
    if not report.not_finite:
        return
    done = report.progress
    mine = () if bool(torch.isfinite(report.loss)) else report.images
    images = [image_id for of_rank in distributed.gathered(mine) for image_id in of_rank]
    saved = around.writer.newest()
    around.log.tell("not finite", done.total_steps, {"epoch": done.epoch, "images": " ".join(images)})
    more = f" and {len(images) - _SHOWN_IMAGES:,} more (see the log)" if len(images) > _SHOWN_IMAGES else ""
    raise DataError(
        f"the loss of step {done.total_steps:,} (epoch {done.epoch}, step {done.step}) is not finite, with the images "
        f"{', '.join(images[:_SHOWN_IMAGES])}{more}",
        remedy=f"check these images or lower the learning rate; the last good checkpoint is {saved or 'none'}",
    )


def _evaluate(run: Run, learner: Learner, around: RunContext, progress: RunProgress) -> Judgement | None:
    """Return the judgement of the network after an epoch, and log the measures; None if no evaluation is due."""
    due = run.evaluate_epochs and (_is_over(run, progress) or _falls_on(progress.epoch, run.evaluate_epochs))
    if around.evaluate is None or not due:
        return None
    distributed.copy_from_first(learner.evaluated.buffers())  # each rank has seen other images
    epoch = _last_epoch(progress)
    judgement = around.evaluate(learner.evaluated, epoch)
    around.log.tell("evaluation", progress.total_steps, {"epoch": epoch, **judgement.measures})
    return judgement


def _save(
    run: Run,
    learner: Learner,
    around: RunContext,
    progress: RunProgress,
    *,
    best: bool,
    wait: bool,
) -> None:
    """Give rank 0 a checkpoint to write; every rank calls it.

    Its calibration is the run's last fit. Before the first fit, only the loss's weights are undone.
    """
    calibration = learner.calibration
    if calibration is None:
        calibration = learner.task.unfitted(learner.loss.state_dict(), around.n_classes)
    generators = distributed.gathered(generator_state())
    if distributed.rank() == 0:
        checkpoint = Checkpoint(
            progress=progress,
            model_name=run.model.name,
            n_classes=around.n_classes,
            image_size=run.phase(_last_epoch(progress)).image_size,
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
