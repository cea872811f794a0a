"""The description of a loss for the trainer: one value per loss, in the loss's own file.

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
"""The state dict of a loss, from the loss itself or from a checkpoint."""
Change: TypeAlias = Callable[[Tensor], Tensor]
"""A function from one matrix to another, both of shape (B, C)."""


def _logits(state: State, n_classes: int, where: object) -> Change:  # noqa: ARG001 - as `scores` is called
    return lambda logits: logits


def _unweighted(state: State, n_classes: int) -> Tensor:  # noqa: ARG001 - as `odds_factor` is called
    return torch.ones(n_classes)


def _any_state(found: State, wanted: State, n_classes: int, where: object) -> None:
    """Accept a checkpoint with any state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LossDefinition:
    """The description of a loss for the trainer.

    Attributes:
        make: returns the loss from the run, the number of classes, and the concurrent rates of `loss.pair_counts`
            (sparse, shape (C, C), or None without such a table).
        one_label: whether each image has one label: probabilities are a softmax of the logits, and are not calibrated.
        compares_classes: whether classes compete, so that the sum of an image's sigmoids has no meaning.
        weighs_positives: whether the loss is minimal at `loss.positive_weight` times the true odds.
        remedy: what to write in a run file if the logits do not change or every class is predicted; empty for the
            usual.
        score: describes the score if it is not the logit; such scores need the state in a checkpoint.
        scores: returns, from state, C and the place for messages, the function from logits to the scores that rank
            images and are calibrated.
        odds_factor: returns, from state and C, the factor by which the weights raised the odds, float32, shape (C,).
        check_state: raises `UsageError` if a checkpoint's state belongs to another loss than the run's; arguments: the
            checkpoint's state, the run's, C, and the checkpoint's place.
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
