"""Run all benchmarks of the label tables: python -m tests.benchmarks --folder DIR [--scale 1.0].

Prints one Markdown table, draws `docs/labels-time.png`, and leaves the simulated inputs in the folder for the next run.
At full scale it needs 15 GB of disk and about an hour on 2 cores; `--scale 0.1` takes about a tenth of both.
"""

from __future__ import annotations

from pathlib import Path

import click

from tests.benchmarks import (
    annotate_at_scale,
    catalogue_at_scale,
    cooccurrence_at_scale,
    labels_at_scale,
    tally_at_scale,
)
from tests.benchmarks.measurement import machine, table
from tests.benchmarks.plot import draw

BENCHMARKS = {
    "labels": labels_at_scale,
    "annotate": annotate_at_scale,
    "cooccurrence": cooccurrence_at_scale,
    "catalogue": catalogue_at_scale,
    "tally": tally_at_scale,
}


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), required=True, help="For inputs and outputs.")
@click.option("--scale", type=click.FloatRange(0, min_open=True), default=1.0, show_default=True)
@click.option("--repeat", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--only", type=click.Choice(list(BENCHMARKS)), multiple=True, help="Run these only; repeatable.")
@click.option("--plot", type=click.Path(path_type=Path), default=Path("docs/labels-time.png"), show_default=True)
def main(folder: Path, scale: float, repeat: int, only: tuple[str, ...], plot: Path) -> None:
    """Measure our commands beside their limits and peers, and print one table."""
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    where = machine()
    rows = []
    for name in only or BENCHMARKS:
        rows += BENCHMARKS[name].run(folder, scale, repeat=repeat)
    click.echo(f"{where}\n\n{table(rows)}")
    sizes = [row for row in rows if row.task == labels_at_scale.SCALING_TASK]
    if sizes:
        click.echo(f"\n{plot}: a straight line with R² = {draw(sizes, where, plot):.4f}")


if __name__ == "__main__":
    main()
