"""Files in archives are those of the folder that was packed; what no folder can hold is refused and counted."""

from __future__ import annotations

import contextlib
import io
import stat
import tarfile
import zipfile
from typing import TYPE_CHECKING
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.core.locations import relative
from mlimages_dataset.sources import pieces as cutting
from mlimages_dataset.sources import places
from mlimages_dataset.sources.class_files import class_files_digest, classes_of_files
from mlimages_dataset.sources.contract import read_regions, read_statements
from mlimages_dataset.sources.inputs import files_of
from mlimages_dataset.sources.registry import source_named
from tests.images.test_zips import zip_of
from tests.sources.test_contract import OF_A_FILE_EACH, ROWS, TEXTS, sample

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ARCHIVES = ("a.zip", "a.tar", "a.tar.gz", "a.tgz", "a.tar.bz2", "A.TAR.XZ")
_NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\\:\0\n", exclude_categories=["Cc"]), min_size=1)
_PARTS = _NAMES.filter(lambda name: name.strip(". ") != "" and len(name.encode()) < 90)
_PATHS = st.lists(_PARTS, min_size=1, max_size=3).map("/".join)


def packed(path: Path, members: Mapping[str, bytes]) -> Path:
    """Write an archive of the kind that its name says."""
    if path.suffix == ".zip":
        path.write_bytes(zip_of(dict(members)))
        return path
    packing = {".tar": "", ".tgz": "gz"}.get(path.suffix.lower(), path.suffix.lower().removeprefix("."))
    with tarfile.open(path, f"w:{packing}") as tar:  # type: ignore[call-overload]  # the packings that tarfile knows
        for name, content in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
    return path


def packed_folder(path: Path, folder: Path) -> Path:
    """Pack a folder, or a file, under its own name."""
    files = sorted(folder.rglob("*")) if folder.is_dir() else [folder]
    return packed(path, {f"{relative(one, folder.parent)}": one.read_bytes() for one in files if one.is_file()})


@given(
    members=st.dictionaries(_PATHS.map(lambda path: f"{path}.txt"), st.binary(max_size=2000), max_size=6),
    kind=st.sampled_from(ARCHIVES),
)
def test_an_archive_has_the_files_that_were_packed(
    tmp_path_factory: pytest.TempPathFactory, members: dict[str, bytes], kind: str
) -> None:
    archive = packed(tmp_path_factory.mktemp("places") / kind, members)
    assert places.is_folder(archive)
    assert not places.is_file(archive)
    found = places.files_below(archive)
    assert {relative(path, archive): places.read_file(path) for path in found} == members
    assert places.refused_below(archive) == []
    for path in found:
        assert places.size_of(path) == len(members[relative(path, archive)])
        assert places.is_file(path)
        assert places.is_folder(path.parent)
        assert path in places.files_in(path.parent)
        assert not places.exists(path / "further")
        with places.opened(path) as stream:
            assert stream.read() == members[relative(path, archive)]
    assert not places.exists(archive / "absent.txt")
    assert len(places.place_digest(archive)) == 64


@pytest.mark.parametrize("kind", ["a.zip", "a.tar", "a.tgz"])
@pytest.mark.parametrize("form", OF_A_FILE_EACH)
def test_a_packed_folder_states_what_the_folder_states(tmp_path: Path, form: str, kind: str) -> None:
    folder, *_ = sample(form, tmp_path)
    archive = packed_folder(tmp_path / kind, folder)
    inside = archive / folder.name
    assert read_regions(form, [inside])[0].equals(read_regions(form, [folder])[0])
    assert read_statements(form, [inside])[0].equals(read_statements(form, [folder])[0])
    whole, rejects = read_regions(form, [archive])
    assert (whole.num_rows, rejects.count) == (read_regions(form, [folder])[0].num_rows, 0)
    assert all(name.startswith(f"{folder.name}/") for name in whole["image_id"].to_pylist())
    with mock.patch.object(cutting, "PIECE_BYTES", 64):
        assert len(source_named(form).cut(source_named(form).piece(archive))) > 1
        assert read_regions(form, [archive])[0].equals(whole)
    assert classes_of_files(archive) == classes_of_files(folder)
    assert class_files_digest(archive) == class_files_digest(archive)
    before = source_named(form).digest(archive)
    archive.write_bytes(
        archive.read_bytes() + bytes(1024 if kind == "a.tar" else 0) + (b"\0" if kind == "a.tgz" else b"")
    )
    assert (source_named(form).digest(archive) == before) == (kind == "a.zip")


@pytest.mark.parametrize("kind", ["a.zip", "a.tar", "a.tgz"])
def test_a_list_of_voc_and_masks_are_found_in_an_archive(tmp_path: Path, kind: str) -> None:
    texts = {f"V/Annotations/{k}.xml": OF_A_FILE_EACH["voc"][1].format(k).encode() for k in range(3)}
    lists = {"V/ImageSets/Main/train.txt": b"2\n0\n9\n"}
    archive = packed(tmp_path / kind, {"V/SegmentationClass/0.png": b"", **texts, **lists})
    found, rejects = read_regions("voc", [archive / "V/ImageSets/Main/train.txt"])
    images = [(row["image_id"], row["mask"]) for row in found.to_pylist()]
    assert images == [("2.jpg", ""), ("0.jpg", "SegmentationClass/0.png")]
    assert [one.what for one in rejects.first] == ["has no file in Annotations"]
    assert read_regions("voc", [archive])[0]["mask"].to_pylist()[0] == "V/SegmentationClass/0.png"


def test_a_tar_is_read_by_its_content(tmp_path: Path) -> None:
    content = packed(tmp_path / "a.tgz", {"a.txt": b"1"}).read_bytes()
    (tmp_path / "b.tar").write_bytes(content)
    (tmp_path / "b.tgz").write_bytes(packed(tmp_path / "a.tar", {"a.txt": b"1"}).read_bytes())
    for name in ("b.tar", "b.tgz"):
        assert places.read_file(tmp_path / name / "a.txt") == b"1"


def test_pictures_of_two_archives_are_kept_apart(tmp_path: Path) -> None:
    folder, *_ = sample("voc", tmp_path)
    archives = [packed_folder(tmp_path / name, folder) for name in ("a.zip", "b.zip")]
    images = read_regions("voc", archives)[0]["image_id"].to_pylist()
    assert (len(images), len(set(images))) == (2 * len(ROWS), 2 * len(ROWS))


@pytest.mark.parametrize("kind", ["a.zip", "a.tar", "a.tgz"])
def test_hostile_members_are_counted_rejects(tmp_path: Path, kind: str) -> None:
    text = OF_A_FILE_EACH["voc"][1].format("a").encode()
    names = ("Annotations/a.xml", "../Annotations/b.xml", "/Annotations/c.xml", "Annotations/../../d.xml")
    archive = tmp_path / kind
    if kind == "a.zip":
        link = zipfile.ZipInfo("Annotations/link.xml")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        with zipfile.ZipFile(archive, "w") as file:
            for name in names:
                file.writestr(name, text)
            file.writestr(link, "/etc/passwd")
            with pytest.warns(UserWarning, match="Duplicate name"):
                file.writestr(names[0], text.replace(b"dog", b"cat"))
    else:
        with tarfile.open(archive, "w:gz" if kind == "a.tgz" else "w") as tar:
            for name, content in [
                *((name, text) for name in names),
                ("", b""),
                (names[0], text.replace(b"dog", b"cat")),
            ]:
                header = tarfile.TarInfo(name or "Annotations/link.xml")
                header.size = len(content)
                header.type, header.linkname = (tarfile.REGTYPE, "") if name else (tarfile.SYMTYPE, "/etc/passwd")
                tar.addfile(header, io.BytesIO(content))
    found, rejects = read_regions("voc", [archive])
    assert (found["image_id"].to_pylist(), found["class_id"].to_pylist()) == (["a.jpg"], ["dog"])
    assert rejects.count == 5
    told = [one.what.partition(":")[0] for one in rejects.first]
    assert told[:3] == ["its name leads out of the archive"] * 3
    assert told[3].startswith("a link")
    assert told[4] == "a second member of this name"
    assert all(archive.name in one.path and ".." not in one.path for one in rejects.first)


def test_a_bomb_and_an_encrypted_member_are_rejects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "MOST_BYTES", 10_000)
    text = OF_A_FILE_EACH["voc"][1].format("a").encode()
    archive = packed(tmp_path / "a.zip", {"Annotations/a.xml": text, "Annotations/bomb.xml": b" " * 10_001})
    found, rejects = read_regions("voc", [archive])
    assert found.num_rows == 1
    assert [one.what for one in rejects.first] == ["has more than 10,000 bytes; the file is passed over"]
    content = bytearray(archive.read_bytes())
    content[content.index(b"PK\1\2", content.index(b"PK\1\2") + 4) + 8] |= 1
    archive.with_name("b.zip").write_bytes(content)
    _, rejects = read_regions("voc", [archive.with_name("b.zip")])
    assert [one.what for one in rejects.first] == ["encrypted: Annotations/bomb.xml"]
    monkeypatch.setattr(places, "MOST_COPIED_BYTES", 10_000)
    large = packed(tmp_path / "a.tgz", {f"Annotations/{k}.xml": b" " * 9_000 for k in range(2)})
    with pytest.raises(DataError, match=r"a\.tgz: unpacks to more than 10,000 bytes; unpack it into a folder"):
        read_regions("voc", [large])


@pytest.mark.parametrize("kind", ["a.zip", "a.tar", "a.tgz"])
@given(data=st.data())
def test_damaged_archives_end_in_an_error_of_ours_or_in_rejects(
    tmp_path_factory: pytest.TempPathFactory, kind: str, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    texts = {f"Annotations/{k}.xml": OF_A_FILE_EACH["voc"][1].format(k).encode() for k in range(3)}
    archive = packed(folder / kind, texts)
    content = bytearray(archive.read_bytes())
    for at in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=4)):
        content[at] = data.draw(st.integers(0, 255))
    archive.write_bytes(content[: data.draw(st.sampled_from([None, len(content) // 2, len(content) - 9]))])
    with contextlib.suppress(DataError, UsageError):
        found, rejects = read_regions("voc", [archive])
        assert found.num_rows + rejects.count >= 1


@pytest.mark.parametrize(("form", "suffix"), [("coco", ".json"), ("cvat", ".xml")])
@pytest.mark.parametrize("kind", ["a.zip", "a.tar", "a.tgz"])
def test_documents_in_archives_are_read_in_place(tmp_path: Path, form: str, suffix: str, kind: str) -> None:
    plain = tmp_path / f"x{suffix}"
    plain.write_text(TEXTS[form])
    expected = read_regions(form, [plain])[0]
    content = TEXTS[form].encode()
    archive = packed(tmp_path / kind, {f"annotations/x{suffix}": content, "README.md": b"", "1.jpg": b""})
    assert files_of(form, [archive]) == (archive / f"annotations/x{suffix}",)
    assert read_regions(form, files_of(form, [archive]))[0].equals(expected)
    assert classes_of_files(archive) == classes_of_files(archive / f"annotations/x{suffix}") == classes_of_files(plain)
    assert class_files_digest(archive) == class_files_digest(archive / f"annotations/x{suffix}")
    several = packed(tmp_path / f"a.{kind}", {f"{k}/instances{suffix}": content for k in "ab"})
    message = rf"holds 2 files of the suffix \{suffix}; name those that are meant, such as .*a\.{kind}/a/instances"
    with pytest.raises(UsageError, match=message):
        files_of(form, [several])
    pattern = files_of(form, [several / f"*/inst*{suffix}"])
    assert pattern == tuple(several / f"{k}/instances{suffix}" for k in "ab")
    assert read_regions(form, [pattern[1]])[0].equals(expected)
    assert source_named(form).digest(pattern[0])
    for absent in ("c.json", "*.csv"):
        with pytest.raises(UsageError, match=r"there is no such file|no file matches this pattern"):
            files_of(form, [several / absent])
    with pytest.raises(UsageError, match=rf"b\.zip: holds no \{suffix} file"):
        files_of(form, [packed(tmp_path / "b.zip", {"a.txt": b""})])


@pytest.mark.parametrize("form", ["csv", "open-images", "jsonl", "tencent"])
@pytest.mark.parametrize("kind", ["a.zip", "a.tar", "a.tgz"])
def test_tables_and_lists_in_archives_are_read_in_place(tmp_path: Path, form: str, kind: str) -> None:
    (plain,) = sample(form, tmp_path)
    expected = read_statements(form, [plain])[0]
    inside = f"in/x{source_named(form).member_suffixes[0]}"
    archive = packed(tmp_path / kind, {inside: plain.read_bytes(), "README.md": b"", "1.jpg": b""})
    assert files_of(form, [archive]) == (archive / inside,)
    assert read_statements(form, files_of(form, [archive]))[0].equals(expected)
    assert read_statements(form, files_of(form, [archive / "in/*"]))[0].equals(expected)
    damaged = archive.with_name(f"b.{kind}")
    damaged.write_bytes(archive.read_bytes()[: min(520, archive.stat().st_size // 2)])
    with pytest.raises((DataError, UsageError), match=r"b\.a"):
        read_statements(form, files_of(form, [damaged]))


def test_formats_that_read_no_archives_say_so(tmp_path: Path) -> None:
    archive = packed(tmp_path / "a.zip", {"a.parquet": b""})
    with pytest.raises(
        UsageError, match=r"a\.zip: is an archive, in which files of the format parquet are not read; unpack"
    ):
        files_of("parquet", [archive])
