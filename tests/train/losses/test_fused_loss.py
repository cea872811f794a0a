"""The functions that become kernels are themselves once compiled."""

from __future__ import annotations

import shutil

import pytest
import torch

from mlimages_dataset.train.losses.fused_loss import compiled, loss_sum, present_counts, slopes
from tests.train.losses.test_ml_images import batches

THRESHOLD = 0.7


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("gcc") is None, reason="torch.compile needs a C compiler")
# What the compiler itself does is not this test's.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("with_mask", [False, True])
def test_compiled_functions_are_themselves_for_any_number_of_images(with_mask: bool) -> None:  # noqa: FBT001 - a parameter
    for logits, targets, mask in (batches(1, n, 50)[0] for n in (16, 9)):
        known = mask if with_mask else None
        weights = torch.rand(50, generator=torch.Generator().manual_seed(0))
        labels = (targets, known, 12 * weights, weights)
        torch.testing.assert_close(compiled(loss_sum)(logits, *labels), loss_sum(logits, *labels))
        torch.testing.assert_close(compiled(slopes)(logits, *labels), slopes(logits, *labels))
        counts = compiled(present_counts)(targets, known, THRESHOLD)
        assert counts.tolist() == present_counts(targets, known, THRESHOLD).tolist()
