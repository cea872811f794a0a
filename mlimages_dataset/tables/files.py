"""Atomic writing of files: under a temporary name, then flushed to the disk and renamed.

So a reader never sees an incomplete file. A file in a remote store is written locally and uploaded when complete.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeAlias, cast

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.core.links import below
from mlimages_dataset.core.locations import (
    Location,
    reason,
    refuse_obstacle,
    refuse_special,
    relative,
    system_errors,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from upath import UPath


PARTIAL_PREFIX = ".partial-"


Inputs: TypeAlias = "Mapping[str, str]"
"""SHA-256 of each input of a table, by name."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """A written file: its path, rows (-1 if it is not a table), bytes, SHA-256 and schema label."""

    path: Location
    rows: int
    bytes: int
    sha256: str
    schema: str


class HashingFile(io.RawIOBase):
    """A file that is hashed while it is written, so the digest needs no second read.

    Attributes:
        digest: SHA-256 of what was written.
        size: bytes that were written.
        failure: of a write; libraries that write through this may raise another error in its place.
    """

    def __init__(self, stream: IO[bytes], path: Location) -> None:
        super().__init__()
        self._stream = stream
        self._path = path
        self.digest = hashlib.sha256()
        self.size = 0
        self.failure: UsageError | None = None

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, data: object) -> int:
        """Write and hash bytes, and return their number."""
        view = memoryview(cast("bytes", data))
        try:
            with write_errors(self._path):
                self._stream.write(view)
        except UsageError as failure:
            self.failure = failure
            raise
        self.digest.update(view)
        self.size += view.nbytes
        return view.nbytes

    def tell(self) -> int:
        """Return how many bytes were written."""
        return self.size


@contextlib.contextmanager
def whole_file(path: Location, *, cached: bool = True, lasting: bool = True) -> Iterator[HashingFile]:
    """Yield a binary file that gets the name `path` only when it is complete and on the disk, or in its store.

    Args:
        path: the name.
        cached: whether the kernel keeps the file's pages in memory for later readers. Released pages can be reused for
            the next file; a writer of hundreds of gigabytes would otherwise need new ones, at up to six times the cost.
        lasting: whether the file must survive a power cut; one that is removed before the command ends need not.

    Raises:
        UsageError: the folder or store cannot be written, or the disk is full.
    """
    with (
        _partial_file(path, cached=cached, lasting=lasting)
        if isinstance(path, Path)
        else _uploaded_file(path) as stream
    ):
        sink = HashingFile(stream, path)
        try:
            yield sink
        except Exception:  # whatever a library made of the failed write
            if sink.failure is not None:
                raise sink.failure from sink.failure.__cause__
            raise


@contextlib.contextmanager
def _partial_file(path: Path, *, cached: bool, lasting: bool) -> Iterator[IO[bytes]]:
    # A random part, because two machines may have the same process id, and a cluster may run a job on both.
    partial = path.with_name(f"{PARTIAL_PREFIX}{secrets.token_hex(4)}-{path.name}")
    with write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        stream = partial.open("wb")
    try:
        with _closing(stream):
            yield stream
            with write_errors(path):
                stream.flush()
                if lasting:
                    os.fsync(stream.fileno())
                if not cached and hasattr(os, "posix_fadvise"):  # macOS and Windows have none
                    os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        give_name(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def _closing(stream: IO[bytes]) -> Iterator[IO[bytes]]:
    """Close a stream at the end; suppress its error, which would hide an earlier one (such as a full disk)."""
    try:
        yield stream
    finally:
        with contextlib.suppress(OSError):
            stream.close()


@contextlib.contextmanager
def _uploaded_file(path: UPath) -> Iterator[IO[bytes]]:
    """Yield a local file that is uploaded when it is complete: object stores show complete objects only."""
    with tempfile.TemporaryDirectory(prefix="mlimages-") as folder:
        written = Path(folder) / path.name
        with _closing(written.open("wb")) as stream:
            yield stream
            with write_errors(path):
                stream.flush()
        with write_errors(path):
            path.fs.put_file(str(written), path.path)


def remove_unfinished(folder: Location, names: str = "*") -> None:
    """Remove the files that a run that was killed left unfinished in a folder, into which nobody writes now.

    Object stores never have any.

    Args:
        folder: the folder.
        names: a pattern of what follows `PARTIAL_PREFIX` in their names.
    """
    for path in folder.glob(f"{PARTIAL_PREFIX}{names}") if isinstance(folder, Path) else ():
        if path.is_file():
            path.unlink(missing_ok=True)


def give_name(partial: Path, path: Path) -> None:
    """Rename a complete, flushed file to its final name; the rename survives a power cut.

    Raises:
        UsageError: the folder cannot be written.
    """
    with write_errors(path):
        partial.replace(path)
        _sync_folder(path.parent)


@contextlib.contextmanager
def write_errors(path: Location) -> Iterator[None]:
    """Turn an error of the operating system or a store on writing `path` into a `UsageError` that says what to do."""
    try:
        with system_errors(path):
            yield
    except OSError as error:
        refuse_obstacle(error, path)
        raise UsageError(
            f"cannot be written ({reason(error)})", where=path, remedy="make room or name another folder"
        ) from error


def write_bytes(path: Location, content: bytes, *, schema: str = "") -> Receipt:
    """Write a file atomically and return its receipt."""
    with whole_file(path) as sink:
        sink.write(content)
    return Receipt(path, -1, sink.size, sink.digest.hexdigest(), schema)


def file_digest(path: Location) -> str:
    """Return the SHA-256 of a file's bytes.

    Raises:
        UsageError: it cannot be read.
    """
    with _read_errors(path), path.open("rb") as stream:
        return hashlib.file_digest(cast("io.BufferedReader", stream), "sha256").hexdigest()


def listing_digest(folder: Location) -> str:
    """Return the SHA-256 of a folder's listing: the relative path and the size of each file.

    Raises:
        UsageError: it cannot be read.
    """
    with _read_errors(folder):
        lines = sorted(f"{relative(path, folder)} {path.stat().st_size}" for path in _files(folder))
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()


@contextlib.contextmanager
def _read_errors(path: Location) -> Iterator[None]:
    refuse_special(path)
    try:
        with system_errors(path):
            yield
    except OSError as error:
        refuse_no_file(path, error)
        raise UsageError(
            f"cannot be read ({reason(error)})", where=path, remedy="check the path and its permissions"
        ) from error


def _files(folder: Location) -> Iterator[Location]:
    return (path for path in below(folder) if path.is_file())


def content_digest(path: Location) -> str:
    """Return the SHA-256 of a file's bytes, or of a folder's listing.

    Raises:
        UsageError: it cannot be read.
    """
    return listing_digest(path) if path.is_dir() else file_digest(path)


def digests(paths: Iterable[Location], digest: Callable[[Location], str] = content_digest) -> dict[str, str]:
    """Return the SHA-256 of each file or folder by its name; a repeated name is numbered.

    Names, not paths, so that tables made from the same files have the same bytes wherever the files are.

    Args:
        paths: the files and folders.
        digest: returns the SHA-256 of one.

    Raises:
        UsageError: one of them cannot be read.
    """
    several = list(paths)
    names = numbered(path.name for path in several)
    return {name: digest(path) for name, path in zip(names, several, strict=True)}


def numbered(names: Iterable[str]) -> list[str]:
    """Return names, each once: a repeated one is numbered.

    >>> numbered(["a", "b", "a"])
    ['a', 'b', 'a (2)']
    """
    found: dict[str, None] = {}
    for one in names:
        name, number = one, 2
        while name in found:
            name, number = f"{one} ({number})", number + 1
        found[name] = None
    return list(found)


def prefixed(role: str, by_name: Inputs) -> dict[str, str]:
    """Return digests by `role/name`, so that the same file in another role is another input."""
    return {f"{role}/{name}": digest for name, digest in by_name.items()}


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut (POSIX: the folder's own entry must be flushed too)."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


_PYARROW_OF_A_FOLDER = re.compile(r"Expected file path, but .* is a directory")


def refuse_no_file(path: Location, error: Exception) -> None:
    """Raise a `UsageError` if what could not be read is not there, or is a folder; `error` is what reading raised."""
    # pyarrow raises no class of its own for a folder.
    if isinstance(error, IsADirectoryError) or _PYARROW_OF_A_FOLDER.search(str(error)):
        raise UsageError("is a folder, and a file is wanted", where=path, remedy="name a file in it") from error
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        raise UsageError("there is no such file", where=path, remedy="check the path") from error


def _has_utf8(content: bytes) -> bool:
    """Return whether a line that is not ASCII is UTF-8, which texts in another encoding are hardly ever."""
    for line in content.split(b"\n"):
        if not line.isascii():
            with contextlib.suppress(UnicodeDecodeError):
                line.decode("utf-8")
                return True
    return False


def read_lines(path: Location, *, ends: bool = False) -> list[str]:
    """Return a text file's lines: UTF-8 with or without a byte-order mark, else Latin-1.

    Args:
        path: the file.
        ends: with their ends, which in CSV may be part of a field; else without.

    Raises:
        UsageError: there is no such file, or it cannot be read.
        DataError: it is empty, or no text, or some of its lines are UTF-8 and others are not.
    """
    with _read_errors(path):
        content = path.read_bytes()
    return lines_of(content, path, ends=ends)


def lines_of(content: bytes, path: Location, *, ends: bool = False) -> list[str]:
    """Return the lines of a text file's content; arguments and errors as `read_lines`."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError("is UTF-16 text", where=path, remedy="save it as UTF-8")
    if b"\0" in content:
        raise DataError("is not a text file", where=path, remedy="unpack it first, or name another file")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if _has_utf8(content):
            read = error.object  # without the byte-order mark
            where = read.count(b"\n", 0, error.start) + 1
            what = f"its byte {read[error.start : error.start + 1].hex()} is not UTF-8, as other lines are"
            raise DataError(what, where=path, line=where, remedy="save the file as UTF-8") from error
        text = content.decode("latin-1")
    # Not splitlines(): it would also break at U+2028 and at the form feeds that some names hold.
    lines = (
        io.StringIO(text, newline="").readlines()
        if ends
        else text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    )
    if not any(line.strip() for line in lines):
        raise DataError("is empty", where=path, remedy="obtain the file again")
    return lines if lines[-1] else lines[:-1]
