"""Transfer: a trained network with a new head.

Wu et al. 2019, section 5.1: the output layer is replaced, the loss is the standard softmax loss (`losses.softmax`), and
layers near the input learn slowly or not (`optimizer.layer_rates`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.core.listed import first_of
from mlimages_dataset.train.models import SCALING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor, nn

    from mlimages_dataset.train.models import MultiLabelClassifier

HEAD = "head."
"""Prefix of the head's parameters."""
_SHOWN_NAMES = 3


def load_backbone(model: MultiLabelClassifier, weights: Mapping[str, Tensor], path: Path) -> None:
    """Overwrite all of a model except its head with a checkpoint's weights.

    Raises:
        UsageError: they are of another network.
    """
    _load(model, {name: value for name, value in weights.items() if not name.startswith(HEAD)}, path, without=HEAD)


def load_weights(model: MultiLabelClassifier, weights: Mapping[str, Tensor], path: Path) -> None:
    """Overwrite a whole model with a checkpoint's weights.

    Raises:
        UsageError: they are of another network, or of another number of classes.
    """
    _load(model, weights, path, without="")


def _load(model: nn.Module, weights: Mapping[str, Tensor], path: Path, *, without: str) -> None:
    ours = {
        name: value.shape
        for name, value in model.state_dict().items()
        if not name.startswith(SCALING) and not (without and name.startswith(without))
    }
    # The input's scaling belongs to the weights.
    theirs = {name: value.shape for name, value in weights.items() if not name.startswith(SCALING)}
    differing = [name for name in sorted(ours.keys() | theirs.keys()) if ours.get(name) != theirs.get(name)]
    if differing:
        raise UsageError(
            f"it belongs to another network: {first_of(differing, _SHOWN_NAMES)} differ",
            where=path,
            remedy="write the model.name that it was trained with",
        )
    model.load_state_dict(dict(weights), strict=not without)
