"""What commands that make whole builds print of their stages."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import click

from .options import printable

if TYPE_CHECKING:
    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.pipeline.records import StageOutcome


class _Summary(Protocol):
    """What a stage counted."""

    def lines(self) -> list[str]: ...


@runtime_checkable
class _Short(_Summary, Protocol):
    """What a stage counted, with a line that is enough, and what needs an eye; others' lines are few."""

    def line(self) -> str: ...

    def findings(self) -> list[str]: ...


class Teller:
    """Prints the stages of a build as they end; if none had to be done, nothing.

    Args:
        verbose: print all counts.
        quiet: print nothing.
        findings: print below a stage what needs an eye.
    """

    def __init__(self, *, verbose: bool, quiet: bool, findings: bool = True) -> None:
        self.outcomes: dict[str, StageOutcome[Any]] = {}
        self._verbose = verbose
        self._quiet = quiet
        self._findings = findings
        self._waiting: list[str] = []

    @property
    def any_done(self) -> bool:
        """Whether the work of a stage was done now."""
        return any(outcome.fresh for outcome in self.outcomes.values())

    def ended(self, stage: str, outcome: StageOutcome[Any]) -> None:
        """Print a stage, and before the first that was done those that stand."""
        self.outcomes[stage] = outcome
        if self._quiet:
            return
        self._waiting += self._lines(stage, outcome)
        if self._verbose or self.any_done:
            click.echo("\n".join(self._waiting))
            self._waiting.clear()

    def content(self) -> dict[str, object]:
        """Return the stages for --json."""
        return {
            stage: {"fresh": outcome.fresh, "seconds": outcome.record.seconds, "summary": outcome.record.summary}
            for stage, outcome in self.outcomes.items()
        }

    def _lines(self, stage: str, outcome: StageOutcome[_Summary]) -> list[str]:
        done = f"{outcome.record.seconds:.1f} s" if outcome.fresh else "up to date"
        short = outcome.summary if isinstance(outcome.summary, _Short) and not self._verbose else None
        said = f": {short.line()}" if short and short.line() else ""
        if short:
            below = short.findings() if self._findings else []
        else:
            below = outcome.summary.lines() if self._verbose or self._findings else []
        return [f"{printable(stage)} ({done}){said}", *(f"  {printable(line)}" for line in below)]


def ways_to_look(out: Location, image: str, *, last: str = "") -> list[str]:
    """Return what to do with a build that is done; one in a store can only be shown.

    Args:
        out: the build's folder.
        image: the id of an image, for a shell.
        last: what stands before the last of several.
    """
    where = shlex.quote(str(out))
    show = f"mlimages-build show {where} {image}"
    if not isinstance(out, Path):
        return [show]
    return [show, f"mlimages-build serve {where}", f"{last}open {out / 'report.html'}"]
