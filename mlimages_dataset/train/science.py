"""The settings that decide what a run learns; a resumed run must have the same."""

from __future__ import annotations

import dataclasses
import enum
import json
from typing import TYPE_CHECKING

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.train.config import TaskName

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlimages_dataset.train.config import Run

SCIENCE = ("seed", "model", "loss", "optimizer", "schedule", "phases")
"""The sections of a run file that must not change when the run resumes."""

UPRIGHT_KEY = "data.upright"


def science(run: Run) -> dict[str, str]:
    """Return the settings that decide what is learnt, as JSON text by dotted name, for checkpoints and comparisons."""
    of_task = () if run.task is TaskName.MULTI_LABEL else ("task", run.task.value)  # whose section has its name
    fields = {name: value for name, value in dataclasses.asdict(run).items() if name in (*SCIENCE, *of_task)}
    flat = {
        f"{name}.{key}": value
        for name, section in fields.items()
        for key, value in (section.items() if isinstance(section, dict) else [("", section)])
    }
    flat["loss.relatives_concur"] = run.loss.lets_relatives_concur  # unless stated, that of the loss
    upright = {UPRIGHT_KEY: "true"} if run.data.upright else {}  # earlier checkpoints have no such setting
    told = {name.rstrip("."): json.dumps(value, default=plain) for name, value in flat.items() if name not in _APART}
    return told | upright


def refuse_other_task(settings: Mapping[str, str], where: object) -> None:
    """Raise `UsageError` where a checkpoint's settings are not of a classifier."""
    task = json.loads(settings.get("task", json.dumps(TaskName.MULTI_LABEL.value)))
    if task != TaskName.MULTI_LABEL.value:
        raise UsageError(f"it is a checkpoint of the task {task}", where=where, remedy="name weights of a classifier")


def turns_upright(settings: Mapping[str, str]) -> bool:
    """Return whether a checkpoint's settings say that pictures are turned upright."""
    return settings.get(UPRIGHT_KEY) == "true"


_APART = frozenset({"model.weights", "model.classes", "loss.pair_counts"})
"""Not compared: initial weights no longer matter after the start, the classes are those of the vocabulary, and a table
may move (its rates are compared)."""


def plain(value: object) -> str:
    """Return an enumeration or a location as text for JSON."""
    return str(value.value) if isinstance(value, enum.Enum) else str(value)
