"""What was tried and what came of it: rows, their table, and the exit code."""

from __future__ import annotations

import enum
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence


class Status(enum.StrEnum):
    """What became of a trial."""

    OK = "ok"
    FAILED = "failed"
    NOT_TRIED = "not tried"


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one trial.

    Attributes:
        section: the trial's.
        what: its name.
        status: what became of it.
        figure: what was measured, or why it failed, or why it was not tried.
        law: it states a law; a failed one is an error, a failed measurement is none.
    """

    section: str
    what: str
    status: Status
    figure: str = ""
    law: bool = False

    def to_json(self) -> str:
        """Return the row as a line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Self:
        """Return the row of a line of JSON."""
        values = json.loads(line)
        return cls(**{**values, "status": Status(values["status"])})


def exit_code(rows: Sequence[Row], asked: Collection[str] = ()) -> int:
    """Return 1 where a law failed or nothing was tried of a section that was asked for, otherwise 0."""
    failed = any(row.law and row.status is Status.FAILED for row in rows)
    return int(failed or bool(untried(rows, asked)))


def untried(rows: Sequence[Row], asked: Collection[str]) -> list[str]:
    """Return the sections that were asked for and of which nothing was tried."""
    tried = {row.section for row in rows if row.status is not Status.NOT_TRIED}
    return [name for name in asked if name not in tried]


def verdict(rows: Sequence[Row]) -> str:
    """Return how many laws hold, failed and were not tried, in a sentence."""
    laws = [row.status for row in rows if row.law]
    told = f"{laws.count(Status.OK)} laws hold, {laws.count(Status.FAILED)} failed"
    return f"{told}, {laws.count(Status.NOT_TRIED)} were not tried"


def table(rows: Sequence[Row]) -> str:
    """Return the rows for a console."""
    width = max((len(row.what) for row in rows), default=0)
    lines, section = [], ""
    for row in rows:
        if row.section != section:
            section = row.section
            lines.append(f"\n{section}")
        lines.append(f"  {row.status.value:9}  {row.what:{width}}  {row.figure}".rstrip())
    return "\n".join(lines).lstrip("\n")


def markdown(rows: Sequence[Row], head: str) -> str:
    """Return the rows as a Markdown table below a sentence."""
    lines = [head, "", "| section | what | | figure |", "|---|---|---|---|"]
    lines += [
        f"| {_cell(row.section)} | {_cell(row.what)} | {row.status.value} | {_cell(row.figure)} |" for row in rows
    ]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
