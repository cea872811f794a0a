"""Laws of the loss on a device: published values, oracles in float64, the draws of a CPU, half precision."""

from __future__ import annotations

import os
import shutil
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from mlimages_dataset.train.losses.ml_images import MLImagesLoss
from tests.gpu.oracle import Paper, Released
from tests.gpu.pictures import LABELS_PER_IMAGE, n_classes, shares
from tests.gpu.runner import ROOT
from tests.gpu.trials import BrokenLawError, Job, NotTriedError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    Floats = NDArray[np.float64]

VALUE, SLOPE = 1e-5, 2e-6
"""Largest errors in float32: of a loss by its size, of slopes by the largest one."""
_BATCHES = 4


def batches(n_images: int, n_of_classes: int, n: int = _BATCHES) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Return n batches of logits, targets as sparse and unequal as published ones, and masks of what is known."""
    rng = np.random.default_rng(0)
    share = np.minimum(shares(n_of_classes) * LABELS_PER_IMAGE, 0.75)
    made, shape = [], (n_images, n_of_classes)
    for _ in range(n):
        targets = np.where(rng.random(shape) < share, rng.choice([0.6, 0.8, 0.9, 1.0], shape), 0)
        arrays = rng.standard_normal(shape) * 2 - 3, targets, rng.random(shape) < 0.9
        logits, labels, known = map(torch.from_numpy, arrays)
        made.append((logits.float(), labels.float(), known))
    return made


def on_device(loss: MLImagesLoss, device: str, logits: Tensor, *labels: Tensor) -> tuple[float, Floats]:
    """Return a loss and its gradient, computed on a device."""
    x = logits.detach().to(device, copy=True).requires_grad_()
    value = loss.to(device)(x, *(label.to(device) for label in labels))
    value.backward()
    assert x.grad is not None
    return value.item(), x.grad.double().cpu().numpy()


class Gaps:
    """The largest errors so far."""

    def __init__(self) -> None:
        self.value = self.slope = 0.0

    def add(self, found: tuple[float, Floats], expected: tuple[float, Floats]) -> None:
        """Count the errors of a loss and its gradient."""
        self.value = _largest(self.value, abs(found[0] - expected[0]) / abs(expected[0]))
        self.slope = _largest(self.slope, float(np.abs(found[1] - expected[1]).max() / np.abs(expected[1]).max()))

    def judged(self, value: float = VALUE, slope: float = SLOPE) -> str:
        """Return the errors in words.

        Raises:
            BrokenLawError: they are too large, or no number.
        """
        told = f"off by {self.value:.1e}; slopes by {self.slope:.1e} of the largest"
        if not (self.value <= value and self.slope <= slope):
            raise BrokenLawError(f"{told}; at most {value:.0e} and {slope:.0e} are allowed")
        return told


def _largest(before: float, now: float) -> float:
    return now if np.isnan(now) else max(before, now)


def published(job: Job) -> str:
    """The published code's losses and gradients."""
    beside = ROOT.parent / "shared" / "data"
    folder = Path(os.environ.get("MLIMAGES_SHARED_DATA", beside)) / "golden"
    if not (folder / "released_loss.npz").is_file():
        raise NotTriedError("the published values are not here: name their folder in MLIMAGES_SHARED_DATA")
    golden, gaps = np.load(folder / "released_loss.npz"), Gaps()
    for rate, name in ((1, "always"), (0, "never")):
        loss = MLImagesLoss(golden["logits"].shape[2], "released", absent_class_rate=rate)
        for number, labels in enumerate(golden["labels"]):
            targets = torch.tensor(labels)
            found = on_device(loss, job.device, torch.tensor(golden["logits"][number]), targets, targets >= 0)
            gaps.add(found, (float(golden[f"{name}_loss"][number]), golden[f"{name}_grad"][number].astype(float)))
    return gaps.judged()


def of_oracle(variant: str, oracle: type[Paper | Released], job: Job) -> str:
    """The loss in numpy, in float64, with every class selected and every negative kept."""
    size = n_classes(job)
    loss = MLImagesLoss(size, variant, absent_class_rate=1.0, negatives_per_positive=None)
    reference, gaps = oracle.of(size), Gaps()
    for logits, targets, known in batches(64, size):
        found = on_device(loss, job.device, logits, targets, known)
        gaps.add(found, reference.batch(logits.double().numpy(), targets.double().numpy(), known.numpy()))
    return gaps.judged()


def released_is_its_oracle(job: Job) -> str:
    """The `released` variant."""
    return of_oracle("released", Released, job)


def paper_is_its_oracle(job: Job) -> str:
    """The `paper` variant."""
    return of_oracle("paper", Paper, job)


def draws_are_the_cpus(job: Job) -> str:
    """Selections, down-sampling and streaks are those of the CPU, whose computation is in float64."""
    size, gaps = n_classes(job), Gaps()
    for variant in ("paper", "released"):
        here, there = MLImagesLoss(size, variant, seed=3), MLImagesLoss(size, variant, seed=3)
        for logits, targets, known in batches(64, size):
            found = on_device(here, job.device, logits, targets, known)
            gaps.add(found, on_device(there, "cpu", logits.double(), targets, known))
        if not torch.equal(here.streak.cpu(), there.streak):
            raise BrokenLawError(f"the streaks of {variant} are not those of the CPU")
    return gaps.judged()


def half_precision(job: Job) -> str:
    """Logits in half precision are computed in float32: the loss is that of the rounded logits."""
    size, gaps = n_classes(job), Gaps()
    for dtype in (torch.bfloat16, torch.float16):
        for logits, targets, known in batches(64, size, 1):
            rounded = logits.to(dtype)
            value, slopes = on_device(MLImagesLoss(size, "released"), job.device, rounded, targets, known)
            expected, reference = on_device(MLImagesLoss(size, "released"), "cpu", rounded.double(), targets, known)
            gaps.add((value, slopes), (expected, torch.from_numpy(reference).to(dtype).double().numpy()))
    return gaps.judged(slope=8e-3)  # where float32 rounds to the other neighbour: an eighth bit of bfloat16


def refuse_compiling(job: Job) -> None:
    """Raise `NotTriedError` where `torch.compile` has no compiler, or would take minutes."""
    if not any(map(shutil.which, ("cc", "gcc", "clang"))):
        raise NotTriedError("torch.compile needs a C compiler, and there is none")
    if not Path(sysconfig.get_paths()["include"], "Python.h").is_file():
        raise NotTriedError("torch.compile needs Python's header files, and there are none")
    if job.small and not job.chosen:
        raise NotTriedError("takes minutes on a CPU: --only tries it")


def fused_is_chunked(job: Job) -> str:
    """The compiled kernels give what the chunks give, for several numbers of images."""
    refuse_compiling(job)
    size, gaps = n_classes(job), Gaps()
    for variant in ("released", "paper"):
        for n_images in (64, 40):
            for labels in ((1,), (1, 2)):  # with and without a mask
                batch = batches(n_images, size, 1)[0]
                tensors = [batch[0], *(batch[number] for number in labels)]
                fused = MLImagesLoss(size, variant, fused=True)
                plain = MLImagesLoss(size, variant)
                gaps.add(on_device(fused, job.device, *tensors), on_device(plain, job.device, *tensors))
    return gaps.judged()
