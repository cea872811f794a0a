"""Archives that a stranger hands over: a malformed member is a reject, a malformed archive is a sentence, soon.

`MLIMAGES_FUZZED_FILES=10000` damages so many archives of each kind.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.images.archives import archive_file_members
from mlimages_dataset.images.check import Inspection
from mlimages_dataset.images.statuses import Status
from mlimages_dataset.images.zips import zip_file_members
from mlimages_dataset.sources.tars import tar_entries
from tests.adversary.hostile import FILES, check_told
from tests.sources.test_fuzz import damaged

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CONTENT = b"\xff\xd8picture\xff\xd9" * 9
MOST = 1 << 20
MANY = 3000


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % tarfile.BLOCKSIZE)


def _header(name: str, kind: bytes, size: int, **fields: tuple[int, bytes]) -> bytes:
    """Return a header with bytes at some offsets exchanged, and the right checksum."""
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    for offset, value in fields.values():
        block[offset : offset + len(value)] = value
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def _extended(content: bytes, kind: bytes = tarfile.XHDTYPE) -> bytes:
    return _header("x", kind, len(content)) + _padded(content)


def _record(key: str, value: str) -> bytes:
    text, n = f" {key}={value}\n", 0
    while n != (n := len(str(n)) + len(text)):
        pass
    return f"{n}{text}".encode()


def _tar(**members: bytes) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name.replace("_", "."))
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return sink.getvalue()


GOOD = _tar(a_jpg=CONTENT, b_jpg=CONTENT)
_HUGE = b"\x80" + bytes(3) + (1 << 42).to_bytes(8, "big")
_SPARSE_1 = _record("GNU.sparse.major", "1") + _record("GNU.sparse.minor", "0")


def _sparse(body: bytes, size: int = 1 << 42, name: str = "s.jpg") -> bytes:
    records = _SPARSE_1 + _record("GNU.sparse.name", name) + _record("GNU.sparse.realsize", str(size))
    content = _padded(body) + CONTENT
    return _extended(records) + _header(name, tarfile.REGTYPE, len(content)) + _padded(content) + GOOD


MEMBERS = {
    "map of no numbers": _extended(_record("GNU.sparse.map", "0,1,zz,99,-1")) + GOOD,
    "map that is a picture": _extended(_SPARSE_1) + GOOD,
    "map of a huge number": _sparse(b"99999999999\n0\n5\n"),
    "map without end": _sparse(b"1" * (1 << 20)),
    "size of a sparse file": _extended(_record("GNU.sparse.realsize", "zzz")) + GOOD,
    "sparse file of 2^42 bytes": _sparse(b"1\n0\n9\n"),
    "sparse archive of 2^42 bytes": _sparse(b"1\n0\n9\n", name="s.tar"),
}
"""Archives of which one member only cannot be read."""
ARCHIVES = {
    "length of 500 digits": _extended(b"9" * 500 + b" path=x\n") + GOOD,
    "length beyond a machine's integers": _extended(b"9" * 30 + b" path=x\n") + GOOD,
    "length of 500 digits for all": _extended(b"9" * 500 + b" path=x\n", tarfile.XGLTYPE) + GOOD,
    "a million digits": _extended(b"9" * (1 << 20)) + GOOD,
    "3,000 long names": (_header("@", tarfile.GNUTYPE_LONGNAME, 8) + _padded(b"abc.jpg\0")) * MANY + GOOD,
    "3,000 extended headers": _extended(b"9 path=x\n") * MANY + GOOD,
    "3,000 headers for all": _extended(b"9 path=x\n", tarfile.XGLTYPE) * MANY + GOOD,
    "old sparse map without end": _header("s", tarfile.GNUTYPE_SPARSE, 9, more=(482, b"\1")) + b"\1" * 512 * 2000,
    "member of 2^42 bytes": _header("n", tarfile.REGTYPE, 0, claimed=(124, _HUGE)) + GOOD,
}
"""Archives of which the place of the next member is not known."""


def _read(path: Path) -> dict[str, bytes | Status]:
    found = {}
    for member in archive_file_members(path, most_bytes=MOST):
        content = member.content()
        found[member.path] = content.status if isinstance(content, Inspection) else content
    return found


@pytest.mark.parametrize("name", MEMBERS)
def test_a_malformed_member_is_a_reject_and_the_others_are_read(name: str, tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(MEMBERS[name])
    found = _read(tmp_path / "x.tar")
    assert found["b.jpg"] == CONTENT
    (refused,) = (what for what in found.values() if what != CONTENT)
    assert refused in {Status.UNSAFE_NAME, Status.TOO_LARGE, Status.BROKEN}
    assert [entry.name for entry in tar_entries(tmp_path / "x.tar") if not entry.unsafe][-1] == "b.jpg"


@pytest.mark.parametrize("name", ARCHIVES)
def test_a_malformed_archive_is_a_sentence(name: str, tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(ARCHIVES[name])
    with pytest.raises(DataError, match="is not a complete tar archive"):
        _read(tmp_path / "x.tar")
    with pytest.raises(DataError, match="is not a complete tar archive"):
        list(tar_entries(tmp_path / "x.tar"))


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("name", [*ARCHIVES, *MEMBERS])
def test_a_malformed_archive_in_an_archive_does_not_end_it(
    name: str, pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    inner = pack({**ARCHIVES, **MEMBERS}[name])
    (tmp_path / "x.tar").write_bytes(_tar(**{"i_tar" if pack is bytes else "i_tgz": inner, "c_jpg": CONTENT}))
    found = _read(tmp_path / "x.tar")
    assert found["c.jpg"] == CONTENT
    assert any(isinstance(what, Status) for what in found.values())


def test_long_headers_that_say_nothing_wrong_are_read(tmp_path: Path) -> None:
    long = "d/" * 900 + "9" * 250 + ".jpg"
    attribute = _record("SCHILY.xattr.user.a", "0123456789 " * 50_000)
    (tmp_path / "x.tar").write_bytes(_extended(_record("path", long) + attribute) + GOOD)
    assert _read(tmp_path / "x.tar") == {long: CONTENT, "b.jpg": CONTENT}


def _two_streams(content: bytes) -> bytes:
    return gzip.compress(content[:700]) + gzip.compress(content[700:])


PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "tar": bytes,
    "tar.gz": gzip.compress,
    "tgz": _two_streams,
    "tar.bz2": bz2.compress,
    "tar.xz": lzma.compress,
}


@pytest.mark.parametrize("kind", sorted({*PACKINGS} - {"tar"}))
def test_a_packed_archive_without_its_last_bytes_is_not_whole(kind: str, tmp_path: Path) -> None:
    content = PACKINGS[kind](GOOD)
    for n_lost in range(1, 24):
        (tmp_path / f"x.{kind}").write_bytes(content[:-n_lost])
        with pytest.raises(DataError, match="is not a complete tar archive"):
            _read(tmp_path / f"x.{kind}")


@pytest.mark.parametrize("kind", ["tar.gz", "tgz"])
def test_a_flipped_bit_of_a_checksum_or_length_is_seen(kind: str, tmp_path: Path) -> None:
    content = PACKINGS[kind](GOOD)
    ends = [len(content)] + ([len(gzip.compress(GOOD[:700]))] if kind == "tgz" else [])
    for at in (end - back for end in ends for back in range(1, 9)):
        broken = bytearray(content)
        broken[at] ^= 1
        (tmp_path / f"x.{kind}").write_bytes(broken)
        with pytest.raises(DataError, match="is not a complete tar archive"):
            _read(tmp_path / f"x.{kind}")


def _zip() -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("a.jpg", CONTENT * 9)
        packed.writestr("b.jpg", CONTENT, zipfile.ZIP_STORED)
    return sink.getvalue()


@pytest.mark.parametrize("kind", [*PACKINGS, "zip"])
def test_a_damaged_archive_is_read_or_refused_with_a_sentence(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{kind}"
    inner = _tar(a_jpg=CONTENT, i_tgz=gzip.compress(GOOD), c_jpg=CONTENT)
    seeds = [_zip()] if kind == "zip" else [inner, *MEMBERS.values(), *list(ARCHIVES.values())[:2]]
    members = zip_file_members if kind == "zip" else archive_file_members
    pack = PACKINGS.get(kind, bytes)

    def read() -> None:
        for member in members(path, most_bytes=MOST):
            member.content()
        if kind == "tar":
            list(tar_entries(path))

    for number in range(FILES):
        generator = np.random.default_rng([len(kind), number])
        seed = seeds[number % len(seeds)]
        path.write_bytes(pack(damaged(seed, generator)) if number % 2 else damaged(pack(seed), generator))
        check_told(read, path, tmp_path / f"{number}.{kind}")
