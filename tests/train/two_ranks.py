"""Functions run on two gloo ranks, each a process of its own."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import spawn

if TYPE_CHECKING:
    from collections.abc import Callable

N_RANKS = 2


def run_on_ranks(function: Callable[..., Any], *arguments: object) -> list[Any]:
    """Return what `function(rank, n_ranks, *arguments)` returns on each rank."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        spawn(_one_rank, (function, arguments, folder), nprocs=N_RANKS)
        return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(N_RANKS)]


def _one_rank(rank: int, function: Callable[..., Any], arguments: tuple[object, ...], folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/rendezvous",
        rank=rank,
        world_size=N_RANKS,
        timeout=timedelta(seconds=60),
    )
    try:
        torch.save(function(rank, N_RANKS, *arguments), folder / f"{rank}.pt")
    finally:
        dist.destroy_process_group()
