"""A program of several ranks that says when sums over ranks began, and when the backward pass ended."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from mlimages_dataset.train import distributed
from mlimages_dataset.train.computing import computing
from mlimages_dataset.train.config import Device, Execution, Loss, LossName, Model, Phase, Precision, Run
from mlimages_dataset.train.learner import make_learner, take_step
from mlimages_dataset.train.losses.registry import make_loss
from mlimages_dataset.train.models import create_model
from tests.train.synthetic import batch_of

N_CLASSES = 7


def overlap() -> dict[str, float]:
    """Return when the first sum over ranks began and when the backward pass ended, in microseconds of one trace."""
    run = Run(
        epochs=1,
        model=Model(name="resnet18"),
        loss=Loss(name=LossName.BINARY_CROSS_ENTROPY),
        phases=(Phase(batch_size=8, image_size=64),),
        execution=Execution(device=Device.CPU, precision=Precision.FLOAT32, threads=1, bucket_megabytes=4),
    )
    with computing(run.execution, run.seed) as device:
        learner = make_learner(run, create_model(run.model.name, N_CLASSES), make_loss(run, N_CLASSES), device)
        batch = batch_of(torch.randn(4, 3, 64, 64), torch.zeros(4, N_CLASSES), [""] * 4)
        for _ in range(2):  # buckets are put into the order of gradients after the first step
            take_step(learner, [batch], 0.01, lambda images: images)
        with profile(activities=[ProfilerActivity.CPU]) as trace:
            take_step(learner, [batch], 0.01, lambda images: images)
        events = trace.events()
        assert events is not None
        sums = [event.time_range for event in events if "allreduce" in event.name.lower()]
        backward = [event.time_range for event in events if "convolution_backward" in event.name.lower()]
        return {
            "rank": distributed.rank(),
            "sums": len(sums),
            "first_sum": min(span.start for span in sums),
            "backward_end": max(span.end for span in backward),
            "backward_start": min(span.start for span in backward),
        }


def main() -> None:
    """Write what a program found to the file that is named."""
    (folder,) = sys.argv[1:]
    found = overlap()
    Path(folder, f"{found['rank']:.0f}.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
