"""What a network's logits mean, by the loss that taught it.

Legend: B images in a batch, C classes.
"""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, TypeAlias

import torch

from mlimages_dataset.train.calibration import Calibration
from mlimages_dataset.train.config import LossName
from mlimages_dataset.train.losses.concurrent_softmax import ConcurrentSoftmaxLoss, concurrent_log_odds
from mlimages_dataset.train.losses.pair_rates import rates_of_state

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from mlimages_dataset.train.checkpoint import Checkpoint

    Change: TypeAlias = Callable[[Tensor], Tensor]
    """Makes one matrix of another, both of shape (B, C)."""


def probabilities_of(checkpoint: Checkpoint, *, raw: bool = False, where: object = None) -> Change:
    """Return what makes probabilities of a network's float32 logits.

    Those of `softmax` are of one class among all and add up to 1. Those of `concurrent-softmax` are equation 5 of
    paper 004: a class against those that are not its companions. Of any other loss each class stands for itself. All
    but those of `softmax` are calibrated as the checkpoint says.

    Args:
        checkpoint: of the network.
        raw: leave the calibration out.
        where: the checkpoint's place, for messages.

    Raises:
        DataError: the checkpoint's loss is concurrent-softmax, and it holds no rates.
    """
    if _taught_by(checkpoint) is LossName.SOFTMAX:
        return lambda logits: logits.softmax(1)
    scores = scores_of(checkpoint, where=where)
    calibration = calibration_of(checkpoint)
    if raw or calibration is None:
        return lambda logits: scores(logits).sigmoid()
    return lambda logits: calibration.probabilities(scores(logits))


def calibration_of(checkpoint: Checkpoint) -> Calibration | None:
    """Return what makes probabilities of a network's scores; None for `softmax`, which has none of single classes."""
    if _taught_by(checkpoint) is LossName.SOFTMAX:
        return None
    if not checkpoint.calibration:  # of a checkpoint that was written before there was any
        return Calibration.of_weights(torch.ones(checkpoint.n_classes))
    return Calibration.from_state(checkpoint.calibration)


def scores_of(checkpoint: Checkpoint, *, where: object = None) -> Change:
    """Return what makes the scores that evaluation orders images by: logits, of concurrent-softmax log-odds.

    Raises:
        DataError: as `probabilities_of`.
    """
    if _taught_by(checkpoint) is LossName.CONCURRENT_SOFTMAX:
        return _log_odds(rates_of_state(checkpoint.loss, checkpoint.n_classes, where=where))
    return _as_they_are


def scores_of_loss(loss: nn.Module) -> Change:
    """Return what `scores_of` returns for a checkpoint of this loss."""
    return _log_odds(loss.rates) if isinstance(loss, ConcurrentSoftmaxLoss) else _as_they_are


def _as_they_are(logits: Tensor) -> Tensor:
    return logits


def _log_odds(rates: Tensor) -> Change:
    on_device = functools.cache(rates.to)
    return lambda logits: concurrent_log_odds(logits, on_device(logits.device))


def _taught_by(checkpoint: Checkpoint) -> LossName | None:
    """Return the loss that a checkpoint's run names; None for one of a make that names none."""
    name = checkpoint.science.get("loss.name")
    return None if name is None else LossName(json.loads(name))
