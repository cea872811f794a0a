"""Reads files of torch.save without executing anything, compares their checksums, and refuses them with our messages.

torch's messages advise to load an unknown file with `weights_only=False`, which runs any program in it; and torch
compares none of the checksums that it writes, so a flipped bit of a weight goes unnoticed.
"""

from __future__ import annotations

import re
import warnings
import zipfile
import zlib
from typing import TYPE_CHECKING

import torch

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.core.locations import reason

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_ZIP, _PICKLE = b"PK", b"\x80"
_CHECK_BYTES = 1 << 20
_SYSTEM_ERROR = re.compile(r"unable to (?:mmap|open file|map)|Cannot allocate memory|not enough memory", re.IGNORECASE)
"""torch's messages about faults of the machine, not of the file."""
_FORBIDDEN = re.compile(r"GLOBAL (\S+)")


class NotWholeError(DataError):
    """A file was truncated or damaged after it had been written."""


def read_saved(path: Path, *, kind: str, remedy: str, allowed: Sequence[type] = ()) -> object:
    """Return the content of a file of torch.save, in the CPU's memory: tensors, plain values and containers of these.

    Args:
        path: the file.
        kind: the expected kind of file, for messages: "checkpoint".
        remedy: what to do about a file that holds something else.
        allowed: classes whose objects are loaded too.

    Raises:
        UsageError: it cannot be read.
        NotWholeError: it is truncated or damaged.
        DataError: it holds other objects, which could run a program.
    """
    is_zip = _is_zip(path, kind)
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals([*allowed]):
            warnings.simplefilter("ignore")  # about forms that are refused below
            return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except Exception as error:
        if isinstance(error, MemoryError | OSError) or _SYSTEM_ERROR.search(str(error)):
            raise UsageError(
                f"cannot be read ({reason(error)})", where=path, remedy="free memory, and try again"
            ) from error
        raise _refusal(path, error, kind, remedy) from None  # torch's own message says how to load it unsafely


def _is_zip(path: Path, kind: str) -> bool:
    """Return whether a file is a zip archive, with a checksum for every member, and not the older form, a pickle.

    Raises:
        NotWholeError: it is neither, or a checksum is wrong.
        UsageError: it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            head = stream.read(len(_ZIP))
            if head.startswith(_PICKLE):
                return False
            if head != _ZIP:
                raise _not_whole(path, kind, "not what torch.save writes")
            with zipfile.ZipFile(stream) as archive:
                for member in archive.infolist():
                    with archive.open(member) as content:
                        while content.read(_CHECK_BYTES):
                            pass
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, RuntimeError) as error:
        raise _not_whole(path, kind, reason(error)) from error
    except OSError as error:
        raise UsageError(f"cannot be read ({reason(error)})", where=path, remedy="check its permissions") from error
    return True


def _refusal(path: Path, error: Exception, kind: str, remedy: str) -> DataError:
    text = str(error)
    if (forbidden := _FORBIDDEN.search(text)) is not None:
        return DataError(
            f"it holds Python objects ({forbidden[1]}), which could run any program when they are loaded",
            where=path,
            remedy=remedy,
        )
    if "TorchScript" in text:
        return DataError(f"it is a TorchScript archive, which is a program, not a {kind}", where=path, remedy=remedy)
    if "Unsupported operand" in text or "Unsupported class" in text:
        return DataError(f"it holds Python objects and is not a {kind}", where=path, remedy=remedy)
    return _not_whole(path, kind, "not what torch.save writes")


def _not_whole(path: Path, kind: str, why: str) -> NotWholeError:
    return NotWholeError(f"is not a complete {kind} ({why})", where=path, remedy="name another, or obtain it again")
