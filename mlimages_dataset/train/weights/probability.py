"""Describes in words how a network's logits become probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlimages_dataset.train.losses.registry import loss_named
from mlimages_dataset.train.weights.description import Probability

if TYPE_CHECKING:
    from mlimages_dataset.train.weights.description import Description


def probability_sentences(description: Description, *, calibrated: bool) -> tuple[str, ...]:
    """Return how a network's logits become probabilities, a sentence each, without the full stop.

    Args:
        description: of the network.
        calibrated: whether a slope and an offset of each class were fitted.
    """
    if description.probability is Probability.SOFTMAX:
        return ("probabilities are the softmax of the logits",)
    loss = loss_named(description.loss)
    score = "score" if loss.score else "logit"
    formula = f"sigmoid(slope * {score} + offset), with a slope and an offset for each class" if calibrated else ""
    told = f"probabilities are {formula or f'the sigmoid of the {score}s'}"
    if not loss.score:
        return (told,)
    return (
        told,
        loss.score,
        "only the run's own checkpoint holds the rates: use it to compute probabilities (predict)",
    )
