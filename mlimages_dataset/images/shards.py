"""Shards: uncompressed tar files of pictures, written in one pass and read at any place.

A shard follows the convention of WebDataset (https://github.com/webdataset/webdataset#dataset-format): members are
named `key.suffix`, and the key has neither a dot nor a slash. Headers are POSIX ustar without times and owners
(https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html#tag_20_92_13_06), so a shard's bytes depend on its
pictures only. The `images` table says where in a shard a picture's bytes are: reading one needs no tar library.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import hashlib
import os
import tarfile
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING

from upath import UPath

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.core.locations import is_inside, is_plain, reason, refuse_special, system_errors
from mlimages_dataset.tables.files import Receipt, whole_file

if TYPE_CHECKING:
    import io
    from collections.abc import Iterator, Sequence

    from mlimages_dataset.core.locations import Location

SHARD_SCHEMA = "shard/1"
"""The schema of a shard in a manifest."""

OPEN_SHARDS = 64
"""Shards that a reader keeps open: each takes a file descriptor, and a process may have 1,024 by default."""

GAP_BYTES = 1 << 20
"""Bytes between two pictures that are read rather than skipped: a request to an object store costs as much time."""

STRETCH_BYTES = 64 << 20
"""The most that `ShardReader.read_many` reads at once."""

_KEY_BYTES = 88
"""Of the 100 bytes of a ustar name; the rest is for the suffix."""


def shard_name(number: int) -> str:
    """Return the file name of a part's shard, as the `shard` column has it."""
    return f"shard-{number:05d}.tar"


def member_name(image_id: str, suffix: str) -> str:
    """Return the name of an image's member: its id as a WebDataset key, and a suffix such as `.jpg`.

    Two ids never have the same key. Letters, digits, `-` and `_` stay as they are, and other bytes of the id's UTF-8
    are percent-encoded; the key of an id that is too long for a tar header ends in a digest of the id.
    """
    key = urllib.parse.quote(image_id, safe="").replace(".", "%2E").replace("~", "%7E")
    if len(key) > _KEY_BYTES:
        digest = hashlib.sha256(image_id.encode()).hexdigest()[:40]
        key = f"{key[: _KEY_BYTES - 41]}~{digest}"
    return key + suffix


class ShardWriter:
    """Adds pictures to a shard; `receipt` is set when `shard_writer` has closed it."""

    def __init__(self, sink: io.RawIOBase) -> None:
        self._sink = sink
        self._size = 0
        self.images = 0
        self.receipt: Receipt | None = None

    @property
    def size(self) -> int:
        """The bytes written so far."""
        return self._size

    def add(self, name: str, content: bytes) -> int:
        """Append a member and return the offset of its content in the shard.

        Raises:
            ValueError: the name is longer than 100 bytes or not ASCII, or the content has 8 GiB or more.
        """
        header = tarfile.TarInfo(name)  # mode 644, no time, no owner
        header.size = len(content)
        self._write(header.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict"))
        offset = self._size
        self._write(content)
        self._pad(tarfile.BLOCKSIZE)
        self.images += 1
        return offset

    def end(self) -> None:
        """Write the two empty blocks that end a tar file, and fill its last record."""
        self._write(bytes(2 * tarfile.BLOCKSIZE))
        self._pad(tarfile.RECORDSIZE)

    def _pad(self, to: int) -> None:
        self._write(bytes(-self._size % to))

    def _write(self, content: bytes) -> None:
        self._sink.write(content)
        self._size += len(content)


@contextlib.contextmanager
def shard_writer(path: Location) -> Iterator[ShardWriter]:
    """Yield a writer of a shard; the file appears when the block ends without an error."""
    with whole_file(path, cached=False) as sink:
        writer = ShardWriter(sink)
        yield writer
        writer.end()
    writer.receipt = Receipt(path, -1, sink.size, sink.digest.hexdigest(), SHARD_SCHEMA)


class ShardReader:
    """Reads byte ranges of the shards in a folder; safe to share between threads, to fork and to pickle.

    Args:
        folder: the folder of the shards.
        linked: names of shards were found in the folder, and may go through links that lead out of it; else they come
            from a table and may not.
        open_shards: the number of shards that stay open, if the folder is on this machine.
    """

    def __init__(self, folder: Location, *, linked: bool = False, open_shards: int = OPEN_SHARDS) -> None:
        self.folder = folder
        self._linked = linked
        self._open_shards = open_shards
        self._source = (
            _LocalShards(folder, open_shards, linked=linked) if isinstance(folder, Path) else _RemoteShards(folder)
        )

    def __reduce__(self) -> tuple[functools.partial[ShardReader], tuple[Location]]:
        # Without descriptors and connections: a worker opens its own.
        return functools.partial(type(self), linked=self._linked), (self.folder,)

    def read(self, shard: str, offset: int, length: int) -> bytes:
        """Return `length` bytes of a shard from `offset` on.

        Raises:
            DataError: the shard's name leads out of the folder, or the shard is too short.
            UsageError: the shard cannot be read.
        """
        if offset < 0 or length < 0:
            raise DataError(
                f"has no {length:,} bytes at {offset:,}", where=self.folder / shard, remedy="read saved rows only"
            )
        content = self._source.read(shard, offset, length)
        if len(content) != length:
            raise DataError(
                f"ends before {length:,} bytes at {offset:,}",
                where=self.folder / shard,
                remedy="it is truncated or belongs to another table: run mlimages-build images verify",
            )
        return content

    def read_many(self, ranges: Sequence[tuple[str, int, int]]) -> Iterator[bytes | None]:
        """Yield byte ranges, given by shard, offset and length; ranges that lie close together are read at once.

        None stands for a range of which `read` raises DataError.

        Raises:
            UsageError: a shard cannot be read.
        """
        for stretch in _stretches(ranges):
            (shard, begin, _), (_, last, last_length) = stretch[0], stretch[-1]
            content = self._read_or_none(shard, begin, last + last_length - begin)
            if content is None:
                yield from (self._read_or_none(*one) for one in stretch)
            else:
                yield from (content[offset - begin : offset - begin + length] for _, offset, length in stretch)

    def _read_or_none(self, shard: str, offset: int, length: int) -> bytes | None:
        try:
            return self.read(shard, offset, length)
        except DataError:
            return None


def _stretches(ranges: Sequence[tuple[str, int, int]]) -> Iterator[list[tuple[str, int, int]]]:
    """Yield the ranges that are read at once: of one shard, ascending, with small gaps, and not too long."""
    stretch: list[tuple[str, int, int]] = []
    for shard, offset, length in ranges:
        if stretch:
            (first_shard, begin, _), (_, last, last_length) = stretch[0], stretch[-1]
            is_near = shard == first_shard and 0 <= offset - (last + last_length) <= GAP_BYTES
            if not is_near or offset + length - begin > STRETCH_BYTES:
                yield stretch
                stretch = []
        stretch.append((shard, offset, length))
    if stretch:
        yield stretch


class _Descriptor:
    """An open file, closed with its last reference: one thread may read while another drops the oldest file."""

    __slots__ = ("number",)

    def __init__(self, path: Path) -> None:
        refuse_special(path)
        self.number = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError, OSError):  # it was never opened, or the interpreter is shutting down
            os.close(self.number)


class _LocalShards:
    """Shards on this machine, read with `pread`, which uses no position that threads and forks would share."""

    def __init__(self, folder: Path, limit: int, *, linked: bool) -> None:
        self._folder = folder
        self._linked = linked
        self._limit = limit
        # No lock: a fork could leave it locked for ever. Single operations of an OrderedDict are atomic, and if two
        # threads open the same shard at once, it is only opened twice.
        self._open: collections.OrderedDict[str, _Descriptor] = collections.OrderedDict()

    def read(self, shard: str, offset: int, length: int) -> bytes:
        """Return at most `length` bytes of a shard from `offset` on; errors as `ShardReader.read`."""
        descriptor = self._open.pop(shard, None)
        try:
            if descriptor is None:
                descriptor = _Descriptor(self._folder / _checked(shard, self._folder, linked=self._linked))
            self._open[shard] = descriptor
            if len(self._open) > self._limit:
                with contextlib.suppress(KeyError):  # other threads removed all
                    self._open.popitem(last=False)
            length = max(0, min(length, os.fstat(descriptor.number).st_size - offset))  # a table may say petabytes
            content = os.pread(descriptor.number, length, offset)
            while len(content) < length and (
                more := os.pread(descriptor.number, length - len(content), offset + len(content))
            ):
                content += more  # one call reads 2 GiB at most on Linux
        except OSError as error:
            raise _unreadable(self._folder / shard, error) from error
        return content


class _RemoteShards:
    """Remote shards; each read is one ranged request."""

    def __init__(self, folder: UPath) -> None:
        self._folder = folder
        self._process = os.getpid()

    def read(self, shard: str, offset: int, length: int) -> bytes:
        """Return at most `length` bytes of a shard from `offset` on; errors as `ShardReader.read`."""
        if self._process != os.getpid():
            # The client has a thread and connections that do not survive a fork.
            self._folder, self._process = UPath(str(self._folder), **self._folder.storage_options), os.getpid()
        path = self._folder / _checked(shard, self._folder)
        try:
            with system_errors(path):
                content: bytes = path.fs.cat_file(path.path, start=offset, end=offset + length)
        except OSError as error:
            raise _unreadable(path, error) from error
        return content


def _checked(shard: str, folder: Location, *, linked: bool = False) -> str:
    """Return the name of a shard if it is inside the folder: tables may come from people who are not to be trusted."""
    if not (is_plain(shard) if linked else is_inside(folder, shard)):
        raise DataError(f"{shard!r} is not a shard inside it", where=folder, remedy="do not trust this table")
    return shard


def _unreadable(path: Location, error: OSError) -> UsageError:
    return UsageError(f"cannot be read ({reason(error)})", where=path, remedy="check that the shard is there")
