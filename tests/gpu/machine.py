"""What it is measured on."""

from __future__ import annotations

import importlib.util
import platform
import shutil
from pathlib import Path

import torch

from mlimages_dataset.train.supply import available_cores
from tests.gpu.trials import BrokenLawError, Job, NotTriedError

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - it is looked at, and nothing is written


def gpus(job: Job) -> str:
    """Name the GPUs."""
    if job.small:
        raise NotTriedError("no GPU is found")
    one = torch.cuda.get_device_properties(0)
    version, nccl = torch.version.cuda, ".".join(map(str, torch.cuda.nccl.version()))
    return (
        f"{job.gpus} x {one.name}, {one.total_memory / 2**30:.0f} GiB; CUDA {version}, "
        f"cuDNN {torch.backends.cudnn.version()}, NCCL {nccl}"
    )


def machine(job: Job) -> str:  # noqa: ARG001 - as a trial is called
    """Name the rest."""
    peer = "with" if importlib.util.find_spec("timm") else "without"
    memory = f"{shared_memory() / 2**30:.1f} GiB of shared memory" if _SHARED_MEMORY.is_dir() else "no /dev/shm"
    versions = f"Python {platform.python_version()}, torch {torch.__version__}, {peer} timm"
    return f"{available_cores()} cores, {memory}; {versions}"


def shared_memory() -> int:
    """Return the free bytes of the memory by which workers hand over batches; endless where there is no such limit."""
    return shutil.disk_usage(_SHARED_MEMORY).free if _SHARED_MEMORY.is_dir() else 1 << 50


def computes(job: Job) -> str:
    """The device multiplies matrices right."""
    left = torch.arange(64.0, device=job.device).reshape(8, 8)
    found = (left @ left.T).cpu()
    if not torch.equal(found, left.cpu() @ left.cpu().T):
        raise BrokenLawError("a product of two small matrices of whole numbers is wrong")
    return "a matrix product of whole numbers is exact"
