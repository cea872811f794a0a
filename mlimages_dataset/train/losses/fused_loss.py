"""The weighted sigmoid loss over all entries of a batch in one pass over a GPU's memory, by `torch.compile`.

`losses.weighted_sigmoid` computes the same in chunks of rows, one operation after the other: for each float32 entry
some 90 bytes of memory traffic, forward and backward, and 20 more to count the labels. Compiled, each of the three
functions below is one kernel that reads logits and targets and writes nothing but its result: 24 bytes in all. The
first call of each takes seconds.

Whether that is faster on a card is measured by `python -m tests.gpu`, section `loss cost`. The rule: `fused_loss`
becomes the default on GPUs once it takes at most 0.8 of the chunked form's time there, at B = 512 and at B = 4,096.

Legend: B images in a batch, C classes, x logits, y targets in [0, 1], u and v weights of the positive and the negative
term.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor
from torch.nn import functional

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.core.locations import reason

if TYPE_CHECKING:
    from collections.abc import Callable


def loss_sum(x: Tensor, y: Tensor, known: Tensor | None, u: Tensor, v: Tensor) -> Tensor:
    """Return the sum over known entries of u y softplus(-x) + v (1 - y) softplus(x), a scalar.

    Args:
        x: logits of any floating type, shape (B, C); computed in float32 (float64 stays).
        y: targets, shape (B, C).
        known: bool, shape (B, C); None where everything is known.
        u: weights of the positive term, shape (C,).
        v: weights of the negative term, shape (C,).
    """
    x = _computed(x)
    of_both, of_positive = _weights(y.to(x.dtype), known, u, v)
    return (functional.softplus(x) * of_both - of_positive * x).sum()


def slopes(x: Tensor, y: Tensor, known: Tensor | None, u: Tensor, v: Tensor) -> Tensor:
    """Return the derivatives of `loss_sum` with respect to x, of x's type, shape (B, C); arguments as there."""
    computed = _computed(x)
    of_both, of_positive = _weights(y.to(computed.dtype), known, u, v)
    return (computed.sigmoid() * of_both - of_positive).to(x.dtype)


def present_counts(y: Tensor, known: Tensor | None, presence_threshold: float) -> Tensor:
    """Return the images with each class present, target >= threshold and known, int64, shape (C,)."""
    is_present = y.to(torch.float32) >= presence_threshold
    return (is_present if known is None else is_present & known).sum(0, dtype=torch.int64)


@functools.cache
def compiled(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return one of the functions above as a kernel for any number of images; it is made when it is first called.

    Raises:
        UsageError: when called: the machine cannot compile.
    """
    kernel = cast("Callable[..., Tensor]", torch.compile(function, dynamic=True))

    @functools.wraps(function)
    def call(*arguments: object) -> Tensor:
        try:
            return kernel(*arguments)
        except RuntimeError as error:
            from torch._dynamo.exc import TorchDynamoException  # noqa: PLC0415 - takes a second, and torch.compile has it

            if not isinstance(error, TorchDynamoException):
                raise
            raise UsageError(
                f"the fused loss cannot be compiled ({reason(error)})",
                remedy="install a C compiler and Python's header files, or leave fused_loss out",
            ) from error

    return call


def _computed(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.to(torch.float32)


def _weights(y: Tensor, known: Tensor | None, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Return u y + v (1 - y) and u y of known entries, 0 elsewhere."""
    of_positive = u * y
    of_both = v + (u - v) * y
    return (of_both, of_positive) if known is None else (of_both * known, of_positive * known)
