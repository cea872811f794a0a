"""What is said of errors of the system that nobody expects: never to remove what was to be read."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.core.streams import told_system_error

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize(
    ("call", "where", "what"),
    [
        (lambda folder: folder.open(), "", "is a folder where a file should be"),
        (lambda folder: os.scandir(folder / "file"), "file", "is a file where a folder should be"),
        (lambda folder: os.scandir(os.fsencode(folder / "file" / "x")), "file", "is a file where a folder should be"),
        (lambda folder: (folder / "file").mkdir(), "file", "is a file where a folder should be"),
    ],
)
def test_an_obstacle_that_may_be_the_users_own_is_not_to_be_removed(
    tmp_path: Path, call: Callable[[Path], object], where: str, what: str
) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError) as raised:  # noqa: PT011 - of several kinds
        call(tmp_path)
    told = told_system_error(raised.value)
    assert (type(told), told.where, told.what) == (UsageError, str(tmp_path / where), what)
    assert told.remedy == "name another path"


@pytest.mark.parametrize("number", [errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.EIO])
@pytest.mark.parametrize("named", [0, 5, None, ""])
def test_an_error_that_names_no_path_is_told(number: int, named: object) -> None:
    told = told_system_error(OSError(number, os.strerror(number), named))
    assert (type(told), told.where, told.what) == (DataError, "the system", os.strerror(number))
