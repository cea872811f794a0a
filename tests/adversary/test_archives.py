"""Tar headers that nobody writes: an archive inside another ends alone, an archive of its own ends in a sentence."""

from __future__ import annotations

import bz2
import functools
import gzip
import lzma
import tarfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.images.archives import archive_file_members
from mlimages_dataset.images.check import Inspection
from mlimages_dataset.images.statuses import Status
from mlimages_dataset.sources.places import files_below
from mlimages_dataset.sources.tars import tar_entries
from tests.adversary.hostile import FILES, check_told
from tests.sources.test_fuzz import damaged

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MOST = 1 << 20
END = bytes(1024)


def member(name: str, content: bytes, kind: bytes = tarfile.REGTYPE) -> bytes:
    """Return a header and its content."""
    header = tarfile.TarInfo(name)
    header.type, header.size = kind, len(content)
    return header.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % 512)


def edited(block: bytes, at: int, field: bytes) -> bytes:
    """Return a member whose header has other bytes somewhere, and a checksum of these."""
    header = bytearray(block[:512])
    header[at : at + len(field)] = field
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + block[512:]


def extension(**values: str) -> bytes:
    """Return a PAX extension; underscores of the names stand for dots."""
    records = b""
    for name, value in values.items():
        body = f" {name.replace('_', '.')}={value}\n".encode()
        size = len(body) + len(str(len(body) + 3))
        records += str(size).encode() + body
    return member("pax", records, tarfile.XHDTYPE)


FIRST, LAST = member("a/1.jpg", b"first"), member("b/2.jpg", b"last")
SPARSE = member("s.jpg", bytes(512), tarfile.GNUTYPE_SPARSE)
PAX_SPARSE = {"GNU_sparse_major": "1", "GNU_sparse_minor": "0", "GNU_sparse_name": "s.jpg"}
LINK = "././@LongLink"
MALFORMED: dict[str, bytes] = {
    "a length of 500 digits": member("pax", b"9" * 500 + b" path=x\n", tarfile.XHDTYPE),
    "a length that is too short": member("pax", b"3 path=x\n", tarfile.XHDTYPE),
    "a record without an end": member("pax", b"99 path=x", tarfile.XHDTYPE),
    "noise in an extension": member("pax", bytes(range(256)), tarfile.XHDTYPE),
    "3,000 long names": member(LINK, b"x\0", tarfile.GNUTYPE_LONGNAME) * 3000,
    "3,000 long links": member(LINK, b"x\0", tarfile.GNUTYPE_LONGLINK) * 3000,
    "3,000 extensions": extension(path="x") * 3000,
    "3,000 global extensions": member("g", b"10 path=x\n", tarfile.XGLTYPE) * 3000,
    "no size": extension(size="x"),
    "a negative size": extension(size="-1"),
    "a size beyond all disks": extension(size=str(1 << 70)),
    "a sparse map of letters": edited(SPARSE, 386, b"x" * 24),
    "a sparse file of 2^42 bytes": edited(SPARSE, 483, b"\x80" + (1 << 42).to_bytes(11, "big")),
    "a sparse map of no numbers": extension(**PAX_SPARSE, GNU_sparse_realsize="9") + member("s", b"x" * 512),
    "a sparse map without end": extension(**PAX_SPARSE, GNU_sparse_realsize="9") + member("s", b"9" * 400 + b"\n"),
    "a sparse size of letters": extension(**PAX_SPARSE, GNU_sparse_realsize="x") + member("s", b"1\n0\n9\n"),
    "a PAX sparse file of 2^42 bytes": extension(**PAX_SPARSE, GNU_sparse_realsize=str(1 << 42))
    + member("s", b"1\n0\n512\n" + bytes(1000)),
    "an old sparse map of letters": extension(GNU_sparse_map="a,b", GNU_sparse_size="9") + member("s", b"x"),
    "a size below zero": edited(member("s.jpg", b""), 124, b"\xff" * 12),
    "a size of 95 bits": edited(member("s.jpg", b""), 124, b"\x80" + b"\xff" * 11),
    "a mode of letters": edited(member("s.jpg", b""), 100, b"zzzzzzz\0"),
    "a wrong checksum": member("s.jpg", b"")[:148] + b"00000000" + member("s.jpg", b"")[156:],
}


def contents(path: Path) -> dict[str, bytes | Status]:
    """Return the contents, or the statuses, of an archive's members."""
    found: dict[str, bytes | Status] = {}
    for one in archive_file_members(path, most_bytes=MOST):
        content = one.content()
        found[one.path] = content.status if isinstance(content, Inspection) else content
    return found


@pytest.mark.parametrize("what", sorted(MALFORMED))
def test_a_malformed_archive_in_another_ends_alone(tmp_path: Path, what: str) -> None:
    path = tmp_path / "outer.tar"
    inner = FIRST + MALFORMED[what] + LAST + END
    path.write_bytes(member("in.tar", inner) + member("z.jpg", b"whole") + END)
    found = contents(path)
    assert found["in/a/1.jpg"] == b"first"
    assert found["z.jpg"] == b"whole"
    others = {name: one for name, one in found.items() if name not in {"in/a/1.jpg", "z.jpg", "in/b/2.jpg"}}
    assert "in/b/2.jpg" in found or others  # the rest is read, or told
    assert all(isinstance(one, Status) or len(one) < MOST for one in found.values())


READERS: dict[str, Callable[[Path], Any]] = {
    "ingest": contents,
    "shards": lambda path: list(tar_entries(path)),
    "sources": lambda path: [one.read_bytes() if one.suffix == "" else one for one in files_below(path)],
}


@pytest.mark.parametrize("reader", sorted(READERS))
@pytest.mark.parametrize("what", sorted(MALFORMED))
def test_a_malformed_archive_is_read_or_refused_with_a_sentence(tmp_path: Path, what: str, reader: str) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(FIRST + MALFORMED[what] + LAST + END)
    check_told(lambda: READERS[reader](path), path, tmp_path / "kept.tar")
    check_told(lambda: list(archive_file_members(path, most_bytes=MOST)), path, tmp_path / "kept.tar")


WHOLE = FIRST + LAST + END
PACKED = {".tar.gz": gzip.compress(WHOLE), ".tar.bz2": bz2.compress(WHOLE), ".tar.xz": lzma.compress(WHOLE)}


@pytest.mark.parametrize("suffix", sorted(PACKED))
def test_a_flipped_bit_and_a_missing_end_are_noticed_wherever_they_are(tmp_path: Path, suffix: str) -> None:
    content = PACKED[suffix]
    path = tmp_path / f"a{suffix}"
    generator = np.random.default_rng(0)
    for number in range(FILES):
        changed = bytearray(content)
        if number % 2:
            del changed[-int(generator.integers(1, len(content))) :]
        else:
            changed[generator.integers(10, len(content))] ^= 1 << int(generator.integers(8))
        path.write_bytes(changed)
        try:
            found = contents(path)
        except DataError:
            continue
        # A bit that decides nothing, such as one of padding.
        assert found == {"a/1.jpg": b"first", "b/2.jpg": b"last"}


def test_damaged_archives_are_read_or_refused_with_a_sentence(tmp_path: Path) -> None:
    blocks = [FIRST, *MALFORMED.values(), LAST]
    for number in range(FILES):
        generator = np.random.default_rng(number)
        chosen = [blocks[at] for at in generator.integers(0, len(blocks), 4) if len(blocks[at]) < 1 << 16]
        path = tmp_path / "a.tar"
        path.write_bytes(damaged(b"".join(chosen) + END, generator))
        for name, read in READERS.items():
            check_told(functools.partial(read, path), path, tmp_path / f"{number}-{name}.tar")
