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


def on_ranks(n_ranks: int, *arguments: str, seconds: float = SECONDS) -> list[Done]:
    """Return what became of each rank of `python ARGUMENTS`; one that takes longer than `seconds` is killed."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {
        **os.environ,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(n_ranks),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
    }
    started = [
        subprocess.Popen(
            [sys.executable, *arguments],
            env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(n_ranks)
    ]
    try:
        told = [process.communicate(timeout=seconds) for process in started]
    finally:
        for process in started:
            process.kill()
    return [Done(process.returncode, *texts) for process, texts in zip(started, told, strict=True)]
