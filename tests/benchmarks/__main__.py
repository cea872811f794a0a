"""Run all benchmarks of the label tables: python -m tests.benchmarks --folder DIR [--scale 1.0].

Runs each at three sizes, a hundredth, a tenth and all of `--scale`. Prints one Markdown table, draws our time and the
peers' over the sizes (`--plot docs/speed-by-size.png` draws that of the documentation), and leaves the simulated
inputs and the outcomes in the folder: what was measured there is not measured again unless `--again` is given, so that
a run of hours can be interrupted. At full scale it needs 20 GB of disk and hours on 2 cores; `--scale 0.1` takes about
a tenth of both.
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
from tests.benchmarks.kept import Outcome, keep, kept
from tests.benchmarks.measurement import machine, table
from tests.benchmarks.plot import draw

BENCHMARKS = {
    "labels": labels_at_scale,
    "annotate": annotate_at_scale,
    "cooccurrence": cooccurrence_at_scale,
    "catalogue": catalogue_at_scale,
    "tally": tally_at_scale,
}
SHARES = (0.01, 0.1, 1.0)


@click.command()
@click.option("--folder", type=click.Path(path_type=Path), required=True, help="For inputs and outputs.")
@click.option("--scale", type=click.FloatRange(0, min_open=True), default=1.0, show_default=True)
@click.option("--share", "shares", type=click.FloatRange(0, 1, min_open=True), multiple=True, default=SHARES)
@click.option("--repeat", type=click.IntRange(min=1), default=3, show_default=True)
@click.option("--only", type=click.Choice(list(BENCHMARKS)), multiple=True, help="Run these only; repeatable.")
@click.option("--again", is_flag=True, help="Measure also what was measured in this folder before.")
@click.option("--plot", type=click.Path(path_type=Path), help="Where to draw; by default a file in the folder.")
def main(
    *,
    folder: Path,
    scale: float,
    shares: tuple[float, ...],
    repeat: int,
    only: tuple[str, ...],
    again: bool,
    plot: Path | None,
) -> None:
    """Measure our commands beside their limits and peers, and print one table."""
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    outcomes = []
    for name in only or BENCHMARKS:
        for share in shares:
            outcome = None if again else kept(folder, name, scale * share)
            if outcome is None:
                where = machine()
                rows = BENCHMARKS[name].run(folder, scale * share, repeat=repeat)
                outcome = keep(folder, Outcome(name, scale * share, where, tuple(rows)))
            outcomes.append(outcome)
    rows = [row for outcome in outcomes for row in outcome.rows]
    machines = list(dict.fromkeys(outcome.machine for outcome in outcomes))
    click.echo("\n".join(machines) + f"\n\n{table(rows)}")
    plot = plot or folder / "speed-by-size.png"
    if draw(rows, " / ".join(machines), plot):
        click.echo(f"\n{plot}: time over size")


if __name__ == "__main__":
    main()
