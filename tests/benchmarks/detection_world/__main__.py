"""Train the world's detectors one after another: python -m tests.benchmarks.detection_world --folder DIR.

Prints what tables 1 to 3 of Peng et al. 2020 compare, as means over the seeds and their spread. A detector sees 1,000
pictures in each epoch, about 11 a second on one busy core (measured over 50 steps): all 24 take hours. What an earlier
run has measured is not measured again.
"""

from __future__ import annotations

import itertools
import json
import statistics
from dataclasses import asdict
from pathlib import Path

import click
import torch

from tests.benchmarks.detection_world.learning import EPOCHS, SEPARATE, Job, learn
from tests.benchmarks.detection_world.world import KINDS, PAIR, PARENTS, make
from tests.benchmarks.measurement import command, machine

Found = dict[str, dict[str, float]]
"""The average precision of each class, by how scores are made of logits."""
_CORNERS = tuple(itertools.product(("softmax", "concurrent"), (0.0, 0.7)))
_LAMBDAS = tuple(("softmax", balance) for balance in (0.3, 0.5, 1.0, 1.5))
_OTHERS = (("relatives", 0.0), ("relatives", 0.7), ("BCE", 0.7), ("focal", 0.7))
_RARE = 16
"""Kinds with at most so many objects to learn from are called rare."""


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), required=True, help="For the world and the results.")
@click.option("--seeds", type=click.IntRange(min=2), default=3, show_default=True)
@click.option("--epochs", type=click.IntRange(min=1), default=EPOCHS, show_default=True)
@click.option("--others/--no-others", default=False, help="Also relatives_concur, and the other losses of table 1.")
def main(folder: Path, *, seeds: int, epochs: int, others: bool) -> None:
    """Print the tables as Markdown."""
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    world, pairs = make(folder), folder / "pairs" / "pair_counts.parquet"
    command("region-pairs", "--vocab", world.vocabulary_folder, world.learnt, "--out", pairs.parent)
    settings = (*_CORNERS, *_LAMBDAS, *(_OTHERS if others else ()))
    results, kept = _read(folder / "results.jsonl"), folder / "results.jsonl"
    for seed, (loss, balance) in itertools.product(range(seeds), settings):
        job = Job(loss, balance, seed, epochs)
        if job not in results:
            results[job] = learn(world, pairs, job, folder / "runs" / job.name)
            with kept.open("a", encoding="utf-8") as sink:
                sink.write(json.dumps([asdict(job), results[job]]) + "\n")
    click.echo(f"{machine()}; {epochs} epochs, {seeds} seeds\n\n{table(results, settings, seeds, epochs)}")


def _read(path: Path) -> dict[Job, Found]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return {Job(**job): found for job, found in map(json.loads, lines)}


def table(results: dict[Job, Found], settings: tuple[tuple[str, float], ...], seeds: int, epochs: int) -> str:
    """Return a row for each loss, sampler and way to make scores: mean and standard deviation over the seeds, in %."""
    groups = _groups()
    head = ["trained with", "lambda", "scores", *groups]
    lines = ["| " + " | ".join(head) + " |", "|---|---:|---|" + "---:|" * len(groups)]
    for loss, balance in settings:
        of_seeds = [results[Job(loss, balance, seed, epochs)] for seed in range(seeds)]
        for way in ("sigmoid",) if loss in SEPARATE else ("softmax", "concurrent", "relatives"):
            values = [
                [100 * statistics.mean(found[way][name] for name in names) for found in of_seeds]
                for names in groups.values()
            ]
            told = [f"{statistics.mean(one):.1f} ± {statistics.stdev(one):.1f}" for one in values]
            lines.append("| " + " | ".join([loss, f"{balance:g}", way, *told]) + " |")
    return "\n".join(lines)


def _groups() -> dict[str, list[str]]:
    """Return the classes of each column."""
    rare = [name for kind in KINDS if kind.objects <= _RARE for name in kind.names]
    others = [name for kind in KINDS for name in kind.names if name not in {*rare, *PAIR}]
    return {
        "mAP": [*PARENTS, *PAIR, *others, *rare],
        "parents": list(PARENTS),
        "two names": list(PAIR),
        "other frequent": others,
        "rare": rare,
    }


if __name__ == "__main__":
    main()
