"""Trials, the sections that they form, and their running one after the other until the time is up."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.gpu.report import Row, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence


class NotTriedError(Exception):
    """A trial cannot be made here; the text says why."""


class BrokenLawError(Exception):
    """A law does not hold; the text says by how much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Where and how a section works.

    Attributes:
        device: `cuda` or `cpu`.
        gpus: how many there are.
        folder: for everything that is written.
        images: folder of JPEG files to make shards of.
        deadline: in seconds of `time.time`; after it nothing is begun.
        chosen: the sections were named by the user, so what takes minutes on a CPU is tried too.
    """

    device: str
    gpus: int
    folder: str
    images: str
    deadline: float
    chosen: bool = False

    @property
    def small(self) -> bool:
        """Whether sizes are those of a CPU."""
        return self.device == "cpu"

    def path(self, name: str) -> Path:
        """Return a path below the folder."""
        return Path(self.folder) / name

    def left(self) -> float:
        """Return the seconds until the deadline."""
        return self.deadline - time.time()

    def note(self, name: str, value: float) -> None:
        """Keep a figure for later sections."""
        path = self.path("figures.json")
        path.write_text(json.dumps({**self.noted(), name: value}))

    def noted(self) -> dict[str, float]:
        """Return the figures of earlier sections."""
        path = self.path("figures.json")
        return dict(json.loads(path.read_text())) if path.is_file() else {}

    def to_json(self) -> str:
        """Return the job as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the job of a JSON text."""
        values: dict[str, Any] = json.loads(text)
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Trial:
    """One row of the table to be.

    Attributes:
        what: its name.
        work: is given the job and returns the figure. It raises `NotTriedError` or `BrokenLawError`; any other error
            is a failure too.
        seconds: that it is expected to take on a GPU; it is not begun where fewer are left.
        law: whether it states a law.
    """

    what: str
    work: Callable[[Job], str]
    seconds: float
    law: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """Trials that share a process.

    Attributes:
        name: as the table names it.
        trials: in their order.
        needs: the sections without whose files its trials cannot be made.
    """

    name: str
    trials: tuple[Trial, ...]
    needs: tuple[str, ...] = ()

    @property
    def most_seconds(self) -> float:
        """Return after how many seconds the section is taken to hang."""
        return 60 + 4 * sum(trial.seconds for trial in self.trials)


def chosen(sections: Sequence[Section], names: Collection[str]) -> list[Section]:
    """Return the sections of some names, with those that they need, in the order of all; all where none is named."""
    needed = {need for one in sections if one.name in names for need in (one.name, *one.needs)}
    return [one for one in sections if not names or one.name in needed]


def rows_of(section: Section, job: Job) -> Iterator[Row]:
    """Yield the row of each trial of a section as it ends."""
    for trial in section.trials:
        if trial.seconds > job.left():
            yield Row(section.name, trial.what, Status.NOT_TRIED, "time", trial.law)
            continue
        status, figure = _outcome(trial, job)
        yield Row(section.name, trial.what, status, figure, trial.law)


def _outcome(trial: Trial, job: Job) -> tuple[Status, str]:
    try:
        return Status.OK, trial.work(job)
    except NotTriedError as error:
        return Status.NOT_TRIED, str(error)
    except BrokenLawError as error:
        return Status.FAILED, str(error)
    except Exception as error:  # noqa: BLE001 - one trial that fails must not end the others
        return Status.FAILED, sentence_of(error)


def sentence_of(error: BaseException) -> str:
    """Return an error's kind and the first line of what it says."""
    said = str(error).strip().splitlines()
    return f"{type(error).__name__}: {said[0]}" if said else type(error).__name__
