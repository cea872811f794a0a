"""The adaptive weights lie where the paper says."""

from __future__ import annotations

import math

import pytest
import torch

from mlimages_dataset.train.losses.adaptive_weights import negative_coefficient, positive_coefficient


def test_coefficients_lie_in_the_ranges_that_section_4_1_1_states() -> None:
    t = torch.arange(1, 1000)
    assert positive_coefficient(t).tolist() == sorted(positive_coefficient(t).tolist(), reverse=True)
    assert positive_coefficient(t).min().item() == pytest.approx(0.01)
    assert positive_coefficient(t).max().item() == pytest.approx(math.log10(10 / 1.01))
    assert negative_coefficient(t).min().item() == pytest.approx(0.01)
    assert negative_coefficient(t).max().item() == pytest.approx(math.log10(10 / 9))
