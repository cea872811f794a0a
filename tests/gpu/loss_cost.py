"""What the loss costs, forward and backward, against torch's binary cross-entropy on the same tensors."""

from __future__ import annotations

import functools
import statistics
import time
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from mlimages_dataset.train.losses.ml_images import MLImagesLoss
from tests.gpu.loss_laws import refuse_compiling
from tests.gpu.pictures import LABELS_PER_IMAGE, n_classes, shares
from tests.gpu.trials import Job, NotTriedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    Losses = dict[str, Callable[[Tensor, Tensor], Tensor]]

SIZES = (512, 4096)
SMALL_SIZES = (16, 64)
RULE = 0.8
"""`fused_loss` becomes the default on GPUs where it takes at most this share of the chunked form's time."""
_ROUNDS, _WARM_ROUNDS = 20, 3
_PEER, _CHUNKED, _FUSED = "cross-entropy", "released", "released, fused"


def candidates(job: Job, *, fused: bool) -> Losses:
    """Return the losses by name; the first is what the others are compared with."""

    def peer(logits: Tensor, targets: Tensor) -> Tensor:
        return binary_cross_entropy_with_logits(logits.float(), targets)

    size = n_classes(job)
    made: Losses = {
        _PEER: peer,
        _CHUNKED: MLImagesLoss(size, "released").to(job.device),
        "paper": MLImagesLoss(size, "paper").to(job.device),
    }
    if fused:
        made[_FUSED] = MLImagesLoss(size, "released", fused=True).to(job.device)
        made["paper, fused"] = MLImagesLoss(size, "paper", fused=True).to(job.device)
    return made


def tensors(n_images: int, n_of_classes: int, device: str, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return logits and targets as sparse and as unequal as published ones, shape (B, C)."""
    torch.manual_seed(0)
    share = torch.from_numpy(shares(n_of_classes)).float().mul(LABELS_PER_IMAGE).clamp(max=0.75).to(device)
    targets = (torch.rand(n_images, n_of_classes, device=device) < share).float().mul_(0.9)
    logits = torch.randn(n_images, n_of_classes, device=device).mul_(2).sub_(6)
    return logits.to(dtype).requires_grad_(), targets


def milliseconds(losses: Losses, logits: Tensor, targets: Tensor, *, rounds: int = _ROUNDS) -> dict[str, float]:
    """Return the median time of each loss, forward and backward; in each round every loss has its turn."""
    spent: dict[str, list[float]] = {name: [] for name in losses}
    for number in range(rounds + _WARM_ROUNDS):
        for name, loss in losses.items():
            logits.grad = None
            took = _timed(functools.partial(_pass, loss, logits, targets), on_gpu=logits.is_cuda)
            if number >= _WARM_ROUNDS:
                spent[name].append(took)
    return {name: statistics.median(times) for name, times in spent.items()}


def _pass(loss: Callable[[Tensor, Tensor], Tensor], logits: Tensor, targets: Tensor) -> None:
    loss(logits, targets).backward()


def _timed(work: Callable[[], None], *, on_gpu: bool) -> float:
    """Return the milliseconds of some work, as the GPU's own clock has them where there is one."""
    if not on_gpu:
        began = time.perf_counter()
        work()
        return (time.perf_counter() - began) * 1e3
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    first.record()
    work()
    last.record()
    last.synchronize()
    return float(first.elapsed_time(last))


def compared(job: Job, at: int, dtype: torch.dtype, *, fused: bool) -> str:
    """Return the times of all losses at one of the sizes, and their ratios to the first."""
    n_images = (SMALL_SIZES if job.small else SIZES)[at]
    logits, targets = tensors(n_images, n_classes(job), job.device, dtype)
    found = milliseconds(candidates(job, fused=fused), logits, targets)
    if fused:
        job.note(f"fused at {at}", found[_FUSED] / found[_CHUNKED])
    told = [f"{name} {took:.2f} ms ({took / found[_PEER]:.2f})" for name, took in found.items()]
    return f"B = {n_images:,}, C = {n_classes(job):,}: " + ", ".join(told)


def at_512(job: Job) -> str:
    """Logits in float32, chunked."""
    return compared(job, 0, torch.float32, fused=False)


def at_4096(job: Job) -> str:
    """Logits in float32, chunked."""
    return compared(job, 1, torch.float32, fused=False)


def of_bfloat16(job: Job) -> str:
    """Logits in bfloat16, as autocast gives them."""
    return compared(job, 0, torch.bfloat16, fused=False)


def fused_at_512(job: Job) -> str:
    """Logits in float32, chunked and fused."""
    refuse_compiling(job)
    return compared(job, 0, torch.float32, fused=True)


def fused_at_4096(job: Job) -> str:
    """Logits in float32, chunked and fused."""
    refuse_compiling(job)
    return compared(job, 1, torch.float32, fused=True)


def decision(job: Job) -> str:
    """What the rule of `train.losses.fused_loss` says on this card."""
    ratios = [job.noted().get(f"fused at {at}") for at in range(len(SIZES))]
    found = [ratio for ratio in ratios if ratio is not None]
    if job.small or len(found) < len(SIZES):
        raise NotTriedError("there is no GPU" if job.small else "the fused form was not timed at both sizes")
    said = "make fused_loss the default on GPUs" if max(found) <= RULE else "leave the chunked form"
    ratios_told = f"{found[0]:.2f} at {SIZES[0]}, {found[1]:.2f} at {SIZES[1]:,}"
    return f"fused / chunked: {ratios_told}; at most {RULE} is asked: {said}"
