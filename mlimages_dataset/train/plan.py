"""Estimates a run before it starts: parameters, memory, steps, hours.

Memory is counted, not guessed: the bytes of the parameters, and those of everything that the forward pass of two images
keeps for the backward pass, which grows with the images per pass.
"""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from mlimages_dataset.train import distributed
from mlimages_dataset.train.learner import autocast, set_training
from mlimages_dataset.train.schedule import steps_of_epoch

if TYPE_CHECKING:
    from torch import Tensor

    from mlimages_dataset.train.config import Precision, Run
    from mlimages_dataset.train.learner import Learner
    from mlimages_dataset.train.supply import Supply
    from mlimages_dataset.train.tasks.task import AnyTask

_COUNTED_IMAGES = 2
_GIBIBYTE = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The estimates for a run.

    Attributes:
        parameters: number of parameters of the network.
        classes: number of classes of its head.
        classes_from: the source of that number.
        state_bytes: bytes of parameters, gradients, momentum and average, on each rank.
        image_bytes: bytes that the forward pass keeps for each image, at the largest image size.
        images_per_pass: images per pass of each rank.
        ranks: number of ranks.
        passes: passes of each rank per step, in the first phase.
        images: images per epoch.
        epochs: epochs of the whole run, of which the last may not be whole.
        steps: steps of the whole run.
        images_per_second: images per second of all ranks; 0 if not measured.
        supply: decoding and storage that the ranks need; None if not measured.
        half_on_cpu: whether the speed is that of a CPU in bfloat16 or float16.
    """

    parameters: int
    classes: int
    classes_from: str
    state_bytes: int
    image_bytes: int
    images_per_pass: int
    ranks: int
    passes: int
    images: int
    epochs: float
    steps: int
    images_per_second: float
    supply: Supply | None = None
    half_on_cpu: bool = False

    @property
    def bytes_per_rank(self) -> int:
        """Return the bytes of a rank's state and of a pass; libraries' workspaces come on top."""
        return self.state_bytes + self.images_per_pass * self.image_bytes

    @property
    def hours(self) -> float:
        """Return the hours of the whole run; infinite if the speed was not measured."""
        return self.images * self.epochs / self.images_per_second / 3600 if self.images_per_second else float("inf")

    def lines(self) -> list[str]:
        """Return the plan for people."""
        passes = f"{self.passes} {'pass' if self.passes == 1 else 'passes'}"
        state, image = self.state_bytes / _GIBIBYTE, self.image_bytes / 2**20
        kept = f"{state:.2f} GiB of parameters, gradients and momentum"
        passed = f"{self.images_per_pass} images per pass of {image:.0f} MiB each"
        told = [
            f"{self.parameters:,} parameters, with a head of {self.classes:,} classes {self.classes_from}",
            f"{self.bytes_per_rank / _GIBIBYTE:.1f} GiB on each of {self.ranks} ranks: {kept}, and {passed}",
            f"{self.steps:,} steps of {passes}: {self.epochs:.4g} epochs of {self.images:,} images",
        ]
        if self.images_per_second:
            told.append(f"{self.hours:,.1f} hours at {self.images_per_second:,.1f} images/s")
        if self.half_on_cpu:
            told.append(
                'most CPUs are several times faster in float32: to train here, write execution.precision = "float32"'
            )
        return told + ([] if self.supply is None else self.supply.lines())


def total_steps(run: Run, images: int) -> int:
    """Return the steps of a whole run."""
    steps = sum(steps_of_epoch(images, run.phase(epoch).batch_size) for epoch in range(run.epochs))
    return min(run.steps or steps, steps)


def state_bytes(model: nn.Module, *, average: bool) -> int:
    """Return the bytes of a model's parameters, gradients, momentum, buffers, and average if there is one."""
    sizes = [(parameter.nbytes, parameter.requires_grad) for parameter in model.parameters()]
    kept = sum(size * (3 if learnt else 1) for size, learnt in sizes)
    return kept + sum(buffer.nbytes for buffer in model.buffers()) + average * sum(size for size, _ in sizes)


def image_bytes(model: nn.Module, task: AnyTask, image_size: int, precision: Precision) -> int:
    """Return the bytes that a model's forward pass keeps for its backward pass, for one image.

    The model is run once on two images; tensors that share memory count once, and parameters not at all.
    """
    parameters = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    model = copy.deepcopy(model)
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()} | parameters
    device = next(model.parameters()).device
    images = torch.zeros(_COUNTED_IMAGES, 3, *task.canvas(image_size), device=device)
    set_training(model, frozen_statistics=False)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), autocast(device, precision):
        task.cost(model(*task.example(images)))
    return (
        sum(tensor.untyped_storage().nbytes() for place, tensor in kept.items() if place not in own) // _COUNTED_IMAGES
    )


def pace(learner: Learner, *, images: int, image_size: int, steps: int, alone: bool = False) -> float:
    """Return the images per second of forward and backward passes on images of noise, over the ranks that take part.

    Args:
        learner: the learner, whose parameters stay; gradients are summed over the ranks unless `alone`.
        images: images per pass of each rank.
        image_size: of the phase, see `Task.canvas`.
        steps: timed steps, after one that is not timed.
        alone: whether rank 0 works alone while the others wait.
    """
    distributed.wait_for_all()
    if alone and distributed.rank() > 0:
        distributed.wait_for_all()
        return distributed.from_first(0.0)
    # Restore the random generators: a resumed run must draw the same numbers as an uninterrupted one.
    with torch.random.fork_rng([learner.device] if learner.device.type == "cuda" else []):
        seconds = _seconds(learner, images=images, image_size=image_size, steps=steps, alone=alone)
    if not alone:
        return images * steps * distributed.n_ranks() / max(distributed.gathered(seconds))
    distributed.wait_for_all()
    return distributed.from_first(images * steps / seconds)


def _seconds(learner: Learner, *, images: int, image_size: int, steps: int, alone: bool) -> float:
    """Return the seconds that some steps of this rank take; arguments as for `pace`."""
    network = learner.model if alone else learner.network
    buffers = [buffer.clone() for buffer in learner.model.buffers()]
    set_training(network, frozen_statistics=False)
    noise = torch.randn(images, 3, *learner.task.canvas(image_size), device=learner.device)
    if learner.execution.channels_last:
        noise = noise.contiguous(memory_format=torch.channels_last)
    began = time.perf_counter()
    for step in range(steps + 1):
        if step == 1:
            _finish(learner.device)
            began = time.perf_counter()
        with autocast(learner.device, learner.execution.precision):
            outputs = network(*learner.task.example(noise))
        learner.scaler.scale(learner.task.cost(outputs)).backward()
    _finish(learner.device)
    seconds = time.perf_counter() - began
    learner.optimizer.zero_grad(set_to_none=True)
    for buffer, before in zip(learner.model.buffers(), buffers, strict=True):
        buffer.copy_(before)
    return seconds


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
