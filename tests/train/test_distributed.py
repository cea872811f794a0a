"""What ranks share is of their own start, whatever earlier starts left in the store."""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import torch.distributed as dist
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # documented, but torch does not mark it exported

from mlimages_dataset.core.errors import MLImagesError
from mlimages_dataset.train.distributed import peer_errors, store_of_this_start
from tests.train.processes import ended, free_port, on_ranks, started

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store

N_RANKS = 3
SHORT = 0.2


@pytest.fixture
def server() -> TCPStore:
    """Return the store of an agent that outlives its ranks."""
    return TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)


def _joined(server: TCPStore, rank: int, n_ranks: int = N_RANKS, seconds: float = 60) -> Store:
    """Return what a rank has of the store that a server keeps."""
    timeout = timedelta(seconds=seconds)
    store = TCPStore("127.0.0.1", server.port, is_master=False, timeout=timeout, wait_for_workers=False)
    return store_of_this_start(store, rank, n_ranks, timeout_seconds=seconds)


def _start(server: TCPStore, first: int) -> list[Store]:
    """Return the store of each rank of a start, the rank `first` being ahead of the others."""

    def one(rank: int) -> Store:
        time.sleep(0 if rank == first else 0.05)
        return _joined(server, rank)

    with ThreadPoolExecutor(N_RANKS) as pool:
        return list(pool.map(one, range(N_RANKS)))


@pytest.mark.parametrize("first", range(N_RANKS))
def test_ranks_of_a_start_share_what_no_earlier_start_wrote(server: TCPStore, first: int) -> None:
    for start in range(4):
        stores = _start(server, first)
        assert not stores[0].check(["address"]), "nothing of an earlier start is found"
        stores[0].set("address", str(start))
        assert [store.get("address") for store in stores] == [str(start).encode()] * N_RANKS


@pytest.mark.parametrize("dead", range(N_RANKS))
def test_a_start_in_which_a_rank_never_came_changes_nothing(server: TCPStore, dead: int) -> None:
    others = [threading.Thread(target=_try, args=(server, rank)) for rank in range(N_RANKS) if rank != dead]
    for thread in others:
        thread.start()
    for thread in others:
        thread.join()
    stores = _start(server, 0)
    stores[1].set("address", "new")
    assert [store.get("address") for store in stores] == [b"new"] * N_RANKS


def test_a_rank_that_never_comes_is_told_in_a_sentence(server: TCPStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in range(2):
        monkeypatch.setenv("RANK", str(rank))
        with pytest.raises(MLImagesError, match="another rank ended or does not answer"), peer_errors():
            _joined(server, rank, 2, SHORT)


def test_a_former_rank_that_asked_last_is_no_peer(server: TCPStore) -> None:
    server.set("word/1", "of a rank that was killed")
    with pytest.raises(dist.DistStoreError, match="1"):
        _joined(server, 0, 2, SHORT)


def _try(server: TCPStore, rank: int) -> None:
    with contextlib.suppress(dist.DistError):  # a rank whose peers never come gives up
        _joined(server, rank, seconds=SHORT)


LEAVES_LAST = """
import sys, time
from mlimages_dataset.train.distributed import gathered, process_group, rank
import torch
for group in range(4):
    with process_group(torch.device("cpu"), timeout_seconds=60):
        assert gathered((rank(), group)) == [(0, group), (1, group)]
        if rank() == group % 2:
            time.sleep(0.5)  # so the other rank looks for the next group while this one is still in the last
print("done")
"""


def test_groups_follow_each_other_whichever_rank_leaves_first() -> None:
    """Without torchrun, whose store outlives all groups: as other starters set the addresses."""
    for rank in on_ranks(2, "-c", LEAVES_LAST):
        assert rank.code == 0, rank.err
        assert rank.out.endswith("done\n")


LIVES_ON = """
import time
from mlimages_dataset.core.errors import MLImagesError
from mlimages_dataset.train.distributed import gathered, process_group
import torch
formed = 0
while formed < 2:
    try:
        with process_group(torch.device("cpu"), timeout_seconds=60):
            print(gathered("lives on"))
            formed += 1
            gathered("a peer may have ended")
    except MLImagesError as error:
        print(error)
    time.sleep({pause})
"""
ENDS = """
import os
from mlimages_dataset.train.distributed import gathered, process_group
import torch
with process_group(torch.device("cpu"), timeout_seconds=60):
    gathered("new")
    {ends}
"""


@pytest.mark.parametrize(
    ("survivor", "ends", "pause"),
    [(1, 'gathered("done")', 3), (1, "os._exit(0)", 0), (0, "os._exit(0)", 0)],
)
def test_a_new_process_takes_the_place_of_one_that_ended(survivor: int, ends: str, pause: int) -> None:
    """The other rank's process lives on, as in a notebook, and asks at once or when the first has long ended."""
    port = free_port()
    lives_on = started(survivor, 2, port, "-c", LIVES_ON.format(pause=pause))
    try:
        for _ in range(2):
            (replaced,) = ended([started(1 - survivor, 2, port, "-c", ENDS.format(ends=ends))])
            assert replaced.code == 0, replaced.err
        (last,) = ended([lives_on])
    finally:
        lives_on.kill()
    assert last.code == 0, last.err
    both = ["lives on", "new"] if survivor == 0 else ["new", "lives on"]
    assert last.out.count(str(both)) == 2
