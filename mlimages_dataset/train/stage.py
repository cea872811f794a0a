"""Training as a stage: from a run to its folder of checkpoints, started or resumed."""

from __future__ import annotations

import dataclasses
import json
import warnings
from typing import TYPE_CHECKING, Any

from mlimages_dataset.core.errors import ConfigError, MLImagesError, UsageError
from mlimages_dataset.tables.files import remove_unfinished, write_bytes
from mlimages_dataset.train import distributed
from mlimages_dataset.train.checkpoint import (
    FOLDER,
    CheckpointWriter,
    Resumption,
    RunProgress,
    check_order,
    check_science,
    check_vocabulary,
    read_checkpoint,
    resumption,
)
from mlimages_dataset.train.computing import computing, seed_generators
from mlimages_dataset.train.feed import images_of_pass, make_feed
from mlimages_dataset.train.image_sizes import check_sizes
from mlimages_dataset.train.inputs import Classes, pair_rates, unpictured
from mlimages_dataset.train.learner import Learner, check_one_image, make_learner
from mlimages_dataset.train.logs import RunLog
from mlimages_dataset.train.loop import Feed, RunContext, restore, train
from mlimages_dataset.train.needed import check_needed
from mlimages_dataset.train.plan import pace
from mlimages_dataset.train.run_lock import LOCK_FILE, only_run_in
from mlimages_dataset.train.science import plain, science
from mlimages_dataset.train.stopping import StopRequest
from mlimages_dataset.train.tasks.registry import task_of_run
from mlimages_dataset.train.validation import evaluate_network

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import torch
    from torch import Tensor, nn

    from mlimages_dataset.loaders.dataset import CataloguedImages
    from mlimages_dataset.train.config import Phase, Run
    from mlimages_dataset.train.inputs import Unpictured
    from mlimages_dataset.train.tasks.task import Judgement

RUN_FILE = "run.json"


def pretrain(run: Run, out: Path) -> RunProgress:
    """Train a run to its end, from the newest checkpoint in its folder if there is one.

    Raises:
        UsageError: an input is missing, the folder belongs to another run, or another run is writing there.
        DataError: an input is damaged, or a loss is not finite.
        Stopped: the run received SIGTERM, and saved a checkpoint.
        MLImagesError: another rank ended.
    """
    check_needed(run, out)
    task = task_of_run(run)
    classes = task.classes(run)
    _check_folder(out)
    with computing(run.execution, run.seed) as device, StopRequest() as stop:
        data = task.data(run, classes, training=True)
        lacking = unpictured(run, data, training=True)
        feed = make_feed(run, task, data, device)
        learner = first_learner(run, data, classes, device)
        for phase in run.phases if not run.model.frozen_statistics else ():
            if feed.smallest_pass(phase) == 1:
                check_one_image(learner, phase.image_size)
        evaluate = None
        if (measured := _validation_data(run, learner, classes)) is not None:
            lacking += unpictured(run, measured, training=False)
            evaluate = _evaluation_after_epochs(run, learner, classes, measured)
        return train_in(out, run, learner, feed, classes, evaluate=evaluate, stop=stop, lacking=lacking)


def finetune(run: Run, out: Path) -> RunProgress:
    """Train a run that starts from `model.weights`, with a new head if the classes differ; raises as `pretrain`.

    Raises:
        ConfigError: the run names no weights, or as `pretrain`.
    """
    check_needed(run, out, weights=True)
    return pretrain(run, out)


def train_in(
    out: Path,
    run: Run,
    learner: Learner,
    feed: Feed,
    classes: Classes,
    *,
    evaluate: Callable[[nn.Module, int], Judgement] | None,
    stop: StopRequest,
    lacking: Sequence[Unpictured] = (),
) -> RunProgress:
    """Train a learner on a feed to the run's end, with checkpoints and log in a folder; raises as `pretrain`.

    Meanwhile the folder is locked, see `run_lock`. The log tells the labelled images in `lacking`.
    """
    with only_run_in(out):
        progress, set_aside = _resumed(run, learner, feed, classes, out)
        first = distributed.rank() == 0
        log = RunLog(out if first else None, tensorboard=run.logs.tensorboard, resumed_at=progress.total_steps)
        writer = CheckpointWriter(out, keep=run.checkpoints.keep, asynchronous=run.checkpoints.asynchronous)
        if first:
            for folder in (out, out / FOLDER):
                remove_unfinished(folder)
            write_bytes(out / RUN_FILE, _as_json(run))
        for said in set_aside:
            log.tell("damaged checkpoint", progress.total_steps, {"file": said})
        log.tell("run", progress.total_steps, _description(run, learner, classes))
        for found in dict.fromkeys(lacking):
            log.said("no picture", progress.total_steps, found.sentence(), found.values())
        if run.logs.scaling_steps and distributed.n_ranks() > 1:
            log.tell("scaling", progress.total_steps, _scaling(run, learner, run.phase(progress.epoch)))
        around = RunContext(
            feed=feed,
            n_classes=len(classes),
            vocabulary=classes.digest,
            writer=writer,
            log=log,
            evaluate=evaluate,
            stop=stop,
        )
        try:
            return train(run, learner, around, progress)
        finally:
            writer.wait()
            log.close()


def initial_model(run: Run, classes: Classes, bias: Tensor | None = None) -> nn.Module:
    """Return the network that a run starts from.

    Args:
        run: the run.
        classes: classes of its head.
        bias: bias of a head that `model.weights` do not set, shape (C,); None for zeros.

    Raises:
        UsageError: there is no such network, it takes no images of a phase's size, or `model.weights` belong to
            another one.
        DataError: the file of weights is damaged.
    """
    model = task_of_run(run).model(run, len(classes), classes.digest, bias)
    check_sizes(model, [phase.image_size for phase in run.phases], run.model.name, advice="set image_size = ")
    return model


def first_learner(run: Run, data: CataloguedImages[Any, Any], classes: Classes, device: torch.device) -> Learner:
    """Return the learner that a run starts from; raises as `initial_model` and `pair_rates`."""
    task = task_of_run(run)
    loss = task.loss(run, len(classes), pair_rates(run))
    return make_learner(run, initial_model(run, classes, task.bias(run, data)), loss, device)


def _validation_data(run: Run, learner: Learner, classes: Classes) -> CataloguedImages[Any, Any] | None:
    """Return the images that a run is evaluated on; None if it names no validation labels.

    Raises:
        ConfigError: the measure that decides which checkpoint is best is not among those of the evaluation.
        UsageError, DataError: as `pretrain`.
    """
    if run.data.validation_labels is None:
        return None
    task = learner.task
    names = task.measure_names(len(classes))
    if run.checkpoints.best not in names:  # now, not hours later after the first epoch
        raise ConfigError(
            f"checkpoints.best is {run.checkpoints.best!r}, which is not a measure", remedy=f"use {', '.join(names)}"
        )
    return task.data(run, classes, training=False)


def _evaluation_after_epochs(
    run: Run, learner: Learner, classes: Classes, data: CataloguedImages[Any, Any]
) -> Callable[[nn.Module, int], Judgement]:
    """Return the function that evaluates a network on some images after an epoch."""
    task = learner.task

    def evaluate_epoch(network: nn.Module, epoch: int) -> Judgement:
        phase = run.phase(epoch)
        task.look(data, run, phase, training=False)
        state = learner.loss.state_dict()
        found = evaluate_network(
            network,
            data,
            task,
            task.measures(state, len(classes), device=learner.device),
            precision=learner.execution.precision,
            batch_size=images_of_pass(run, phase, distributed.n_ranks()),
            workers=run.data.workers,
        )
        if found.lacking and distributed.rank() == 0:
            warnings.warn(f"nothing is measured: {run.data.validation_labels} {found.lacking}", stacklevel=2)
        return task.judgement(found, state, len(classes))

    return evaluate_epoch


def _resumed(
    run: Run, learner: Learner, feed: Feed, classes: Classes, out: Path
) -> tuple[RunProgress, tuple[str, ...]]:
    """Restore a learner from the newest undamaged checkpoint in a run's folder; return its progress, and `set_aside`.

    Raises:
        UsageError: the checkpoint has another run, vocabulary, or order within the epoch.
        DataError: all are damaged.
    """
    found = _resumption(out)
    path = found.path
    if path is None:
        seed_generators(run.seed, rank=distributed.rank(), step=0)  # each rank drops out other units
        return RunProgress(), ()
    checkpoint = read_checkpoint(path)
    check_vocabulary(checkpoint, path, classes.digest, len(classes))
    check_science(checkpoint.science, science(run), path)
    learner.task.check_state(checkpoint.loss, learner.loss.state_dict(), len(classes), path)
    check_order(checkpoint, feed.state(checkpoint.progress.epoch, checkpoint.progress.step), path)
    seed_generators(run.seed, rank=distributed.rank(), step=checkpoint.progress.total_steps)
    restore(learner, checkpoint)
    return checkpoint.progress, found.set_aside


def _resumption(out: Path) -> Resumption:
    """Return where a run resumes, the same on every rank; raises as `resumption`."""
    found: Resumption | MLImagesError = Resumption(None)
    if distributed.rank() == 0:  # only one rank looks, because another could see a newer file
        try:
            found = resumption(out)
        except MLImagesError as error:
            found = error
    found = distributed.from_first(found)
    if isinstance(found, MLImagesError):
        raise found
    return found


def _check_folder(out: Path) -> None:
    """Raise `UsageError` if a folder holds files of something else."""
    if out.exists() and not out.is_dir():
        raise UsageError("is a file", where=out, remedy="name a folder for the run")
    others = out.is_dir() and any(path.name != LOCK_FILE for path in out.iterdir())
    if others and not (out / RUN_FILE).is_file():
        raise UsageError(f"the folder holds files but no {RUN_FILE}", where=out, remedy="name a new or an empty folder")


def _scaling(run: Run, learner: Learner, phase: Phase) -> dict[str, float]:
    """Return images per second of one rank and of all, and the efficiency."""
    of_pass, steps = images_of_pass(run, phase, distributed.n_ranks()), run.logs.scaling_steps
    alone = pace(learner, images=of_pass, image_size=phase.image_size, steps=steps, alone=True)
    together = pace(learner, images=of_pass, image_size=phase.image_size, steps=steps)
    return {
        "one rank": alone,
        "all ranks": together,
        "efficiency": together / (alone * distributed.n_ranks()),
    }


def _as_json(run: Run) -> bytes:
    return (json.dumps(dataclasses.asdict(run), indent=2, default=plain) + "\n").encode()


def _description(run: Run, learner: Learner, classes: Classes) -> dict[str, int | str]:
    parameters = sum(parameter.numel() for parameter in learner.model.parameters())
    return {
        "model": run.model.name,
        "parameters": parameters,
        "classes": len(classes),
        "ranks": distributed.n_ranks(),
        "device": str(learner.device),
        "precision": run.execution.precision.value,
    }
