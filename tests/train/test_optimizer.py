"""Which parameters decay, and which learn how fast."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mlimages_dataset.core.errors import ConfigError
from mlimages_dataset.train.config import Optimizer
from mlimages_dataset.train.models import create_model
from mlimages_dataset.train.optimizer import RATE_FACTOR, make_optimizer, rate_factors, set_rate
from mlimages_dataset.train.run_files import read_run, run_file


def test_norms_and_biases_do_not_decay_unless_asked_to() -> None:
    model = create_model("resnet18", 3)
    for asked in (False, True):
        optimizer = make_optimizer(model, Optimizer(weight_decay=0.1, decay_norm_and_bias=asked))
        decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
        for name, parameter in model.named_parameters():
            plain = name.endswith("bias") or ".bn" in name or "downsample.1" in name
            assert decays[id(parameter)] == (0.0 if plain and not asked else 0.1), name


def test_the_papers_fine_tuning_freezes_the_lower_two_stages() -> None:
    options = read_run(run_file("packaged:imagenet-4.toml")).optimizer
    factors = dict(rate_factors(create_model("resnet101", 3), options))
    frozen = {name.split(".")[1] for name, factor in factors.items() if factor == 0}
    learning = {name.split(".")[1] for name, factor in factors.items() if factor == 1}
    assert frozen == {"conv1", "bn1", "layer1", "layer2"}
    assert learning == {"layer3", "layer4", "weight", "bias"}


def test_the_longest_beginning_decides_and_parts_of_names_are_whole() -> None:
    model = torch.nn.ModuleDict({name: torch.nn.Linear(2, 2) for name in ("layer1", "layer10")})
    factors = dict(rate_factors(model, Optimizer(layer_rates=(("layer1", 0.5), ("layer1.bias", 0.0)))))
    assert factors == {"layer1.weight": 0.5, "layer1.bias": 0.0, "layer10.weight": 1.0, "layer10.bias": 1.0}


def test_every_group_follows_the_rate_by_its_factor() -> None:
    model = torch.nn.ModuleDict({name: torch.nn.Linear(2, 2) for name in ("low", "high")})
    optimizer = make_optimizer(model, Optimizer(layer_rates=(("low", 0.1),)))
    set_rate(optimizer, 0.8)
    rates = {group[RATE_FACTOR]: group["lr"] for group in optimizer.param_groups}
    assert rates == pytest.approx({0.1: 0.08, 1.0: 0.8})


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("conv1", "use backbone.conv1$"),
        ("layer1", "use backbone.layer1$"),
        ("layer1.0", r"use backbone.layer1\.0$"),
        ("bakbone", "use backbone$"),
        ("backbone.layr1", "use backbone.layer1, "),
        ("zzz", "use backbone, head, backbone.conv1, backbone.bn1, backbone.layer1, .*, backbone.layer4$"),
    ],
)
def test_an_unknown_part_is_answered_by_close_ones_or_all(given: str, told: str) -> None:
    model = create_model("resnet18", 2)
    with pytest.raises(ConfigError, match=told) as refused:
        make_optimizer(model, Optimizer(layer_rates=((given, 0.5),)))
    for part in str(refused.value).rpartition("use ")[2].split(", "):
        assert make_optimizer(model, Optimizer(layer_rates=((part, 0.5),)))


def test_a_rate_for_no_layer_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ConfigError, match="layer_rates names 'layer5', which is no part of the model; use low"):
        make_optimizer(torch.nn.ModuleDict({"low": torch.nn.Linear(2, 2)}), Optimizer(layer_rates=(("layer5", 0.1),)))


def test_freezing_everything_is_refused() -> None:
    with pytest.raises(ConfigError, match="freezes every parameter"):
        make_optimizer(torch.nn.ModuleDict({"low": torch.nn.Linear(2, 2)}), Optimizer(layer_rates=(("low", 0.0),)))


def test_a_first_step_that_the_gradient_scaler_skips_leaves_no_trace() -> None:
    # The gradients of the first step overflow, as float16's often do: torch's fused SGD then makes momentum of whatever
    # the memory held.
    ours, plain = (nn.Linear(1000, 1000, bias=False) for _ in range(2))
    plain.load_state_dict(ours.state_dict())
    optimizer = make_optimizer(ours, Optimizer(weight_decay=0.0))
    reference = torch.optim.SGD(plain.parameters(), lr=0.1, momentum=0.9)
    scaler = torch.amp.GradScaler("cpu")
    for step, factor in enumerate((1e38, 1.0, 1.0)):
        set_rate(optimizer, 0.1)
        scaler.scale((ours.weight * factor).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        if step:
            plain.weight.sum().backward()
            reference.step()
            reference.zero_grad()
    torch.testing.assert_close(ours.weight, plain.weight)
    (state,) = optimizer.state.values()
    torch.testing.assert_close(state["momentum_buffer"], torch.full_like(ours.weight, 1.9))
