"""Groups of parameters by weight decay and learning rate.

Wu et al. 2019, section 5.1.1: in fine-tuning, layers near the output learn fast and those near the input slowly or not.
"""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

import torch
from torch import nn

from mlimages_dataset.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mlimages_dataset.train.config import Optimizer

RATE_FACTOR = "rate_factor"
"""The key of a group's factor of the learning rate."""
_SHOWN = 5
"""Close names that a message gives at most."""


def make_optimizer(model: nn.Module, options: Optimizer) -> torch.optim.SGD:
    """Return stochastic gradient descent over a model's parameters; those of factor 0 are frozen and left out.

    Raises:
        ConfigError: a key of `layer_rates` is no prefix of a parameter's name, or every parameter is frozen.
    """
    factors = dict(rate_factors(model, options))
    decaying = set() if options.decay_norm_and_bias else {id(p) for p in _norms_and_biases(model)}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(parameter.requires_grad and factors[name] > 0)  # some the task has frozen
        if parameter.requires_grad:
            decay = 0.0 if id(parameter) in decaying else options.weight_decay
            groups.setdefault((factors[name], decay), []).append(parameter)
    if not groups:
        raise ConfigError("optimizer.layer_rates freezes every parameter", remedy="give one factor above 0")
    optimizer = torch.optim.SGD(
        [
            {"params": parameters, "weight_decay": decay, RATE_FACTOR: factor}
            for (factor, decay), parameters in groups.items()
        ],
        lr=0.0,  # set before every step
        momentum=options.momentum,
        nesterov=options.nesterov,
        fused=True,
    )
    if options.momentum:
        # If a gradient scaler skips the first step, torch 2.14's fused SGD leaves them uninitialised.
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of the next step: `rate` times each group's factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group[RATE_FACTOR]


def rate_factors(model: nn.Module, options: Optimizer) -> Iterator[tuple[str, float]]:
    """Yield each parameter's name and its factor of the learning rate.

    Raises:
        ConfigError: a key of `layer_rates` is no prefix of a parameter's name.
    """
    names = [name for name, _ in model.named_parameters()]
    for prefix, _ in options.layer_rates:
        if not any(_begins(name, prefix) for name in names):
            raise ConfigError(
                f"optimizer.layer_rates names {prefix!r}, which is no part of the model",
                remedy=f"use {', '.join(_parts_near(prefix, names))}",
            )
    for name in names:
        fitting = [(len(prefix), factor) for prefix, factor in options.layer_rates if _begins(name, prefix)]
        yield name, max(fitting)[1] if fitting else 1.0


def _parts_near(prefix: str, names: Sequence[str]) -> list[str]:
    """Return the parts of a model that a name may mean; the first two levels if none is like it.

    The first level alone, backbone and head, would not tell what the layers are called.
    """
    levels = {depth: list(dict.fromkeys(".".join(name.split(".")[:depth]) for name in names)) for depth in (1, 2, 3)}
    parts = list(dict.fromkeys(part for found in levels.values() for part in found))
    if ends := [part for part in parts if part.endswith(f".{prefix}")]:
        return ends[:_SHOWN]
    last_of = {part: part.rpartition(".")[2] for part in parts}
    like = difflib.get_close_matches(prefix.rpartition(".")[2], list(dict.fromkeys(last_of.values())), n=3, cutoff=0.7)
    near = difflib.get_close_matches(prefix, parts, n=3, cutoff=0.8)
    near += [part for last in like for part in parts if last_of[part] == last]
    return list(dict.fromkeys(near))[:_SHOWN] or [
        part for part in dict.fromkeys([*levels[1], *levels[2]]) if part not in names
    ]


def _begins(name: str, prefix: str) -> bool:
    """Return whether a dotted name begins with whole parts of another: layer1 begins layer1.0, and not layer10."""
    return f"{name}.".startswith(f"{prefix}.")


def _norms_and_biases(model: nn.Module) -> Iterator[nn.Parameter]:
    """Yield the parameters of one dimension: biases, and the scales of normalisation layers."""
    return (parameter for parameter in model.parameters() if parameter.ndim <= 1)
