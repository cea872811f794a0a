"""The loss against an oracle in plain numpy written from the equations, and against published values."""

from __future__ import annotations

import copy
import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.train.losses import label_counts, weighted_sigmoid
from mlimages_dataset.train.losses.label_counts import LabelCounts, count_labels, labelled_entries
from mlimages_dataset.train.losses.ml_images import MLImagesLoss, Variant
from mlimages_dataset.train.losses.weighted_sigmoid import BatchWeights, weighted_sigmoid_loss
from tests.train.two_ranks import run_on_ranks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

ETA = 12
WITH_WEIGHT = weighted_sigmoid._with_weight
OBSERVE = MLImagesLoss.observe
THRESHOLD = 0.7


@pytest.fixture(autouse=True, params=["all entries", "those with a weight", "all entries, fused"])
def both_ways(request: pytest.FixtureRequest) -> Iterator[None]:
    """Compute every test's loss over all entries, and over those with a weight alone, however many these are.

    All entries are computed in chunks, and by the functions that become one kernel each; these are not compiled here.
    """
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        if request.param != "those with a weight":
            list_by(patch, lambda targets: None)  # noqa: ARG005 - as it is called
            if request.param == "all entries, fused":
                for module in (label_counts, weighted_sigmoid):
                    patch.setattr(module, "compiled", lambda function: function)
                patch.setattr(MLImagesLoss, "observe", observe_fused)
        else:
            list_by(patch, above_zero)
            patch.setattr(weighted_sigmoid, "_with_weight", with_weight)
        yield


def list_by(patch: pytest.MonkeyPatch, listed: Callable[[Tensor], Tensor | None]) -> None:
    """Let a function list the entries with labels, for counting and for the sum."""
    for module in (label_counts, weighted_sigmoid):
        patch.setattr(module, "labelled_entries", listed)


def observe_fused(loss: MLImagesLoss, counts: LabelCounts) -> BatchWeights:
    """Return the weights of a batch, to be computed with by the functions that become kernels."""
    return dataclasses.replace(OBSERVE(loss, counts), fused=True)


def above_zero(targets: Tensor) -> Tensor:
    return torch.nonzero(~(targets.reshape(-1) <= 0)).squeeze(1)


def with_weight(targets: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
    labelled = above_zero(targets)
    return torch.nonzero(negative > 0).squeeze(1), labelled[negative[labelled % len(negative)] == 0]


def batches(
    n: int, n_images: int, n_classes: int, seed: int = 0, density: float = 0.1
) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Return logits, targets with weak and strong confidences, and known-masks."""
    rng = np.random.default_rng(seed)
    shape = (n_images, n_classes)
    result = []
    for _ in range(n):
        targets = np.where(rng.random(shape) < density, rng.choice([0.6, 0.8, 0.9, 1.0], shape), 0)
        known = rng.random(shape) < 0.8
        result.append(
            (
                torch.tensor(rng.standard_normal(shape) * 4, dtype=torch.float32),
                torch.tensor(targets, dtype=torch.float32),
                torch.tensor(known),
            )
        )
    return result


def loss_and_gradient(loss: MLImagesLoss, logits: Tensor, *labels: Tensor) -> tuple[float, Floats]:
    x = logits.clone().requires_grad_()
    value = loss(x, *labels)
    value.backward()
    assert x.grad is not None
    return value.item(), x.grad.to(torch.float64).numpy()


def rounding(gradient: Floats) -> float:
    """Return the error that p - 1 for p near 1 may have in float32, as torch's own cross-entropy has it."""
    return 1e-6 * float(np.abs(gradient).max())


def entry_losses(x: Floats) -> tuple[Floats, Floats]:
    """Return -log p and -log(1 - p)."""
    return np.logaddexp(0, -x), np.logaddexp(0, x)


class StatusVector:
    """Section 4.1.1 word by word: a status of each class after each mini-batch, and t that counts repetitions."""

    def __init__(self, n_classes: int) -> None:
        self.status: list[bool | None] = [None] * n_classes
        self.t = [0] * n_classes

    def observe(self, positive: NDArray[np.bool_]) -> Floats:
        """Return t of each class after a mini-batch."""
        for j, now in enumerate(positive.tolist()):
            self.t[j] = self.t[j] + 1 if self.status[j] == now else 1
            self.status[j] = now
        return np.array(self.t, np.float64)


def paper_oracle(
    x: Floats, y: Floats, known: NDArray[np.bool_], t: Floats, kept: NDArray[np.bool_]
) -> tuple[float, Floats]:
    """Return the mean of eq. 1 over a batch and its gradient; `kept` says which entries' negative terms count."""
    r1 = np.maximum(0.01, np.log10(10 / (0.01 + t)))
    r0 = np.maximum(0.01, np.log10(10 / (8 + t)))
    of_positive, of_negative = entry_losses(x)
    p = 1 / (1 + np.exp(-x))
    m = x.shape[1]
    losses = known * (r1 * ETA * y * of_positive + r0 * kept * (1 - y) * of_negative) / m
    gradient = known * (r1 * ETA * y * (p - 1) + r0 * kept * (1 - y) * p) / m
    return float(losses.sum(1).mean()), gradient / len(x)


@pytest.mark.parametrize("absent_class_rate", [0, 1])
def test_paper_variant_is_equation_1(absent_class_rate: int) -> None:
    loss = MLImagesLoss(23, "paper", absent_class_rate=absent_class_rate, negatives_per_positive=None)
    statuses = StatusVector(23)
    for logits, targets, known in batches(12, 6, 23):
        x, y, k = logits.double().numpy(), targets.double().numpy(), known.numpy()
        positive = ((y > THRESHOLD) & k).any(0)
        t = statuses.observe(positive)
        active = positive | (absent_class_rate == 1)
        expected_loss, expected_gradient = paper_oracle(x, y * active, k, t, active & np.ones_like(k))
        value, gradient = loss_and_gradient(loss, logits, targets, known)
        assert value == pytest.approx(expected_loss, rel=1e-5)
        np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-5, atol=rounding(expected_gradient))


@pytest.mark.parametrize("absent_class_rate", [0, 1])
def test_released_variant_is_its_description(absent_class_rate: int) -> None:
    loss = MLImagesLoss(23, "released", absent_class_rate=absent_class_rate)
    p_streak, q_streak = np.zeros(23), np.zeros(23)
    for logits, targets, known in batches(12, 6, 23, seed=1):
        x, y, k = logits.double().numpy(), targets.double().numpy(), known.numpy()
        positive = ((y > THRESHOLD) & k).any(0)
        p_streak = np.where(positive, p_streak + 1, 0)
        q_streak = np.where(positive, 0, q_streak + absent_class_rate)
        a = np.maximum(np.log10(10 / (0.01 + p_streak)), 0.01)
        b = np.log10(10 / (8 + q_streak))
        b = np.where(b > 0.01, b, 0.001) * absent_class_rate
        coefficient = np.where(positive, a, b)
        entries = (1 - y) * x + (1 + 11 * y) * (np.log1p(np.exp(-np.abs(x))) + np.maximum(-x, 0))
        of_sigmoid = 1 / (1 + np.exp(-x))
        slopes = (1 - y) - (1 + 11 * y) * (1 - of_sigmoid)
        value, gradient = loss_and_gradient(loss, logits, targets, known)
        assert value == pytest.approx((coefficient * (k * entries).mean(0)).sum(), rel=1e-5)
        np.testing.assert_allclose(gradient, coefficient * k * slopes / 6, rtol=1e-5, atol=rounding(gradient))


@pytest.mark.shared_data
@pytest.mark.parametrize(("rate", "name"), [(1, "always"), (0, "never")])
def test_released_variant_gives_the_published_codes_values(shared_data: Path, rate: int, name: str) -> None:
    golden = np.load(shared_data / "golden" / "released_loss.npz")
    loss = MLImagesLoss(golden["logits"].shape[2], "released", absent_class_rate=rate)
    for logits, labels, expected, expected_gradient in zip(
        golden["logits"], golden["labels"], golden[f"{name}_loss"], golden[f"{name}_grad"], strict=True
    ):
        targets = torch.tensor(labels)
        value, gradient = loss_and_gradient(loss, torch.tensor(logits), targets, targets >= 0)
        assert value == pytest.approx(expected, rel=1e-5)
        np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-5, atol=rounding(expected_gradient))


def kept_negatives(loss: MLImagesLoss, targets: Tensor) -> NDArray[np.bool_]:
    """Return the entries of the next batch whose negative term has a weight; targets are 0 or 1."""
    weights = loss.observe(count_labels(targets, None, THRESHOLD))
    kept = (weights.negative > 0).expand(targets.shape).clone()
    if weights.windows is not None:
        kept.view(-1)[weights.windows.entries(slice(0, len(targets)))] = True
    return (kept & (targets == 0)).numpy()


def hard_targets(n_images: int, positives: list[int]) -> Tensor:
    """Return targets in which class j has positives[j] of the images, the first ones."""
    rows = torch.arange(n_images)[:, None]
    return (rows < torch.tensor(positives)).to(torch.float32)


def test_negatives_are_down_sampled_to_five_times_the_positives() -> None:
    targets = hard_targets(64, [1, 2, 3, 8, 10, 11, 40, 64])
    loss = MLImagesLoss(8, "paper", absent_class_rate=0)
    kept = np.array([kept_negatives(loss, targets).sum(0) for _ in range(400)])
    negatives = 64 - targets.sum(0).numpy()
    wanted = np.minimum(5 * targets.sum(0).numpy(), negatives)
    # 5 N / negatives images are drawn, of which the positives are not kept: the count varies a little.
    np.testing.assert_allclose(kept.mean(0), wanted, rtol=0.02)
    assert kept[:, 0].min() >= 4
    np.testing.assert_array_equal(kept[:, 5:], np.broadcast_to(wanted[5:], (400, 3)))


@pytest.mark.slow
def test_less_than_one_negative_may_be_wanted() -> None:
    loss = MLImagesLoss(1, "paper", negatives_per_positive=0.25)
    kept = [kept_negatives(loss, hard_targets(16, [1])).sum() for _ in range(1000)]
    assert np.mean(kept) == pytest.approx(0.25, abs=0.07)


@pytest.mark.slow
def test_every_negative_is_kept_equally_often_and_independently_of_other_classes() -> None:
    targets = hard_targets(20, [1, 1])
    loss = MLImagesLoss(2, "paper")
    kept = np.array([kept_negatives(loss, targets)[1:] for _ in range(1000)])
    # 5 of 19; the standard error of a frequency over 1,000 batches is 0.014.
    np.testing.assert_allclose(kept.mean(0), 5 / 19, atol=0.07)
    both = kept[:, :, 0].T.astype(float) @ kept[:, :, 1] / len(kept)
    np.testing.assert_allclose(both, (5 / 19) ** 2, atol=0.07)


def test_down_sampled_loss_is_equation_1_over_the_kept_entries() -> None:
    statuses = StatusVector(40)
    loss = MLImagesLoss(40, "paper")
    for logits, targets, known in batches(8, 48, 40, density=0.02):
        probe = copy.deepcopy(loss)
        _, at_large = loss_and_gradient(
            probe, torch.full_like(logits, 30.0), torch.zeros_like(targets) + targets, known
        )
        y, k = targets.double().numpy(), known.numpy()
        positive = ((y > THRESHOLD) & k).any(0)
        t = statuses.observe(positive)
        kept = at_large > 0
        # At a large logit, a weak or strong positive's own term is flat; one of confidence 1 has no negative term.
        active = positive | kept.any(0)
        expected_loss, expected_gradient = paper_oracle(logits.double().numpy(), y * active, k, t, kept)
        value, gradient = loss_and_gradient(loss, logits, targets, known)
        assert value == pytest.approx(expected_loss, rel=1e-5)
        np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-5, atol=rounding(expected_gradient))


@pytest.mark.parametrize("variant", list(Variant))
def test_classes_without_positives_are_updated_at_the_rate(variant: str) -> None:
    loss = MLImagesLoss(2000, variant, absent_class_rate=0.1)
    targets = torch.zeros(2, 2000)
    updated = np.array([kept_negatives(loss, targets) for _ in range(20)])
    assert bool((updated[:, 0] == updated[:, 1]).all())
    # 40,000 draws: the standard error is 0.0015.
    assert updated[:, 0].mean() == pytest.approx(0.1, abs=0.0075)


@pytest.mark.parametrize("variant", list(Variant))
def test_gradient_is_that_of_finite_differences(variant: str) -> None:
    logits, targets, known = batches(1, 4, 9, density=0.3)[0]
    loss = MLImagesLoss(9, variant).eval()
    assert torch.autograd.gradcheck(loss, (logits.double().requires_grad_(), targets, known))


@pytest.mark.parametrize("variant", list(Variant))
def test_what_unknown_entries_hold_is_of_no_effect(variant: str) -> None:
    logits, targets, known = batches(1, 8, 30)[0]
    loss, other = MLImagesLoss(30, variant), MLImagesLoss(30, variant)
    value, gradient = loss_and_gradient(loss, logits, targets, known)
    changed_value, changed_gradient = loss_and_gradient(
        other, torch.where(known, logits, 5.0), torch.where(known, targets, -1.0), known
    )
    assert value == changed_value
    np.testing.assert_array_equal(gradient, changed_gradient)
    np.testing.assert_array_equal(gradient[~known.numpy()], 0)


def test_everything_known_is_no_mask() -> None:
    logits, targets, _ = batches(1, 8, 30)[0]
    masked = loss_and_gradient(MLImagesLoss(30, "paper"), logits, targets, torch.ones_like(targets, dtype=torch.bool))
    plain = loss_and_gradient(MLImagesLoss(30, "paper"), logits, targets)
    assert masked[0] == plain[0]
    np.testing.assert_array_equal(masked[1], plain[1])


@pytest.mark.parametrize("variant", list(Variant))
def test_a_resumed_loss_goes_on_bit_for_bit(variant: str) -> None:
    stream = batches(20, 8, 50)
    whole = MLImagesLoss(50, variant, seed=3)
    expected = [loss_and_gradient(whole, *batch) for batch in stream]
    first = MLImagesLoss(50, variant, seed=3)
    for batch in stream[:10]:
        first(*batch)
    resumed = MLImagesLoss(50, variant)
    resumed.load_state_dict(copy.deepcopy(first.state_dict()))
    for batch, (value, gradient) in zip(stream[10:], expected[10:], strict=True):
        again, gradient_again = loss_and_gradient(resumed, *batch)
        assert again == value
        np.testing.assert_array_equal(gradient_again, gradient)


def test_evaluation_mode_leaves_no_trace() -> None:
    loss = MLImagesLoss(50, "paper")
    stream = batches(4, 8, 50)
    loss(*stream[0])
    before = copy.deepcopy(loss.state_dict())
    loss.eval()
    for batch in stream[1:]:
        loss(*batch)
    for name, value in loss.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("variant", list(Variant))
def test_accumulated_micro_batches_are_one_batch(variant: str) -> None:
    logits, targets, known = batches(1, 12, 60)[0]
    whole, parts = MLImagesLoss(60, variant), MLImagesLoss(60, variant)
    value, gradient = loss_and_gradient(whole, logits, targets, known)
    rows = [slice(0, 4), slice(4, 8), slice(8, 12)]
    counts = [count_labels(targets[r], known[r], THRESHOLD) for r in rows]
    weights = parts.observe(sum(counts[1:], start=counts[0]))
    x = logits.clone().requires_grad_()
    losses = [weighted_sigmoid_loss(x[r], targets[r], known[r], weights, first_row=r.start) / 3 for r in rows]
    torch.stack(losses).sum().backward()
    assert torch.stack(losses).sum().item() == pytest.approx(value, rel=1e-6)
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), gradient, rtol=1e-6, atol=1e-10)
    assert torch.equal(whole.streak, parts.streak)


@given(cut=st.integers(1, 8), seed=st.integers(0, 100))
def test_counts_of_parts_add_up(cut: int, seed: int) -> None:
    _, targets, known = batches(1, 9, 5, seed)[0]
    parts = count_labels(targets[:cut], known[:cut], THRESHOLD) + count_labels(targets[cut:], known[cut:], THRESHOLD)
    whole = count_labels(targets, known, THRESHOLD)
    present = (targets.numpy() > THRESHOLD) & known.numpy()
    for counts in (parts, whole):
        assert counts.present.tolist() == present.sum(0).tolist()
        assert counts.known.tolist() == known.sum(0).tolist()
        assert counts.n_images == 9


@pytest.mark.parametrize("variant", list(Variant))
@pytest.mark.parametrize(("density", "sparse"), [(0.001, True), (0.2, False)])
def test_few_labels_are_listed_and_many_are_not(variant: str, density: float, sparse: bool) -> None:  # noqa: FBT001 - a parameter
    logits, targets, known = batches(1, 8, 3000, density=density)[0]
    expected, expected_gradient = loss_and_gradient(MLImagesLoss(3000, variant), logits, targets, known)
    found = []

    def listed(targets: Tensor) -> Tensor | None:
        found.append(labelled_entries(targets))
        return found[-1]

    with pytest.MonkeyPatch.context() as patch:
        list_by(patch, listed)
        patch.setattr(weighted_sigmoid, "_with_weight", WITH_WEIGHT)
        value, gradient = loss_and_gradient(MLImagesLoss(3000, variant), logits, targets, known)
    assert [one is not None for one in found] == [sparse] * 2
    assert value == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-5, atol=rounding(expected_gradient))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_presence_is_decided_in_float32(dtype: torch.dtype) -> None:
    targets = torch.tensor([[0.7, 0.9, 0.0]], dtype=dtype)
    for threshold in (0.7, 0.9):
        present = count_labels(targets, None, threshold).present
        assert present.tolist() == (targets.float() >= threshold).sum(0).tolist()


def of_ranks(rank: int, n_ranks: int) -> dict[str, list[Any]]:
    """Return each variant's losses, gradients and streaks of one rank's share of some batches."""
    return {variant: of_rank(rank, n_ranks, variant) for variant in Variant}


def of_rank(rank: int, n_ranks: int, variant: str) -> list[Any]:
    loss = MLImagesLoss(40, variant)
    result = []
    for logits, targets, known in batches(6, 12, 40):
        # Unequal shares: the place of a rank's images follows from the sizes of all.
        rows = slice(0, 12) if n_ranks == 1 else (slice(0, 7), slice(7, 12))[rank]
        value, gradient = loss_and_gradient(loss, logits[rows], targets[rows], known[rows])
        result.append((value, gradient, loss.streak.tolist()))
    return result


@pytest.mark.slow
def test_two_ranks_are_one_with_the_joint_batch() -> None:
    joint = of_ranks(0, 1)
    first, second = run_on_ranks(of_ranks)
    for variant in Variant:
        for (value, gradient, streak), (value_0, gradient_0, streak_0), (value_1, gradient_1, streak_1) in zip(
            joint[variant], first[variant], second[variant], strict=True
        ):
            assert streak_0 == streak_1 == streak
            assert (7 * value_0 + 5 * value_1) / 12 == pytest.approx(value, rel=1e-6)
            of_both = np.concatenate((7 * gradient_0, 5 * gradient_1)) / 12
            np.testing.assert_allclose(of_both, gradient, rtol=1e-5, atol=rounding(gradient))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_logits_are_computed_in_float32(dtype: torch.dtype) -> None:
    logits, targets, known = batches(1, 16, 64)[0]
    logits = logits.to(dtype)
    value, gradient = loss_and_gradient(MLImagesLoss(64, "released"), logits, targets, known)
    expected, expected_gradient = loss_and_gradient(MLImagesLoss(64, "released"), logits.float(), targets, known)
    assert value == expected
    np.testing.assert_array_equal(gradient, torch.tensor(expected_gradient).to(dtype).double().numpy())


def test_a_gradient_scaler_keeps_small_gradients_from_underflowing_in_float16() -> None:
    targets = hard_targets(64, [1] + [64] * 4000)
    logits = torch.full_like(targets, -8.0).half().requires_grad_()
    loss = MLImagesLoss(4001, "paper", negatives_per_positive=None)
    (loss(logits, targets) * 2.0**16).backward()
    assert logits.grad is not None
    assert bool((logits.grad[1:, 0] > 0).all())


def test_autocast_changes_nothing() -> None:
    logits, targets, known = batches(1, 16, 64)[0]
    expected, expected_gradient = loss_and_gradient(MLImagesLoss(64, "paper"), logits, targets, known)
    with torch.autocast("cpu", torch.bfloat16):
        value, gradient = loss_and_gradient(MLImagesLoss(64, "paper"), logits, targets, known)
    assert value == expected
    np.testing.assert_array_equal(gradient, expected_gradient)


@pytest.mark.slow
# The compiler itself looks at intermediate tensors.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
@pytest.mark.parametrize("variant", list(Variant))
def test_a_compiled_loss_is_the_same(variant: str) -> None:
    plain, compiled = MLImagesLoss(30, variant), MLImagesLoss(30, variant)
    compiled.compile(backend="eager")
    for batch in batches(3, 8, 30):
        value, gradient = loss_and_gradient(plain, *batch)
        again, gradient_again = loss_and_gradient(compiled, *batch)
        assert again == value
        np.testing.assert_array_equal(gradient_again, gradient)
    assert torch.equal(plain.streak, compiled.streak)


@given(factor=st.floats(0.1, 100))
def test_the_gradient_may_be_taken_twice_and_is_linear(factor: float) -> None:
    logits, targets, known = batches(1, 4, 20)[0]
    logits.requires_grad_()
    value = MLImagesLoss(20, "paper")(logits, targets, known)
    (first,) = torch.autograd.grad(value, logits, retain_graph=True)
    (second,) = torch.autograd.grad(value * factor, logits)
    torch.testing.assert_close(second, factor * first)


def test_large_logits_stay_finite() -> None:
    logits = torch.tensor([[1e4, -1e4], [-1e4, 1e4]])
    value, gradient = loss_and_gradient(MLImagesLoss(2, "paper"), logits, torch.tensor([[1.0, 1.0], [1.0, 0.0]]))
    assert math.isfinite(value)
    assert bool(np.isfinite(gradient).all())


def test_nan_is_not_hidden() -> None:
    logits = torch.zeros(2, 3)
    logits[0, 0] = torch.nan
    assert math.isnan(MLImagesLoss(3, "paper")(logits, torch.ones(2, 3)).item())


def test_bad_options_and_shapes_are_sentences() -> None:
    with pytest.raises(UsageError, match="no loss variant 'papr'; choose from paper, released"):
        MLImagesLoss(3, "papr")
    with pytest.raises(UsageError, match="give a probability"):
        MLImagesLoss(3, "paper", absent_class_rate=1.5)
    with pytest.raises(UsageError, match="give a positive number, or none"):
        MLImagesLoss(3, "paper", negatives_per_positive=0)
    with pytest.raises(UsageError, match="presence_threshold is 0; give a confidence, above 0"):
        MLImagesLoss(3, "paper", presence_threshold=0)
    with pytest.raises(UsageError, match="logits of 4 classes for a loss of 3"):
        MLImagesLoss(3, "paper")(torch.zeros(2, 4), torch.zeros(2, 4))
    with pytest.raises(UsageError, match="one row per image"):
        MLImagesLoss(3, "paper")(torch.zeros(2, 3), torch.zeros(3, 3))
    with pytest.raises(UsageError, match="the batch has no images"):
        MLImagesLoss(3, "paper")(torch.zeros(0, 3), torch.zeros(0, 3))


def test_counts_of_no_class_present_select_nothing() -> None:
    counts = LabelCounts(torch.zeros(3, dtype=torch.int64), torch.full((3,), 4), 4)
    weights = MLImagesLoss(3, "paper", absent_class_rate=0).observe(counts)
    assert weights.positive.tolist() == weights.negative.tolist() == weights.thinned.tolist() == [0, 0, 0]
