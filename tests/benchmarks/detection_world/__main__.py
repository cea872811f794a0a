"""Compare losses and samplers on the world's detectors: python -m tests.benchmarks.detection_world --folder DIR.

Prints what tables 1 to 3 of Peng et al. 2020 compare, as means over the seeds and their spread, and the differences of
pairs with one seed, which have a smaller spread. What an earlier run has measured is not measured again.
"""

from __future__ import annotations

import functools
import itertools
import json
import statistics
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import click
import torch

from tests.benchmarks.detection_world.learning import EPOCHS, SEPARATE, TRUNK_EPOCHS, Job, learn, trunk
from tests.benchmarks.detection_world.world import KINDS, PAIR, PARENTS, make
from tests.benchmarks.measurement import command, machine

if TYPE_CHECKING:
    from collections.abc import Sequence

Found: TypeAlias = dict[str, dict[str, float]]
"""The average precision of each class, by how scores are made of logits."""
Results: TypeAlias = dict[Job, Found]
Setting: TypeAlias = tuple[str, float]
"""A loss, and lambda of soft balance: 0 every picture once, 1 class-aware."""
_CORE: tuple[Setting, ...] = tuple(itertools.product(("softmax", "concurrent", "relatives"), (0.0, 0.7, 1.0)))
_OTHERS: tuple[Setting, ...] = (("softmax", 1.5), *((loss, 1.0) for loss in SEPARATE))
_TRUNKS = 2
"""Seeds share trunks: seed 2 has that of seed 0."""
_BASELINE, _CLASS_AWARE = (("softmax", 0.0), "softmax"), (("softmax", 1.0), "softmax")
_COMPARED: tuple[tuple[str, tuple[Setting, str], tuple[Setting, str]], ...] = (
    *(
        (
            f"{loss} in training, {way} in testing, instead of softmax; lambda {balance:g}",
            ((loss, balance), way),
            (("softmax", balance), "softmax"),
        )
        for loss, way in (
            ("concurrent", "softmax"),
            ("softmax", "concurrent"),
            ("concurrent", "concurrent"),
            ("softmax", "relatives"),
            ("concurrent", "relatives"),
            ("relatives", "relatives"),
        )
        for balance in (0.0, 0.7, 1.0)
    ),
    ("lambda 0.7 instead of 0, softmax", (("softmax", 0.7), "softmax"), _BASELINE),
    ("lambda 0.7 instead of 1, softmax", (("softmax", 0.7), "softmax"), _CLASS_AWARE),
    ("lambda 0.7 instead of 1, relatives", (("relatives", 0.7), "relatives"), (("relatives", 1.0), "relatives")),
    ("relatives with lambda 0.7 instead of softmax with 0", (("relatives", 0.7), "relatives"), _BASELINE),
    ("relatives with lambda 0.7 instead of softmax with 1", (("relatives", 0.7), "relatives"), _CLASS_AWARE),
)
"""What is compared: a name, and two settings with the way in which scores are made."""
_RARE = 16
"""Kinds with at most so many objects to learn from are called rare."""


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), required=True, help="For the world and the results.")
@click.option("--seeds", type=click.IntRange(min=2), default=3, show_default=True)
@click.option("--epochs", type=click.IntRange(min=1), default=EPOCHS, show_default=True, help="Of box heads.")
@click.option("--others/--no-others", default=False, help="Also lambda 1.5, and the other losses of table 1.")
def main(folder: Path, *, seeds: int, epochs: int, others: bool) -> None:
    """Print the tables as Markdown."""
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    settings = (*_CORE, *(_OTHERS if others else ()))
    results = _results(folder, settings, seeds, epochs)
    click.echo(f"{machine()}; trunks of {TRUNK_EPOCHS} epochs, box heads of {epochs}, {seeds} seeds\n")
    click.echo(f"{table(results, settings, seeds, epochs)}\n\n{differences(results, seeds, epochs)}")


def _results(folder: Path, settings: Sequence[Setting], seeds: int, epochs: int) -> Results:
    """Return what is measured, and keep each measurement as soon as it is there."""
    kept = folder / "results.jsonl"
    results = measured_before(kept)
    world, pairs = make(folder), folder / "pairs" / "pair_counts.parquet"
    command("region-pairs", "--vocab", world.vocabulary_folder, world.learnt, "--out", pairs.parent)
    trunk_of = functools.cache(lambda seed: trunk(world, seed, folder / "trunks" / str(seed)))
    for seed, setting in itertools.product(range(seeds), settings):
        job = Job(*setting, seed, epochs)
        if job not in results:
            results[job] = learn(trunk_of(seed % _TRUNKS), pairs, job)
            with kept.open("a", encoding="utf-8") as sink:
                sink.write(json.dumps([asdict(job), results[job]]) + "\n")
    return results


def measured_before(path: Path) -> Results:
    """Return what an earlier run has measured; half of a line, which a killed one may leave, is cut off."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.is_file() else []
    if lines and not lines[-1].endswith("\n"):
        path.write_text("".join(lines[:-1]), encoding="utf-8")
        del lines[-1]
    return {Job(**job): found for job, found in map(json.loads, lines)}


def table(results: Results, settings: Sequence[Setting], seeds: int, epochs: int) -> str:
    """Return a row for each loss, sampler and way to make scores: mean and standard deviation over the seeds, in %."""
    groups = _groups()
    lines = [_row("trained with", "lambda", "scores", *groups), "|---|---:|---|" + "---:|" * len(groups)]
    for loss, balance in settings:
        of_seeds = [results[Job(loss, balance, seed, epochs)] for seed in range(seeds)]
        for way in ("sigmoid",) if loss in SEPARATE else ("softmax", "concurrent", "relatives"):
            values = [[_mean(found[way], names) for found in of_seeds] for names in groups.values()]
            lines.append(_row(loss, f"{balance:g}", way, *map(_spread, values)))
    return "\n".join(lines)


def differences(results: Results, seeds: int, epochs: int) -> str:
    """Return a row for each comparison: mean and standard deviation over the seeds of differences, in points."""
    groups = _groups()
    lines = [_row("what", *groups, "better in"), "|---|" + "---:|" * (len(groups) + 1)]
    for name, ours, theirs in _COMPARED:
        gains = [
            [
                _mean(results[Job(*ours[0], seed, epochs)][ours[1]], names)
                - _mean(results[Job(*theirs[0], seed, epochs)][theirs[1]], names)
                for seed in range(seeds)
            ]
            for names in groups.values()
        ]
        better = sum(gain > 0 for gain in gains[0])
        lines.append(_row(name, *map(_spread, gains), f"{better} of {seeds}"))
    return "\n".join(lines)


def _mean(found: dict[str, float], names: list[str]) -> float:
    return 100 * statistics.mean(found[name] for name in names)


def _spread(values: list[float]) -> str:
    return f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


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
