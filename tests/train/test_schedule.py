"""The learning rate at every epoch of the paper's schedules, against tables written from the paper's text."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.train.config import Decay, Phase, Run, Schedule
from mlimages_dataset.train.run_files import read_run, run_file
from mlimages_dataset.train.schedule import learning_rate, scaled_rate, steps_of_epoch

PRETRAINING = [
    *(0.01, 0.01297, 0.01682209, 0.0218182507, 0.0282982712, 0.0367028577, 0.0476036064, 0.0617418776),  # x 1.297
    *[0.08] * 17,  # epochs 8 to 24
    *[0.008] * 25,  # 25 to 49
    *[0.0008] * 10,  # 50 to 59
]
"""Wu et al. 2019, section 4.1.3."""
FINE_TUNING = [0.1, 0.1681, 0.2825761, 0.47501042, *[0.8] * 26, *[0.08] * 30, *[0.008] * 30, *[0.0008] * 30]
"""Wu et al. 2019, table 2."""


def packaged(name: str) -> Run:
    return read_run(run_file(f"packaged:{name}"))


@pytest.mark.parametrize(
    ("recipe", "table"),
    [
        ("mlimages-pretrain.toml", PRETRAINING),
        ("mlimages-finetune-imagenet.toml", FINE_TUNING),
        ("imagenet-4.toml", FINE_TUNING),
    ],
)
def test_every_epoch_has_the_papers_rate(recipe: str, table: list[float]) -> None:
    run = packaged(recipe)
    assert [learning_rate(run, epoch) for epoch in range(run.epochs)] == pytest.approx(table, rel=1e-6)
    assert [learning_rate(run, epoch, 624, 625) for epoch in range(run.epochs)] == pytest.approx(table, rel=1e-6)


def test_an_epoch_of_the_paper_has_4300_steps() -> None:
    assert steps_of_epoch(17_609_752, packaged("mlimages-pretrain.toml").phase(0).batch_size) == 4300


def test_the_warm_up_ends_where_the_schedule_begins() -> None:
    schedule = packaged("mlimages-pretrain.toml").schedule
    reached = schedule.warmup_start * schedule.warmup_factor**schedule.warmup_epochs
    assert reached == pytest.approx(scaled_rate(schedule, 4096), rel=2e-3)


@given(factor=st.integers(1, 64), batch_size=st.integers(1, 4096))
def test_k_times_the_batch_is_k_times_the_rate(factor: int, batch_size: int) -> None:
    schedule = Schedule()
    assert scaled_rate(schedule, factor * batch_size) == pytest.approx(factor * scaled_rate(schedule, batch_size))


@given(batch_size=st.integers(1, 8192), epoch=st.integers(0, 7), step=st.integers(0, 99))
def test_the_warm_up_never_exceeds_the_scaled_rate(batch_size: int, epoch: int, step: int) -> None:
    run = Run(epochs=60, schedule=Schedule(warmup_epochs=8, staircase=False), phases=(Phase(batch_size=batch_size),))
    assert learning_rate(run, epoch, step, 100) <= scaled_rate(run.schedule, batch_size)


def test_the_rate_follows_the_batch_from_phase_to_phase() -> None:
    run = Run(epochs=4, schedule=Schedule(), phases=(Phase(batch_size=512), Phase(first_epoch=2, batch_size=2048)))
    assert [learning_rate(run, epoch) for epoch in range(4)] == pytest.approx([0.01, 0.01, 0.04, 0.04])


def test_a_cosine_falls_to_zero() -> None:
    schedule = Schedule(decay=Decay.COSINE, staircase=False, warmup_epochs=2)
    run = Run(epochs=10, schedule=schedule, phases=(Phase(batch_size=512),))
    assert learning_rate(run, 2) == pytest.approx(0.01)
    assert learning_rate(run, 6) == pytest.approx(0.005)
    assert learning_rate(run, 9, 9_999, 10_000) == pytest.approx(0, abs=1e-9)
    assert learning_rate(run, 4, 0, 1) == pytest.approx(0.01 * (1 + math.cos(math.pi / 4)) / 2)
