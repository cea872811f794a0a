"""Compare the cost of the losses with torch's own binary cross-entropy, forward and backward.

    python -m tests.benchmarks.loss_cost [--images 512] [--classes 11166] [--rounds 30] [--threads 1 --threads 2]

Each round runs every loss once, so that a busy machine slows all of them alike; the ratio is taken within a round, and
the spread is that of the rounds. The ratio of processor time beside it leaves out what others took of the machine.
Memory is measured apart, in a fresh process for each loss: how far its peak rises above what the logits, the
targets and the logits' gradient take.

The scores of concurrent softmax are compared with the plain difference of sums, which is lost in rounding where a
class makes way to the largest ones, and with the product with a dense 1 - r. In `confident` that is so of all classes:
the costliest case.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import time
from typing import TYPE_CHECKING

import click
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mlimages_dataset.train.losses.baseline_losses import BinaryCrossEntropyLoss
from mlimages_dataset.train.losses.concurrent_softmax import CONCURRENT_SOFTMAX, concurrent_log_odds
from mlimages_dataset.train.losses.ml_images import MLImagesLoss
from mlimages_dataset.train.losses.pair_rates import RATES_KEY

if TYPE_CHECKING:
    from collections.abc import Callable

    Loss = Callable[[Tensor, Tensor, Tensor | None], Tensor]

LABELS_PER_IMAGE = 8.72
"""Mean number of labels (Tencent ML-Images, section 3.3)."""
PEER = "binary_cross_entropy_with_logits"
PEER_KNOWN = "the same, weighted by known"


def batch(n_images: int, n_classes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return logits, targets and a known-mask, each of shape (images, classes).

    Classes are as unequal as the published ones: a power law, whose first class is in three images of four.
    """
    generator = torch.Generator().manual_seed(0)
    frequency = 0.75 / torch.arange(1, n_classes + 1) ** 0.8
    frequency[1:] *= (LABELS_PER_IMAGE - 0.75) / frequency[1:].sum()
    targets = torch.empty(n_images, n_classes).uniform_(generator=generator).lt_(frequency).mul_(0.9)
    logits = torch.empty(n_images, n_classes).normal_(-6, 2, generator=generator)
    known = torch.empty(n_images, n_classes).uniform_(generator=generator) < 0.9
    return logits, targets, known


def losses(n_classes: int) -> dict[str, tuple[Loss, bool]]:
    """Return each loss by name, and whether it is given a known-mask."""

    def peer(logits: Tensor, targets: Tensor, known: Tensor | None) -> Tensor:
        weight = None if known is None else known.to(torch.float32)
        return functional.binary_cross_entropy_with_logits(logits, targets, weight)

    return {
        PEER: (peer, False),
        "paper": (MLImagesLoss(n_classes, "paper"), False),
        "released": (MLImagesLoss(n_classes, "released"), False),
        "BinaryCrossEntropyLoss": (BinaryCrossEntropyLoss(), False),
        PEER_KNOWN: (peer, True),
        "paper, known": (MLImagesLoss(n_classes, "paper"), True),
        "released, known": (MLImagesLoss(n_classes, "released"), True),
    }


def seconds(loss: Loss, logits: Tensor, targets: Tensor, known: Tensor | None) -> tuple[float, float]:
    """Return the seconds of one forward and backward pass, by the clock and of processor time."""
    logits.grad = None
    clock, processor = time.perf_counter(), time.process_time()
    loss(logits, targets, known).backward()
    return time.perf_counter() - clock, time.process_time() - processor


def peak_above_tensors(name: str, n_images: int, n_classes: int) -> float:
    """Return how far the peak memory of one pass lies above its tensors and gradient, in matrices of (B, C) float32."""
    torch.set_num_threads(1)
    loss, with_known = losses(n_classes)[name]
    small = batch(8, n_classes)
    seconds(loss, small[0].requires_grad_(), small[1], small[2] if with_known else None)
    logits, targets, known = batch(n_images, n_classes)
    logits.requires_grad_()
    gc.collect()
    # Linux counts the peak since this line anew; what making the batch took is not the loss's.
    with open("/proc/self/clear_refs", "w", encoding="ascii") as control:  # noqa: PTH123
        control.write("5")
    before = resident("VmRSS")
    seconds(loss, logits, targets, known if with_known else None)
    return (resident("VmHWM") - before) / logits.nbytes - 1


def resident(field: str) -> int:
    """Return a figure of this process's memory in bytes."""
    with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(field))


PAIRS_OF_CLASS = 50
"""Mean number of classes to which a class has a rate, beside class 0."""
SCORED_AT_A_TIME = 64


def concurrent_scores(n_classes: int) -> dict[str, Callable[[Tensor], Tensor]]:
    """Return ways to compute the log-odds of concurrent softmax by name, the peer first, and rates of 1 to class 0."""
    generator = torch.Generator().manual_seed(0)
    left, right = torch.randint(n_classes, (2, PAIRS_OF_CLASS * n_classes), generator=generator)
    classes = torch.arange(1, n_classes)
    pairs = torch.cat((torch.stack((left, right))[:, left != right], torch.stack((classes, 0 * classes))), 1)
    shares = torch.cat((torch.full((pairs.shape[1] - n_classes + 1,), 0.05), torch.ones(n_classes - 1)))
    summed = torch.sparse_coo_tensor(pairs, shares, (n_classes, n_classes), check_invariants=True).coalesce()
    rates = torch.sparse_coo_tensor(summed.indices(), summed.values().clamp(max=1), summed.shape, check_invariants=True)
    rates = rates.coalesce()
    as_float64 = rates.to(torch.float64)

    def difference(logits: Tensor) -> Tensor:
        powers = (logits.double() - logits.double().amax(1, keepdim=True)).exp()
        rivals = powers.sum(1, keepdim=True) - torch.sparse.mm(as_float64, powers.T).T - powers
        return torch.log(powers / rivals.clamp(min=2e-16)).float()

    def dense(logits: Tensor) -> Tensor:
        powers = (logits.double() - logits.double().amax(1, keepdim=True)).exp()
        kept = 1 - as_float64.to_dense()
        return torch.log(powers / (powers @ kept.fill_diagonal_(0).T)).float()

    state = {RATES_KEY: {"pairs": rates.indices(), "shares": rates.values()}}
    return {
        "plain difference": difference,
        "concurrent_log_odds": lambda logits: concurrent_log_odds(logits, rates),
        "the same, rates prepared once": CONCURRENT_SOFTMAX.scores(state, n_classes, None),
        "dense product": dense,
    }


def print_cost_of_scores(logits: Tensor, rounds: int) -> None:
    """Print the processor time of the scores as a ratio to the plain difference, the median of the rounds."""
    confident = logits.clone()
    confident[:, 0] += 60
    ways = concurrent_scores(logits.shape[1])
    for name, given in {"even": logits, "confident": confident}.items():
        times = np.array([[_processor_seconds(way, given) for way in ways.values()] for _ in range(rounds + 1)])[1:]
        ratios = np.median(times / times[:, :1], axis=0)
        print(f"scores of concurrent softmax, {len(given)} images, {name}: median ms and ratio of CPU time")
        for way, own, ratio in zip(ways, 1000 * np.median(times, axis=0), ratios, strict=True):
            print(f"  {way:34} {own:7.1f} {ratio:6.2f}")


def _processor_seconds(scores: Callable[[Tensor], Tensor], logits: Tensor) -> float:
    before = time.process_time()
    scores(logits)
    return time.process_time() - before


@click.command()
@click.option("--images", "n_images", default=512, show_default=True)
@click.option("--classes", "n_classes", default=11166, show_default=True)
@click.option("--rounds", default=30, show_default=True)
@click.option("--threads", "thread_counts", multiple=True, type=int, default=(1, 2), show_default=True)
def main(n_images: int, n_classes: int, rounds: int, thread_counts: tuple[int, ...]) -> None:
    """Print each loss's time as a ratio to torch's, with the quartiles of the rounds, and its memory."""
    print(f"B = {n_images}, C = {n_classes}, float32, torch {torch.__version__}, {os.cpu_count()} cores")
    logits, targets, known = batch(n_images, n_classes)
    logits.requires_grad_()
    candidates = losses(n_classes)
    for n_threads in thread_counts:
        torch.set_num_threads(n_threads)
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in candidates}
        for _ in range(rounds + 3):
            for name, (loss, with_known) in candidates.items():
                times[name].append(seconds(loss, logits, targets, known if with_known else None))
        print(
            f"{n_threads} threads, load {os.getloadavg()[0]:.1f}, {rounds} rounds: median ms, ratio, ratio of CPU time"
        )
        for name, (_, with_known) in candidates.items():
            own, peers = np.array(times[name][3:]), np.array(times[PEER_KNOWN if with_known else PEER][3:])
            ratios = " ".join(
                f"{middle:6.2f} ({low:.2f} to {high:.2f})"
                for low, middle, high in np.quantile(own / peers, (0.25, 0.5, 0.75), axis=0).T
            )
            print(f"  {name:34} {1000 * np.median(own[:, 0]):7.1f} {ratios}")
    torch.set_num_threads(1)
    print_cost_of_scores(logits.detach()[:SCORED_AT_A_TIME], min(rounds, 5))
    print("peak memory above logits, targets, mask and gradient, in (B, C) matrices of float32")
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for name in candidates:
            print(f"  {name:34} {pool.apply(peak_above_tensors, (name, n_images, n_classes)):7.2f}")


if __name__ == "__main__":
    main()
