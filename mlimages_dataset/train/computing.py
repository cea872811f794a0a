"""This process as one of a run's ranks: its device, its threads, its random numbers."""

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
    seed_generators(seed, rank=0, step=0)  # alike on all ranks: initial weights are drawn from them
    with distributed.process_group(device, timeout_seconds=execution.timeout_seconds):
        yield device


def seed_generators(seed: int, *, rank: int, step: int) -> None:
    """Begin this process's random numbers anew."""
    torch_seed, numpy_seed, python_seed = np.random.SeedSequence([seed, rank, step]).generate_state(3)
    torch.manual_seed(int(torch_seed))
    np.random.seed(numpy_seed)  # noqa: NPY002 - whoever draws from the global one draws alike in each run
    random.seed(int(python_seed))
