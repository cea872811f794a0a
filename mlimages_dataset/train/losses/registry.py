"""The losses by name: a loss is a file of this package, its name in `config.LossName`, and its line here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.train.config import LossName
from mlimages_dataset.train.losses.baseline_losses import (
    ASYMMETRIC,
    BINARY_CROSS_ENTROPY,
    CO_BINARY_CROSS_ENTROPY,
    FOCAL,
)
from mlimages_dataset.train.losses.concurrent_softmax import CONCURRENT_SOFTMAX
from mlimages_dataset.train.losses.ml_images import PAPER, RELEASED
from mlimages_dataset.train.losses.softmax import SOFTMAX

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from mlimages_dataset.train.config import Run
    from mlimages_dataset.train.losses.definition import LossDefinition
    from mlimages_dataset.train.losses.multi_label import MultiLabelLoss

LOSSES: Mapping[LossName, LossDefinition] = {
    LossName.RELEASED: RELEASED,
    LossName.PAPER: PAPER,
    LossName.BINARY_CROSS_ENTROPY: BINARY_CROSS_ENTROPY,
    LossName.CO_BINARY_CROSS_ENTROPY: CO_BINARY_CROSS_ENTROPY,
    LossName.FOCAL: FOCAL,
    LossName.ASYMMETRIC: ASYMMETRIC,
    LossName.SOFTMAX: SOFTMAX,
    LossName.CONCURRENT_SOFTMAX: CONCURRENT_SOFTMAX,
}
UNNAMED = BINARY_CROSS_ENTROPY
"""The definition for a network with an unknown loss: each class separately."""


def make_loss(run: Run, n_classes: int, rates: Tensor | None = None) -> MultiLabelLoss:
    """Return the loss of a run.

    Args:
        run: the run.
        n_classes: C.
        rates: the concurrent rates of `loss.pair_counts`, sparse, shape (C, C); None for none.
    """
    return LOSSES[run.loss.name].make(run, n_classes, rates)


def loss_of_science(science: Mapping[str, str], *, where: object = None) -> LossDefinition:
    """Return the loss with which a checkpoint's network was trained.

    Args:
        science: of the checkpoint, see `config.science`.
        where: the checkpoint's place, for messages.

    Raises:
        DataError: it names a loss that this version does not have.
    """
    name = json.loads(science.get("loss.name", '""'))
    if name and not is_known(name):
        raise DataError(
            f"its loss is {name!r}, which this version does not have",
            where=where,
            remedy=f"use the version that wrote it, or name a checkpoint of {', '.join(one.value for one in LOSSES)}",
        )
    return loss_named(name)


def loss_named(name: str) -> LossDefinition:
    """Return the loss with a name from a file of weights; `UNNAMED` for an unknown or empty name."""
    return LOSSES[LossName(name)] if is_known(name) else UNNAMED


def is_known(name: str) -> bool:
    """Return whether there is a loss of this name."""
    return name in {one.value for one in LOSSES}
