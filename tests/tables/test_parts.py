"""The laws of table folders: a part that is missing or too many is told, and what nobody lists is read as it is."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from upath import UPath

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.core.locations import location, relative
from mlimages_dataset.tables.files import write_bytes
from mlimages_dataset.tables.parquet import table_digests, table_parts
from mlimages_dataset.tables.parts import (
    BEGUN_PREFIX,
    FORMAT,
    MANIFEST_NAME,
    begun_folders,
    begun_mark,
    refuse_inside_table,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mlimages_dataset.core.locations import Location

LISTED = ("labels/train/part-00000.parquet", "labels/train/part-00001.parquet", "labels/val/part-00000.parquet")


@pytest.fixture(name="memory")
def _memory() -> Iterator[str]:
    """Return the URL of an empty folder in this process's memory."""
    folder = location("memory://parts")
    assert isinstance(folder, UPath)
    folder.fs.store.clear()
    yield str(folder)
    folder.fs.store.clear()


def write_manifest(folder: Location, listed: Iterable[str], rows: object = 81_227) -> None:
    content = {"format": FORMAT, "files": {name: {"rows": rows} for name in listed}, "stages": {}}
    write_bytes(folder / MANIFEST_NAME, json.dumps(content).encode())


def table_folder(folder: Location, there: Iterable[str] = LISTED, listed: Iterable[str] = LISTED) -> Location:
    for name in there:
        write_bytes(folder / name, b"")
    write_manifest(folder, listed)
    return folder


def names(folder: Location) -> list[str]:
    return [relative(path, folder) for path in table_parts(folder)]


_NAMES = st.sets(
    st.builds("{}part-{:05d}.parquet".format, st.sampled_from(["", "train/", "val/", "a/b/"]), st.integers(0, 2))
)


@given(there=_NAMES, listed=_NAMES, above=st.integers(0, 3))
def test_parts_are_read_exactly_if_they_are_those_that_the_manifest_lists(
    tmp_path_factory: pytest.TempPathFactory, there: set[str], listed: set[str], above: int
) -> None:
    root = tmp_path_factory.mktemp("parts")
    place = "x/y/z"[: max(0, 2 * above - 1)]
    inside = f"{place}/" if place else ""
    table_folder(root, (inside + name for name in there), (inside + name for name in listed))
    (root / place).mkdir(parents=True, exist_ok=True)
    owned = {name.rpartition("/")[0] for name in listed}
    strangers = {name for name in there - listed if name.rpartition("/")[0] in owned}
    if listed - there or strangers:
        with pytest.raises(DataError, match=r"which its manifest (lists|does not list)"):
            table_parts(root / place)
    elif not there:
        with pytest.raises(UsageError, match="there is no part"):
            table_parts(root / place)
    else:
        assert names(root / place) == sorted(there, key=lambda name: Path(name).parts)


@pytest.mark.parametrize("read", ["labels", "labels/train"])
def test_what_is_missing_is_told_with_its_rows(tmp_path: Path, read: str) -> None:
    (table_folder(tmp_path) / LISTED[1]).unlink()
    name = relative(tmp_path / LISTED[1], tmp_path / read)
    with pytest.raises(DataError) as told:
        table_digests("labels", tmp_path / read)
    assert str(told.value) == (
        f"{tmp_path / read}: lacks {name}, which its manifest lists (81,227 rows); make it again, or restore the file"
    )
    assert names(tmp_path / "labels" / "val") == ["part-00000.parquet"], "another table is whole"


def test_a_folder_that_is_gone_altogether_is_missed(tmp_path: Path) -> None:
    shutil.rmtree(str(table_folder(tmp_path) / "labels" / "train"))
    with pytest.raises(DataError, match=r"lacks train/part-00000\.parquet, .* \(81,227 rows\), and 1 more;"):
        table_parts(tmp_path / "labels")


def test_a_part_that_nobody_lists_is_told(tmp_path: Path) -> None:
    table_folder(tmp_path, [*LISTED, "labels/val/part-00007.parquet"])
    with pytest.raises(DataError, match=r"has val/part-00007\.parquet, which its manifest does not list; remove"):
        table_parts(tmp_path / "labels")


def test_parts_copied_by_hand_are_read_as_they_are(tmp_path: Path) -> None:
    """With no manifest, with one that lists nothing there, with another program's, and with one too far above."""
    table_folder(tmp_path, ["mine/part-00004.parquet", "a/b/c/d/part-00000.parquet", *LISTED])
    for name in ("a/b/c/d/part-00000.parquet", "a/b/c/d/part-00001.parquet"):
        write_bytes(tmp_path / "far" / name, b"")
    write_manifest(tmp_path / "far", ["a/b/c/d/part-00000.parquet"])
    assert names(tmp_path / "mine") == ["part-00004.parquet"]
    assert len(names(tmp_path / "far" / "a" / "b" / "c" / "d")) == 2
    for content in (b"[]", b"1", b'{"name": "a web page"}', b'{"format": 3, "files": 1}', b'{"format": "theirs/2"}'):
        write_bytes(tmp_path / "mine" / MANIFEST_NAME, content)
        assert names(tmp_path / "mine") == ["part-00004.parquet"]


def test_the_nearest_manifest_that_lists_the_folder_decides(tmp_path: Path) -> None:
    table_folder(tmp_path)
    write_bytes(tmp_path / "labels" / "other" / "part-00005.parquet", b"")
    write_manifest(tmp_path / "labels" / "other", ["part-00005.parquet"])
    assert len(names(tmp_path / "labels")) == 4, "a table with a manifest of its own in this one's folder is its own"
    write_manifest(tmp_path / "labels" / "other", ["part-00005.parquet", "part-00006.parquet"])
    with pytest.raises(DataError, match=r"other: lacks part-00006\.parquet"):
        table_parts(tmp_path / "labels")
    write_manifest(tmp_path / "labels", [])
    write_bytes(tmp_path / "labels" / "train" / "part-00002.parquet", b"")
    with pytest.raises(DataError, match=r"train: has part-00002\.parquet"):
        table_parts(tmp_path / "labels" / "train")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is not a complete manifest"),
        (b'{"format": "mlimages.manifest/1", "fi', "is not a complete manifest"),
        (b'{"format": "mlimages.manifest/1", "files": ' + b"[" * 100_000, "nested too deeply"),
        (b'{"format": "mlimages.manifest/1"}', "has no files"),
        (b'{"format": "mlimages.manifest/1", "files": []}', "has no files"),
        (b'{"format": "mlimages.manifest/9", "files": {}}', "its format is 'mlimages.manifest/9', not"),
    ],
)
def test_a_damaged_manifest_is_one_sentence(tmp_path: Path, content: bytes, told: str) -> None:
    write_bytes(table_folder(tmp_path) / MANIFEST_NAME, content)
    with pytest.raises(DataError, match=told) as error:
        table_parts(tmp_path / "labels")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("folder", "table"),
    [
        ("labels/train", "labels/train"),
        ("labels/train/a/b", "labels/train"),
        ("labels", None),
        ("labels/other", None),
        ("else", None),
    ],
)
def test_a_folder_inside_a_table_is_refused(tmp_path: Path, folder: str, table: str | None) -> None:
    table_folder(tmp_path)
    told = f"lies inside the table .*{table};"
    with contextlib.nullcontext() if table is None else pytest.raises(UsageError, match=told):
        refuse_inside_table(tmp_path / folder)


@pytest.mark.parametrize(
    "content", [b'{"audio": "a.wav"}\n{"audio": "b.wav"}\n', b"\xff\xfe", b"[" * 100_000, b"[1]", b'{"name": "an app"}']
)
@pytest.mark.parametrize("above", [".", "labels", "labels/train"])
def test_a_manifest_of_another_program_says_nothing(tmp_path: Path, content: bytes, above: str) -> None:
    folder = tmp_path / "labels" / "train"
    write_bytes(folder / "part-00000.parquet", b"")
    write_bytes(tmp_path / above / MANIFEST_NAME, content)
    assert table_parts(folder) == [folder / "part-00000.parquet"]


@pytest.mark.parametrize("rows", [None, "many", -1, [], 1])
def test_rows_that_a_manifest_does_not_state_are_not_told(tmp_path: Path, rows: Any) -> None:
    write_manifest(table_folder(tmp_path, LISTED[:2]), LISTED, rows)
    said = r"lists \(1 row\);" if rows == 1 else "lists;"
    with pytest.raises(DataError, match=said):
        table_parts(tmp_path / "labels")


def test_a_manifest_that_is_a_folder_is_none(tmp_path: Path) -> None:
    write_bytes(tmp_path / "part-00000.parquet", b"")
    (tmp_path / MANIFEST_NAME).mkdir()
    assert names(tmp_path) == ["part-00000.parquet"]


def test_a_folder_reached_by_a_link_or_a_relative_name_has_its_own_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (table_folder(tmp_path / "build") / LISTED[1]).unlink()
    (tmp_path / "link").symlink_to(tmp_path / "build" / "labels" / "train")
    monkeypatch.chdir(tmp_path / "build" / "labels" / "train")
    for folder in (tmp_path / "link", Path(), Path("..")):
        with pytest.raises(DataError, match=r"lacks (train/)?part-00001"):
            table_parts(folder)


@pytest.mark.parametrize(
    ("begun", "read", "refused"),
    [
        (["labels", "labels/train", "labels/val"], "labels", True),
        (["labels", "labels/train", "labels/val"], "labels/val", True),
        (["labels/train"], "labels", True),
        (["labels/train"], "labels/val", False),
        (["."], "labels", False),
        (["report", "report/figures"], "labels", False),
        (["label"], "labels", False),
        ([], "labels", False),
    ],
)
def test_only_the_mark_of_the_stage_that_writes_a_table_counts(
    tmp_path: Path, begun: list[str], read: str, *, refused: bool
) -> None:
    for listed in (LISTED, ()):
        table_folder(tmp_path, listed=listed)
        write_bytes(tmp_path / f"{BEGUN_PREFIX}command", b"")
        write_bytes(tmp_path / f"{BEGUN_PREFIX}stage", begun_mark(begun))
        if refused:
            with pytest.raises(DataError, match=f"{read}: is not finished; run the same command again"):
                table_parts(tmp_path / read)
        else:
            assert names(tmp_path / read)


@given(folders=st.lists(st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), min_size=1)))
def test_a_mark_names_its_folders(tmp_path_factory: pytest.TempPathFactory, folders: list[str]) -> None:
    mark = tmp_path_factory.mktemp("marks") / "mark"
    mark.write_bytes(begun_mark(folders))
    assert begun_folders(mark) == ["" if name == "." else name for name in folders]
    assert begun_folders(mark.with_name("gone")) == []


def test_remote_parts_obey_the_same_laws_in_few_requests(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = table_folder(location(f"{memory}/a/b/out"))
    assert isinstance(folder, UPath)
    asked: list[str] = []
    opened = type(folder).read_bytes

    def counted(self: UPath) -> bytes:
        asked.append(relative(self, location(memory)))
        return opened(self)

    monkeypatch.setattr(type(folder), "read_bytes", counted)
    assert len(names(folder / "labels")) == 3
    assert sorted(asked) == [
        f"a/b/out/{name}{MANIFEST_NAME}" for name in ("labels/", "labels/train/", "labels/val/", "")
    ]
    write_bytes(folder / f"{BEGUN_PREFIX}labels", begun_mark(["labels"]))
    with pytest.raises(DataError, match="is not finished"):
        table_parts(folder / "labels")
    (folder / f"{BEGUN_PREFIX}labels").unlink()
    (folder / LISTED[1]).unlink()
    with pytest.raises(DataError, match=r"lacks train/part-00001\.parquet"):
        table_parts(folder / "labels")


@pytest.mark.parametrize("error", [PermissionError(13, "Forbidden"), ConnectionError("no answer"), RuntimeError("?")])
def test_a_store_that_tells_nothing_of_folders_above_is_read(
    memory: str, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    folder = table_folder(location(f"{memory}/out"), listed=())

    def refuse(_: UPath) -> bytes:
        raise error

    monkeypatch.setattr(type(folder), "read_bytes", refuse)
    if isinstance(error, PermissionError):
        assert len(names(folder / "labels")) == 3
    else:
        with pytest.raises(DataError, match="cannot be read"):
            table_parts(folder / "labels")
