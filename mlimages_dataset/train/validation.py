"""A network evaluated on the labelled images of a data set, over all ranks."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from mlimages_dataset.loaders import EvaluationSampler, Loader
from mlimages_dataset.loaders.batch import ImageBatch
from mlimages_dataset.loaders.dataset import BadImages
from mlimages_dataset.train import distributed
from mlimages_dataset.train.learner import autocast
from mlimages_dataset.train.stopping import outlive_sigterm
from mlimages_dataset.train.tasks.task import Measures

if TYPE_CHECKING:
    from torch import nn

    from mlimages_dataset.loaders.dataset import CataloguedImages
    from mlimages_dataset.train.config import Precision
    from mlimages_dataset.train.tasks.task import Task

_Targets = TypeVar("_Targets", bound=tuple[object, ...])
_Measures = TypeVar("_Measures", bound=Measures)
_Batch = TypeVar("_Batch", bound=ImageBatch)


@torch.inference_mode()
def evaluate_network(
    network: nn.Module,
    data: CataloguedImages[Any, _Batch],
    task: Task[_Targets, _Measures, _Batch],
    nothing: _Measures,
    *,
    precision: Precision,
    batch_size: int,
    workers: int,
) -> _Measures:
    """Return a network's measures over all ranks; each image counts once. Rank 0 warns of unreadable ones.

    Args:
        network: on the device.
        data: labelled images.
        task: what the network has learnt.
        nothing: the task's measures of no image.
        precision: of the network.
        batch_size: images of a rank at once.
        workers: processes that decode for each rank.
    """
    network.eval()
    device = next(network.parameters()).device
    measures = nothing
    loader = Loader(
        data,
        EvaluationSampler(data),
        batch_size=batch_size,
        workers=workers,
        max_bad_share=1.0,  # bad pictures are told, and not measured
        pin_memory=device.type == "cuda",
        worker_init_fn=outlive_sigterm,
    )
    for each in loader:
        batch = each.to(device, non_blocking=True)
        with autocast(device, precision):
            outputs = network(*task.inputs(batch, data.finish(batch.images)))
        measures = task.measured(measures, outputs, batch)
    bad = sum(distributed.gathered(loader.bad), BadImages(1.0))
    if bad.count and distributed.rank() == 0:
        warnings.warn(f"not measured: {bad}", stacklevel=2)
    return measures.merged(distributed.sum_over_ranks)
