"""Sets up this process as one of a run's ranks: device, threads, random numbers."""

from __future__ import annotations

import contextlib
import os
import random
from typing import TYPE_CHECKING

import numpy as np
import torch

from mlimages_dataset.train import distributed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlimages_dataset.train.config import Execution


@contextlib.contextmanager
def computing(execution: Execution, seed: int) -> Iterator[torch.device]:
    """Yield this rank's device, after joining the ranks that torchrun started.

    Raises:
        UsageError: a GPU is asked for, and there is none for this rank.
        MLImagesError: another rank ended, or does not answer.
    """
    device = distributed.chosen_device(execution.device)
    if execution.threads:
        torch.set_num_threads(execution.threads)
    if execution.deterministic:
        # https://docs.nvidia.com/cuda/cublas/#results-reproducibility: otherwise PyTorch refuses every matrix product
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(execution.deterministic)
    torch.backends.cudnn.benchmark = not execution.deterministic
    seed_generators(seed, rank=0, step=0)  # the same on all ranks, because initial weights are drawn from them
    with distributed.process_group(device, timeout_seconds=execution.timeout_seconds):
        yield device


def seed_generators(seed: int, *, rank: int, step: int) -> None:
    """Seed this process's random generators."""
    torch_seed, numpy_seed, python_seed = np.random.SeedSequence([seed, rank, step]).generate_state(3)
    torch.manual_seed(int(torch_seed))
    np.random.seed(numpy_seed)  # noqa: NPY002 - code that draws from the global generator must draw the same in each run
    random.seed(int(python_seed))
