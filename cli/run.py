"""`mlimages-build run`: a whole build."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from .options import (
    FILE,
    chosen_engine,
    dask_option,
    json_option,
    out_option,
    overwrite_option,
    workers_option,
)

if TYPE_CHECKING:
    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.records import StageOutcome


@click.command()
@click.argument("recipe", required=False, type=FILE)
@out_option
@overwrite_option
@workers_option
@dask_option
@json_option
def run(
    *, recipe: Location | None, out: Location, overwrite: bool, workers: int, dask_address: str | None, as_json: bool
) -> None:
    """Build everything that RECIPE (TOML) names: vocabulary, annotations, co-occurrence, labels, report.

    Without RECIPE the packaged example is built: ImageNet-11k's synsets, Open Images' box classes, a few dozen
    photographs, and a simulated sample. Run the same command again to continue an interrupted build; finished stages
    are skipped.

    \b
    Examples:
      mlimages-build run --out build
      mlimages-build run recipe.toml --out build --workers 8
    """  # noqa: D301 - click wants the backspace itself
    # Here and not above: pyarrow and scipy would cost --help half a second.
    from mlimages_dataset.api.builds import run as built  # noqa: PLC0415

    outcomes: dict[str, StageOutcome[Any]] = {}

    def ended(stage: str, outcome: StageOutcome[Any]) -> None:
        outcomes[stage] = outcome
        if not as_json:
            click.echo("\n".join(_lines(stage, outcome)))

    with chosen_engine(workers, dask_address) as mapper:
        built(recipe, out, overwrite=overwrite, mapper=mapper, ended=ended)
    if as_json:
        content = {
            stage: {"fresh": outcome.fresh, "seconds": outcome.record.seconds, "summary": outcome.record.summary}
            for stage, outcome in outcomes.items()
        }
        click.echo(json.dumps(content, indent=2, ensure_ascii=False))
    else:
        click.echo(f"\nDone: open {out / 'report.html'}, or check the files with: mlimages-build verify {out}")


def _lines(stage: str, outcome: StageOutcome[Any]) -> list[str]:
    done = f"{outcome.record.seconds:.1f} s" if outcome.fresh else "up to date"
    return [f"{stage} ({done})", *(f"  {line}" for line in outcome.summary.lines())]
