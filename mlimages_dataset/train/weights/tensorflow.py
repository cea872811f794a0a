"""The published TensorFlow checkpoints as PyTorch state dicts of `create_model("resnet101_released", ...)`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.train.models import RELEASED, create_model
from mlimages_dataset.train.released_resnet import BLOCKS_OF_STAGE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray
    from torch import Tensor

    from mlimages_dataset.core.locations import Location

_NORM_PARTS = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
_OPTIMISER_STATE = re.compile(r"/(Momentum|ExponentialMovingAverage|Adam(_\d)?|RMSProp(_\d)?)$")
"""What training adds to a variable's name; not part of the network."""
_INDEX = ".index"
_DATA = re.compile(r"\.data-\d{5}-of-\d{5}$")


def tensorflow_prefix(place: Location) -> Path | None:
    """Return the prefix of the TensorFlow checkpoint that a place names: it, or one of its files; None for others."""
    if not isinstance(place, Path) or not place.name:  # the current folder and the root have no name
        return None
    prefix = place.with_name(_DATA.sub("", place.name).removesuffix(_INDEX) or place.name)
    return prefix if prefix.with_name(prefix.name + _INDEX).is_file() else None


def from_tensorflow(variables: Mapping[str, NDArray[Any]]) -> dict[str, Tensor]:
    """Return the state dict of `resnet101_released` with the values of the published network's variables.

    Kernels go from (height, width, in, out) to (out, in, height, width), the dense kernel from (in, out) to (out, in).
    Variables of other names, such as the optimiser's, are left alone.

    Args:
        variables: value of each variable by name; the head may be of any number of classes.

    Raises:
        DataError: a variable of the network is missing or of another shape.
    """
    names = variable_names()
    missing = [name for name in names.values() if name not in variables]
    if missing:
        raise DataError(
            f"{len(missing)} of {len(names)} variables of the published ResNet-101 are missing, such as {missing[0]}",
            remedy="give all variables of a checkpoint of that network",
        )
    state = {key: _converted(variables[name]) for key, name in names.items()}
    for key in list(state):
        if key.endswith("running_mean"):
            state[key.removesuffix("running_mean") + "num_batches_tracked"] = torch.zeros((), dtype=torch.int64)
    _check_shapes(state, names)
    return state


def read_tensorflow(checkpoint: Path | str) -> dict[str, NDArray[Any]]:
    """Return the network's variables of a TensorFlow checkpoint by name, without what training adds.

    Args:
        checkpoint: the checkpoint's prefix, such as `ckpts/resnet.ckpt` for `resnet.ckpt.index` and its data files.

    Raises:
        UsageError: TensorFlow is not installed.
        DataError: no checkpoint of this prefix can be read.
    """
    try:
        import tensorflow as tf  # noqa: PLC0415  # optional, and slow to import
    except ModuleNotFoundError as error:
        raise UsageError(
            "a TensorFlow checkpoint is read by TensorFlow itself",
            where=checkpoint,
            remedy="pip install tensorflow-cpu",
        ) from error
    try:
        reader = tf.train.load_checkpoint(str(checkpoint))
        names = [name for name in reader.get_variable_to_shape_map() if not _OPTIMISER_STATE.search(name)]
        return {name: reader.get_tensor(name) for name in names if name in set(variable_names().values())}
    except (ValueError, tf.errors.OpError) as error:
        raise DataError(
            f"no TensorFlow checkpoint can be read: {error}",
            where=checkpoint,
            remedy="give the common beginning of its .index and .data files",
        ) from error


def variable_names() -> dict[str, str]:
    """Return the published variable's name of each entry of the state dict, in the network's order."""
    return dict(_variable_names())


def _variable_names() -> Iterator[tuple[str, str]]:
    yield "backbone.stem.weight", "init/init_conv/conv2d/kernel"
    for stage, n_blocks in enumerate(BLOCKS_OF_STAGE):
        for block in range(n_blocks):
            ours, theirs = f"backbone.stages.{stage}.{block}", f"stages_{stage}_block_{block}"
            if block == 0:
                yield from _layer(f"{ours}.shortcut", 0, f"{theirs}/conv1_b1")
            for index in range(3):
                yield from _layer(f"{ours}.branch", 3 * index, f"{theirs}/conv{index + 1}_b2")
    yield from _norm("backbone.norm", "global_pool/bn")
    yield "head.weight", "logits/dense/kernel"
    yield "head.bias", "logits/dense/bias"


def _layer(ours: str, place: int, theirs: str) -> Iterator[tuple[str, str]]:
    """Yield the names of a normalisation and of the convolution after it; between them is a ReLU."""
    yield from _norm(f"{ours}.{place}", f"{theirs}_bn")
    yield f"{ours}.{place + 2}.weight", f"{theirs}/conv2d/kernel"


def _norm(ours: str, theirs: str) -> Iterator[tuple[str, str]]:
    for part, their_part in _NORM_PARTS.items():
        yield f"{ours}.{part}", f"{theirs}/batch_normalization/{their_part}"


def _converted(value: NDArray[Any]) -> Tensor:
    """Return a variable in PyTorch's order of axes, float32."""
    axes = {4: (3, 2, 0, 1), 2: (1, 0)}.get(value.ndim)
    return torch.from_numpy(np.array(value if axes is None else value.transpose(axes), np.float32, order="C"))


def _check_shapes(state: Mapping[str, Tensor], names: Mapping[str, str]) -> None:
    """Refuse variables of other shapes than the network's.

    Raises:
        DataError: such a variable; its name is the published one.
    """
    expected = _shapes(n_classes=len(state["head.bias"]))
    for key, name in names.items():
        if state[key].shape != expected[key]:
            raise DataError(
                f"variable {name} is of shape {tuple(state[key].shape)} after conversion, and the network's of "
                f"{tuple(expected[key])}",
                remedy="give a checkpoint of the published ResNet-101",
            )


def _shapes(n_classes: int) -> dict[str, torch.Size]:
    with torch.device("meta"):
        return {key: value.shape for key, value in create_model(RELEASED, n_classes).state_dict().items()}
