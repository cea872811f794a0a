"""The weights that a run starts from."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.train import distributed
from mlimages_dataset.train.models import batch_norms, create_model
from mlimages_dataset.train.transfer import load_backbone, load_weights
from mlimages_dataset.train.weights.reading import Said, read_weights

if TYPE_CHECKING:
    from torch import Tensor

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.train.config import Model
    from mlimages_dataset.train.models import MultiLabelClassifier


def first_classifier(
    options: Model, n_classes: int, vocabulary: str, bias: Tensor | None = None
) -> MultiLabelClassifier:
    """Return the classifier that a run starts from.

    Args:
        options: of the run.
        n_classes: C.
        vocabulary: digest of the run's.
        bias: of a head that `options.weights` do not set, shape (C,); None for zeros.

    Raises:
        UsageError: there is no such network, or the weights are not of it.
        DataError: the file of these is damaged.
    """
    model = create_model(options.name, n_classes, norm_epsilon=options.batch_norm_epsilon)
    for module in batch_norms(model):
        module.momentum = options.batch_norm_momentum
    if bias is not None:
        model.set_bias(bias)
    if options.weights is not None:
        start_from(model, options.weights, options, vocabulary)
    return model


def start_from(model: MultiLabelClassifier, place: Location, options: Model, vocabulary: str) -> None:
    """Overwrite a model with weights: all for the same vocabulary, all except the head for another.

    Rank 0 prints the assumptions about the file.

    Args:
        model: as `create_model(options.name)` returned it; is changed.
        place: see `read_weights`.
        options: of the run.
        vocabulary: digest of the run's.

    Raises:
        UsageError: there are no such weights, or they are of another network or another epsilon.
        DataError: the file is damaged.
    """
    weights = read_weights(place, Said(architecture=options.name))
    told = weights.description
    if told.norm_epsilon is not None and not math.isclose(told.norm_epsilon, options.batch_norm_epsilon, rel_tol=1e-6):
        raise UsageError(
            f"its batch normalisation adds {told.norm_epsilon:g} to the variance, and the run's "
            f"{options.batch_norm_epsilon:g}: the network would compute something else",
            where=weights.path,
            remedy=f"write batch_norm_epsilon = {told.norm_epsilon:g} under [model]",
        )
    same = told.vocabulary == vocabulary
    (load_weights if same else load_backbone)(model, weights.state, weights.path)
    notes = list(weights.notes)
    if not same:
        notes.append(f"its {told.n_classes:,} classes are not the vocabulary's {model.n_classes:,}: the head is new")
    if distributed.rank() == 0:
        sys.stderr.writelines(f"{weights.path}: {note}\n" for note in notes)
