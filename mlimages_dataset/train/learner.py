"""A network with its optimiser, and one training step.

Legend: B images in a batch (of all ranks and passes), C classes. A step takes B images through the network, on each
rank in one or more passes whose gradients add up, and then updates the parameters once.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from mlimages_dataset.core.errors import ConfigError
from mlimages_dataset.train import distributed
from mlimages_dataset.train.config import Precision
from mlimages_dataset.train.models import batch_norms
from mlimages_dataset.train.optimizer import make_optimizer, set_rate
from mlimages_dataset.train.tasks.registry import task_of_run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch.nn.parallel import DistributedDataParallel

    from mlimages_dataset.loaders.batch import ImageBatch
    from mlimages_dataset.train.calibration import Calibration
    from mlimages_dataset.train.config import Execution, Run
    from mlimages_dataset.train.losses.task_loss import TaskLoss
    from mlimages_dataset.train.tasks.task import AnyTask

_AUTOCAST = {Precision.BFLOAT16: torch.bfloat16, Precision.FLOAT16: torch.float16}


@dataclass(slots=True)
class Learner:
    """A network, its task, loss and optimiser.

    Attributes:
        model: the network itself, whose state is saved.
        network: the module that computes: the model, wrapped to sum gradients over ranks, and compiled.
        parallel: the wrapper for several ranks; None for one rank.
        task: the task.
        loss: the loss of the task.
        optimizer: the optimiser of the model's parameters.
        scaler: loss scaling for float16.
        average: the moving average of the model, or None.
        device: the device of all of these.
        execution: how it is computed.
        clip_norm: longest norm of the gradient; 0 for no limit.
        calibration: the last fit of the run; None before the first.
    """

    model: nn.Module
    network: nn.Module
    parallel: DistributedDataParallel | None
    task: AnyTask
    loss: TaskLoss[Any]
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    average: AveragedModel | None
    device: torch.device
    execution: Execution
    clip_norm: float
    calibration: Calibration | None = None

    @property
    def evaluated(self) -> nn.Module:
        """The module to evaluate: the average if there is one."""
        return self.model if self.average is None else self.average.module


def make_learner(run: Run, model: nn.Module, loss: TaskLoss[Any], device: torch.device) -> Learner:
    """Return a learner on a device, whose gradients are summed over the ranks.

    Raises:
        ConfigError: the device or the model cannot do what the run asks for.
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
        task=task_of_run(run),
        loss=loss.to(device),
        optimizer=optimizer,
        scaler=torch.amp.GradScaler(device.type, enabled=run.execution.precision is Precision.FLOAT16),
        average=average,
        device=device,
        execution=run.execution,
        clip_norm=run.optimizer.clip_norm,
    )


def synchronised(model: nn.Module) -> nn.Module:
    """Return a model whose batch normalisation takes its statistics over all ranks.

    Raises:
        ConfigError: a normalisation includes more, such as an activation, which PyTorch's conversion would drop.
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
    """Set a model to training mode; with frozen statistics, its batch normalisation stays in evaluation mode."""
    model.train()
    for module in batch_norms(model) if frozen_statistics else ():
        module.eval()


def check_one_image(learner: Learner, image_size: int) -> None:
    """Raise `ConfigError` if batch normalisation cannot train on one image of a size in pixels.

    It needs two values per channel, but a small image leaves one in the last stage of a network.
    """
    few: list[str] = []

    def look(module: nn.Module, given: tuple[Tensor]) -> None:
        if given[0].numel() == given[0].shape[1]:
            few.append(type(module).__name__)

    hooks = [module.register_forward_pre_hook(look) for module in batch_norms(learner.model)]
    image = torch.zeros(1, 3, image_size, image_size, device=learner.device)
    learner.model.eval()
    with torch.inference_mode():
        image = image.contiguous(memory_format=_layout(learner.execution))
        learner.model(*learner.task.applied(image, torch.tensor([image.shape[2:]], device=image.device)))
    for hook in hooks:
        hook.remove()
    if few:
        raise ConfigError(
            f"a pass has one image of {image_size} pixels, but batch norm needs at least two values per channel",
            remedy="choose a larger image_size, or another batch_size or images_per_pass: an epoch's last pass has "
            "what these leave of its images",
        )


def autocast(device: torch.device, precision: Precision) -> torch.autocast:
    """Return the context in which a network is computed in a precision."""
    return torch.autocast(device.type, dtype=_AUTOCAST.get(precision), enabled=precision in _AUTOCAST)


def take_step(
    learner: Learner, batches: Sequence[ImageBatch], rate: float, finish: Callable[[Tensor], Tensor]
) -> Tensor:
    """Update the parameters by one step and return this rank's loss, a float32 scalar on the device.

    Args:
        learner: the learner, which is changed.
        batches: this rank's share of the batch, one per pass, on any device.
        rate: the learning rate.
        finish: turns images on the device into the network's input.
    """
    layout = _layout(learner.execution)
    batches = [batch.to(learner.device, non_blocking=True) for batch in batches]
    n_images = sum(map(len, batches))
    total = torch.zeros((), device=learner.device)
    loss_of = learner.loss.of_passes(len(batches), lambda number: learner.task.targets(batches[number]))
    for number, batch in enumerate(batches):
        with _sums_gradients(learner.parallel, last=number == len(batches) - 1):
            with autocast(learner.device, learner.execution.precision):
                images = finish(batch.images).contiguous(memory_format=layout)
                outputs = learner.network(*learner.task.inputs(batch, images))
            loss = loss_of(outputs, number) * (len(batch) / n_images)
            learner.scaler.scale(loss).backward()
        total += loss.detach()
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


@torch.no_grad()
def logits_without_trace(learner: Learner, images: Tensor) -> Tensor:
    """Return the logits of images in training mode, float32, shape (B, C), without side effects.

    Neither the model's buffers nor the random numbers of later steps change, and dropout drops the same units each
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


def _layout(execution: Execution) -> torch.memory_format:
    return torch.channels_last if execution.channels_last else torch.contiguous_format


def _sums_gradients(
    parallel: DistributedDataParallel | None, *, last: bool
) -> contextlib.AbstractContextManager[object]:
    """Return a context in which gradients are summed over ranks after the last pass only."""
    return contextlib.nullcontext() if last or parallel is None else parallel.no_sync()
