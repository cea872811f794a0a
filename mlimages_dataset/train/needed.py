"""Checks before a run that everything it needs is given, and reports all missing items at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlimages_dataset.core.errors import ConfigError
from mlimages_dataset.train.config import TaskName

if TYPE_CHECKING:
    from pathlib import Path

    from mlimages_dataset.train.config import Run

PLACES = ("images", "labels", "vocabulary")
"""The fields of `data` that a training run needs; segmentation has no vocabulary."""


def needed_places(run: Run) -> tuple[str, ...]:
    """Return the fields of `data` that a run needs."""
    return tuple(name for name in PLACES if name != "vocabulary" or run.task is not TaskName.SEGMENTATION)


def check_needed(run: Run, out: Path | None, *, weights: bool = False) -> None:
    """Raise a `ConfigError` that names all missing items, unless a run has its data and its folder.

    Args:
        run: the run.
        out: the run's folder.
        weights: whether initial weights are required.
    """
    in_file = [f"data.{name}" for name in needed_places(run) if getattr(run.data, name) is None]
    if weights and run.model.weights is None:
        in_file.append("model.weights")
    options = [f"--{name.partition('.')[2]}" for name in in_file] + ["--out"] * (out is None)
    if not options:
        return
    missing = _joined([*in_file, *["--out"] * (out is None)])
    write = f", or write {_joined(in_file)} in the run file" if in_file else ""
    raise ConfigError(f"no {missing}", remedy=f"pass {_joined(options)}{write}")


def _joined(names: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
