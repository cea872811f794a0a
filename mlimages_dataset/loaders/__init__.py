"""PyTorch data sets, samplers, transforms and loaders over image shards and label tables.

Each name is imported at its first use, so the catalogue and `--help` work without torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlimages_dataset.loaders.batch import Batch, collate
    from mlimages_dataset.loaders.dataset import BadImage, BadImages, Draw, MLImages, Sample
    from mlimages_dataset.loaders.loader import Loader
    from mlimages_dataset.loaders.samplers import (
        ClassAwareSampler,
        EvaluationSampler,
        HybridSampler,
        RepeatFactorSampler,
        ShuffledSampler,
        SoftBalanceSampler,
    )
    from mlimages_dataset.loaders.streaming import StreamedImages
    from mlimages_dataset.loaders.transforms import eval_transform, train_transform

__all__ = [
    "BadImage",
    "BadImages",
    "Batch",
    "ClassAwareSampler",
    "Draw",
    "EvaluationSampler",
    "HybridSampler",
    "Loader",
    "MLImages",
    "RepeatFactorSampler",
    "Sample",
    "ShuffledSampler",
    "SoftBalanceSampler",
    "StreamedImages",
    "collate",
    "eval_transform",
    "train_transform",
]

_MODULES = {
    "BadImage": "dataset",
    "BadImages": "dataset",
    "Batch": "batch",
    "ClassAwareSampler": "samplers",
    "Draw": "dataset",
    "EvaluationSampler": "samplers",
    "HybridSampler": "samplers",
    "Loader": "loader",
    "MLImages": "dataset",
    "RepeatFactorSampler": "samplers",
    "Sample": "dataset",
    "ShuffledSampler": "samplers",
    "SoftBalanceSampler": "samplers",
    "StreamedImages": "streaming",
    "collate": "batch",
    "eval_transform": "transforms",
    "train_transform": "transforms",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
