"""What of a run decides the learning: what a resumed run must have in common with the one it continues."""

from __future__ import annotations

import dataclasses
import enum
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlimages_dataset.train.config import Run

SCIENCE = ("seed", "model", "loss", "optimizer", "schedule", "phases")
"""The parts of a run that a resumed one must have in common with the one it continues."""


def science(run: Run) -> dict[str, str]:
    """Return what decides the learning, as JSON text by dotted field, for checkpoints and for comparisons."""
    fields = {name: value for name, value in dataclasses.asdict(run).items() if name in SCIENCE}
    flat = {
        f"{name}.{key}": value
        for name, section in fields.items()
        for key, value in (section.items() if isinstance(section, dict) else [("", section)])
    }
    return {name.rstrip("."): json.dumps(value, default=plain) for name, value in flat.items() if name not in _APART}


_APART = frozenset({"model.weights", "model.classes", "loss.pair_counts"})
"""Not compared: where a run began matters no more once it has begun, its classes are those of its vocabulary, and a
table may move (its rates are compared)."""


def plain(value: object) -> str:
    """Return an enumeration or a place as JSON text has it."""
    return str(value.value) if isinstance(value, enum.Enum) else str(value)
