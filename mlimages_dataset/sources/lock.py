"""The lock file of a folder of published files: size and SHA-256 of each file when it was first downloaded."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlimages_dataset.core.documents import parse_json
from mlimages_dataset.core.errors import ConfigError, DataError
from mlimages_dataset.core.locations import refuse_special
from mlimages_dataset.sources.publishers import LOCK_NAME, record_of
from mlimages_dataset.tables.files import write_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LOCK_FORMAT = "mlimages.lock/1"


@dataclass(frozen=True, slots=True)
class LockRecord:
    """The record of a file when it was first downloaded.

    Attributes:
        url: where it came from.
        bytes: its size.
        sha256: its digest.
        etag: the server's entity tag; empty if it gave none, or if a person put the file there.
        date: date of the download, ISO 8601.
    """

    url: str
    bytes: int
    sha256: str
    etag: str
    date: str


def read_lock(out: Path) -> Mapping[str, LockRecord]:
    """Return the records of an output folder's lock file by file name; none if there is no lock file yet.

    Raises:
        DataError: it is not a lock file of this format.
    """
    path = out / LOCK_NAME
    remedy = "restore it, or remove it to record the files as they are now"
    if not path.exists():
        return {}
    refuse_special(path, remedy=remedy)
    try:
        content = parse_json(path.read_bytes())
        if content["format"] != LOCK_FORMAT:
            raise DataError(f"its format is {content['format']}, not {LOCK_FORMAT}", where=path, remedy=remedy)
        return {name: record_of(LockRecord, record, path) for name, record in content["files"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ConfigError) as error:
        raise DataError(f"is not a complete lock file ({error})", where=path, remedy=remedy) from error


def write_lock(out: Path, lock: Mapping[str, LockRecord]) -> None:
    """Write the lock file atomically."""
    files = {name: dataclasses.asdict(record) for name, record in sorted(lock.items())}
    content = json.dumps({"format": LOCK_FORMAT, "files": files}, indent=2, ensure_ascii=False) + "\n"
    write_bytes(out / LOCK_NAME, content.encode())
