"""Every loss has its value; what is read of a checkpoint is what its own loss says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import torch

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.core.locations import location
from mlimages_dataset.train.config import Loss, LossName, Run
from mlimages_dataset.train.losses.concurrent_softmax import concurrent_log_odds
from mlimages_dataset.train.losses.multi_label import BatchLabels
from mlimages_dataset.train.losses.registry import LOSSES, UNNAMED, loss_named, loss_of_science, make_loss

if TYPE_CHECKING:
    from mlimages_dataset.train.losses.multi_label import MultiLabelLoss

N_CLASSES = 4


def run_of(name: LossName) -> Run:
    table = location("pair_counts.parquet") if "pair_counts" in name.keys else None
    return Run(epochs=1, loss=Loss(name=name, pair_counts=table))


def made(name: LossName) -> MultiLabelLoss:
    rates = torch.zeros(N_CLASSES, N_CLASSES)
    rates[0, 1] = 0.5
    return make_loss(run_of(name), N_CLASSES, rates.to_sparse_coo() if "pair_counts" in name.keys else None)


def test_every_name_has_one_loss() -> None:
    assert list(LOSSES) == list(LossName)


@pytest.mark.parametrize("name", LossName)
def test_every_loss_is_made_and_read_by_its_value(name: LossName) -> None:
    loss, definition = made(name), LOSSES[name]
    logits = torch.randn(3, N_CLASSES, generator=torch.Generator().manual_seed(0))
    targets = (logits > 0).float()
    value = loss(logits, targets, None)
    assert value.shape == ()
    assert value.isfinite()
    state = loss.state_dict()
    assert definition.odds_factor(state, N_CLASSES).shape == (N_CLASSES,)
    scores = definition.scores(state, N_CLASSES, None)(logits)
    assert torch.equal(scores, logits) is (not definition.score), "scores that are not the logits are said to be others"
    definition.check_state(state, state, N_CLASSES, "a checkpoint")


@pytest.mark.parametrize("name", LossName)
def test_passes_of_one_batch_are_its_loss(name: LossName) -> None:
    logits = torch.randn(2, N_CLASSES, generator=torch.Generator().manual_seed(1))
    targets = torch.tensor([[1.0, 0, 0, 1], [0, 1, 0, 0]])
    whole = made(name)(logits, targets, None)
    of_pass = made(name).of_passes(2, lambda number: BatchLabels(targets[number : number + 1], None))
    parts = sum(of_pass(logits[number : number + 1], number) for number in range(2))
    torch.testing.assert_close(parts / 2, whole)


def test_concurrent_scores_come_from_the_state() -> None:
    loss = made(LossName.CONCURRENT_SOFTMAX)
    logits = torch.randn(3, N_CLASSES)
    scores = LOSSES[LossName.CONCURRENT_SOFTMAX].scores(loss.state_dict(), N_CLASSES, None)
    assert torch.equal(scores(logits), concurrent_log_odds(logits, dict(loss.named_buffers())["rates"]))


def test_who_names_no_loss_is_read_class_by_class() -> None:
    assert loss_of_science({}) is loss_named("") is loss_named("of another package") is UNNAMED
    assert loss_of_science({"loss.name": json.dumps("softmax")}) is LOSSES[LossName.SOFTMAX]


def test_a_checkpoint_of_an_unknown_loss_is_refused() -> None:
    with pytest.raises(
        DataError, match=r"^a.pt: its loss is 'dice', which this version does not have; use the version"
    ):
        loss_of_science({"loss.name": '"dice"'}, where="a.pt")
