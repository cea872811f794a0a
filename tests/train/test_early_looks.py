"""A run that does not learn is told once, early and with the figure; one that learns is told nothing."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, roc_auc_score
from torch import nn

from mlimages_dataset.train import loop
from mlimages_dataset.train.computing import computing
from mlimages_dataset.train.config import (
    Device,
    Execution,
    Loss,
    LossName,
    Model,
    Optimizer,
    Phase,
    Precision,
    Run,
    Schedule,
)
from mlimages_dataset.train.learner import logits_without_trace, make_learner
from mlimages_dataset.train.learning import (
    LOOKS,
    EarlyLooks,
    Expected,
    Figures,
    LearningFault,
    Sign,
    Sums,
    expected_of,
    finding,
)
from mlimages_dataset.train.losses.multi_label import BatchLabels
from mlimages_dataset.train.losses.registry import LOSSES, make_loss
from mlimages_dataset.train.stopping import Stopped
from tests.train.processes import on_ranks
from tests.train.synthetic import Program, batch_of, dataset, train_synthetic
from tests.train.test_loop import differing, last

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlimages_dataset.loaders import Batch

EPOCHS = 14
"""Of four steps each: 56."""


@pytest.fixture(autouse=True)
def _as_found() -> Iterator[None]:
    """Undo what a run sets for its process."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(mode=False)


def warnings(out: Path) -> list[dict[str, float | str]]:
    """Return the warnings in a run's log."""
    lines = map(json.loads, (out / "log.jsonl").read_text().splitlines())
    return [line for line in lines if line["kind"] == "warning"]


def some_images(n_images: int = 6, n_classes: int = 9) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return logits, those of the start, and targets that are 0 or 1, all of shape (n_images, n_classes)."""
    generator = torch.Generator().manual_seed(5)
    logits, start = (torch.randn(n_images, n_classes, generator=generator) for _ in range(2))
    targets = (torch.rand(n_images, n_classes, generator=generator) < 0.3).float()
    targets[:, 0] = 1
    return logits, start, targets


def figures_of(sums: Sums) -> Figures:
    return sums.figures(step=1, rates=0.1, loss=1.0, labels_seen=1)


def test_figures_are_those_of_others_arithmetic() -> None:
    logits, start, targets = some_images()
    found = figures_of(Sums.of_logits(logits, start, targets, None))
    x, x0, y = (tensor.numpy().astype(np.float64) for tensor in (logits, start, targets))
    assert found.classes == 9
    assert found.labels == pytest.approx(y.sum() / 6)
    assert found.predicted == pytest.approx((1 / (1 + np.exp(-x))).sum() / 6)
    assert found.moved == pytest.approx(max(np.abs(x - x0).mean(), np.abs(x - x0)[y == 1].mean()))
    assert found.spread == pytest.approx(math.sqrt(x.var(axis=0, ddof=1).mean()))
    five = np.argsort(np.argsort(-x, axis=1), axis=1) < 5
    assert found.f1 == pytest.approx(f1_score(y.ravel(), five.ravel()))


def test_the_rank_of_a_single_label_is_the_area_under_the_curve() -> None:
    logits, start, _ = some_images()
    targets = torch.eye(6, 9)
    areas = [roc_auc_score(y, x) for y, x in zip(targets.numpy(), logits.numpy(), strict=True)]
    assert figures_of(Sums.of_logits(logits, start, targets, None)).rank == pytest.approx(np.mean(areas))


def test_sums_of_ranks_add_up() -> None:
    logits, start, targets = some_images()
    whole = Sums.of_logits(logits, start, targets, None)
    parts = [Sums.of_logits(logits[rows], start[rows], targets[rows], None) for rows in (slice(2), slice(2, 6))]
    joint = figures_of(Sums(parts[0].values + parts[1].values))
    for name in ("classes", "labels", "predicted", "moved", "rank", "f1"):
        assert getattr(joint, name) == pytest.approx(getattr(figures_of(whole), name)), name
    pooled = (logits[:2].double().var(0).mean() + 3 * logits[2:].double().var(0).mean()) / 4
    assert joint.spread == pytest.approx(math.sqrt(pooled)), "the variances within ranks, by their degrees of freedom"


def test_unknown_classes_do_not_count() -> None:
    logits, start, targets = some_images()
    known = torch.rand(6, 9, generator=torch.Generator().manual_seed(1)) < 0.5
    known[:, 0] = True
    found = figures_of(Sums.of_logits(logits, start, targets, known))
    assert found.classes == pytest.approx(known.sum().item() / 6)
    assert found.labels == pytest.approx((targets * known).sum().item() / 6)
    assert found.predicted == pytest.approx((logits.sigmoid() * known).sum().item() / 6)


def look(step: int, moved: float, rank: float, f1: float, **others: float) -> Figures:
    """Return figures at the rate 1 of images with 7 of 11,010 labels each."""
    given = {
        "classes": 11_010.0,
        "labels": 6.9,
        "predicted": 5_504.0,
        "spread": 0.136,
        "loss": 1.0,
        "labels_seen": 900.0,
    }
    return Figures(step=step, rates=float(step), moved=moved, rank=rank, f1=f1, **{**given, **others})


# Measured with a linear head on EfficientNet-Lite0's features of 132 photographs, 8 views of each, at 11,010 classes
# and 64 images a step: after 20 and 50 steps; the last five of those that do not learn are made up.
SMALL = {"classes": 83.0, "labels": 4.9, "predicted": 37.0}
AT_FIRST = look(0, 0.0, 0.446, 0.0)
LEARNS = {
    "released at 0.08": (
        "released",
        look(20, 52.0, 0.991, 0.749, predicted=3_666),
        look(50, 59.2, 1.0, 0.749, predicted=2_841),
    ),
    "released at 0.01": (
        "released",
        look(20, 8.75, 1.0, 0.628, predicted=5_129),
        look(50, 9.98, 1.0, 0.712, predicted=4_981),
    ),
    "released at 0.00008": ("released", look(20, 0.181, 0.596, 0.178), look(50, 0.239, 0.588, 0.199)),
    "released at 8": (
        "released",
        look(20, 5_593, 0.995, 0.738, predicted=653),
        look(50, 5_015, 1.0, 0.743, predicted=43),
    ),
    "softmax at 0.1": ("softmax", look(20, 5.45, 0.998, 0.518), look(50, 8.88, 1.0, 0.817)),
    "softmax at 0.001": ("softmax", look(20, 0.252, 0.673, 0.215), look(50, 0.85, 0.823, 0.314)),
    "softmax at 0.0001, slow": ("softmax", look(20, 0.0253, 0.492, 0.0), look(50, 0.0853, 0.58, 0.01)),
    "cross-entropy at 8": (
        "binary-cross-entropy",
        look(20, 1.76, 0.903, 0.361, predicted=1_791, loss=0.2),
        look(50, 2.77, 0.997, 0.398, predicted=889, loss=0.07),
    ),
    "cross-entropy at 880": (
        "binary-cross-entropy",
        look(20, 2.73, 0.956, 0.366, predicted=912, loss=0.02),
        look(50, 3.1, 0.962, 0.524, predicted=672, loss=0.07),
    ),
    "a frozen backbone and a tiny rate": (
        "softmax",
        look(20, 0.0226, 0.508, 0.177, spread=0.0261, **SMALL),
        look(50, 0.0769, 0.555, 0.228, spread=0.0279, **SMALL),
    ),
    "cross-entropy in a small network": (
        "binary-cross-entropy",
        look(20, 0.32, 0.503, 0.051, spread=0.259, **SMALL),
        look(50, 0.707, 0.612, 0.304, spread=0.304, **SMALL),
    ),
    "released with a prior bias in a small network": (
        "released",
        look(20, 3.78, 0.69, 0.228, spread=0.896, **SMALL | {"predicted": 55.2, "loss": 40.0}),
        look(50, 3.51, 0.751, 0.329, spread=0.894, **SMALL | {"predicted": 52.4, "loss": 34.1}),
    ),
    "focal at 88": (
        "focal",
        look(20, 1.91, 0.997, 0.408, predicted=1_605, loss=0.002),
        look(50, 1.27, 0.999, 0.44, predicted=2_508, loss=0.01),
    ),
    "asymmetric at 880": (
        "asymmetric",
        look(20, 0.7, 0.965, 0.476, predicted=3_706, loss=0.002),
        look(50, 0.87, 0.914, 0.534, predicted=3_939, loss=0.004),
    ),
}
DOES_NOT = {
    "paper in a small network": (
        "paper",
        Sign.EVERY_CLASS,
        look(20, 3.94, 0.713, 0.38, spread=0.784, **SMALL | {"predicted": 65.4}),
        look(50, 5.4, 0.778, 0.38, spread=0.738, **SMALL | {"predicted": 74.7}),
    ),
    "paper at 0.08": ("paper", Sign.STILL, look(20, 0.0218, 0.486, 0.0), look(50, 0.0351, 0.51, 0.0)),
    "asymmetric at 0.08": ("asymmetric", Sign.STILL, look(20, 0.00661, 0.46, 0.0), look(50, 0.0221, 0.491, 0.0)),
    "cross-entropy at 8,800": (
        "binary-cross-entropy",
        Sign.EVERY_CLASS,
        look(50, 29.2, 0.837, 0.079, predicted=41, loss=2.8),
        look(100, 19.1, 0.432, 0.02, predicted=10_895, loss=2.3),
    ),
    "no class": (
        "released",
        Sign.NO_CLASS,
        look(20, 30.0, 0.7, 0.1, predicted=0.2),
        look(50, 33.0, 0.7, 0.1, predicted=0.1),
    ),
    "all alike": (
        "released",
        Sign.ALIKE,
        look(20, 3.0, 0.97, 0.36, predicted=14, spread=0.003),
        look(50, 3.0, 0.97, 0.36, predicted=14, spread=0.002),
    ),
    "a rising loss": (
        "binary-cross-entropy",
        Sign.FLAT,
        look(20, 9.0, 0.45, 0.0, predicted=700, loss=3.0),
        look(50, 9.0, 0.44, 0.0, predicted=700, loss=3.0),
    ),
    "nothing moves": ("softmax", Sign.STILL, look(10, 0.0, 0.446, 0.0), look(20, 0.0, 0.446, 0.0)),
    "no labels": (
        "released",
        Sign.NO_LABELS,
        look(9, 0.01, 0.0, 0.0, labels=0, labels_seen=0),
        look(10, 0.3, 0.0, 0.0, labels=0, labels_seen=0),
    ),
}


def test_a_mean_over_classes_that_stands_still_is_to_be_summed() -> None:
    looks = (look(0, 0.0, 0.5, 0.0), *DOES_NOT["asymmetric at 0.08"][2:])
    for mean in (True, False):
        found = finding(looks, expected("asymmetric", mean_over_classes=mean))
        assert found is not None
        assert ("write loss.sum_classes = true" in found.sentence()) is mean


def expected(loss: str, **others: bool) -> Expected:
    weight = 12.0 if loss in {"paper", "released"} else 1.0
    return Expected(loss=LOSSES[LossName(loss)], positive_weight=weight, peak_rate=1.0, steps=100_000, **others)


@pytest.mark.parametrize("case", LEARNS.values(), ids=LEARNS)
def test_what_was_measured_of_runs_that_learn_warns_of_nothing(case: tuple[str, Figures, Figures]) -> None:
    loss, *later = case
    assert finding([AT_FIRST, *later], expected(loss)) is None


@pytest.mark.parametrize("case", DOES_NOT.values(), ids=DOES_NOT)
def test_what_was_measured_of_runs_that_do_not_is_told(case: tuple[str, Sign, Figures, Figures]) -> None:
    loss, sign, *later = case
    found = finding([AT_FIRST, *later], expected(loss))
    assert found is not None
    assert found.sign is sign
    told = found.sentence()
    assert told.startswith(f"after {later[-1].step} steps, {sign.value}: ")
    assert told.count("; ") == 1, "figure and remedy"


@pytest.mark.parametrize("loss", [name.value for name in LossName])
@pytest.mark.parametrize("sign", Sign)
def test_every_sign_of_every_loss_has_a_sentence(loss: str, sign: Sign) -> None:
    told = LearningFault(sign, AT_FIRST, look(50, 0.03, 0.5, 0.0), expected(loss)).sentence()
    assert "schedule.learning_rate" in told or "loss." in told or "data.labels" in told, "what to do"


def test_a_slow_warm_up_is_judged_by_the_rate_after_it() -> None:
    slow = [AT_FIRST, look(20, 0.002, 0.45, 0.0), look(50, 0.005, 0.45, 0.0)]
    assert finding(slow, expected("released")) is not None
    warming = [dataclasses.replace(figures, rates=figures.rates / 100) for figures in slow]
    assert finding(warming, expected("released")) is None, "0.01 of the rate: a hundred times as fast after it"


def test_logits_that_hardly_differed_need_not_move_far() -> None:
    looks = [look(0, 0.0, 0.453, 0.0, spread=0.026), look(20, 0.0226, 0.5, 0.0), look(50, 0.0769, 0.55, 0.0)]
    short = dataclasses.replace(expected("softmax"), steps=60)
    assert finding(looks, short) is None
    assert finding([dataclasses.replace(looks[0], spread=0.136), *looks[1:]], short) is not None


def test_a_short_run_has_less_time_to_move() -> None:
    looks = [AT_FIRST, look(20, 0.0253, 0.492, 0.0), look(50, 0.0853, 0.58, 0.01)]
    assert finding(looks, dataclasses.replace(expected("softmax"), steps=60)) is not None
    assert finding(looks, expected("softmax")) is None


def test_a_network_that_knows_its_labels_may_move_little() -> None:
    looks = [look(0, 0.0, 0.98, 0.6), look(20, 0.006, 0.98, 0.6), look(50, 0.015, 0.98, 0.6)]
    assert finding(looks, expected("softmax", trained=True)) is None
    assert finding(looks, expected("softmax")) is not None, "a prior bias ranks the labels high, and has learnt nothing"


def test_where_most_classes_are_present_predicting_them_is_right() -> None:
    dense = {"classes": 10.0, "labels": 6.0, "predicted": 9.5}
    looks = [look(0, 0.0, 0.5, 0.2, **dense), look(20, 2.0, 0.6, 0.6, **dense), look(50, 3.0, 0.7, 0.6, **dense)]
    assert finding(looks, expected("released")) is None


@pytest.mark.parametrize("loss", ["released", "paper", "binary-cross-entropy", "focal", "asymmetric", "softmax"])
def test_a_run_that_learns_is_told_nothing(tmp_path: Path, loss: str) -> None:
    train_synthetic(Program(out=str(tmp_path), epochs=EPOCHS, loss=loss, every=0))
    assert warnings(tmp_path) == []


@pytest.mark.parametrize("loss", ["released", "paper", "binary-cross-entropy", "focal", "asymmetric", "softmax"])
def test_a_rate_a_million_times_too_small_is_told_once(
    tmp_path: Path, loss: str, capsys: pytest.CaptureFixture[str]
) -> None:
    train_synthetic(Program(out=str(tmp_path), epochs=EPOCHS, loss=loss, rate=5e-8, every=0))
    (warning,) = warnings(tmp_path)
    assert warning["step"] in {20, 50}
    assert float(warning["moved"]) < 0.01
    printed = [line for line in capsys.readouterr().out.splitlines() if "warning:" in line]
    assert printed == [f"step {warning['step']:>7,}  warning: {warning['sentence']}"]


def test_logits_that_are_equal_to_the_last_bit_are_told_after_ten_steps(tmp_path: Path) -> None:
    train_synthetic(Program(out=str(tmp_path), rate=1e-30, every=0))
    (warning,) = warnings(tmp_path)
    assert (warning["step"], warning["moved"]) == (10, 0)
    assert "optimizer.layer_rates" in str(warning["sentence"])


def test_missing_labels_are_told_after_ten_steps(tmp_path: Path) -> None:
    train_synthetic(Program(out=str(tmp_path), without_labels=True, every=0))
    (warning,) = warnings(tmp_path)
    assert warning["step"] == 10
    assert "no image had a label" in str(warning["sentence"])


@pytest.mark.parametrize("cut_after", [6, 7, 8, 9, 13, 53])
def test_a_resumed_run_warns_once_and_computes_the_same(tmp_path: Path, cut_after: int) -> None:
    whole, cut = (Program(out=str(tmp_path / name), epochs=EPOCHS, rate=5e-8) for name in ("whole", "cut"))
    train_synthetic(whole)
    with pytest.raises(Stopped):
        train_synthetic(dataclasses.replace(cut, ask_after=cut_after))
    train_synthetic(cut)
    assert len(warnings(tmp_path / "whole")) == 1
    assert len(warnings(tmp_path / "cut")) <= 1
    if cut_after > LOOKS[2]:
        assert warnings(tmp_path / "cut")[0]["step"] == warnings(tmp_path / "whole")[0]["step"], "kept, not told again"
    assert differing(last(tmp_path / "whole"), last(tmp_path / "cut")) == []


@pytest.mark.parametrize("at", [(1,), (2,), (1, 2), (1, 11), (1, 2, 3), (3, 10)])
def test_a_check_has_the_mean_loss_of_all_steps_since_the_one_before(at: tuple[int, ...]) -> None:
    def labels(batch: Batch) -> BatchLabels:
        return BatchLabels(batch.targets, None)

    looks = EarlyLooks(
        expected("released"), lambda images: images.flatten(1)[:, :5], labels, torch.device("cpu"), at=at
    )
    losses = torch.rand(max(at), generator=torch.Generator().manual_seed(1)).double()
    images, targets = dataset()
    batch = batch_of(images[:4], targets[:4], "abcd")
    for loss in losses:
        looks.before([batch])
        looks.after([batch], loss, 0.0)
    bounds = itertools.pairwise((0, *at))
    assert [look.step for look in looks.looks] == [0, *at]
    wanted = [losses[0], *(losses[first:stop].mean() for first, stop in bounds)]
    assert [look.loss for look in looks.looks] == pytest.approx([float(one) for one in wanted])


def test_rates_that_add_nothing_are_a_pace_of_nothing() -> None:
    looks = [AT_FIRST, look(20, 0.01, 0.5, 0.0), dataclasses.replace(look(50, 0.01, 0.5, 0.0), rates=20.0)]
    found = finding(looks, expected("released"))
    assert found is not None
    assert found.sign is Sign.STILL


def test_looking_changes_no_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train_synthetic(Program(out=str(tmp_path / "looked"), loss="released", average=0.9))
    monkeypatch.setattr(loop, "LOOKS", (0,))
    train_synthetic(Program(out=str(tmp_path / "not"), loss="released", average=0.9))
    assert differing(last(tmp_path / "looked"), last(tmp_path / "not")) == []


def test_looks_see_the_same_units_dropped_and_draw_nothing() -> None:
    run = Run(
        epochs=1, execution=Execution(device=Device.CPU, precision=Precision.FLOAT32, threads=1), schedule=Schedule()
    )
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Dropout(0.5), nn.Flatten(), nn.Linear(288, 4))
    with computing(run.execution, run.seed) as device:
        learner = make_learner(run, model, make_loss(run, 4), device)
        model.train()
        state, random = {name: value.clone() for name, value in model.state_dict().items()}, torch.get_rng_state()
        images = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(2))
        first, second = (logits_without_trace(learner, images) for _ in range(2))
        assert torch.equal(first, second)
        assert torch.equal(random, torch.get_rng_state())
        assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
        with torch.no_grad():
            assert not torch.equal(model(images), model.eval()(images)), "as in training"


@pytest.mark.slow
def test_two_ranks_tell_what_one_does(tmp_path: Path) -> None:
    one, two = (
        Program(out=str(tmp_path / name), epochs=EPOCHS, rate=5e-8, frozen=True, every=0) for name in ("one", "two")
    )
    train_synthetic(one)
    ranks = on_ranks(2, "-m", "tests.train.synthetic", json.dumps(dataclasses.asdict(two)))
    assert [done.code for done in ranks] == [0, 0], ranks[0].err
    (alone,), (joint,) = warnings(tmp_path / "one"), warnings(tmp_path / "two")
    assert alone["step"] == joint["step"]
    for name in ("labels", "predicted", "rank", "f1", "loss"):
        assert joint[name] == pytest.approx(alone[name], rel=1e-3), name
    assert sum("warning:" in done.out for done in ranks) == 1, "rank 0 alone speaks"


def test_the_peak_rate_is_that_after_the_warm_up() -> None:
    run = Run(
        epochs=30,
        model=Model(name="resnet18"),
        loss=Loss(name=LossName.FOCAL),
        optimizer=Optimizer(),
        schedule=Schedule(learning_rate=0.01, batch_size=512, warmup_epochs=8),
        phases=(Phase(batch_size=4096),),
    )
    found = expected_of(run, 100, begun=0, trained=False)
    assert found.peak_rate == pytest.approx(0.08)
    assert found.positive_weight == 1.0
