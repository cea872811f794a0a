"""The networks of checkpoints whose task puts something on a classifier."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from torch import nn

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.train.models import MultiLabelClassifier, create_model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mlimages_dataset.train.checkpoint import Checkpoint

_Network = TypeVar("_Network", bound=nn.Module)


def loaded(
    make: Callable[[MultiLabelClassifier], _Network], checkpoint: Checkpoint, where: Path, *, called: str
) -> _Network:
    """Return a checkpoint's network with its weights.

    Args:
        make: puts the task's network on a classifier.
        checkpoint: of the network.
        where: the checkpoint's place, for messages.
        called: what the network is, for messages.

    Raises:
        DataError: the weights are of another network.
    """
    epsilon = checkpoint.norm_epsilon(where)
    classifier = create_model(checkpoint.model_name, checkpoint.n_classes, norm_epsilon=epsilon)
    classifier.expect_scaling(checkpoint.weights())
    network = make(classifier)
    try:
        network.load_state_dict(checkpoint.weights())
    except RuntimeError as error:
        raise DataError(f"its weights are not of its {called}", where=where, remedy="train it again") from error
    return network
