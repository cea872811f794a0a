"""Networks by name."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from mlimages_dataset.core.errors import ConfigError, UsageError
from mlimages_dataset.train.learner import synchronised
from mlimages_dataset.train.losses.prior_bias import prior_bias
from mlimages_dataset.train.models import RELEASED, create_model, model_names
from mlimages_dataset.train.released_resnet import ReleasedResNet101

if TYPE_CHECKING:
    from types import ModuleType

FEATURES_OF = {
    "resnet18": 512,
    "resnet50": 2048,
    "resnext50_32x4d": 2048,
    "mobilenet_v3_small": 1024,
    "efficientnet_b0": 1280,
    "vit_b_16": 768,
    "swin_t": 768,
    "densenet121": 1024,
    "inception_v3": 2048,
}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.parametrize("name", FEATURES_OF)
def test_logits_are_the_head_of_the_pooled_features(name: str) -> None:
    # Shapes need no arithmetic: on the meta device even the largest network takes no time.
    with torch.device("meta"):
        model = create_model(name, 17).eval()
        images = torch.zeros(2, 3, 299 if name == "inception_v3" else 224, 299 if name == "inception_v3" else 224)
        features = model.features(images)
        logits = model(images)
    assert tuple(features.shape) == (2, FEATURES_OF[name]) == (2, model.n_features)
    assert tuple(logits.shape) == (2, 17) == (2, model.n_classes)


@pytest.mark.slow
def test_every_network_of_torchvision_gives_features_or_is_refused_with_a_sentence() -> None:
    refused = set()
    # RegNets draw their weights on the CPU whatever the device: two of the fifteen stand for all.
    names = [name for name in model_names() if not name.startswith("regnet") or name.endswith("_400mf")]
    for name in names:
        try:
            with torch.device("cpu" if name.startswith("regnet") else "meta"):
                model = create_model(name, 5).eval()
                features = model.features(torch.zeros(1, 3, 224, 224))
        except UsageError:
            refused.add(name)
        else:
            assert tuple(features.shape) == (1, model.n_features), name
    assert refused == {"squeezenet1_0", "squeezenet1_1"}


def test_a_torchvision_network_computes_what_torchvision_computes() -> None:
    model, theirs = create_model("resnet18", 1000).eval(), resnet18(weights=None).eval()
    state = {f"backbone.{key}": value for key, value in theirs.state_dict().items() if not key.startswith("fc.")}
    model.load_state_dict(state | {"head.weight": theirs.fc.weight, "head.bias": theirs.fc.bias})
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model(images), theirs(images))


def test_released_network_halves_the_image_at_the_stem_and_at_every_stage() -> None:
    with torch.device("meta"):
        network = ReleasedResNet101()
        x = network.stem(torch.zeros(1, 3, 224, 224))
        sizes = [tuple(x.shape[1:])]
        for stage in network.stages:
            x = stage(x)
            sizes.append(tuple(x.shape[1:]))
    assert sizes == [(64, 112, 112), (256, 56, 56), (512, 28, 28), (1024, 14, 14), (2048, 7, 7)]


def test_released_network_has_the_published_constants() -> None:
    with torch.device("meta"):
        model = create_model(RELEASED, 11166)
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.1)}
    assert len([module for module in model.modules() if isinstance(module, nn.Conv2d)]) == 1 + 33 * 3 + 4
    assert model.n_features == 2048


def test_released_network_learns() -> None:
    torch.manual_seed(0)
    model = create_model(RELEASED, 3)
    model(torch.randn(2, 3, 64, 64)).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert bool(torch.isfinite(model.backbone.get_parameter("stem.weight").grad).all())  # type: ignore[arg-type]


def test_released_network_is_the_same_with_synchronised_normalisation() -> None:
    model = create_model(RELEASED, 3).eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        before = model(images)
        after = synchronised(model).eval()(images)
    assert any(isinstance(module, nn.SyncBatchNorm) for module in model.modules())
    torch.testing.assert_close(after, before)


def test_normalisation_that_does_more_is_not_synchronised() -> None:
    class NormAct(nn.BatchNorm2d):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x).relu()

    with pytest.raises(ConfigError, match="sync_batch_norm cannot replace 0, a NormAct"):
        synchronised(nn.Sequential(NormAct(3)))


def test_the_head_starts_at_the_priors() -> None:
    model = create_model("resnet18", 2).eval()
    bias = prior_bias(torch.tensor([10, 900]), 1000)
    model.set_bias(bias)
    assert torch.equal(model.head.bias, bias)
    probabilities = model(torch.zeros(1, 3, 64, 64)).sigmoid()[0]
    torch.testing.assert_close(probabilities, torch.tensor([0.01, 0.9]), rtol=0.1, atol=0)


def test_norm_epsilon_reaches_every_batch_normalisation() -> None:
    with torch.device("meta"):
        model = create_model("resnet50", 5, norm_epsilon=1e-3)
    assert {module.eps for module in model.modules() if isinstance(module, nn.BatchNorm2d)} == {1e-3}


def test_unknown_networks_are_sentences_with_a_near_name() -> None:
    with pytest.raises(UsageError, match=r"no network 'resnet11'; did you mean .*resnet101"):
        create_model("resnet11", 5)
    with pytest.raises(UsageError, match="ends in a convolution"):
        create_model("squeezenet1_0", 5)
    with pytest.raises(UsageError, match="a head of 0 classes"):
        create_model("resnet18", 0)


def test_a_network_of_timm_without_timm_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UsageError, match="timm/resnet50 is a model of timm; pip install timm"):
        create_model("timm/resnet50", 5)


def test_a_network_of_timm_is_a_backbone() -> None:
    timm: ModuleType = pytest.importorskip("timm", reason="timm is optional")
    assert timm.is_model("mobilenetv3_small_100")
    model = create_model("timm/mobilenetv3_small_100", 5).eval()
    images = torch.randn(2, 3, 64, 64)
    assert tuple(model.features(images).shape) == (2, model.n_features)
    torch.testing.assert_close(model(images), model.head(model.features(images)))
    with pytest.raises(UsageError, match="timm has no model 'mobilenetv3_smal'; did you mean"):
        create_model("timm/mobilenetv3_smal", 5)
