"""A lock that allows one trainer per folder: two that write the same checkpoints and log would damage both.

The lock is a POSIX lock on a separate file: it belongs to the process that took it, so decoding workers forked from
that process do not keep it, and the system releases it however the process ends. (A flock on the folder would belong to
the workers too, so those of a killed run could block the run that resumes.)
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

from mlimages_dataset.core.errors import MLImagesError, UsageError
from mlimages_dataset.core.locations import is_local
from mlimages_dataset.tables.files import write_errors
from mlimages_dataset.train import distributed

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlimages_dataset.core.locations import Location

LOCK_FILE = "run.lock"
"""An empty file that stays after the run: if it was removed, two runs could lock two files of that name."""


@contextlib.contextmanager
def only_run_in(folder: Location) -> Iterator[None]:
    """Hold a folder for this run, by rank 0, while the block lasts; every rank calls it.

    Remote folders, and file systems and machines without such locks, are not locked.

    Raises:
        UsageError: another run holds it (raised on every rank); or the folder cannot be written.
    """
    descriptor: int | None = None
    refused: MLImagesError | None = None
    if distributed.rank() == 0:
        try:
            descriptor = _held(folder)
        except MLImagesError as error:
            refused = error
    try:
        refused = distributed.from_first(refused)
        if refused is not None:
            raise refused
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _held(folder: Location) -> int | None:
    """Return the descriptor that holds a folder's lock until it is closed; None if there are no locks.

    Raises:
        UsageError: another process holds it, or the folder cannot be written.
    """
    if fcntl is None or not is_local(folder):
        return None
    path = folder / LOCK_FILE
    with write_errors(path):
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(str(path), os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if error.errno not in {errno.EACCES, errno.EAGAIN}:
            return None  # the file system has no locks
        raise UsageError(
            "another run is writing here", where=folder, remedy="wait until it has ended, or name another --out"
        ) from error
    return descriptor
