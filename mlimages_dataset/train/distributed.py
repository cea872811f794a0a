"""Communication between ranks. No other module uses torch.distributed."""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from mlimages_dataset.core.errors import MLImagesError, UsageError
from mlimages_dataset.core.locations import reason
from mlimages_dataset.train.config import Device

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch.distributed.distributed_c10d import Store

_Value = TypeVar("_Value")
_OF_PEERS = (
    "connection closed",
    "connection reset",
    "broken pipe",
    "gloo",
    "nccl",
    "process group",
    "timed out",
    "wait timeout",
    "store",
)
"""Parts of the messages of failed collectives, in lower case; torch has an exception class for some of them only."""

_ASKING_SECONDS = 0.01
"""Seconds between two checks by rank 0; its peers mostly ask before its first check."""


def rank() -> int:
    """Return this process's rank, 0 without a process group."""
    return dist.get_rank() if _in_group() else 0


def n_ranks() -> int:
    """Return the number of ranks, 1 without a process group."""
    return dist.get_world_size() if _in_group() else 1


def sum_over_ranks(tensor: Tensor) -> Tensor:
    """Return the sum of every rank's tensor, the same on each; the tensor itself without a process group."""
    if not _in_group():
        return tensor
    total = tensor.clone()
    dist.all_reduce(total)
    return total


def rank_of_machine() -> int:
    """Return this process's rank among those of its machine, as torchrun numbers them; 0 without torchrun."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def chosen_device(device: Device) -> torch.device:
    """Return the device of this rank.

    Raises:
        UsageError: a GPU is asked for, and there is none, or none for this rank.
    """
    n_gpus = torch.cuda.device_count()
    if device is Device.CPU or (device is Device.AUTO and n_gpus == 0):
        return torch.device("cpu")
    if n_gpus == 0:
        raise UsageError('no GPU is found, and device = "cuda" asks for one', remedy='write device = "cpu" or "auto"')
    if rank_of_machine() >= n_gpus:
        raise UsageError(
            f"rank {rank_of_machine()} of this machine finds no GPU of its own: there are {n_gpus}",
            remedy=f"start it with torchrun --nproc-per-node {n_gpus}",
        )
    return torch.device("cuda", rank_of_machine())


@contextlib.contextmanager
def process_group(device: torch.device, *, timeout_seconds: int) -> Iterator[None]:
    """Join the ranks that torchrun started, during the block; without torchrun there is one rank.

    NCCL connects GPUs, gloo CPUs.

    Raises:
        MLImagesError: another rank ended, or does not answer.
    """
    if "WORLD_SIZE" not in os.environ:
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    timeout = timedelta(seconds=timeout_seconds)
    with peer_errors():
        store, this, n_of_all = _meeting(timeout)
        dist.init_process_group(
            "nccl" if device.type == "cuda" else "gloo",
            store=store,
            rank=this,
            world_size=n_of_all,
            timeout=timeout,
        )
        try:
            yield
        finally:
            dist.destroy_process_group()


_ADDRESS = ("MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE")
_meetings: dict[tuple[object, ...], tuple[Store, int, int]] = {}


def _meeting(timeout: timedelta) -> tuple[Store, int, int]:
    """Return the store of this start, this rank and the number of ranks.

    A command forms groups one after the other. Without torchrun, rank 0 has the store: if that ended with the group, a
    rank that leaves first would look for the next group in it, and lose its connection. So a process keeps the job's
    store, until the connection is lost because another process took the place of rank 0's.
    """
    key = (os.getpid(), *(os.environ.get(name) for name in _ADDRESS))
    if key in _meetings:
        try:
            return _start(*_meetings[key], timeout)
        except dist.DistNetworkError:
            del _meetings[key]
    _meetings[key] = next(rendezvous("env://", timeout=timeout))
    return _start(*_meetings[key], timeout)


def _start(store: Store, this: int, n_of_all: int, timeout: timedelta) -> tuple[Store, int, int]:
    """Return the part of the job's store that the ranks of this start share, this rank and the number of ranks."""
    store.set_timeout(timeout)
    own = store_of_this_start(store, this, n_of_all, timeout_seconds=timeout.total_seconds())
    return own, this, n_of_all


def store_of_this_start(store: Store, this: int, n_of_all: int, *, timeout_seconds: float) -> Store:
    """Return a part of the store that only the ranks of this start share, not those of earlier starts.

    When torchrun restarts ranks, it gives them the store of the earlier ones, in which a rank would find the address of
    a peer that no longer exists (https://github.com/pytorch/pytorch/issues/135712); and torchrun's count of starts
    differs between machines. So rank 0 draws a name. Each rank asks for it with a random word, for which no answer can
    exist yet; rank 0 may find the words of earlier ranks too, and answers until all of its peers have come.

    All ranks of earlier starts must have ended, which torchrun ensures: an earlier rank 0 would answer too.

    Args:
        store: the store that all ranks share.
        this: this rank.
        n_of_all: number of ranks.
        timeout_seconds: seconds that rank 0 waits for the others.

    Raises:
        DistStoreError: a rank does not come within `timeout_seconds`; rank 0 waits as long as the store's own timeout
            for each that has never come.
    """
    if this > 0:
        word = uuid.uuid4().hex
        store.set(f"word/{this}", word)
        name = store.get(f"name/{word}").decode()
        store.set(f"came/{name}/{this}", "")
        return PrefixStore(name, store)
    name, awaited = uuid.uuid4().hex, set(range(1, n_of_all))
    deadline = time.monotonic() + timeout_seconds
    while awaited:
        for peer in awaited:
            store.set(f"name/{store.get(f'word/{peer}').decode()}", name)
        awaited = {peer for peer in awaited if not store.check([f"came/{name}/{peer}"])}
        if awaited and time.monotonic() > deadline:
            raise dist.DistStoreError(f"timed out waiting for the ranks {sorted(awaited)}")
        time.sleep(_ASKING_SECONDS if awaited else 0)
    return PrefixStore(name, store)


@contextlib.contextmanager
def peer_errors() -> Iterator[None]:
    """Turn the error of a collective that failed because of another rank into an error of ours.

    Raises:
        MLImagesError: another rank ended, or does not answer.
    """
    try:
        yield
    except (RuntimeError, ConnectionError) as error:
        of_peers = isinstance(error, dist.DistError) or any(words in str(error).lower() for words in _OF_PEERS)
        if "WORLD_SIZE" not in os.environ or not of_peers:
            raise
        raise MLImagesError(
            f"rank {os.environ['RANK']}: another rank ended or does not answer ({reason(error)})",
            remedy="see its own message above, then run the same command again: it resumes from the last checkpoint",
        ) from error


def from_first(value: _Value) -> _Value:
    """Return rank 0's value on every rank."""
    if not _in_group():
        return value
    box = [value]
    dist.broadcast_object_list(box)
    return box[0]


def gathered(value: _Value) -> list[_Value]:
    """Return every rank's value in the order of ranks, on every rank."""
    if not _in_group():
        return [value]
    values: list[_Value | None] = [None] * n_ranks()
    dist.all_gather_object(values, value)
    return cast("list[_Value]", values)


def copy_from_first(tensors: Iterable[Tensor]) -> None:
    """Overwrite every rank's tensors with rank 0's."""
    if _in_group():
        for tensor in tensors:
            dist.broadcast(tensor, 0)


def data_parallel(model: nn.Module, device: torch.device, *, bucket_megabytes: float) -> DistributedDataParallel | None:
    """Return the model wrapped so that a backward pass averages gradients over ranks; None without a process group.

    Every forward pass in training begins with rank 0's buffers, so batch normalisation's running statistics are those
    of rank 0's images, as they are with one process.
    """
    if not _in_group():
        return None
    return DistributedDataParallel(
        model,
        device_ids=[device] if device.type == "cuda" else None,
        bucket_cap_mb=bucket_megabytes,
        gradient_as_bucket_view=True,
    )


def wait_for_all() -> None:
    """Wait until every rank has called this."""
    if _in_group():
        dist.barrier()


def _in_group() -> bool:
    return dist.is_available() and dist.is_initialized()
