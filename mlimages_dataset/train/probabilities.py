"""Turns a network's logits into probabilities, depending on the loss that it was trained with.

Legend: B images in a batch, C classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from mlimages_dataset.train.calibration import Calibration, fit_in
from mlimages_dataset.train.losses.registry import loss_of_science

if TYPE_CHECKING:
    from mlimages_dataset.train.checkpoint import Checkpoint
    from mlimages_dataset.train.losses.definition import Change


def probabilities_of(checkpoint: Checkpoint, *, raw: bool = False, where: object = None) -> Change:
    """Return the function that turns a network's float32 logits into probabilities.

    With a loss for one label, the probabilities of all classes add up to 1. With any other loss, each class has its own
    probability, from its score (`LossDefinition.scores`) and the checkpoint's calibration.

    Args:
        checkpoint: the network's checkpoint.
        raw: leave the calibration out.
        where: the checkpoint's place, for messages.

    Raises:
        DataError: the checkpoint names an unknown loss, or lacks the state that its loss's scores need.
    """
    loss = loss_of_science(checkpoint.science, where=where)
    if loss.one_label:
        return lambda logits: logits.softmax(1)
    scores = loss.scores(checkpoint.loss, checkpoint.n_classes, where)
    calibration = calibration_of(checkpoint)
    if raw or calibration is None:
        return lambda logits: scores(logits).sigmoid()
    return lambda logits: calibration.probabilities(scores(logits))


def calibration_of(checkpoint: Checkpoint) -> Calibration | None:
    """Return the calibration of a network's scores; None for a loss for one label, whose scores are not calibrated.

    Raises:
        DataError: the checkpoint names an unknown loss.
    """
    if loss_of_science(checkpoint.science).one_label:
        return None
    if not checkpoint.calibration:  # of a checkpoint from before calibrations existed
        return Calibration.of_weights(torch.ones(checkpoint.n_classes))
    return Calibration.from_state(checkpoint.calibration)


def lacks_fit(checkpoint: Checkpoint) -> bool:
    """Return whether a network's probabilities could be calibrated, and no fit was made.

    Raises:
        DataError: the checkpoint names an unknown loss.
    """
    return not loss_of_science(checkpoint.science).one_label and fit_in(checkpoint.calibration) is None
