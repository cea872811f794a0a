"""Standard streams that are closed, as those of daemons and cron jobs may be, and an output that cannot be written.

A system gives a file the lowest free number. So a closed standard stream, whose number is below 3, would become the
next file that is opened, and what a library or a worker process prints would be written into it.
"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.core.locations import named_path, obstacle, reason

if TYPE_CHECKING:
    from collections.abc import Iterable

BROKEN_PIPE = 141
"""Exit code if nobody reads the output on: 128 and the number of SIGPIPE, as shells have it."""
_FAILED = 1


class Program(click.Group):
    """The group of a program's commands, which works with closed streams and tells if its output cannot be written."""

    def main(self, *args: Any, **settings: Any) -> Any:
        """See click."""
        fill_closed()
        streams = sys.stdout, sys.stderr  # click replaces those of a broken pipe
        try:
            return super().main(*args, **settings)
        except SystemExit as ended:
            _give_up(streams)
            if sys.stdout is not streams[0]:
                raise SystemExit(BROKEN_PIPE) from ended
            raise
        except OSError as error:
            told = told_system_error(error)
            _give_up(streams)
            click.echo(f"Error: {told}", err=True)
            raise SystemExit(_FAILED) from error


def fill_closed() -> None:
    """Open the null device for each standard stream that is closed; in `sys`, a closed input stays None."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # This takes the lowest free number, which is `number`. Worker processes inherit it.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - it stays open


def told_system_error(error: OSError) -> DataError | UsageError:
    """Return what to say of an error of the system that no stage expects."""
    if _is_of_echo(error):
        remedy = "free space there, or write it elsewhere"
        return DataError(f"cannot be written ({reason(error)})", where="standard output", remedy=remedy)
    if isinstance(error, FileNotFoundError) and _is_folder_gone():
        return UsageError("the working folder was removed", remedy="change to a folder that exists, with cd")
    if found := obstacle(error):
        what, where = found
        return UsageError(what, where=where, remedy="name another path")  # what was to be read is not to be removed
    return DataError(error.strerror or str(error), where=named_path(error) or "the system")


def _is_of_echo(error: OSError) -> bool:
    """Return whether an error comes from printing."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return bool(frames) and frames[-1].f_code is click.echo.__code__


def _give_up(streams: Iterable[TextIO]) -> None:
    """Drop what streams still hold and cannot write: Python would fail over it at its end."""
    for stream in streams:
        try:
            stream.flush()
        except OSError:
            with contextlib.suppress(OSError):
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, stream.fileno())
                os.close(null)
                stream.flush()


def _is_folder_gone() -> bool:
    try:
        Path.cwd()
    except FileNotFoundError:
        return True
    return False
