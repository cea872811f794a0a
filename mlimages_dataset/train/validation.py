"""A network evaluated on the labelled images of a data set, over all ranks.

Legend: B images in a batch, C classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from mlimages_dataset.loaders import EvaluationSampler, Loader, eval_transform
from mlimages_dataset.train import distributed
from mlimages_dataset.train.config import Unknown, View
from mlimages_dataset.train.evaluation import Evaluation
from mlimages_dataset.train.loop import autocast, outlive_sigterm

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from mlimages_dataset.loaders import MLImages
    from mlimages_dataset.loaders.transforms import EvalTransform
    from mlimages_dataset.train.config import Precision
    from mlimages_dataset.train.evaluation import EvaluationSummary

EVALUATED_KS = (1, 5, 10)
"""For images with one label, precision@1 is the accuracy and recall@5 the top-5 accuracy."""


@torch.inference_mode()
def evaluate_network(
    network: nn.Module,
    data: MLImages,
    *,
    precision: Precision,
    batch_size: int,
    workers: int,
    unknown: Unknown,
    scores: Callable[[Tensor], Tensor],
) -> Evaluation:
    """Return the evaluation of a network over all ranks; each image counts once, and unreadable ones do not.

    Args:
        network: on the device.
        data: labelled images.
        precision: of the network.
        batch_size: images of a rank at once.
        workers: processes that decode for each rank.
        unknown: what a class means that is not listed.
        scores: makes of float32 logits what classes and images are ordered by, as `probabilities.scores_of`.
    """
    network.eval()
    device = next(network.parameters()).device
    evaluation = Evaluation.empty(data.n_classes, ks=_ks(data.n_classes), device=device)
    loader = Loader(
        data,
        EvaluationSampler(data),
        batch_size=batch_size,
        workers=workers,
        pin_memory=device.type == "cuda",
        worker_init_fn=outlive_sigterm,
    )
    for each in loader:
        batch = each.to(device, non_blocking=True)
        with autocast(device, precision):
            logits = network(data.transform.finish(batch.images))
        known = batch.known if unknown is Unknown.IGNORED else None
        # A picture that cannot be read is replaced by another, which counts at its own place.
        evaluation = evaluation.updated(scores(logits.float()), batch.targets, known, batch.rows == batch.positions)
    return evaluation.merged(distributed.sum_over_ranks)


def measure_names(n_classes: int) -> tuple[str, ...]:
    """Return the names of the `measures` of a network of n_classes."""
    return (*(f"{name}@{k}" for k in _ks(n_classes) for name in ("precision", "recall", "f1")), "map")


def measures(summary: EvaluationSummary) -> dict[str, float]:
    """Return an evaluation's means by name: those of k, and the mean average precision."""
    by_k = {
        f"{name}@{scores.k}": value
        for scores in summary.instance
        for name, value in (("precision", scores.precision), ("recall", scores.recall), ("f1", scores.f1))
    }
    return {**by_k, "map": summary.mean_average_precision}


def _ks(n_classes: int) -> tuple[int, ...]:
    return tuple(k for k in EVALUATED_KS if k <= n_classes)


def evaluation_transform(image_size: int, view: View) -> EvalTransform:
    """Return what makes the planes of a picture's part, squares of `image_size` pixels."""
    return eval_transform(image_size, view.value)
