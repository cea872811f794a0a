"""Try the trainer's laws and measure its speed on the CUDA devices of this machine, within eight minutes.

    python -m tests.gpu [--markdown gpu.md]

Prints a line for each trial and one table at the end. Where there is no GPU it says so and runs the same code with
small sizes on the CPU. Exit code: 1 where a law failed, or where nothing was tried of a section that --only names;
otherwise 0.
"""

from __future__ import annotations

import datetime as dt
import functools
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import click
import torch

from mlimages_dataset.samples import photographs
from tests.gpu.report import Row, exit_code, markdown, table, untried, verdict
from tests.gpu.runner import run_sections
from tests.gpu.sections import SECTIONS
from tests.gpu.trials import Job, chosen

NO_GPU = "There is no GPU here: this runs the CPU part, with small sizes; its figures say nothing of a GPU."
_NAMES = [section.name for section in SECTIONS]


@click.command(help=__doc__)
@click.option("--device", type=click.Choice(["auto", "cuda", "cpu"]), default="auto", show_default=True)
@click.option("--markdown", "out", type=click.Path(path_type=Path), help="Also write the table as Markdown.")
@click.option("--seconds", type=click.FloatRange(min=1), default=480.0, show_default=True, help="For everything.")
@click.option("--images", type=click.Path(path_type=Path, exists=True), help="JPEGs to measure with.")
@click.option("--folder", type=click.Path(path_type=Path), help="Keep runs and logs in this new folder.")
@click.option("--only", type=click.Choice(_NAMES), multiple=True, help="Run these sections, and what they need.")
def main(  # noqa: PLR0917 - as click calls it
    device: str, out: Path | None, seconds: float, images: Path | None, folder: Path | None, only: tuple[str, ...]
) -> None:
    """Run the sections, print the table and end with the exit code."""
    began = time.time()
    n_gpus = 0 if device == "cpu" else torch.cuda.device_count()
    if device == "cuda" and not n_gpus:
        raise click.UsageError("no GPU is found; leave --device out to run the CPU part")
    if not n_gpus:
        click.echo(NO_GPU if device == "auto" else "The CPU part, with small sizes; its figures say nothing of a GPU.")
    if folder is not None and folder.exists() and any(folder.iterdir()):
        raise click.UsageError(f"{folder} is not empty; name a new folder")
    place = Path(tempfile.mkdtemp(prefix="tests-gpu-")) if folder is None else folder.absolute()
    place.mkdir(parents=True, exist_ok=True)
    job = Job(
        device="cuda" if n_gpus else "cpu",
        gpus=n_gpus,
        folder=str(place),
        images=str((images or _photographs()).absolute()),
        deadline=began + seconds,
        chosen=bool(only),
    )
    try:
        rows = run_sections(chosen(SECTIONS, only), job, told=functools.partial(_tell, began))
    finally:
        if folder is None:
            shutil.rmtree(place, ignore_errors=True)
    end = f"{verdict(rows)}; {time.time() - began:.0f} s"
    click.echo(f"\n{table(rows)}\n\n{end}")
    if out is not None:
        what = f"{n_gpus} GPUs" if n_gpus else "no GPU: the CPU part, with small sizes"
        head = f"`python -m tests.gpu`, {dt.datetime.now(tz=dt.UTC).date()}, {what}: {end}."
        out.write_text(markdown(rows, head), encoding="utf-8")
    for name in untried(rows, only):
        click.echo(f"nothing of the section {name} was tried; the table says why", err=True)
    sys.exit(exit_code(rows, only))


def _photographs() -> Path:
    """Return a folder of real photographs: those of the published files, which are larger, or the packaged ones."""
    published = Path(os.environ.get("MLIMAGES_SHARED_DATA", "")) / "images"
    return published if "MLIMAGES_SHARED_DATA" in os.environ and published.is_dir() else photographs()


def _tell(began: float, row: Row) -> None:
    end = f": {row.figure}" if row.figure else ""
    click.echo(f"{time.time() - began:5.0f} s  {row.section}: {row.what}: {row.status.value}{end}")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
