"""Members of zip archives are read in their order; hostile and damaged ones are rows with a status."""

from __future__ import annotations

import contextlib
import io
import struct
import zipfile
import zlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mlimages_dataset.core.errors import DataError, MLImagesError
from mlimages_dataset.images.check import Inspection, Limits
from mlimages_dataset.images.ingest import Form, members_of
from mlimages_dataset.images.zips import zip_file_members
from mlimages_dataset.sources.places import files_below
from tests.images.folders import picture

if TYPE_CHECKING:
    from pathlib import Path

MOST = 100_000
PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


def zip_of(members: dict[str, bytes], *, packing: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", packing) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def said(path: Path, content: bytes) -> dict[str, bytes | str]:
    """Return the content or the status of each member."""
    path.write_bytes(content)
    found: dict[str, bytes | str] = {}
    for member in zip_file_members(path, most_bytes=MOST):
        got = member.content()
        found[member.path] = f"{got.status.value}: {got.detail}" if isinstance(got, Inspection) else got
    return found


@pytest.mark.parametrize("packing", PACKINGS)
def test_members_come_in_the_order_of_the_list(tmp_path: Path, packing: int) -> None:
    members = {"b/2.jpg": picture(1, 30, 20), "a/": b"", "a/1 é.jpg": b"x" * 5000, "notes.txt": b"a text"}
    found = said(tmp_path / "a.zip", zip_of(members, packing=packing))
    assert list(found.items()) == [(name, content) for name, content in members.items() if name != "a/"]


def test_names_that_lead_out_and_links_have_no_content(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link.jpg")
    link.external_attr = 0o120777 << 16
    names = ("../a.jpg", "/etc/b.jpg", "x/../../c.jpg", "C:\\d.jpg", "ok\\e.jpg", "_")
    stream = io.BytesIO(zip_of(dict.fromkeys(names, b"e")))
    with zipfile.ZipFile(stream, "a") as archive:
        archive.writestr(link, "target")
    nameless = stream.getvalue().replace(b"_", b"\0")
    found = said(tmp_path / "a.zip", nameless)
    assert found.pop("ok/e.jpg") == b"e"
    assert found[""] == "unsafe_name: it has no name"
    assert {text.partition(":")[0] for text in found.values() if isinstance(text, str)} == {"unsafe_name"}
    assert len(found) == 6


def test_names_that_differ_behind_a_zero_byte_are_no_one_picture(tmp_path: Path) -> None:
    content = zip_of(dict.fromkeys(("cat/1_a.jpg", "cat/1_b.jpg"), b"e")).replace(b"1_", b"1\0")
    (tmp_path / "a.zip").write_bytes(content)
    found = [(member.path, member.content()) for member in zip_file_members(tmp_path / "a.zip", most_bytes=MOST)]
    details = [got.detail for _, got in found if isinstance(got, Inspection)]
    assert details == [f"a zero byte is in its name: {name!r}" for name in ("cat/1\0a.jpg", "cat/1\0b.jpg")]


@settings(max_examples=50)
@given(
    name=st.text(st.characters(exclude_characters="\0\\/~", exclude_categories=["Cs"]), min_size=1, max_size=20),
    encoding=st.sampled_from(["gbk", "shift_jis", "cp850", "koi8-r", "ascii"]),
    is_renamed=st.booleans(),
)
def test_a_name_that_is_stated_in_utf_8_beside_another_encoding_is_that(
    tmp_path_factory: pytest.TempPathFactory, name: str, encoding: str, *, is_renamed: bool
) -> None:
    raw = b"dd" + name.encode(encoding, "replace").replace(b"~", b"_") + b".jpg"
    member = zipfile.ZipInfo("~" * len(raw))
    stated = f"d/d{name}.jpg".encode()
    field = b"\1" + (zlib.crc32(raw) ^ is_renamed).to_bytes(4, "little") + stated
    member.extra = struct.pack("<HHBHH", 0x5455, 1, 0, 0x7075, len(field)) + field
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(member, b"e")
    content = stream.getvalue().replace(b"~" * len(raw), raw)
    path = tmp_path_factory.mktemp("zip") / "a.zip"
    assert (f"d/d{name}.jpg" in said(path, content)) is not is_renamed


def test_a_bomb_is_read_no_further_than_allowed(tmp_path: Path) -> None:
    content = zip_of({"bomb.jpg": b"\0" * (MOST * 50), "fine.jpg": b"x" * MOST})
    assert len(content) < MOST
    found = said(tmp_path / "a.zip", content)
    assert found == {"bomb.jpg": "too_large: more than 100,000 bytes", "fine.jpg": b"x" * MOST}
    lying = content.replace((MOST * 50).to_bytes(4, "little"), (7).to_bytes(4, "little"))
    assert not isinstance(said(tmp_path / "b.zip", lying)["bomb.jpg"], bytes), "whatever the header claims"


def test_a_damaged_member_is_a_row_and_the_others_are_read(tmp_path: Path) -> None:
    content = bytearray(zip_of({"a.jpg": b"first" * 9, "b.jpg": b"second"}, packing=zipfile.ZIP_STORED))
    content[content.index(b"first")] ^= 1
    found = said(tmp_path / "a.zip", bytes(content))
    assert str(found["a.jpg"]).startswith("broken: the archive is damaged here (Bad CRC-32")
    assert found["b.jpg"] == b"second"


def test_names_without_the_flag_of_utf_8_may_be_utf_8(tmp_path: Path) -> None:
    content = zip_of({"hänge.jpg": b"x"})
    plain = content.replace((1 << 11).to_bytes(2, "little") + b"\x08\0", b"\0\0\x08\0")
    assert list(said(tmp_path / "a.zip", plain)) == ["hänge.jpg"]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no archive at all"])
def test_what_is_no_archive_is_told(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DataError, match=r"a\.zip: is not a complete zip archive \(.*obtain it again"):
        said(tmp_path / "a.zip", content)


@settings(max_examples=400)
@given(
    st.sampled_from(PACKINGS),
    st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 255)), max_size=9),
    st.none() | st.integers(0, 1000),
)
@example(zipfile.ZIP_DEFLATED, [(185, 0)], None)
def test_no_damage_is_another_error(
    tmp_path_factory: pytest.TempPathFactory, packing: int, changes: list[tuple[int, int]], cut: int | None
) -> None:
    content = bytearray(zip_of({"a.jpg": b"first" * 9, "b.jpg": b"second"}, packing=packing))
    for at, value in changes:
        content[at % len(content)] = value
    with contextlib.suppress(MLImagesError):
        said(tmp_path_factory.mktemp("zip") / "a.zip", bytes(content[:cut]))


def test_archives_are_sources_alone_and_in_folders(tmp_path: Path) -> None:
    content = zip_of({"1.jpg": picture(1, 30, 20)})
    (tmp_path / "in" / "train").mkdir(parents=True)
    for name in ("in/n02084071.zip", "in/train/cats.zip"):
        (tmp_path / name).write_bytes(content)
    limits = Limits(bytes=MOST)
    paths = [(member.path, member.all_labels()) for member in members_of(tmp_path / "in", Form.AUTO, limits)]
    assert paths == [("n02084071/1.jpg", (("n02084071", 1.0),)), ("train/cats/1.jpg", (("cats", 1.0),))]
    (alone,) = members_of(tmp_path / "in" / "n02084071.zip", Form.AUTO, limits)
    assert alone.path == "n02084071/1.jpg"
    (other,) = members_of(tmp_path / "in" / "train" / "cats.zip", Form.AUTO, limits)
    assert (other.path, other.all_labels()) == ("1.jpg", ())


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("many", [1, 40])
def test_joined_archives_are_refused_and_other_bytes_around_one_are_not(
    tmp_path: Path, packing: int, many: int
) -> None:
    one, other = ({f"{name}{n}.txt": b"text" for n in range(many)} for name in "ab")
    first, second = (zip_of(members, packing=packing) for members in (one, other))
    path = tmp_path / "c.zip"
    empty = zip_of({})
    for joined in (
        first + second,
        second + first,
        first[: len(first) // 2] + second,
        b"\0" * 5000 + first + second,
        b"\0" * ((1 << 20) - 7) + first + second,
        first + empty,
        first + second[:40],
    ):
        path.write_bytes(joined)
        for read in (lambda: list(zip_file_members(path, most_bytes=MOST)), lambda: files_below(path)):
            with pytest.raises(
                DataError, match=r"c\.zip: holds several zip archives.*obtain each as a file of its own"
            ):
                read()
    commented = first[:-2] + b"\x09\0a comment"
    for whole in (
        first,
        b"#!/bin/sh\nunzip $0\n" + first,
        b"MZ" + bytes(range(256)) * 9 + first,
        commented,
        empty + first,
    ):
        path.write_bytes(whole)
        assert sorted(file.name for file in files_below(path)) == sorted(one)
        assert {member.path for member in zip_file_members(path, most_bytes=MOST)} == set(one)
    nested = zip_of({"inner.zip": second, "a.txt": b"text"}, packing=zipfile.ZIP_STORED)
    path.write_bytes(nested)
    assert [file.name for file in files_below(path)] == ["a.txt", "inner.zip"]


@pytest.mark.parametrize("encoding", ["gbk", "shift_jis", "euc_kr", "cp437", "utf-8"])
def test_names_in_another_encoding_are_told_apart_and_keep_their_folders(tmp_path: Path, encoding: str) -> None:
    names = {"gbk": ["狗/誠1.jpg", "狗/2.jpg"], "shift_jis": ["犬/ソ3.jpg", "犬/表.jpg"], "euc_kr": ["개/1.jpg"]}.get(
        encoding, ["Küche/é.jpg"]
    )
    content = zip_of({f"{k:02}{'x' * len(name.encode(encoding))}": b"e" for k, name in enumerate(names)} | {"a/b": b""})
    for k, name in enumerate(names):
        encoded = name.encode(encoding)
        content = content.replace(f"{k:02}{'x' * len(encoded)}".encode(), b"//" + encoded)
    (tmp_path / "a.zip").write_bytes(content.replace(b"//", b"./"))
    members = list(zip_file_members(tmp_path / "a.zip", most_bytes=MOST))
    *found, plain = members
    is_known = encoding == "utf-8"
    expected = [name if is_known else name.encode(encoding).decode("cp437") for name in names]
    assert [member.path for member in found] == expected
    assert [bool(member.doubt) for member in members] == [not is_known] * len(found) + [False]
    assert {member.path.count("/") for member in members} == {1}
    assert plain.path == "a/b"
