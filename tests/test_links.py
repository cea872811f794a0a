"""Whatever manifests, journals, tables and links say: nothing outside an output folder is read, written or removed."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from mlimages_dataset.core.errors import DataError, MLImagesError, UsageError
from mlimages_dataset.core.locations import is_inside, paths_outside, remove_folder
from mlimages_dataset.images.check import Inspection
from mlimages_dataset.images.index import ImageIndex
from mlimages_dataset.images.parts import part_writer
from mlimages_dataset.images.shards import ShardReader
from mlimages_dataset.images.slices import rows_of
from mlimages_dataset.images.statuses import Status
from mlimages_dataset.pipeline.folder import OutputFolder
from mlimages_dataset.pipeline.journal import Finished, Journal
from mlimages_dataset.pipeline.records import FileRecord, Manifest, StageRecord, StageResult, read_manifest
from mlimages_dataset.pipeline.verify import verify_folder
from mlimages_dataset.recipes.build import verify
from mlimages_dataset.sources.fetch import fetch_collection
from mlimages_dataset.sources.publishers import Collection, PublishedFile
from mlimages_dataset.tables.files import PARTIAL_PREFIX, Receipt, file_digest, write_bytes
from mlimages_dataset.tables.parquet import read_table, write_table
from mlimages_dataset.tables.parts import MANIFEST_NAME
from mlimages_dataset.tables.schemas import IMAGES

if TYPE_CHECKING:
    from pathlib import Path

    from mlimages_dataset.core.locations import Location

VICTIM = b"somebody's only copy"


def make_links(folder: Path) -> Path:
    """Make links in a folder that lead out of it and one that does not; return the file that they lead to."""
    folder.mkdir()
    outside = folder.parent / f"{folder.name}-beside"
    outside.mkdir()
    victim = outside / "victim.txt"
    victim.write_bytes(VICTIM)
    (folder.parent / "victim.txt").write_bytes(VICTIM)
    (folder / "up").symlink_to("..")
    (folder / "absolute").symlink_to(outside)
    (folder / "relative").symlink_to(f"../{outside.name}")
    (folder / "chain").symlink_to("absolute")
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / "link").symlink_to(outside)
    (folder / "within").symlink_to("deep")
    (folder / "loop").symlink_to("loop")
    (folder / "nowhere").symlink_to("../nothing")
    return victim


LEADING_OUT = (
    "up/victim.txt",
    "absolute/victim.txt",
    "relative/victim.txt",
    "chain/victim.txt",
    "deep/er/link/victim.txt",
    "within/er/link/victim.txt",
    "up/out-beside/victim.txt",
    "nowhere/victim.txt",
    "deep/../../out-beside/victim.txt",
    "../out-beside/victim.txt",
    "/etc/passwd",
    "deep\\victim.txt",
    "./victim.txt",
    "deep//victim.txt",
    "deep/",
    "C:victim.txt",
    "deep/victim.txt\0",
)
STAYING = ("victim.txt", "deep/er/victim.txt", "within/victim.txt", "deep/..victim", "new/folder/victim.txt")


def manifest_naming(*paths: str) -> bytes:
    record = FileRecord(-1, len(VICTIM), "", "")
    stage = StageRecord({"before": 1}, {}, tuple(paths), 0.0, {})
    return Manifest(dict.fromkeys(paths, record), {"vocabulary": stage}).to_json()


@pytest.mark.parametrize("name", LEADING_OUT)
def test_no_command_touches_what_a_manifest_names_elsewhere(tmp_path: Path, name: str) -> None:
    victim = make_links(tmp_path / "out")
    (tmp_path / "out" / MANIFEST_NAME).write_bytes(manifest_naming(name))
    for call in (read_manifest, verify_folder, verify, ImageIndex.open, OutputFolder):
        with pytest.raises(DataError, match=r"not a file inside the folder; do not trust it"):
            call(tmp_path / "out")
    with pytest.raises(DataError, match="not a file inside the folder"):
        OutputFolder(tmp_path / "out", overwrite=True).keep_only([])
    assert victim.read_bytes() == (tmp_path / "victim.txt").read_bytes() == VICTIM


def test_which_paths_stay_in_a_folder(tmp_path: Path) -> None:
    make_links(tmp_path / "out")
    assert paths_outside(tmp_path / "out", [*STAYING, *LEADING_OUT]) == sorted(LEADING_OUT)
    (tmp_path / "alias").symlink_to("out")
    assert paths_outside(tmp_path / "alias", STAYING) == [], "the folder itself may be a link of the user's"
    assert is_inside(tmp_path / "not-there", "a/b")


def test_a_link_made_after_the_manifest_was_read_is_not_followed(tmp_path: Path) -> None:
    write_bytes(tmp_path / "out" / "folder" / "victim.txt", VICTIM)
    (tmp_path / "out" / MANIFEST_NAME).write_bytes(manifest_naming("folder/victim.txt"))
    output = OutputFolder(tmp_path / "out", overwrite=True)
    (tmp_path / "out" / "folder").rename(tmp_path / "moved")
    (tmp_path / "out" / "folder").symlink_to("../moved")
    with pytest.raises(DataError, match="not a file inside the folder"):
        output.keep_only([])
    output._forget("vocabulary")
    assert (tmp_path / "moved" / "victim.txt").read_bytes() == VICTIM


def test_only_the_link_goes_where_a_file_is_one(tmp_path: Path) -> None:
    victim = make_links(tmp_path / "out")
    (tmp_path / "out" / "old.txt").symlink_to(victim)
    (tmp_path / "out" / "kept.txt").symlink_to(victim)
    (tmp_path / "out" / MANIFEST_NAME).write_bytes(manifest_naming("old.txt", "kept.txt"))

    def work(folder: Location) -> StageResult[Any]:
        return StageResult((write_bytes(folder / "kept.txt", b"new"),))

    output = OutputFolder(tmp_path / "out", overwrite=True)
    output.run("vocabulary", parameters={}, inputs={}, work=work)
    assert not (tmp_path / "out" / "old.txt").is_symlink()
    assert (tmp_path / "out" / "kept.txt").read_bytes() == b"new"
    assert victim.read_bytes() == VICTIM


@pytest.mark.parametrize("name", ["labels", "labels/train"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_stage_does_not_clear_or_write_a_folder_that_is_a_link(tmp_path: Path, name: str, *, overwrite: bool) -> None:
    precious = tmp_path / "precious"
    for file in ("part-00000.parquet", "train/part-00001.parquet", f"{PARTIAL_PREFIX}mine", "shard-00000.tar"):
        write_bytes(precious / file, VICTIM)
    out = tmp_path / "out"
    write_bytes(out / MANIFEST_NAME, Manifest().to_json())
    (out / name).parent.mkdir(exist_ok=True)
    (out / name).symlink_to(precious)
    before = {path: file_digest(path) for path in precious.rglob("*") if path.is_file()}

    def work(_: Location) -> StageResult[Any]:
        raise AssertionError("the work must not begin")

    with pytest.raises(UsageError, match=f"{name} is a link to a folder elsewhere; put a folder in its place"):
        OutputFolder(out, overwrite=overwrite).run(
            "labels", parameters={}, inputs={}, work=work, into="labels", folders=("", "train", "val")
        )
    assert {path: file_digest(path) for path in precious.rglob("*") if path.is_file()} == before


def test_what_a_stage_wrote_through_a_link_is_not_recorded(tmp_path: Path) -> None:
    make_links(tmp_path / "out")
    write_bytes(tmp_path / "out" / MANIFEST_NAME, Manifest().to_json())
    with pytest.raises(UsageError, match="absolute is a link to a folder elsewhere"):
        OutputFolder(tmp_path / "out").run(
            "mine",
            parameters={},
            inputs={},
            work=lambda folder: StageResult((write_bytes(folder / "absolute" / "new.txt", b"new"),)),
        )
    assert read_manifest(tmp_path / "out") == Manifest()


def test_an_unfinished_folder_that_is_a_link_is_removed_as_a_link(tmp_path: Path) -> None:
    victim = make_links(tmp_path / "out")
    write_bytes(tmp_path / "out" / MANIFEST_NAME, Manifest().to_json())
    unfinished = tmp_path / "out" / f"{PARTIAL_PREFIX}next-00000"
    unfinished.symlink_to(victim.parent)
    OutputFolder(tmp_path / "out").run(
        "mine", parameters={}, inputs={}, work=lambda folder: StageResult((write_bytes(folder / "a", b"a"),))
    )
    assert not unfinished.is_symlink()
    assert victim.read_bytes() == VICTIM


def test_removing_a_folder_spares_what_it_links_to(tmp_path: Path) -> None:
    victim = make_links(tmp_path / "out")
    remove_folder(tmp_path / "out" / "absolute")
    assert not (tmp_path / "out" / "absolute").is_symlink()
    remove_folder(tmp_path / "out")
    remove_folder(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert victim.read_bytes() == VICTIM


@pytest.mark.parametrize("name", LEADING_OUT)
def test_a_journal_that_names_files_elsewhere_tells_of_no_finished_job(tmp_path: Path, name: str) -> None:
    make_links(tmp_path / "out")
    journal = Journal.of(tmp_path / "out", {}, {})
    receipt = write_bytes(tmp_path / "out" / "mine.txt", VICTIM)
    journal.record("0", Finished((receipt,), {}))
    assert journal.finished("0") == Finished((receipt,), {})
    entry = tmp_path / "out" / f"{PARTIAL_PREFIX}done-0"
    content = json.loads(entry.read_bytes())
    content["files"] = {name: content["files"]["mine.txt"]}
    entry.write_text(json.dumps(content))
    assert journal.finished("0") is None
    assert journal.standing() == set()


@pytest.mark.parametrize("content", ['{"files": ["a"]}', '{"files": {"a": []}}', "[]", "3", '{"files": {"a": null}}'])
def test_a_journal_of_another_form_tells_of_no_finished_job(tmp_path: Path, content: str) -> None:
    (tmp_path / f"{PARTIAL_PREFIX}done-0").write_text(content)
    assert Journal.of(tmp_path, {}, {}).finished("0") is None


def images_folder(folder: Path, shard: str) -> str:
    """Write a folder of images whose one row names this shard; return the name of its part."""
    with part_writer(folder, 0, {}) as writer:
        writer.save("a", VICTIM, Inspection(Status.SAVED, "", 1, 1, ".jpg"))
    table = read_table(folder / "part-00000.parquet", IMAGES)
    column = table.schema.get_field_index("shard")
    write_table(
        folder / "part-00000.parquet", table.set_column(column, table.schema.field(column), [[shard]]), IMAGES, {}
    )
    return "part-00000.parquet"


@pytest.mark.parametrize("name", LEADING_OUT)
def test_no_row_of_a_table_of_images_reads_a_file_elsewhere(tmp_path: Path, name: str) -> None:
    make_links(tmp_path / "out")
    with pytest.raises(DataError, match="is not a shard inside it"):
        ShardReader(tmp_path / "out").read(name, 0, 4)
    images_folder(tmp_path / "out", name)
    with pytest.raises(DataError, match="not a shard in the folder; do not trust this table"):
        rows_of(tmp_path / "out", 0)


def test_rows_of_a_folders_own_shard_are_read(tmp_path: Path) -> None:
    images_folder(tmp_path, "shard-00000.tar")
    ((image_id, outcome),) = rows_of(tmp_path, 0)
    assert (image_id, outcome.path) == ("a", tmp_path / "shard-00000.tar")


@pytest.mark.parametrize("name", [name for name in LEADING_OUT if name.startswith(("up", "absolute", "deep/er"))])
def test_nothing_is_fetched_through_a_link(tmp_path: Path, name: str) -> None:
    victim = make_links(tmp_path / "out")
    file = PublishedFile(name=name, what="a file", url="", page="https://example.org")
    collection = Collection(name="a", title="a", licence="", page="", default=(name,), files=(file,))
    with pytest.raises(UsageError, match="is a link to elsewhere"):
        fetch_collection(collection, tmp_path / "out")
    assert victim.read_bytes() == VICTIM


def test_links_do_not_stop_a_copy_whose_files_are_links(tmp_path: Path) -> None:
    """Stores of published files keep the bytes elsewhere and link each file of a snapshot to them."""

    def work(folder: Location) -> StageResult[Any]:
        return StageResult(tuple(write_bytes(folder / name, name.encode()) for name in ("a", "b")))

    OutputFolder(tmp_path / "out").run("mine", parameters={}, inputs={}, work=work)
    (tmp_path / "blobs").mkdir()
    for name in ("a", "b"):
        shutil.move(tmp_path / "out" / name, tmp_path / "blobs" / name)
        (tmp_path / "out" / name).symlink_to(tmp_path / "blobs" / name)
    assert verify_folder(tmp_path / "out") == []
    (receipt, _) = OutputFolder(tmp_path / "out").standing("mine")
    assert receipt == Receipt(tmp_path / "out" / "a", -1, 1, file_digest(tmp_path / "blobs" / "a"), "")


def test_the_message_says_what_where_and_what_to_do(tmp_path: Path) -> None:
    make_links(tmp_path / "out")
    (tmp_path / "out" / MANIFEST_NAME).write_bytes(manifest_naming("up/victim.txt"))
    with pytest.raises(MLImagesError) as error:
        read_manifest(tmp_path / "out")
    assert str(error.value) == (
        f"{tmp_path / 'out' / MANIFEST_NAME}: it names 'up/victim.txt', which is not a file inside the folder; do not "
        "trust it; if you made a link to a folder there, replace the link by the folder"
    )
