"""Multi-label classifiers by name: a backbone that gives one feature vector per image, and a linear head.

Legend: B images in a batch, C classes, D features, H and W pixels.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torchvision import models as torchvision_models
from torchvision.models.resnet import Bottleneck, ResNet

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.train.released_resnet import ReleasedResNet101

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

RELEASED = "resnet101_released"
"""The published network, see `released_resnet`."""
TIMM_PREFIX = "timm/"
"""Prefix of the names of timm's models."""
AUXILIARY_HEADS = ("googlenet", "inception_v3")
"""Networks of torchvision with auxiliary heads in training, which are left out here."""
SCALING = "input_scaling."
"""Prefix of the tensor names of the input's scaling."""


class InputScaling(nn.Module):
    """Converts pixels in [-1, 1] to the input range of foreign weights.

    Attributes:
        mean: of each colour of pixels in [0, 1], shape (3, 1, 1); it is subtracted.
        std: divisor after the subtraction, shape (3, 1, 1).
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Store the constants as buffers, so that they are part of the network's state."""
        super().__init__()
        self.register_buffer("mean", torch.tensor(tuple(mean), dtype=torch.float32).reshape(3, 1, 1))
        self.register_buffer("std", torch.tensor(tuple(std), dtype=torch.float32).reshape(3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Return images in [-1, 1] as (pixel - mean) / std of pixels in [0, 1], shape (B, 3, H, W)."""
        return ((images + 1) * 0.5 - self.mean) / self.std


class MultiLabelClassifier(nn.Module):
    """Logits of images in [-1, 1], one per class: `head(features(images))`.

    Attributes:
        backbone: images (B, 3, H, W) to features (B, D).
        head: features to logits (B, C).
        input_scaling: first layer for the images; None for a backbone that was trained on [-1, 1].
        original_head: the backbone's own name for the layer that the head replaces; empty if it never had one.
        usual_size: side in pixels of the images that the backbone was made for; 0 if it states none.
    """

    usual_size: int = 0
    input_scaling: InputScaling | None

    def __init__(self, backbone: nn.Module, n_features: int, n_classes: int, *, original_head: str = "") -> None:
        """Put a new head on a backbone: small random weights and no bias (see `set_bias`).

        Args:
            backbone: images (B, 3, H, W) to features (B, D).
            n_features: D.
            n_classes: C.
            original_head: the backbone's own name for the layer that the head replaces.
        """
        super().__init__()
        self.register_module("input_scaling", None)
        self.original_head = original_head
        self.backbone = backbone
        self.head = nn.Linear(n_features, n_classes)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)

    @property
    def n_features(self) -> int:
        """Number of features, D."""
        return self.head.in_features

    @property
    def n_classes(self) -> int:
        """Number of classes, C."""
        return self.head.out_features

    def features(self, images: Tensor) -> Tensor:
        """Return the pooled features of images, shape (B, D)."""
        if self.input_scaling is not None:
            images = self.input_scaling(images)
        features: Tensor = self.backbone(images)
        return features

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of images, shape (B, C)."""
        logits: Tensor = self.head(self.features(images))
        return logits

    @torch.no_grad()
    def set_bias(self, bias: Tensor) -> None:
        """Set the head's initial bias, shape (C,), such as that of `losses.prior_bias`."""
        self.head.bias.copy_(bias)

    def expect_scaling(self, state: Mapping[str, Any], prefix: str = "") -> None:
        """Have an input scaling, to be loaded, exactly if a state has one."""
        parts = [state.get(f"{prefix}{SCALING}{name}") for name in ("mean", "std")]
        self.input_scaling = None
        if all(isinstance(part, Tensor) for part in parts):
            self.input_scaling = InputScaling((0, 0, 0), (1, 1, 1)).to(self.head.weight.device)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Take the input's scaling from the state, because it belongs to the weights, then load as torch does."""
        self.expect_scaling(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *rest)


def create_model(name: str, n_classes: int, *, norm_epsilon: float | None = None) -> MultiLabelClassifier:
    """Return a network with random weights and a head of n_classes.

    Args:
        name: `resnet101_released`; a classification network of torchvision, such as `resnet50`; or `timm/` and the name
            of a model of timm.
        n_classes: C.
        norm_epsilon: added to the variance by batch normalisation, 0.001 in section 4.1.3; None keeps each network's.

    Raises:
        UsageError: no such network, timm is asked for and not installed, or the network ends in no linear layer.
    """
    if n_classes < 1:
        raise UsageError(f"a head of {n_classes} classes", remedy="give the vocabulary's number of classes")
    if name == RELEASED:
        model = MultiLabelClassifier(ReleasedResNet101(), ReleasedResNet101.n_features, n_classes)
    elif name.startswith(TIMM_PREFIX):
        model = _timm_model(name.removeprefix(TIMM_PREFIX), n_classes)
    else:
        model = _torchvision_model(name, n_classes)
    if norm_epsilon is not None:
        for norm in batch_norms(model):
            norm.eps = norm_epsilon
    return model


_DEEPER: dict[str, Callable[[], nn.Module]] = {
    "resnext152_32x8d": lambda: ResNet(Bottleneck, [3, 8, 36, 3], groups=32, width_per_group=8)
}
"""Networks of torchvision's parts that it has no name for: ResNeXt (Xie et al. 2017,
https://arxiv.org/abs/1611.05431) of the depths of ResNet-152."""


def model_names() -> tuple[str, ...]:
    """Return the names that `create_model` knows without timm."""
    return (RELEASED, *_DEEPER, *torchvision_models.list_models(module=torchvision_models))


def _torchvision_model(name: str, n_classes: int) -> MultiLabelClassifier:
    """Return a torchvision network whose last linear layer is replaced by the head.

    Raises:
        UsageError: torchvision has no such network, or it ends in no linear layer.
    """
    names = model_names()
    if name not in names:
        near = difflib.get_close_matches(name, names, n=3)
        raise UsageError(
            f"no network {name!r}",
            remedy=(f"did you mean {' or '.join(near)}? " if near else "")
            + f"torchvision's classification networks, {RELEASED} and {TIMM_PREFIX}NAME are known",
        )
    options = {"aux_logits": False, "init_weights": True} if name in AUXILIARY_HEADS else {}
    network = _DEEPER[name]() if name in _DEEPER else torchvision_models.get_model(name, weights=None, **options)
    # Layers are registered in the order of their use: the classifier is the last one with weights.
    path, layer = [
        (path, layer) for path, layer in network.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)
    ][-1]
    if not isinstance(layer, nn.Linear):
        raise UsageError(f"{name} ends in a convolution", remedy="choose a network that ends in a linear layer")
    parent, _, attribute = path.rpartition(".")
    setattr(network.get_submodule(parent), attribute, nn.Identity())
    model = MultiLabelClassifier(network, layer.in_features, n_classes, original_head=path)
    model.usual_size = int(getattr(network, "image_size", 0))
    return model


def _timm_model(name: str, n_classes: int) -> MultiLabelClassifier:
    """Return a network of timm without its classifier, under the head.

    Raises:
        UsageError: timm is not installed or has no such network.
    """
    try:
        import timm  # noqa: PLC0415  # optional, and slow to import
    except ModuleNotFoundError as error:
        raise UsageError(f"{TIMM_PREFIX}{name} is a model of timm", remedy="pip install timm") from error
    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=3)
        raise UsageError(f"timm has no model {name!r}", remedy=f"did you mean {' or '.join(near)}?" if near else "")
    backbone: Any = timm.create_model(name, pretrained=False, num_classes=0)  # its attributes are not part of torch
    # Some networks have layers between pooling and classifier: then there are more features than num_features.
    n_features: int = getattr(backbone, "head_hidden_size", None) or backbone.num_features
    heads = backbone.pretrained_cfg.get("classifier")
    head = heads if isinstance(heads, str) else ""
    model = MultiLabelClassifier(backbone, n_features, n_classes, original_head=head)
    model.usual_size = int(backbone.pretrained_cfg["input_size"][-1])
    return model


def batch_norms(model: nn.Module) -> Iterator[nn.modules.batchnorm._BatchNorm]:
    """Return the batch normalisations of a model, of any number of dimensions and kind."""
    kinds = nn.modules.batchnorm._BatchNorm  # noqa: SLF001 - torch has no public name for all kinds
    return (module for module in model.modules() if isinstance(module, kinds))
