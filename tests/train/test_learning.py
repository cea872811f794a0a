"""It learns: one batch by heart, a miniature data set on two ranks, whose sums begin before the backward pass ends."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from mlimages_dataset.loaders import MLImages, collate, eval_transform
from mlimages_dataset.train.checkpoint import newest_checkpoint, read_checkpoint
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
from mlimages_dataset.train.evaluation import Evaluation
from mlimages_dataset.train.inputs import read_classes
from mlimages_dataset.train.learner import make_learner, set_training, take_step
from mlimages_dataset.train.losses.registry import make_loss
from mlimages_dataset.train.stage import initial_model
from tests.train.processes import ROOT, on_ranks
from tests.train.synthetic import Program

if TYPE_CHECKING:
    from tests.train.conftest import Photographs

STEPS = 40


@pytest.mark.slow
def test_one_batch_is_learnt_by_heart(photographs: Photographs) -> None:
    classes = read_classes(photographs.vocabulary)
    run = Run(
        epochs=1,
        model=Model(name="resnet18"),
        # Not the paper's: it weighs a class less with every batch that has it, and here all batches have the same.
        loss=Loss(name=LossName.BINARY_CROSS_ENTROPY),
        optimizer=Optimizer(weight_decay=0.0),
        schedule=Schedule(),
        phases=(Phase(batch_size=8, image_size=64),),
        execution=Execution(device=Device.CPU, precision=Precision.FLOAT32, threads=1),
    )
    transform = eval_transform(64)
    data = MLImages(photographs.images, photographs.labels, split=None, transform=transform, n_classes=len(classes))
    batch = collate([data[row] for row in range(8)])
    n_labels = batch.targets.ge(0.7).sum(1)
    # F1 at k reaches 1 only where an image has k labels: those of one size are looked at together.
    with computing(run.execution, run.seed) as device:
        learner = make_learner(run, initial_model(run, classes), make_loss(run, len(classes)), device)
        set_training(learner.network, frozen_statistics=False)
        for _ in range(STEPS):
            take_step(learner, [batch], 0.5, transform.finish)
        with torch.inference_mode():
            learner.model.train()  # the batch's own statistics, as it was learnt with
            logits = learner.model(transform.finish(batch.images))
    for k in n_labels.unique().tolist():
        of_size = n_labels == k
        evaluation = Evaluation.empty(len(classes), ks=(k,)).updated(logits[of_size], batch.targets[of_size])
        assert evaluation.summary().instance[0].f1 > 0.99


@pytest.mark.slow
def test_a_miniature_data_set_is_learnt_on_two_ranks(tmp_path: Path) -> None:
    program = Program(out=str(tmp_path), epochs=12, loss="paper", every=0)
    ranks = on_ranks(2, "-m", "tests.train.synthetic", json.dumps(dataclasses.asdict(program)))
    assert [done.code for done in ranks] == [0, 0], ranks[0].err
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if line["kind"] == "train"]
    assert sum(losses[-4:]) < sum(losses[:4]) / 4


@pytest.mark.slow
def test_sums_over_ranks_begin_before_the_backward_pass_ends(tmp_path: Path) -> None:
    ranks = on_ranks(2, "-m", "tests.train.overlap", str(tmp_path))
    assert [done.code for done in ranks] == [0, 0], ranks[0].err
    for rank in range(2):
        found = json.loads((tmp_path / f"{rank}.json").read_text())
        assert found["sums"] >= 2, "gradients are summed in several buckets"
        assert found["backward_start"] < found["first_sum"] < found["backward_end"]


@pytest.mark.slow
def test_torchrun_starts_ranks_again_and_they_go_on(photographs: Photographs, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(
        'epochs = 400\n[model]\nname = "resnet18"\n[[phases]]\nbatch_size = 34\nimage_size = 32\n'
        '[execution]\ndevice = "cpu"\nprecision = "float32"\n[data]\nworkers = 0\n[logs]\nevery_steps = 1\n'
    )
    command = [
        *(
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node",
            "2",
            "--max-restarts",
            "1",
        ),
        *("-m", "mlimages_dataset.train", "pretrain", str(tmp_path / "run.toml"), "--out", str(tmp_path / "out")),
        *("--images", str(photographs.images), "--labels", str(photographs.labels)),
        *("--vocabulary", str(photographs.vocabulary)),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    started = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        first = _wait_for_steps(tmp_path / "out", 1)
        os.kill(_a_rank_of(started.pid), signal.SIGKILL)
        assert _wait_for_steps(tmp_path / "out", first + 2) >= first + 2, "the ranks went on"
    finally:
        started.send_signal(signal.SIGTERM)
        _, err = started.communicate(timeout=120)
    newest = newest_checkpoint(tmp_path / "out")
    assert newest is not None
    saved = read_checkpoint(newest).progress.total_steps
    lines = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    assert [line["kind"] for line in lines].count("run") == 2, "once from the beginning, once from a checkpoint"
    steps = [line["step"] for line in lines if line["kind"] == "train"]
    assert steps == list(range(1, saved + 1)), "no step is missing, and none twice"
    assert "stopped after step" in err


def _wait_for_steps(out: Path, steps: int) -> int:
    """Return the steps of a run's newest checkpoint as soon as there are so many."""
    for _ in range(1200):
        newest = newest_checkpoint(out)
        if newest is not None and int(newest.stem.removeprefix("step-")) >= steps:
            return int(newest.stem.removeprefix("step-"))
        time.sleep(0.1)
    raise AssertionError(f"no checkpoint of step {steps}")


def _a_rank_of(torchrun: int) -> int:
    """Return the process id of a child of torchrun."""
    children = Path(f"/proc/{torchrun}/task/{torchrun}/children").read_text().split()
    return int(children[0])
