"""A network is measured on the pictures that can be read, however many cannot."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from mlimages_dataset.train.config import Precision, Run
from mlimages_dataset.train.tasks.registry import task_of_run
from mlimages_dataset.train.validation import evaluate_network
from tests.loaders.test_dataset import C, data_set
from tests.train.two_ranks import N_RANKS, run_on_ranks

if TYPE_CHECKING:
    from pathlib import Path

CPU = torch.device("cpu")
N = 120
"""With half of them bad, more than the loader's own limit allows: 5 % of at least a thousand."""


def n_measured(folder: Path, broken: range) -> int:
    """Return how many images a network was measured on."""
    data = data_set(folder, N, broken=broken)
    task = task_of_run(Run(epochs=1))
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, C))
    nothing = task.measures({}, C, device=CPU)
    found = evaluate_network(network, data, task, nothing, precision=Precision.FLOAT32, batch_size=8, workers=0)
    return int(found.images)


@pytest.mark.parametrize("broken", [range(0, N, 2), range(60), range(1, N, 40), range(N - 5, N)])
def test_bad_pictures_are_counted_and_never_end_an_evaluation(tmp_path: Path, broken: range) -> None:
    with pytest.warns(UserWarning, match=f"^not measured: {len(broken)} bad pictures in {N} samples: picture-"):
        assert n_measured(tmp_path, broken) == N - len(broken)


def on_rank(rank: int, n_ranks: int, folder: Path) -> tuple[int, list[str]]:
    """Return how many images all ranks have measured, and what this one warns of."""
    del n_ranks
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        measured = n_measured(folder / str(rank), range(0, N, 2))
    return measured, [str(one.message) for one in told if "not measured" in str(one.message)]


def test_one_rank_tells_the_bad_pictures_of_all(tmp_path: Path) -> None:
    (first, told), *others = run_on_ranks(on_rank, tmp_path)
    assert (first, others) == (N // 2, [(N // 2, [])] * (N_RANKS - 1))
    (sentence,) = told
    assert sentence.startswith(f"not measured: {N // 2} bad pictures in {N} samples: picture-")
