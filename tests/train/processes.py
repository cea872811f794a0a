"""Programs started on several ranks, as torchrun starts them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SECONDS = 180


@dataclass(frozen=True, slots=True)
class Done:
    """What became of one rank: its exit code (negative for a signal) and what it wrote."""

    code: int
    out: str
    err: str


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def started(rank: int, n_ranks: int, port: int, *arguments: str) -> subprocess.Popen[str]:
    """Return a rank of `python ARGUMENTS` that runs; rank 0 listens on the port."""
    environment = {
        **os.environ,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(n_ranks),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
    }
    return subprocess.Popen(
        [sys.executable, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def on_ranks(n_ranks: int, *arguments: str, seconds: float = SECONDS) -> list[Done]:
    """Return what became of each rank of `python ARGUMENTS`; one that takes longer than `seconds` is killed."""
    port = free_port()
    return ended([started(rank, n_ranks, port, *arguments) for rank in range(n_ranks)], seconds=seconds)


def ended(processes: list[subprocess.Popen[str]], *, seconds: float = SECONDS) -> list[Done]:
    """Return what became of each process; those that take longer than `seconds` are killed."""
    try:
        told = [process.communicate(timeout=seconds) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [Done(process.returncode, *texts) for process, texts in zip(processes, told, strict=True)]
