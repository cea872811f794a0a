"""What a loss is to the trainer beside its arithmetic: one value per loss, in the loss's own file.

Legend: B images in a batch, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor

if TYPE_CHECKING:
    from mlimages_dataset.train.config import Run
    from mlimages_dataset.train.losses.multi_label import MultiLabelLoss

State: TypeAlias = Mapping[str, object]
"""A loss's state dict, of a loss or of the checkpoint of one."""
Change: TypeAlias = Callable[[Tensor], Tensor]
"""Makes one matrix of another, both of shape (B, C)."""


def _logits(state: State, n_classes: int, where: object) -> Change:  # noqa: ARG001 - as `scores` is called
    return lambda logits: logits


def _unweighted(state: State, n_classes: int) -> Tensor:  # noqa: ARG001 - as `odds_factor` is called
    return torch.ones(n_classes)


def _any_state(found: State, wanted: State, n_classes: int, where: object) -> None:
    """Take a checkpoint of any state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LossDefinition:
    """What a loss is to the trainer.

    Attributes:
        make: returns the loss of a run with so many classes; last, the concurrent rates of `loss.pair_counts`, sparse,
            shape (C, C), or None without such a table.
        one_label: its probabilities are of one class among all: a softmax of the logits, which is not calibrated.
        compares_classes: classes share what there is to predict, so the sum of an image's sigmoids says nothing.
        weighs_positives: it is least where the odds are `loss.positive_weight` times the true ones.
        remedy: what to write in a run file of this loss that stands still or predicts every class; empty for the usual.
        score: says what a score is where it is not the logit; such scores need the state that a checkpoint holds.
        scores: returns, from state, C and the place for messages, what makes of logits the scores that order images and
            are calibrated.
        odds_factor: returns, from state and C, by what factor the weights raised the odds, float32, shape (C,).
        check_state: raises `UsageError` where a checkpoint's state is of another loss than a run's: the checkpoint's,
            the run's, C, and the checkpoint's place.
    """

    make: Callable[[Run, int, Tensor | None], MultiLabelLoss]
    one_label: bool = False
    compares_classes: bool = False
    weighs_positives: bool = False
    remedy: str = ""
    score: str = ""
    scores: Callable[[State, int, object], Change] = _logits
    odds_factor: Callable[[State, int], Tensor] = _unweighted
    check_state: Callable[[State, State, int, object], None] = _any_state
