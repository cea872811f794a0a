"""The trials themselves on a CPU: laws hold, broken ones are found, and figures are those of plain arithmetic."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
import torch

from mlimages_dataset.samples import photographs
from mlimages_dataset.train import stage
from mlimages_dataset.train.losses.ml_images import MLImagesLoss
from tests.gpu import loss_cost, loss_laws, machine, pictures, speed, trainer_laws
from tests.gpu.__main__ import NO_GPU
from tests.gpu.loss_laws import Gaps
from tests.gpu.runner import ROOT
from tests.gpu.sections import SECTIONS
from tests.gpu.trials import BrokenLawError, Job, NotTriedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

EIGHT_MINUTES = 480
LAWS = (loss_laws.released_is_its_oracle, loss_laws.paper_is_its_oracle, loss_laws.draws_are_the_cpus)


@pytest.fixture(name="job")
def _job(tmp_path: Path) -> Job:
    torch.set_num_threads(1)
    return Job(
        device="cpu", gpus=0, folder=str(tmp_path), images=str(photographs()), deadline=time.time() + 3600, chosen=False
    )


@pytest.fixture(autouse=True)
def _few_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "SMALL_CLASSES", 40)
    monkeypatch.setattr(pictures, "SMALL_IMAGES", 40)


def test_all_trials_fit_into_eight_minutes_beside_the_starts_of_their_processes() -> None:
    trials = [trial for section in SECTIONS for trial in section.trials]
    several = {"several ranks = one", "whole loop on all GPUs"}  # not tried with one GPU
    last = SECTIONS[-1].trials  # what compiles is begun where time is left
    needed = sum(trial.seconds for trial in trials if trial.what not in several and trial not in last)
    assert needed + 10 * len(SECTIONS) < EIGHT_MINUTES
    assert len({section.name for section in SECTIONS}) == len(SECTIONS)
    assert len({(trial.what) for trial in trials}) == len(trials)


@pytest.mark.parametrize("law", [*LAWS, loss_laws.half_precision])
def test_laws_of_the_loss_hold(law: Callable[[Job], str], job: Job) -> None:
    assert "off by" in law(job)


@pytest.mark.shared_data
def test_published_values_are_met(job: Job, shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLIMAGES_SHARED_DATA", str(shared_data))
    assert "off by" in loss_laws.published(job)


def test_published_values_that_are_not_there_are_not_tried(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLIMAGES_SHARED_DATA", str(tmp_path))
    with pytest.raises(NotTriedError, match="name their folder in MLIMAGES_SHARED_DATA"):
        loss_laws.published(job)


def test_a_loss_that_is_wrong_is_found(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    right = MLImagesLoss.forward

    def wrong(self: MLImagesLoss, logits: torch.Tensor, *labels: torch.Tensor) -> torch.Tensor:
        factor = 1.0001 if logits.dtype == torch.float32 else 1.0
        return right(self, logits, *labels) * factor

    monkeypatch.setattr(MLImagesLoss, "forward", wrong)
    for law in LAWS:
        with pytest.raises(BrokenLawError, match=r"off by 1\.0e-04"):
            law(job)


def test_errors_that_are_no_number_are_errors() -> None:
    gaps = Gaps()
    nothing = torch.ones(1, 1).double().numpy()
    gaps.add((math.nan, nothing), (1.0, nothing))
    gaps.add((1.0, nothing), (1.0, nothing))
    with pytest.raises(BrokenLawError, match="off by nan"):
        gaps.judged()


def test_curves_are_compared_at_their_beginning_and_as_a_whole() -> None:
    assert trainer_laws.furthest([1.0, 2.2], [1.0, 2.0]) == pytest.approx(0.1)
    assert trainer_laws.furthest([1.0], [1.0, 2.0]) == math.inf
    assert trainer_laws.furthest([math.nan, 2.0], [1.0, 2.0]) == math.inf
    assert "at most 1.0e-01" in trainer_laws.near([1.0, 2.2], [1.0, 2.0], first=1e-3, most=0.2)
    with pytest.raises(BrokenLawError, match=r"losses differ by 1\.0e-01, more than 5e-02"):
        trainer_laws.near([1.0, 2.2], [1.0, 2.0], first=1e-3, most=0.05)
    with pytest.raises(BrokenLawError, match=r"the first losses differ by 1\.0e-01"):
        trainer_laws.near([1.1, 2.2], [1.0, 2.0], first=1e-3, most=0.2)


def test_the_golden_curve_is_this_cpus(job: Job) -> None:
    assert "differ by at most" in trainer_laws.golden_curve(job)


def test_without_shards_runs_are_not_tried(job: Job) -> None:
    for trial in (trainer_laws.float32, trainer_laws.resumed, trainer_laws.one_rank, speed.loop):
        with pytest.raises(NotTriedError, match="there are no shards: see data"):
            trial(job)


def test_a_run_of_the_trials_is_fed_as_the_trainer_feeds_its_own(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "SMALL_IMAGES", 8)
    pictures.make_data(job)
    short = dataclasses.replace(trainer_laws.started(job, "short"), steps=3, batch_size=4, workers=0)
    trainer_laws.trained(job, short)
    assert len(trainer_laws.losses(short.out)) == 3, "the pictures are repeated as often as the steps need"
    assert all(map(math.isfinite, trainer_laws.losses(short.out)))


@pytest.mark.slow
def test_the_whole_trainer_on_real_shards(job: Job) -> None:
    assert "40 pictures: 34 photographs" in pictures.make_data(job)
    assert "6 finite losses" in trainer_laws.float32(job)
    assert "differ by at most" in trainer_laws.bfloat16(job)
    assert "differ by at most" in trainer_laws.channels_first(job)
    feed = stage.make_feed  # type: ignore[attr-defined]  # the stage's own import is what runs replace
    assert "all bits of 6 steps are equal" in trainer_laws.resumed(job)
    assert stage.make_feed is feed, "a run leaves the trainer as it was"  # type: ignore[attr-defined]
    assert "2 ranks: losses differ by at most" in trainer_laws.several_ranks(job)
    assert "images/s" in speed.loop(job)
    assert job.noted()[speed.LOOP] > 0
    assert 0 <= job.noted()[speed.WAITED] <= 1
    assert speed.waited(job).endswith("% of the time")
    assert "must decode for one CPU" not in speed.decoding(job), "no bare step was timed"
    whole, cut = (str(job.path(f"run-{name}")) for name in ("whole", "float32"))
    names = trainer_laws.differing(trainer_laws._last(whole), trainer_laws._last(cut))
    assert "model" not in names, "a run is its seed's, deterministic or not, on one CPU thread"
    with pytest.raises(BrokenLawError, match=r"the run ended with 1: .*no network 'resnet1'"):
        trainer_laws.trained_apart(job, [dataclasses.replace(trainer_laws.started(job, "x"), model="resnet1")])


def test_the_pace_of_a_run_is_the_median_of_its_log_without_the_beginning(tmp_path: Path) -> None:
    lines = [{"kind": "run"}] + [
        {"kind": "train", "images/s": pace, "data wait": share}
        for pace, share in ((1, 0.9), (2, 0.9), (30, 0.1), (10, 0.3), (20, 0.2))
    ]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert speed.paces(tmp_path) == (20, 0.2)


def test_shared_memory_bounds_workers_and_what_they_make_ahead(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = dataclasses.replace(job, device="cuda", gpus=1)
    batch = 256 * 3 * 224 * 224
    monkeypatch.setattr(speed, "available_cores", lambda: 16)
    for free, expected in ((1 << 50, (15, 4)), (100 * batch, (15, 4)), (50 * batch, (15, 1)), (10 * batch, (4, 1))):
        monkeypatch.setattr(speed, "shared_memory", lambda free=free: free)
        workers, prefetch = speed.loading(gpu, ranks=1)
        assert (workers, prefetch) == expected
        assert workers * (prefetch + 1) <= 0.8 * free / batch
    monkeypatch.setattr(speed, "shared_memory", lambda: 64 << 20)
    with pytest.raises(NotTriedError, match="shared memory has 64 MiB, and a batch 37; enlarge it"):
        speed.loading(gpu, ranks=1)


def test_costs_are_medians_of_turns_and_the_rule_decides(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    told = loss_cost.at_512(job)
    assert told.startswith("B = 16, C = 40: cross-entropy ")
    assert all(name in told for name in ("(1.00)", "released ", "paper "))
    with pytest.raises(NotTriedError, match="there is no GPU"):
        loss_cost.decision(job)
    gpu = dataclasses.replace(job, device="cuda", gpus=1)
    with pytest.raises(NotTriedError, match="was not timed at both sizes"):
        loss_cost.decision(gpu)
    job.note("fused at 0", 0.5)
    job.note("fused at 1", 0.3)
    assert loss_cost.decision(gpu).endswith("make fused_loss the default on GPUs")
    job.note("fused at 0", 0.9)
    assert loss_cost.decision(gpu) == (
        "fused / chunked: 0.90 at 512, 0.30 at 4,096; at most 0.8 is asked: leave the chunked form"
    )
    monkeypatch.setattr("shutil.which", lambda name: None)  # noqa: ARG005 - as it is called
    with pytest.raises(NotTriedError, match="needs a C compiler, and there is none"):
        loss_laws.fused_is_chunked(job)


def test_what_there_is_none_of_is_said(job: Job) -> None:
    for trial in (machine.gpus, speed.peak, speed.for_plan, speed.loop_on_all):
        with pytest.raises(NotTriedError, match="no GPU"):
            trial(job)
    one = dataclasses.replace(job, device="cuda", gpus=1)
    for several in (trainer_laws.several_ranks, speed.loop_on_all):
        with pytest.raises(NotTriedError, match="there is one GPU"):
            several(one)
    job.note(speed.LOOP, 1234.4)
    assert speed.for_plan(dataclasses.replace(one, gpus=8)) == "plan ... --ranks 8 --images-per-second 9875"
    assert "cores" in machine.machine(job)
    assert machine.computes(job)


@pytest.mark.slow
def test_the_command_says_that_there_is_no_gpu_and_exits_with_0(tmp_path: Path) -> None:
    given = ("--only", "machine", "--only", "loss", "--markdown", str(tmp_path / "gpu.md"))
    command = [sys.executable, "-m", "tests.gpu", *given]
    hidden = {"CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, **hidden})
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == NO_GPU
    assert "  not tried  GPUs" in done.stdout
    assert "0 failed" in done.stdout.splitlines()[-1]
    assert "| machine | GPUs | not tried | no GPU is found |" in (tmp_path / "gpu.md").read_text()
    refused = subprocess.run(
        [*command, "--device", "cuda"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **hidden},
    )
    assert refused.returncode == 2
    assert "no GPU is found; leave --device out" in refused.stderr
