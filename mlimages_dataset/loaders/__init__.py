"""PyTorch data sets, samplers, transforms and loaders over image shards and label tables."""

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
