"""Stopping by SIGTERM: the run finishes its step, saves a checkpoint and ends."""

from __future__ import annotations

import signal
from typing import Self

from mlimages_dataset.core.errors import MLImagesError


class Stopped(MLImagesError):  # noqa: N818 - not an error: the run was asked to stop and did
    """The run was asked to stop, and saved a checkpoint."""


class StopRequest:
    """Whether this process has received SIGTERM during the block."""

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGTERM, self._ask)
        return self

    def __exit__(self, *error: object) -> None:
        signal.signal(signal.SIGTERM, self._before)

    def _ask(self, number: int, frame: object) -> None:  # noqa: ARG002 - as signals call it
        self.asked = True


def outlive_sigterm(worker: int) -> None:  # noqa: ARG001 - as `worker_init_fn` is called
    """Let a worker of a data loader ignore SIGTERM: it ends with its rank, which must first finish its step.

    Schedulers send the signal to all processes of a job, and PyTorch fails a rank at once if its worker is killed.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
