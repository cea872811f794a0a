"""The trainer's stages: this module alone of the package names paths, opens data and checkpoints, calls the rest."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from mlimages_dataset.core.errors import ConfigError, MLImagesError, UsageError
from mlimages_dataset.loaders import MLImages, train_transform
from mlimages_dataset.tables.files import write_bytes
from mlimages_dataset.tables.parquet import read_table
from mlimages_dataset.tables.schemas import CATEGORIES, PAIR_COUNTS
from mlimages_dataset.train import distributed
from mlimages_dataset.train.calibration import calibration_of_weights
from mlimages_dataset.train.checkpoint import (
    CheckpointWriter,
    Progress,
    Resumption,
    check_order,
    check_science,
    check_vocabulary,
    read_checkpoint,
    resumption,
)
from mlimages_dataset.train.config import LossName, Precision, plain, science
from mlimages_dataset.train.feed import images_of_pass, make_feed
from mlimages_dataset.train.learning import LEAST_JUDGED
from mlimages_dataset.train.logs import RunLog
from mlimages_dataset.train.loop import (
    Feed,
    Judgement,
    Learner,
    StopRequest,
    Surroundings,
    check_one_image,
    make_learner,
    restore,
    train,
)
from mlimages_dataset.train.losses.baseline_losses import (
    AsymmetricLoss,
    BaselineLoss,
    BinaryCrossEntropyLoss,
    FocalLoss,
)
from mlimages_dataset.train.losses.concurrent_softmax import ConcurrentSoftmaxLoss
from mlimages_dataset.train.losses.ml_images import MLImagesLoss
from mlimages_dataset.train.losses.pair_rates import check_rates, rates_of_table
from mlimages_dataset.train.losses.prior_bias import prior_bias
from mlimages_dataset.train.losses.softmax import SoftmaxLoss
from mlimages_dataset.train.models import MultiLabelClassifier, batch_norms, create_model
from mlimages_dataset.train.needed import check_needed
from mlimages_dataset.train.plan import Plan, image_bytes, pace, state_bytes, total_steps
from mlimages_dataset.train.plots import rate_curve
from mlimages_dataset.train.probabilities import scores_of_loss
from mlimages_dataset.train.supply import Supply, core_rate
from mlimages_dataset.train.trial import Trial, try_steps
from mlimages_dataset.train.validation import evaluate_network, evaluation_transform, measure_names, measures
from mlimages_dataset.train.weights.start import start_from
from mlimages_dataset.vocab.stage import CATEGORIES_FILE, read_vocabulary, refuse_other_vocabulary, vocabulary_digests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from torch import Tensor

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.train.config import Execution, Phase, Run

RUN_FILE = "run.json"
PUBLISHED_CLASSES = 11_166
"""Of Tencent ML-Images: what a plan takes for a run that names neither a vocabulary nor a number of classes."""
_TIMED_IMAGES, _TIMED_STEPS = 32, 5


@dataclass(frozen=True, slots=True)
class Classes:
    """The classes of a vocabulary.

    Attributes:
        wnids: in the order of class indices.
        digest: SHA-256 of them: vocabularies with the same classes in the same order are the same to a network.
    """

    wnids: tuple[str, ...]
    digest: str

    def __len__(self) -> int:
        return len(self.wnids)


def read_classes(vocabulary: Location) -> Classes:
    """Return the classes of the vocabulary in a folder.

    Raises:
        UsageError: there is none.
        SchemaError, DataError: its table is of another version, or damaged.
    """
    wnids = tuple(read_table(vocabulary / CATEGORIES_FILE, CATEGORIES)["wnid"].to_pylist())
    return Classes(wnids, hashlib.sha256("\n".join(wnids).encode()).hexdigest())


@contextlib.contextmanager
def computing(execution: Execution, seed: int) -> Iterator[torch.device]:
    """Yield this rank's device, as one of the ranks that torchrun started.

    Raises:
        UsageError: a GPU is asked for, and there is none for this rank.
        MLImagesError: another rank ended, or does not answer.
    """
    device = distributed.chosen_device(execution.device)
    if execution.threads:
        torch.set_num_threads(execution.threads)
    if execution.deterministic:
        # https://docs.nvidia.com/cuda/cublas/#results-reproducibility: else PyTorch refuses every matrix product
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(execution.deterministic)
    torch.backends.cudnn.benchmark = not execution.deterministic
    _seed_generators(seed, rank=0, step=0)  # alike on all ranks: initial weights are drawn from them
    with distributed.process_group(device, timeout_seconds=execution.timeout_seconds):
        yield device


def pretrain(run: Run, out: Path) -> Progress:
    """Train a run to its end, from the newest checkpoint in its folder where there is one.

    Raises:
        UsageError: the run asks for what is not there, or the folder is not this run's.
        DataError: an input is damaged, or a loss is not finite.
        Stopped: SIGTERM came; the run has saved itself.
        MLImagesError: another rank ended.
    """
    check_needed(run, out)
    classes = read_classes(_named(run.data.vocabulary, "vocabulary"))
    _check_folder(out)
    with computing(run.execution, run.seed) as device, StopRequest() as stop:
        data = _data(run, classes)
        feed = make_feed(run, data, device)
        learner = _first_learner(run, data, classes, device)
        for phase in run.phases if not run.model.frozen_statistics else ():
            if feed.smallest_pass(phase) == 1:
                check_one_image(learner, phase.image_size)
        evaluate = _evaluation_after_epochs(run, learner, classes)
        return train_in(out, run, learner, feed, classes, evaluate=evaluate, stop=stop)


def finetune(run: Run, out: Path) -> Progress:
    """Train a run that starts from `model.weights`, with a new head where its classes are others; errors as `pretrain`.

    Raises:
        ConfigError: the run names no weights, or as `pretrain`.
    """
    check_needed(run, out, weights=True)
    return pretrain(run, out)


def plan(run: Run, out: Path | None, *, images: int | None, images_per_second: float | None, ranks: int | None) -> Plan:
    """Return what a run will take, and write its learning rate as a picture.

    Args:
        run: the run.
        out: the PNG to write; None for none.
        images: of an epoch; None to count those of the run's data.
        images_per_second: of all ranks; None to measure it on the ranks that are here, and to multiply.
        ranks: that it will run on; None for those that are here.

    Raises:
        UsageError, DataError: as `pretrain`.
    """
    with computing(run.execution, run.seed) as device:
        classes, classes_from = _planned_classes(run)
        n_images = len(_data(run, classes)) if images is None else images
        learner = make_learner(run, initial_model(run, classes), make_loss(run, len(classes)), device)
        first, largest = run.phase(0), max(phase.image_size for phase in run.phases)
        n_ranks = ranks or distributed.n_ranks()
        of_pass = images_of_pass(run, first, n_ranks)
        measured = images_per_second
        if measured is None:
            few = min(of_pass, _TIMED_IMAGES)
            here = pace(learner, images=few, image_size=first.image_size, steps=_TIMED_STEPS)
            measured = here * n_ranks / distributed.n_ranks()
        if out is not None and distributed.rank() == 0:
            write_bytes(out, rate_curve(run))
        on_cpu = images_per_second is None and device.type == "cpu"
        supply = None
        if distributed.rank() == 0:
            rate = core_rate(run.data.images, largest)
            supply = Supply(measured, n_ranks, run.data.workers, rate, paced_on_cpu=on_cpu)
        return Plan(
            parameters=sum(parameter.numel() for parameter in learner.model.parameters()),
            classes=len(classes),
            classes_from=classes_from,
            state_bytes=state_bytes(learner.model, average=run.optimizer.average_decay > 0),
            image_bytes=image_bytes(learner.model, largest, run.execution.precision),
            images_per_pass=of_pass,
            ranks=n_ranks,
            passes=first.batch_size // (of_pass * n_ranks),
            images=n_images,
            epochs=run.epochs,
            steps=total_steps(run, n_images),
            images_per_second=measured,
            supply=distributed.from_first(supply),
            half_on_cpu=on_cpu and run.execution.precision is not Precision.FLOAT32,
        )


def _planned_classes(run: Run) -> tuple[Classes, str]:
    """Return the classes that a plan counts on, and where their number comes from."""
    if run.data.vocabulary is not None:
        classes = read_classes(run.data.vocabulary)
        other = run.model.classes not in {0, len(classes)}
        meant = f", where the run is meant for {run.model.classes:,}" if other else ""
        return classes, f"(of the vocabulary{meant})"
    n_classes = run.model.classes or PUBLISHED_CLASSES
    assumed = "(assumed, those of Tencent ML-Images: give --classes or --vocabulary)"
    return Classes(tuple(map(str, range(n_classes))), ""), "(model.classes)" if run.model.classes else assumed


def check_trial(run: Run, steps: int) -> None:
    """Refuse a trial of so many steps that could not be made or would not tell, before anything is measured.

    Raises:
        ConfigError: the run does not name its data, or so few steps say nothing.
    """
    for name in ("labels", "images", "vocabulary"):
        _named(getattr(run.data, name), name)
    if steps < LEAST_JUDGED:
        raise ConfigError(
            f"a dry run of {steps} steps cannot tell whether a run learns",
            remedy=f"try {LEAST_JUDGED} or more, or write --dry-run-steps 0",
        )


def trial(run: Run, steps: int | None) -> Trial:
    """Return what the first steps of a run show of its learning; nothing is written.

    Args:
        run: names its images, labels and vocabulary.
        steps: to take; None for `TRIAL_STEPS`, or as many as `TRIAL_SECONDS` allow at the pace of the first.

    Raises:
        UsageError, DataError: as `pretrain`.
    """
    classes = read_classes(_named(run.data.vocabulary, "vocabulary"))
    with computing(run.execution, run.seed) as device:
        data = _data(run, classes)
        learner = _first_learner(run, data, classes, device)
        _seed_generators(run.seed, rank=distributed.rank(), step=0)
        return try_steps(run, learner, make_feed(run, data, device), steps)


def train_in(
    out: Path,
    run: Run,
    learner: Learner,
    feed: Feed,
    classes: Classes,
    *,
    evaluate: Callable[[nn.Module, int], Judgement] | None,
    stop: StopRequest,
) -> Progress:
    """Train a learner on a feed to the run's end, its checkpoints and log in a folder; errors as `pretrain`."""
    progress, set_aside = _resumed(run, learner, feed, classes, out)
    first = distributed.rank() == 0
    log = RunLog(out if first else None, tensorboard=run.logs.tensorboard, resumed_at=progress.total_steps)
    writer = CheckpointWriter(out, keep=run.checkpoints.keep, asynchronous=run.checkpoints.asynchronous)
    if first:
        write_bytes(out / RUN_FILE, _as_json(run))
    for said in set_aside:
        log.tell("damaged checkpoint", progress.total_steps, {"file": said})
    log.tell("run", progress.total_steps, _description(run, learner, classes))
    if run.logs.scaling_steps and distributed.n_ranks() > 1:
        log.tell("scaling", progress.total_steps, _scaling(run, learner, run.phase(progress.epoch)))
    around = Surroundings(
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


def initial_model(run: Run, classes: Classes, bias: Tensor | None = None) -> MultiLabelClassifier:
    """Return the network that a run starts from.

    Args:
        run: the run.
        classes: of its head.
        bias: of a head that `model.weights` do not set, shape (C,); None for zeros.

    Raises:
        UsageError: there is no such network, or `model.weights` are not of it.
        DataError: the file of these is damaged.
    """
    model = create_model(run.model.name, len(classes), norm_epsilon=run.model.batch_norm_epsilon)
    for module in batch_norms(model):
        module.momentum = run.model.batch_norm_momentum
    if bias is not None:
        model.set_bias(bias)
    if run.model.weights is not None:
        start_from(model, run.model.weights, run.model, classes.digest)
    return model


def _first_learner(run: Run, data: MLImages, classes: Classes, device: torch.device) -> Learner:
    """Return the learner that a run starts from; errors as `initial_model` and `_rates`."""
    bias = _prior_bias(data) if run.loss.prior_bias else None
    loss = make_loss(run, len(classes), _rates(run))
    return make_learner(run, initial_model(run, classes, bias), loss, device)


def _prior_bias(data: MLImages) -> Tensor:
    """Return the log-odds of each class's share of the training images, shape (C,)."""
    return prior_bias(torch.from_numpy(data.rows_of_class.sizes), len(data))


def make_loss(run: Run, n_classes: int, rates: Tensor | None = None) -> nn.Module:
    """Return the loss of a run, called as loss(logits, targets, known).

    Args:
        run: the run.
        n_classes: C.
        rates: of concurrent-softmax, sparse, shape (C, C); None for none.
    """
    options = run.loss
    if options.name is LossName.CONCURRENT_SOFTMAX:
        none = torch.zeros(n_classes, n_classes, layout=torch.sparse_coo)
        return ConcurrentSoftmaxLoss(none if rates is None else rates, options.presence_threshold)
    if options.name in {LossName.PAPER, LossName.RELEASED}:
        return MLImagesLoss(
            n_classes,
            variant=options.name.value,
            positive_weight=options.positive_weight,
            absent_class_rate=options.absent_class_rate,
            negatives_per_positive=options.negatives_per_positive,
            presence_threshold=options.presence_threshold,
            seed=run.seed,
            fused=run.execution.fused_loss,
        )
    if options.name is LossName.SOFTMAX:
        return SoftmaxLoss()
    return _BASELINES[options.name](sum_classes=options.sum_classes)


def _rates(run: Run) -> Tensor | None:
    """Return the concurrent rates of a run's `pair_counts` table; None where its loss takes none.

    Raises:
        UsageError, DataError: there is no such table, it was made with another vocabulary, or it is damaged.
    """
    table = run.loss.pair_counts
    if table is None:
        return None
    if table.is_dir():
        raise UsageError("is a folder", where=table, remedy="name the file pair_counts.parquet of `cooccurrence`")
    vocabulary = _named(run.data.vocabulary, "vocabulary")
    check_labels(table, vocabulary)
    return rates_of_table(read_table(table, PAIR_COUNTS), read_vocabulary(vocabulary).closure, where=table)


_BASELINES: dict[LossName, type[BaselineLoss]] = {
    LossName.BINARY_CROSS_ENTROPY: BinaryCrossEntropyLoss,
    LossName.FOCAL: FocalLoss,
    LossName.ASYMMETRIC: AsymmetricLoss,
}


def _evaluation_after_epochs(
    run: Run, learner: Learner, classes: Classes
) -> Callable[[nn.Module, int], Judgement] | None:
    """Return what evaluates a network after an epoch; None where the run names no validation labels.

    Raises:
        ConfigError: the measure that decides which checkpoint is best is not among those of the evaluation.
        UsageError, DataError: as `pretrain`.
    """
    options = run.data
    if options.validation_labels is None:
        return None
    names = measure_names(len(classes))
    if run.checkpoints.best not in names:  # now, and not after the hours of an epoch
        raise ConfigError(
            f"checkpoints.best is {run.checkpoints.best!r}, which is no measure", remedy=f"use {', '.join(names)}"
        )
    check_labels(options.validation_labels, _named(options.vocabulary, "vocabulary"))
    data = MLImages(
        _named(options.validation_images or options.images, "images"),
        options.validation_labels,
        split=None,
        transform=evaluation_transform(run.phase(0).image_size, options.validation_view),
        n_classes=len(classes),
    )
    data.mark_complete(run.loss.absent_unless_listed)

    def evaluate_epoch(network: nn.Module, epoch: int) -> Judgement:
        phase = run.phase(epoch)
        data.transform = evaluation_transform(phase.image_size, options.validation_view)
        evaluation = evaluate_network(
            network,
            data,
            precision=learner.execution.precision,
            batch_size=images_of_pass(run, phase, distributed.n_ranks()),
            workers=options.workers,
            unknown=run.loss.unknown,
            scores=scores_of_loss(learner.loss),
        )
        if isinstance(learner.loss, SoftmaxLoss):
            return Judgement(measures(evaluation.summary()))
        calibration = evaluation.calibration(calibration_of_weights(learner.loss, len(classes)))
        summary = evaluation.summary(calibration=calibration)
        return Judgement(
            {**measures(summary), "labels": summary.labels, "labels said": summary.labels_said}, calibration
        )

    return evaluate_epoch


def check_labels(labels: Location, vocabulary: Location) -> None:
    """Raise `UsageError` for a folder of several splits, or a table that was made with another vocabulary."""
    if (labels / "train").is_dir():
        raise UsageError(
            "holds the labels of several splits", where=labels, remedy=f"name {labels / 'train'} or another"
        )
    refuse_other_vocabulary(vocabulary_digests(vocabulary), [labels])


def _data(run: Run, classes: Classes) -> MLImages:
    """Return the images and labels that a run trains on.

    Raises:
        UsageError, DataError: they are not there, or damaged, or no labelled image is among the pictures.
    """
    labels = _named(run.data.labels, "labels")
    check_labels(labels, _named(run.data.vocabulary, "vocabulary"))
    return MLImages(
        _named(run.data.images, "images"),
        labels,
        split=None,
        transform=train_transform(run.phase(0).image_size),
        seed=run.seed,
        absent_unless_listed=run.loss.absent_unless_listed,
        n_classes=len(classes),
    )


def _resumed(run: Run, learner: Learner, feed: Feed, classes: Classes, out: Path) -> tuple[Progress, tuple[str, ...]]:
    """Set a learner as the newest whole checkpoint in a run's folder has it; return how far that is, and `set_aside`.

    Raises:
        UsageError: the checkpoint is of another run or vocabulary, or within an epoch of other images.
        DataError: none is whole.
    """
    found = _resumption(out)
    path = found.path
    if path is None:
        _seed_generators(run.seed, rank=distributed.rank(), step=0)  # ranks drop out other units
        return Progress(), ()
    checkpoint = read_checkpoint(path)
    check_vocabulary(checkpoint, path, classes.digest, len(classes))
    check_science(checkpoint.science, science(run), path)
    if isinstance(learner.loss, ConcurrentSoftmaxLoss):
        check_rates(checkpoint.loss, learner.loss.rates, path)
    check_order(checkpoint, feed.state(checkpoint.progress.epoch, checkpoint.progress.step), path)
    _seed_generators(run.seed, rank=distributed.rank(), step=checkpoint.progress.total_steps)
    restore(learner, checkpoint)
    return checkpoint.progress, found.set_aside


def _resumption(out: Path) -> Resumption:
    """Return where a run goes on, on every rank alike; errors as `resumption`."""
    found: Resumption | MLImagesError = Resumption(None)
    if distributed.rank() == 0:  # one rank looks: another could see a file more
        try:
            found = resumption(out)
        except MLImagesError as error:
            found = error
    found = distributed.from_first(found)
    if isinstance(found, MLImagesError):
        raise found
    return found


def _check_folder(out: Path) -> None:
    """Raise `UsageError` where a folder holds files of something else."""
    if out.exists() and not out.is_dir():
        raise UsageError("is a file", where=out, remedy="name a folder for the run")
    if out.is_dir() and any(out.iterdir()) and not (out / RUN_FILE).is_file():
        raise UsageError(f"the folder holds files but no {RUN_FILE}", where=out, remedy="name a new or an empty folder")


def _seed_generators(seed: int, *, rank: int, step: int) -> None:
    """Begin this process's random numbers anew."""
    torch_seed, numpy_seed, python_seed = np.random.SeedSequence([seed, rank, step]).generate_state(3)
    torch.manual_seed(int(torch_seed))
    np.random.seed(numpy_seed)  # noqa: NPY002 - whoever draws from the global one draws alike in each run
    random.seed(int(python_seed))


def _scaling(run: Run, learner: Learner, phase: Phase) -> dict[str, float]:
    """Return images a second of one rank and of all, and the efficiency."""
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


def _named(place: Location | None, name: str) -> Location:
    if place is None:
        raise ConfigError(f"no data.{name}", remedy=f"write it under [data], or pass --{name.replace('_', '-')}")
    return place
