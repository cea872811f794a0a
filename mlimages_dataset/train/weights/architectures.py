"""Architectures as their libraries have them: names of tensors, epsilons, input ranges; what a file looks like.

Legend: C classes, D features.
"""

from __future__ import annotations

import difflib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torchvision import models as torchvision_models

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.train.models import (
    AUXILIARY_HEADS,
    RELEASED,
    TIMM_PREFIX,
    batch_norms,
    create_model,
    model_names,
)
from mlimages_dataset.train.weights.description import OURS, InputRange, WeightsForm

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from torch import Tensor

    from mlimages_dataset.train.models import MultiLabelClassifier

BACKBONE, HEAD = "backbone.", "head."
COUNTER = "num_batches_tracked"
"""The last part of the name of batch normalisation's counter, which old files lack and evaluation ignores."""
LITE_STEM = "_conv_stem.weight"
"""A tensor of the naming of PyPI's efficientnet-lite-pytorch."""
LITE_ARCHITECTURES = tuple(f"{TIMM_PREFIX}tf_efficientnet_lite{number}" for number in range(5))
"""What its networks are in timm: padded as TensorFlow pads."""
_AUXILIARY = ("AuxLogits.", "aux1.", "aux2.")
_NEAR = 8
_FAMILIES = {
    "layer1.": ("resnet", "resnext", "wide_resnet"),
    "denseblock": ("densenet",),
    "encoder.layers": ("vit",),
    "classifier.6": ("vgg", "alexnet"),
    "Mixed_": ("inception",),
    "inception3a": ("googlenet",),
    "stage2.": ("shufflenet",),
    "layers.8.": ("mnasnet",),
    "features.1.block": ("mobilenet_v3",),
    "features.1.conv": ("mobilenet_v2",),
    "features.1.0.block": ("convnext", "efficientnet"),
    "features.1.0.attn": ("swin",),
    "blocks.0.layers": ("maxvit",),
    "stages.0.": ("resnet101_released",),
}
"""How torchvision's networks begin whose tensors have such a part in their names: to build all takes half a minute."""


@dataclass(frozen=True, slots=True)
class Library:
    """What a library says of the published weights of one of its networks.

    Attributes:
        input_range: of their images.
        image_size: side of their images in pixels.
    """

    input_range: InputRange
    image_size: int


def outline(name: str, n_classes: int = 1) -> MultiLabelClassifier:
    """Return `create_model(name, n_classes)` with its library's epsilons, as a rule without memory for its tensors.

    No random number is drawn. Errors as for `create_model`.
    """
    with torch.random.fork_rng(devices=()):
        try:
            with torch.device("meta"):
                return create_model(name, n_classes)
        except NotImplementedError:  # RegNet computes its sizes with tensors
            return create_model(name, n_classes)


def library(name: str) -> Library:
    """Return what an architecture's library says of its published weights.

    Raises:
        UsageError: timm is not installed or has no such network.
    """
    if name == RELEASED:
        return Library(OURS, 224)
    if name.startswith(TIMM_PREFIX):
        given = outline(name).backbone.pretrained_cfg
        assert isinstance(given, dict)
        return Library(InputRange(tuple(given["mean"]), tuple(given["std"])), int(given["input_size"][-1]))
    transform = torchvision_models.get_model_weights(name).DEFAULT.transforms()
    # With its published weights torchvision's network itself goes from this range to [-1, 1] (transform_input).
    itself = name in AUXILIARY_HEADS
    given_range = OURS if itself else InputRange(tuple(transform.mean), tuple(transform.std))
    return Library(given_range, int(transform.crop_size[0]))


def construction(form: WeightsForm, name: str, n_classes: int, more: str = "") -> str:
    """Return the call that makes torchvision's or timm's own network, as Python.

    Args:
        form: whose.
        name: of the architecture, as `create_model` knows it.
        n_classes: of its head.
        more: further arguments of the call, as Python.
    """
    plain = name.removeprefix(TIMM_PREFIX)
    given = [f"num_classes={n_classes}", more]
    if form is WeightsForm.TIMM:
        return f"timm.create_model({', '.join(filter(None, [json.dumps(plain), *given]))})"
    if plain in AUXILIARY_HEADS:
        given.append("aux_logits=False, init_weights=False")
    return f"torchvision.models.{plain}({', '.join(filter(None, given))})"


def epsilons(model: torch.nn.Module) -> dict[str, float]:
    """Return what each batch normalisation adds to the variance, by the module's name."""
    norms = set(batch_norms(model))
    return {name: module.eps for name, module in model.named_modules() if module in norms}


def library_names(model: MultiLabelClassifier) -> dict[str, str]:
    """Return the library's name of each entry of a model's state; empty for a network that no library has."""
    if not model.original_head:
        return {}
    return {
        name: f"{model.original_head}.{name.removeprefix(HEAD)}"
        if name.startswith(HEAD)
        else name.removeprefix(BACKBONE)
        for name in model.state_dict()
    }


def lite_names(model: MultiLabelClassifier) -> dict[str, str]:
    """Return efficientnet-lite-pytorch's name of each entry of the state of timm's `tf_efficientnet_lite*`.

    Blocks are numbered through there, and by stage here; the first has no expansion.
    """
    timm = library_names(model)
    blocks = list(dict.fromkeys(found[0] for name in timm.values() if (found := _BLOCK.match(name))))
    expanded = {block for block in blocks if f"{block}conv_pwl.weight" in timm.values()}
    names = {}
    for ours, name in timm.items():
        found = _BLOCK.match(name)
        layer, _, part = name.removeprefix(found[0] if found else "").partition(".")
        if found is None:
            names[ours] = f"{_LITE_OUTER[layer]}.{part}"
        else:
            inner = _LITE_EXPANDED if found[0] in expanded else _LITE_FIRST
            names[ours] = f"_blocks.{blocks.index(found[0])}.{inner[layer]}.{part}"
    return names


_BLOCK = re.compile(r"blocks\.\d+\.\d+\.")
_LITE_OUTER = {
    "conv_stem": "_conv_stem",
    "bn1": "_bn0",
    "conv_head": "_conv_head",
    "bn2": "_bn1",
    "classifier": "_fc",
}
_LITE_FIRST = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
_LITE_EXPANDED = {
    "conv_pw": "_expand_conv",
    "bn1": "_bn0",
    "conv_dw": "_depthwise_conv",
    "bn2": "_bn1",
    "conv_pwl": "_project_conv",
    "bn3": "_bn2",
}


def namings(name: str, model: MultiLabelClassifier) -> Iterator[dict[str, str]]:
    """Yield the namings in which a network's tensors may come, each as a file's name of each entry of our state."""
    yield {entry: entry for entry in model.state_dict()}
    if model.original_head:
        yield library_names(model)
    if name in LITE_ARCHITECTURES:
        yield lite_names(model)


def fits(naming: Mapping[str, str], model: MultiLabelClassifier, tensors: Mapping[str, Tensor]) -> bool:
    """Return whether tensors are those of a network in a naming, with a head of any number of classes."""
    state = model.state_dict()
    wanted = {naming[entry]: value.shape for entry, value in state.items() if not entry.endswith(COUNTER)}
    n_features = model.n_features
    known = set(naming.values())
    if any(name not in known and not name.startswith(_AUXILIARY) for name in tensors):
        return False
    head = tensors.get(naming[f"{HEAD}weight"])
    if head is None or head.ndim < 2 or head.numel() != head.shape[0] * n_features:  # noqa: PLR2004 - a matrix, (C, D) or (C, D, 1, 1)
        return False
    wanted[naming[f"{HEAD}weight"]] = head.shape
    wanted[naming[f"{HEAD}bias"]] = head.shape[:1]
    return all(name in tensors and tensors[name].shape == shape for name, shape in wanted.items())


def gaps(
    naming: Mapping[str, str], model: MultiLabelClassifier, tensors: Mapping[str, Tensor], prefix: str = ""
) -> list[str]:
    """Return a sentence for each tensor that a network in a naming lacks, has too many or in another shape.

    Args:
        naming: a file's name of each entry of the network's state.
        model: the network.
        tensors: the file's, without the prefix.
        prefix: with which the file's names begin.
    """
    wanted = {naming[entry]: value.shape for entry, value in model.state_dict().items() if not entry.endswith(COUNTER)}
    heads = {naming[entry] for entry in naming if entry.startswith(HEAD)}
    known = set(naming.values())
    lacking = [f"it lacks {prefix}{name}" for name in wanted if name not in tensors]
    more = [f"it has {prefix}{name}, which the network has not" for name in tensors if name not in known]
    other = [
        f"{prefix}{name} is of shape {tuple(tensors[name].shape)}, not {tuple(shape)}"
        for name, shape in wanted.items()
        if name in tensors and name not in heads and tensors[name].shape != shape
    ]
    return [*lacking, *more, *other]


def looks_like(tensors: Mapping[str, Tensor], asked: str = "") -> str:
    """Return the first architecture whose tensors these are, but for the number of classes; empty where none is found.

    Looked at are timm's with names near to the one that was asked for, and torchvision's.
    """
    return next((name for name in _candidates(asked, tensors) if _is_of(name, tensors)), "")


def _candidates(asked: str, tensors: Mapping[str, Tensor]) -> Iterator[str]:
    if LITE_STEM in tensors:
        yield from LITE_ARCHITECTURES
        return
    plain = asked.removeprefix(TIMM_PREFIX)
    beginnings = tuple(
        beginning for part, family in _FAMILIES.items() if any(part in name for name in tensors) for beginning in family
    )
    torchvision = [name for name in model_names() if name.startswith(beginnings) and name != asked]
    near = difflib.get_close_matches(plain, torchvision, n=len(torchvision) or 1, cutoff=0)
    timm = [f"{TIMM_PREFIX}{name}" for name in _near_in_timm(plain)]
    yield from (*timm, *near) if asked.startswith(TIMM_PREFIX) else (*near, *timm)


def _near_in_timm(name: str) -> Iterable[str]:
    try:
        import timm  # noqa: PLC0415 - optional, and slow to import
    except ModuleNotFoundError:
        return ()
    return [near for near in difflib.get_close_matches(name, timm.list_models(), n=_NEAR) if near != name]


def _is_of(name: str, tensors: Mapping[str, Tensor]) -> bool:
    try:
        with torch.random.fork_rng(devices=()), torch.device("meta"):
            model = create_model(name, 1)
    except (UsageError, NotImplementedError):  # no linear head, or too costly to look at
        return False
    return any(fits(naming, model, tensors) for naming in namings(name, model))
