"""The log of a run: lines on the console, JSON lines, and TensorBoard events. Only rank 0 writes it."""

from __future__ import annotations

import json
import math
import sys
import time
from typing import TYPE_CHECKING, TypeAlias

from mlimages_dataset.core.documents import parse_json
from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.tables.files import write_bytes, write_errors

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch.utils.tensorboard import SummaryWriter

LOG_FILE = "log.jsonl"
EVENTS_FOLDER = "tensorboard"
WARNING = "warning"
"""The kind of warning lines."""
Values: TypeAlias = "Mapping[str, float | int | str]"


class RunLog:
    """The log of one run; silent on ranks other than 0."""

    def __init__(self, folder: Path | None, *, tensorboard: bool = False, resumed_at: int = 0) -> None:
        """Open a run's log.

        Args:
            folder: the run's folder; None for a silent log.
            tensorboard: also write events.
            resumed_at: the step from which the run resumes: later lines, of steps that are repeated, are removed.

        Raises:
            UsageError: the folder cannot be written, or tensorboard is not installed.
        """
        self._path = None if folder is None else folder / LOG_FILE
        self._events: SummaryWriter | None = None
        self.has_warned = False
        """Whether the log holds a warning, from this or an earlier start of the run."""
        if folder is None:
            return
        assert self._path is not None
        if self._path.is_file():
            kept = _lines_until(self._path, resumed_at)
            self.has_warned = any(parse_json(line)["kind"] == WARNING for line in kept)
            write_bytes(self._path, "".join(kept).encode())
        if tensorboard:
            self._events = _event_writer(folder / EVENTS_FOLDER, resumed_at)

    def tell(self, kind: str, step: int, values: Values) -> None:
        """Append a JSON line and the events, and print the values on one line.

        Raises:
            UsageError: the log cannot be written.
        """
        self._tell(kind, step, values, "  ".join(f"{name} {_shown(value)}" for name, value in values.items()))

    def warning(self, step: int, sentence: str, values: Values) -> None:
        """Append a warning and its figures as a JSON line and events, and print the sentence; raises as `tell`."""
        self.said(WARNING, step, sentence, values)
        self.has_warned = True

    def said(self, kind: str, step: int, sentence: str, values: Values) -> None:
        """Append a sentence and its figures as a JSON line and events, and print the sentence; raises as `tell`."""
        self._tell(kind, step, {"sentence": sentence, **values}, sentence)

    def _tell(self, kind: str, step: int, values: Values, shown: str) -> None:
        if self._path is None:
            return
        line = {"kind": kind, "step": step, "time": round(time.time(), 3), **values}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with write_errors(self._path), self._path.open("a", encoding="utf-8") as stream:
            stream.write(json_text(line) + "\n")
        if self._events is not None:
            for name, value in values.items():
                if not isinstance(value, str):
                    self._events.add_scalar(f"{kind}/{name}", value, step)
        sys.stdout.write(f"step {step:>7,}  {kind}: {shown}\n")
        sys.stdout.flush()

    def close(self) -> None:
        """Flush the events."""
        if self._events is not None:
            self._events.close()


def json_text(value: object, *, indent: int | None = None) -> str:
    """Return a value as JSON, with null for NaN and infinity, which JSON lacks."""
    return json.dumps(_finite(value), ensure_ascii=False, allow_nan=False, indent=indent)


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_log(path: Path) -> list[dict[str, float | int | str | None]]:
    """Return the lines of a run's log, without a last line that a crash left incomplete.

    Raises:
        DataError: a complete line is not a line of a log.
    """
    return [_parsed(line, path, number) for number, line in enumerate(_whole_lines(path), start=1)]


def _parsed(line: str, path: Path, number: int) -> dict[str, float | int | str | None]:
    try:
        content = parse_json(line)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise DataError("is not a line of a run's log", where=path, line=number, remedy="remove the line")
    return content


def _lines_until(path: Path, step: int) -> list[str]:
    return [line for line in _whole_lines(path) if parse_json(line)["step"] <= step]


def _whole_lines(path: Path) -> list[str]:
    with path.open(encoding="utf-8", errors="replace") as stream:
        return [line for line in stream if line.endswith("\n")]


def _event_writer(folder: Path, resumed_at: int) -> SummaryWriter:
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - slow to import, and wanted by few
    except ImportError as error:
        raise UsageError("tensorboard is not installed", remedy="run: pip install tensorboard") from error
    return SummaryWriter(str(folder), purge_step=resumed_at)


def _shown(value: float | str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if math.isfinite(value) else str(value)
