"""What a network's logits mean, by the loss that taught it.

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
    """Return what makes probabilities of a network's float32 logits.

    Those of a loss of one label are of one class among all and add up to 1. Of any other loss each class stands for
    itself, by its score (`LossDefinition.scores`), calibrated as the checkpoint says.

    Args:
        checkpoint: of the network.
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
    """Return what makes probabilities of a network's scores; None for a loss of one label, which has none of a class.

    Raises:
        DataError: the checkpoint names an unknown loss.
    """
    if loss_of_science(checkpoint.science).one_label:
        return None
    if not checkpoint.calibration:  # of a checkpoint that was written before there was any
        return Calibration.of_weights(torch.ones(checkpoint.n_classes))
    return Calibration.from_state(checkpoint.calibration)


def lacks_fit(checkpoint: Checkpoint) -> bool:
    """Return whether a network's probabilities could be calibrated, and no fit was made.

    Raises:
        DataError: the checkpoint names an unknown loss.
    """
    return not loss_of_science(checkpoint.science).one_label and fit_in(checkpoint.calibration) is None
