"""Archives and folders give each of their members once, in one pass, and nothing that they say leads elsewhere."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import re
import tarfile
from typing import TYPE_CHECKING

import pytest

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.images.archives import archive_file_members, archive_members, folder_members
from mlimages_dataset.images.check import Inspection, Limits
from mlimages_dataset.images.ingest import Form, members_of
from mlimages_dataset.images.statuses import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from mlimages_dataset.images.members import Member

MOST = 1000


def tar_of(members: Mapping[str, bytes | tarfile.TarInfo], form: int = tarfile.USTAR_FORMAT) -> bytes:
    """Return a tar archive of files, and of headers as they are."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=form) as tar:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
                continue
            header = tarfile.TarInfo(name)
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
    return sink.getvalue()


def special(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.type, header.linkname = kind, link
    return header


def read(members: Iterable[Member]) -> dict[str, bytes | Status]:
    """Return the contents, or the statuses, of members by path."""
    found: dict[str, bytes | Status] = {}
    for member in members:
        content = member.content()
        assert member.path not in found
        found[member.path] = content.status if isinstance(content, Inspection) else content
    return found


@pytest.mark.parametrize(
    ("kind", "size"),
    [
        *((kind, size) for kind in (tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME) for size in (-1, 1 << 30)),
        *((tarfile.REGTYPE, size) for size in (-1, 1 << 80)),
    ],
)
def test_a_header_that_claims_what_cannot_be_is_an_error(kind: bytes, size: int) -> None:
    header = special("x", kind)
    header.size = size
    with pytest.raises(tarfile.ReadError, match="a header claims"):
        list(archive_members(io.BytesIO(header.tobuf(tarfile.GNU_FORMAT)), most_bytes=MOST))


@pytest.mark.parametrize("size", [-1, 1 << 80])
def test_an_extension_that_claims_what_cannot_be_is_an_error(size: int) -> None:
    header = special("x", tarfile.REGTYPE)
    header.pax_headers = {"size": str(size)}
    with pytest.raises(tarfile.ReadError, match="a header claims"):
        list(archive_members(io.BytesIO(header.tobuf(tarfile.PAX_FORMAT)), most_bytes=MOST))


def test_a_member_without_a_name_has_a_row_that_says_so() -> None:
    content = tar_of({"": b"1", "a.jpg": b"2"}, tarfile.USTAR_FORMAT)
    unnamed, named = (
        (member.path, member.content()) for member in archive_members(io.BytesIO(content), most_bytes=MOST)
    )
    assert unnamed == ("", Inspection(Status.UNSAFE_NAME, "it has no name"))
    assert named == ("a.jpg", b"2")


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.tar", b"PK\x03\x04" + bytes(600), "is a zip archive; give it a name that ends in .zip"),
        ("a.bin", b"PK\x03\x04" + bytes(600), "is a zip archive; give it a name that ends in .zip"),
        ("a.tar.zst", b"\x28\xb5\x2f\xfd" + bytes(9), "is compressed with zstd; decompress it first"),
        ("a.tar", b"\x28\xb5\x2f\xfd" + bytes(600), "is compressed with zstd; decompress it first"),
        ("a.zip", b"Rar!" + bytes(9), "is a RAR archive; unpack it first"),
        ("a.zip", tar_of({"a.jpg": b"1"}), "is a tar archive; give it a name that ends in .tar"),
        ("a.zip", gzip.compress(b"1"), "is no zip archive, but compressed; give it the name of a tar archive"),
        ("a.tar", tar_of({"a.jpg": b"1"})[:600], "is not a complete tar archive"),
        ("a.tar.gz", gzip.compress(tar_of({"a.jpg": b"1"}))[:20], "is not a complete tar archive"),
        ("a.zip", b"PK\x03\x04" + bytes(600), "is not a complete zip archive"),
    ],
)
def test_an_archive_of_another_kind_than_its_name_says_is_told_as_that(
    tmp_path: Path, name: str, content: bytes, told: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=re.escape(told)):
        list(members_of(tmp_path / name, Form.AUTO, Limits()))


class OneWay(io.RawIOBase):
    """A stream that cannot go back, as a pipe."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self._content = io.BytesIO(content)

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        return self._content.read(size)


@pytest.mark.parametrize("packed", [bytes, gzip.compress])
@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_tar_of_tars_is_read_as_a_stream(packed: type[bytes], form: int) -> None:
    inner = tar_of({"n01440764_1.JPEG": b"1", "n01440764_2.JPEG": b"2" * 999}, form)
    outer = tar_of({"n01440764.tar": inner, "n01443537.tar.gz": gzip.compress(tar_of({"./b.jpg": b""}))}, form)
    members = archive_members(OneWay(packed(outer)), most_bytes=MOST)  # type: ignore[arg-type]
    assert read(members) == {
        "n01440764/n01440764_1.JPEG": b"1",
        "n01440764/n01440764_2.JPEG": b"2" * 999,
        "n01443537/b.jpg": b"",
    }


def test_members_that_nobody_reads_are_passed_over() -> None:
    outer = tar_of({f"{k}.tar": tar_of({f"{k}_{m}.jpg": b"x" * 700 for m in range(3)}) for k in range(3)})
    members = archive_members(io.BytesIO(outer), most_bytes=MOST)
    assert [m.path for m in members] == [f"{k}/{k}_{m}.jpg" for k in range(3) for m in range(3)]


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("../a.jpg", None),
        ("/etc/a.jpg", None),
        ("b/../../a.jpg", None),
        ("..\\a.jpg", None),
        ("a.jpg", special("a.jpg", tarfile.SYMTYPE, "/etc/passwd")),
        ("a.jpg", special("a.jpg", tarfile.LNKTYPE, "ok.jpg")),
        ("a.jpg", special("a.jpg", tarfile.CHRTYPE)),
        ("a.jpg", special("a.jpg", tarfile.BLKTYPE)),
        ("a.jpg", special("a.jpg", tarfile.FIFOTYPE)),
    ],
)
def test_what_leads_elsewhere_is_a_status(name: str, header: tarfile.TarInfo | None) -> None:
    archive = tar_of({"ok.jpg": b"1", name: header or b"bad", "ok2.jpg": b"2"})
    found = read(archive_members(io.BytesIO(archive), most_bytes=MOST))
    assert found == {"ok.jpg": b"1", name: Status.UNSAFE_NAME, "ok2.jpg": b"2"}


def test_a_large_member_is_not_read() -> None:
    found = read(archive_members(io.BytesIO(tar_of({"a.jpg": b"1" * 1001, "b.jpg": b"2"})), most_bytes=MOST))
    assert found == {"a.jpg": Status.TOO_LARGE, "b.jpg": b"2"}


def test_archives_without_end_in_archives_are_members() -> None:
    archive = b"x"
    for _ in range(9):
        archive = tar_of({"a.tar": archive})
    assert len(read(archive_members(io.BytesIO(archive), most_bytes=1 << 20))) == 1


def test_a_damaged_archive_within_another_is_a_status() -> None:
    whole = tar_of({"a.jpg": b"1", "b.jpg": b"2" * 600})
    outer = tar_of({"cut.tar": whole[:1700], "junk.tar": b"\1" * 600, "fine.tar": whole})
    assert read(archive_members(io.BytesIO(outer), most_bytes=MOST)) == {
        "cut/a.jpg": b"1",
        "cut/b.jpg": Status.BROKEN,
        "cut.tar": Status.BROKEN,
        "junk.tar": Status.BROKEN,
        "fine/a.jpg": b"1",
        "fine/b.jpg": b"2" * 600,
    }


@pytest.mark.parametrize("keep", [0, 100, 600, 1024, 1500, 1700, 2560])
def test_a_cut_archive_is_an_error_wherever_it_is_cut(tmp_path: Path, keep: int) -> None:
    (tmp_path / "a.tar").write_bytes(tar_of({"a.jpg": b"1", "b.jpg": b"2" * 600})[:keep])
    with pytest.raises(DataError, match="is not a complete tar archive"):
        read(archive_file_members(tmp_path / "a.tar", most_bytes=MOST))


def test_a_damaged_header_is_no_end(tmp_path: Path) -> None:
    content = bytearray(tar_of({"a.jpg": b"1", "b.jpg": b"2", "c.jpg": b"3"}))
    content[1024 + 150] ^= 1  # in the checksum of b.jpg's header
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(DataError, match=r"is not a complete tar archive \(bad checksum after a\.jpg\)"):
        read(archive_file_members(tmp_path / "a.tar", most_bytes=MOST))


def test_a_folder_is_read_in_the_order_of_names_with_its_archives(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "2.jpg").write_bytes(b"2")
    (tmp_path / "b" / "1.jpg").write_bytes(b"1")
    (tmp_path / "a.jpg").write_bytes(b"a")
    (tmp_path / "c.tar").write_bytes(tar_of({"3.jpg": b"3"}))
    (tmp_path / "d.jpg").write_bytes(b"x" * 1001)
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "above").symlink_to(tmp_path.parent)
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.jpg")
    found = read(folder_members(tmp_path, most_bytes=MOST))
    assert list(found.items()) == [
        ("a.jpg", b"a"),
        ("above", Status.UNSAFE_NAME),
        ("b/1.jpg", b"1"),
        ("b/2.jpg", b"2"),
        ("c/3.jpg", b"3"),
        ("d.jpg", Status.TOO_LARGE),
        ("gone.jpg", Status.MISSING),
        ("loop", Status.UNSAFE_NAME),
        ("pipe.jpg", Status.UNSAFE_NAME),
    ]


def zeroed_header() -> bytes:
    """Return an archive of which the header of the second member is a block of zeros."""
    whole = bytearray(tar_of({"a": b"1", "b": b"2", "c": b"3"}))
    whole[1024:1536] = bytes(512)
    return bytes(whole)


ONE = tar_of({"a": b"1"})
GOES_ON = {
    "zeroed.tar": zeroed_header(),
    "two.tar": ONE + tar_of({"b": b"2"}),
    "zeroed.tar.gz": gzip.compress(zeroed_header()),
    "two.tar.gz": gzip.compress(ONE) + gzip.compress(tar_of({"b": b"2"})),
    "two.tar.bz2": bz2.compress(ONE) + bz2.compress(tar_of({"b": b"2"})),
    "two.tar.xz": lzma.compress(ONE) + lzma.compress(tar_of({"b": b"2"})),
}


@pytest.mark.parametrize("name", GOES_ON)
def test_an_archive_that_goes_on_after_its_end_is_not_cut_in_silence(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(GOES_ON[name])
    members = archive_file_members(tmp_path / name, most_bytes=1 << 20)
    assert next(members).path == "a"
    with pytest.raises(DataError, match=r"is not a complete tar archive \(.* after a\)"):
        list(members)
    outer = tar_of({name: GOES_ON[name], "z": b"4"})
    found = [(member.path, member.content()) for member in archive_members(io.BytesIO(outer), most_bytes=1 << 20)]
    folder = name.partition(".")[0]
    assert [path for path, _ in found] == [f"{folder}/a", name, "z"]
    assert isinstance(broken := found[1][1], Inspection)
    assert broken.status is Status.BROKEN


@pytest.mark.parametrize("padding", [0, 1, 511, 512, 20_000])
def test_zeros_after_the_end_are_nothing(tmp_path: Path, padding: int) -> None:
    (tmp_path / "a.tar").write_bytes(ONE + bytes(padding))
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(ONE) + bytes(padding))
    for name in ("a.tar", "a.tar.gz"):
        assert [member.path for member in archive_file_members(tmp_path / name, most_bytes=9)] == ["a"]
