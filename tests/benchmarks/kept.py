"""Outcomes of the benchmarks, kept in their folder so that a run of hours can be interrupted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cattrs.preconf.json import make_converter

from tests.benchmarks.measurement import Row  # noqa: TC001 - the decoder reads it

if TYPE_CHECKING:
    from pathlib import Path

_OUTCOMES = "outcomes.jsonl"
_CONVERTER = make_converter()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one benchmark found at one scale.

    Attributes:
        benchmark: its name.
        scale: the share of the published size.
        machine: what it was measured on, and when.
        rows: one for each contender.
    """

    benchmark: str
    scale: float
    machine: str
    rows: tuple[Row, ...]


def kept(folder: Path, benchmark: str, scale: float) -> Outcome | None:
    """Return the last outcome of this benchmark at this scale in a folder, None where there is none."""
    path = folder / _OUTCOMES
    if not path.exists():
        return None
    # An interruption may have cut the last line.
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    outcomes = [_CONVERTER.loads(line, Outcome) for line in lines if line.endswith("\n")]
    return next((one for one in reversed(outcomes) if (one.benchmark, one.scale) == (benchmark, scale)), None)


def keep(folder: Path, outcome: Outcome) -> Outcome:
    """Write an outcome behind those that the folder holds, and return it."""
    with (folder / _OUTCOMES).open("a", encoding="utf-8") as stream:
        stream.write(_CONVERTER.dumps(outcome) + "\n")
    return outcome
