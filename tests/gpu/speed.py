"""Images a second of the whole loop, of a bare network and of timm's step; and what the loop waits for."""

from __future__ import annotations

import importlib
import json
import statistics
import time
from typing import TYPE_CHECKING

import torch
import torchvision
from torch.nn.functional import binary_cross_entropy_with_logits

from mlimages_dataset.core.locations import location
from mlimages_dataset.train.supply import available_cores, core_rate
from tests.gpu.loss_laws import refuse_compiling
from tests.gpu.machine import shared_memory
from tests.gpu.pictures import SHARDS, n_classes, refuse_missing
from tests.gpu.trainer_laws import started, trained, trained_apart
from tests.gpu.trials import Job, NotTriedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

    from tests.gpu.program import Specification

_MOST_WORKERS = 32
_BLOCKS, _WARM_STEPS = 4, 6
BARE, LOOP, PEAK, WAITED = "bare", "loop", "peak", "waited"


def network(job: Job) -> str:
    """Return the name of the network: the recipe's, or a small one on a CPU."""
    return "resnet18" if job.small else "resnet101"


def shape(job: Job) -> tuple[int, int]:
    """Return the images of a pass and their size."""
    return (8, 32) if job.small else (256, 224)


def precision(job: Job) -> str:
    """Return the precision: the recipe's, or on a CPU the one that all CPUs compute fast."""
    return "float32" if job.small else "bfloat16"


def pace(job: Job, step: Callable[[], None]) -> float:
    """Return the images a second of a step on images that are always there: the median of some blocks of steps."""
    steps = 2 if job.small else 8
    for _ in range(2 if job.small else _WARM_STEPS):
        step()
    seconds = []
    for _ in range(_BLOCKS):
        _synchronise(job)
        began = time.perf_counter()
        for _ in range(steps):
            step()
        _synchronise(job)
        seconds.append(time.perf_counter() - began)
    return shape(job)[0] * steps / statistics.median(seconds)


def _synchronise(job: Job) -> None:
    if job.device == "cuda":
        torch.cuda.synchronize()


def resident(job: Job) -> tuple[Tensor, Tensor]:
    """Return a batch of noise and labels on the device."""
    n_images, size = shape(job)
    images = torch.randn(n_images, 3, size, size, device=job.device).contiguous(memory_format=torch.channels_last)
    targets = torch.rand(n_images, n_classes(job), device=job.device)
    return images, (targets < 1e-3).float()


def _autocast(job: Job) -> torch.autocast:
    return torch.autocast(job.device, torch.bfloat16, enabled=precision(job) == "bfloat16")


def _told(job: Job, images_per_second: float, what: str = "") -> str:
    n_images, size = shape(job)
    of = f"{network(job)}, {n_images} images of {size} pixels, {precision(job)}, {n_classes(job):,} classes"
    return f"{images_per_second:,.1f} images/s{what} ({of})"


def bare(job: Job) -> str:
    """The network of torchvision, torch's SGD and binary cross-entropy."""
    torch.backends.cudnn.benchmark = True
    model = torchvision.models.get_model(network(job), num_classes=n_classes(job)).to(
        job.device, memory_format=torch.channels_last
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-4, fused=True)
    images, targets = resident(job)

    def step() -> None:
        with _autocast(job):
            logits = model(images)
        binary_cross_entropy_with_logits(logits.float(), targets).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    found = pace(job, step)
    job.note(BARE, found)
    return _told(job, found)


def timm_step(job: Job) -> str:
    """The network, SGD and loss of timm, stepped as its train.py does."""
    try:
        timm, optim, loss = (importlib.import_module(name) for name in ("timm", "timm.optim", "timm.loss"))
    except ImportError as error:
        raise NotTriedError("timm is not installed") from error
    torch.backends.cudnn.benchmark = True
    model = timm.create_model(network(job), num_classes=n_classes(job)).to(
        device=job.device, memory_format=torch.channels_last
    )
    optimizer = optim.create_optimizer_v2(model, opt="momentum", lr=1e-3, momentum=0.9, weight_decay=1e-4)
    loss_of = loss.BinaryCrossEntropy()
    images, targets = resident(job)
    model.train()

    def step() -> None:
        with _autocast(job):
            value = loss_of(model(images), targets)
        value.backward()
        optimizer.step()
        optimizer.zero_grad()

    return _told(job, pace(job, step), f" by timm {timm.__version__}")


def loop_of(job: Job, name: str, **changes: object) -> Specification:
    """Return the specification of a timed run on one rank."""
    n_images, size = shape(job)
    workers, prefetch = loading(job, ranks=1)
    base: dict[str, object] = {
        "model": network(job),
        "batch_size": n_images,
        "image_size": size,
        "precision": precision(job),
        "learning_rate": 1e-6,  # noise that is learnt could end in infinities, and costs as much as any
        "steps": 12 if job.small else 70,
        "log_every": 3 if job.small else 10,
        "workers": workers,
        "prefetch": prefetch,
    }
    return started(job, name, **{**base, **changes})


def loading(job: Job, *, ranks: int) -> tuple[int, int]:
    """Return the workers of each rank and the batches that each decodes ahead, as cores and shared memory allow.

    Raises:
        NotTriedError: shared memory holds no two batches.
    """
    n_images, size = shape(job)
    workers = max(1, min((available_cores() - 1) // ranks, _MOST_WORKERS))
    batch_bytes = n_images * 3 * size * size
    free = shared_memory()
    # A batch that is being made, those ahead, and what the loop holds.
    fitting = int(0.8 * free / ranks / batch_bytes)
    if fitting < 2:
        raise NotTriedError(
            f"shared memory has {free / 2**20:,.0f} MiB, and a batch {batch_bytes / 2**20:,.0f}; enlarge it"
        )
    prefetch = max(1, min(4, fitting // workers - 1))
    return min(workers, max(1, fitting // (prefetch + 1))), prefetch


def paces(out: Path | str) -> tuple[float, float]:
    """Return a run's images a second and its share of waiting: the medians of its log, without the first two lines."""
    lines = map(json.loads, (location(str(out)) / "log.jsonl").read_text().splitlines())
    told = [line for line in lines if line["kind"] == "train"][2:]
    pace_of_lines, waited_of_lines = ([line[name] for line in told] for name in ("images/s", "data wait"))
    return statistics.median(pace_of_lines), statistics.median(waited_of_lines)


def loop(job: Job) -> str:
    """The whole trainer: shards, six training steps, network, the loss of ML-Images, optimizer, log."""
    asked = loop_of(job, "loop")
    trained(job, asked)
    found, waited = paces(asked.out)
    job.note(LOOP, found)
    job.note(WAITED, waited)
    job.note(PEAK, _peak(asked.out))
    ratio = f", {found / job.noted()[BARE]:.2f} of the bare step" if BARE in job.noted() else ""
    return _told(job, found, ratio) + f"; workers: {asked.workers}"


def _peak(out: str) -> float:
    return float(json.loads(location(f"{out}.rank0.json").read_text())["peak"])


def waited(job: Job) -> str:
    """The share of its time that the loop waited for pictures."""
    return f"{_noted(job, WAITED):.1%} of the time"


def peak(job: Job) -> str:
    """The most memory that tensors took, as torch.cuda.max_memory_allocated tells."""
    if job.small:
        raise NotTriedError("there is no GPU")
    return f"{_noted(job, PEAK) / 2**30:.1f} GiB"


def _noted(job: Job, name: str) -> float:
    if name not in job.noted():
        raise NotTriedError("the whole loop was not timed")
    return job.noted()[name]


def loop_on_all(job: Job) -> str:
    """The whole trainer on all GPUs."""
    if job.gpus < 2:
        raise NotTriedError("there is one GPU" if job.gpus else "there is no GPU")
    n_images, _ = shape(job)
    workers, prefetch = loading(job, ranks=job.gpus)
    asked = loop_of(job, "loop-all", batch_size=n_images * job.gpus, workers=workers, prefetch=prefetch)
    trained_apart(job, [asked], ranks=job.gpus)
    found, share = paces(asked.out)
    ratio = f", {found / job.gpus / job.noted()[LOOP]:.2f} of as many alone" if LOOP in job.noted() else ""
    return f"{found:,.1f} images/s on {job.gpus} GPUs{ratio}; waited {share:.1%} for pictures; {workers} workers each"


def compiled_loop(job: Job) -> str:
    """The whole trainer with a compiled network."""
    refuse_compiling(job)
    asked = loop_of(job, "loop-compiled", compile=True)
    trained(job, asked)
    found, _ = paces(asked.out)
    ratio = f", {found / job.noted()[LOOP]:.2f} of the loop without" if LOOP in job.noted() else ""
    return _told(job, found, ratio)


def decoding(job: Job) -> str:
    """How many cores must decode for one GPU, as `plan` computes it."""
    refuse_missing(job)
    size = shape(job)[1]
    rate = core_rate(location(str(job.path(SHARDS))), size)
    job.note("core", rate.images_per_second)
    pictures = f"pictures of {rate.bytes_per_image / 1e3:,.0f} kB"
    made = f"a core makes {rate.images_per_second:,.0f} images/s of {size} pixels from {pictures}"
    if BARE not in job.noted():
        return made
    needed, pace_of_bare = rate.cores_for(job.noted()[BARE]), job.noted()[BARE]
    device = "CPU" if job.small else "GPU"
    return f"{made}: {needed} must decode for one {device} of {pace_of_bare:,.1f} images/s; there are {rate.cores}"


def for_plan(job: Job) -> str:
    """What to tell `plan`."""
    if job.small:
        raise NotTriedError("there is no GPU whose pace a plan could take")
    found = max(1, job.gpus) * _noted(job, LOOP)
    return f"plan ... --ranks {job.gpus} --images-per-second {found:.0f}"
