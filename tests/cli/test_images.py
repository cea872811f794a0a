"""The commands on pictures, from archives to verified subsets, as users call them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from mlimages_dataset import samples
from tests.images.folders import picture
from tests.images.test_archives import tar_of
from tests.images.test_verification import label_part

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Command

COMMANDS = ("ingest", "subset", "duplicates", "verify")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Return an archive of archives with seven pictures and a text."""
    inner = {f"n01440764_{k}.JPEG": picture(k, 60 + k, 50) for k in range(7)} | {"notes.txt": b"a text"}
    (tmp_path / "train.tar").write_bytes(tar_of({"n01440764.tar": tar_of(inner)}))
    return tmp_path / "train.tar"


def test_the_group_lists_its_commands_and_each_shows_an_example(command: Command) -> None:
    listed = command("images", "--help").out.partition("Commands:")[2]
    for name in COMMANDS:
        assert f"\n  {name} " in listed
        ran = command("images", name, "--help")
        assert (ran.code, ran.err) == (0, "")
        assert f"\n    mlimages-build images {name} " in ran.out


def test_from_an_archive_to_a_verified_subset(command: Command, archive: Path, tmp_path: Path) -> None:
    images, small = tmp_path / "images", tmp_path / "small"
    ran = command("images", "ingest", archive, "--out", images, "--workers", "1")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("           7  saved\n           1  not an image\n")
    assert "up to date" in command("images", "ingest", archive, "--out", images, "--workers", "1").out
    assert (images / "labels.csv").read_text().splitlines()[1] == "n01440764_0,n01440764,1"
    assert command("images", "verify", images, "--workers", "1").out == f"{images}: 7 pictures, all fine\n"
    ran = command("images", "subset", "--images", images, "--max-images", "3", "--shards", "--out", small)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("           3  of 7 images\n")
    assert command("images", "verify", small / "images", "--workers", "1").out.endswith("3 pictures, all fine\n")
    ran = command("images", "duplicates", images, "--out", tmp_path / "copies", "--workers", "1")
    assert (ran.code, ran.err) == (0, "")
    assert "7  pictures\n" in ran.out


def test_the_same_archive_as_smaller_pictures(command: Command, archive: Path, tmp_path: Path) -> None:
    out = tmp_path / "images"
    ran = command("images", "ingest", archive, "--short-edge", "20", "--out", out, "--workers", "1", "--json")
    assert json.loads(ran.out)["summary"]["statuses"] == {"saved": 7, "not_an_image": 1}
    ran = command("images", "ingest", archive, "--out", out, "--workers", "1")
    assert ran.code == 2
    assert "the folder holds another build: in stage ingest, shrinking was" in ran.err


def test_verify_ends_with_1_where_anything_is_wrong(command: Command, archive: Path, tmp_path: Path) -> None:
    images = tmp_path / "images"
    command("images", "ingest", archive, "--out", images, "--workers", "1")
    label_part(tmp_path / "labels" / "part-00000.parquet", {"n01440764_0": {0: 1.0}, "absent": {0: 1.0}})
    ran = command("images", "verify", images, "--labels", tmp_path / "labels", "--workers", "1", "--json")
    assert ran.code == 1
    found = json.loads(ran.out)
    assert (found["images"], found["labelled_images_missing"], found["missing_by_class"]) == (7, 1, {"0": [1, 2]})
    shard = images / "shard-00000.tar"
    content = bytearray(shard.read_bytes())
    content[2000] ^= 1
    shard.write_bytes(content)
    ran = command("images", "verify", images, "--workers", "1")
    assert ran.code == 1
    assert "shard-00000.tar: its bytes changed" in ran.out
    assert "have another digest" in ran.out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["ingest", "absent", "--out", "x"], "there is no such file or folder; check the path"),
        (
            ["ingest", "--quality", "80", "absent", "--out", "x"],
            "--quality goes with --short-edge or --upright",
        ),
        (["ingest", "--short-edge", "0", "absent", "--out", "x"], "Invalid value for '--short-edge'"),
        (["subset", "--images", "absent", "--out", "x"], "no rule is given; pass --max-images"),
        (["subset", "--max-images", "3", "--out", "x"], "there is nothing to choose from; pass --labels"),
        (["subset", "--balanced", "--labels", "y", "--out", "x"], "--balanced needs a budget; pass --max-images"),
        (["duplicates", "absent", "--merge", "--out", "x"], "there are no labels to merge; pass --labels"),
        (["duplicates", "absent", "--out", "x"], "there is no such folder; name a folder of images or of shards"),
        (["verify", "absent"], "there is no manifest.json in it"),
        (["verfy", "absent"], "No such command 'verfy'"),
    ],
)
def test_wrong_use_is_told_and_ends_with_2(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = command("images", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert told in ran.err
    assert not list(tmp_path.glob("*/*.parquet"))


@pytest.mark.slow
def test_the_number_of_workers_changes_nothing(archive: Path, tmp_path: Path, run_script: Command) -> None:
    ran = run_script("images", "ingest", archive, "--shard-images", "2", "--out", tmp_path / "two", "--workers", "2")
    assert ran.code == 0, ran.err
    one = tmp_path / "one"
    run_script("images", "ingest", archive, "--shard-images", "2", "--out", one, "--workers", "1")
    manifests = [json.loads((folder / "manifest.json").read_text())["files"] for folder in (tmp_path / "two", one)]
    assert manifests[0] == manifests[1]


@pytest.mark.slow
def test_an_ingest_that_saves_nothing_ends_with_1_and_says_why(tmp_path: Path, command: Command) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / "in" / name).write_bytes(b"no picture")
    ran = command("images", "ingest", tmp_path / "in", "--out", tmp_path / "out")
    assert ran.code == 1
    assert "warning: nothing was saved: 2 of 2 rows are not an image" in ran.err
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / "in" / name).write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    ran = command("images", "ingest", tmp_path / "in", "--upright", "--out", tmp_path / "out", "--overwrite")
    assert (ran.code, "2 of 2 rows are unsupported" in ran.err) == (1, True)
    assert command("images", "ingest", samples.photographs(), "--out", tmp_path / "other").code == 0


@pytest.mark.parametrize("file", ["shard-00000.tar", "part-00000.parquet", "labels.csv"])
def test_a_folder_where_a_file_should_be_is_named_with_what_to_do(
    command: Command, archive: Path, tmp_path: Path, file: str
) -> None:
    images = tmp_path / "images"
    command("images", "ingest", archive, "--out", images, "--workers", "1")
    (images / file).unlink()
    (images / file).mkdir()
    ran = command("images", "ingest", archive, "--out", images, "--workers", "1")
    told = f"Error: {images / file}: is a folder where a file should be; remove or rename it, or name another place\n"
    assert ran.err == told
    (images / file).rmdir()
    assert command("images", "ingest", archive, "--out", images, "--workers", "1").code == 0
    assert command("images", "verify", images, "--workers", "1").out.endswith("7 pictures, all fine\n")
