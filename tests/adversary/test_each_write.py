"""Whichever write of a command fails for want of space: one sentence, `verify` tells the cut, and a rerun finishes.

Each command's writes are counted once; then it is run in a new folder for each of them, and that write and all later
ones fail. With the mark `slow`, every write; else the first, the last and one between.
"""

from __future__ import annotations

import errno
import shutil
from typing import TYPE_CHECKING

import pytest

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.pipeline.records import read_manifest
from mlimages_dataset.pipeline.verify import verify_folder
from mlimages_dataset.tables import files
from mlimages_dataset.tables.parts import MANIFEST_NAME
from tests.cli.conftest import (  # noqa: F401 - fixtures
    command,
    golden_build,
    golden_inputs,
    main_command,
    run_script,
    script,
)
from tests.images.folders import picture
from tests.train.detection.shapes import row, write_regions

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Command

PLACES = ("--vocab", "{build}/vocabulary")
COMMANDS: dict[str, tuple[str, ...]] = {
    "run": ("run", "{inputs}/recipe.toml", "--workers", "1"),
    "vocab": ("vocab", "--imagenet", "{inputs}/synsets.txt"),
    "annotate": ("annotate", *PLACES, "--format", "csv", "{inputs}/own.csv"),
    "cooccurrence": (
        *("cooccurrence", *PLACES, "--annotations", "{build}/annotations/imagenet", "--workers", "1"),
        *("--predictions", "{inputs}/predictions"),
    ),
    "labels": ("labels", *PLACES, "--annotations", "{build}/annotations/imagenet", "--workers", "1"),
    "regions": ("regions", *PLACES, "--format", "open-images", "{given}/boxes.csv"),
    "region-sample": ("region-sample", "{given}/regions", "--draw", "train=2", "--draw", "val=1"),
    "fuse-detections": ("fuse-detections", "{given}/regions", "{given}/regions"),
    "export": ("export", "--format", "csv", "--vocab", "{build}/vocabulary", "{build}/labels"),
    "ingest": ("images", "ingest", "{given}/pictures", "--workers", "1"),
    "subset": ("images", "subset", "--images", "{given}/images", "--max-images", "3", "--shards"),
    "duplicates": ("images", "duplicates", "{given}/images", "--workers", "1"),
}


@pytest.fixture(name="given", scope="module")
def _given(tmp_path_factory: pytest.TempPathFactory, command: Command) -> Path:  # noqa: F811 - the fixture
    """Return a folder of boxes, of pictures, and of the same pictures in shards."""
    folder = tmp_path_factory.mktemp("given")
    (folder / "pictures").mkdir()
    for number in range(7):
        (folder / "pictures" / f"{number}.jpg").write_bytes(picture(number, 40, 30))
    header = (
        "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside"
    )
    (folder / "boxes.csv").write_text(f"{header}\na,xclick,/m/0bt9lr,1,0.1,0.5,0.1,0.5,0,0,0,0,0\n")
    write_regions(folder / "regions", [row(image, 0, (1, 1, 9, 9), (40, 30)) for image in "abc"])
    ran = command("images", "ingest", folder / "pictures", "--out", folder / "images", "--workers", "1")
    assert ran.code == 0, ran.err
    return folder


class Disk:
    """Counts the files below a folder that get their names, and has room for so many."""

    def __init__(self, folder: Path, room: int) -> None:
        self.folder = folder
        self.room = room
        self.named = 0
        self._give_name = files.give_name

    def give_name(self, partial: Path, path: Path) -> None:
        """Give a file its name, or fail as a full disk does."""
        if self.folder not in path.parents:
            self._give_name(partial, path)
            return
        if self.named >= self.room:
            error = OSError(errno.ENOSPC, "No space left on device")
            raise UsageError("cannot be written (No space left on device)", where=path, remedy="make room") from error
        self._give_name(partial, path)
        self.named += 1


def _digests(folder: Path) -> dict[str, str]:
    return {path: record.sha256 for path, record in read_manifest(folder).files.items()}


def check_every_write(call: Command, arguments: list[str], folder: Path, *, each: bool) -> None:
    """Check that a command whose k-th write fails says so, `verify` does, and the next run finishes."""
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(folder, 1 << 30)
        patch.setattr(files, "give_name", disk.give_name)
        ran = call(*arguments, "--out", folder / "whole")
    assert ran.code == 0, ran.err
    assert verify_folder(folder / "whole") == []
    assert disk.named > 1, "the disk is asked"
    rooms = range(disk.named) if each else sorted({0, 1, disk.named // 2, disk.named - 2, disk.named - 1})
    for room in rooms:
        out = folder / "cut"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(files, "give_name", Disk(folder, room).give_name)
            ran = call(*arguments, "--out", out)
        assert ran.code in {1, 2}, f"{room} of {disk.named}"
        assert "No space left on device" in ran.err
        if (out / MANIFEST_NAME).exists():
            assert verify_folder(out), f"all fine where write {room} of {disk.named} failed"
        ran = call(*arguments, "--out", out)
        assert ran.code == 0, ran.err
        assert verify_folder(out) == []
        assert sorted(_digests(out)) == sorted(_digests(folder / "whole"))
        shutil.rmtree(out)


def _filled(name: str, places: dict[str, Path]) -> list[str]:
    return [word.format(**places) for word in COMMANDS[name]]


@pytest.mark.parametrize("name", ["ingest", "subset"])
def test_a_full_disk_is_told_by_the_command_and_by_verify(
    name: str,
    command: Command,  # noqa: F811 - the fixture
    given: Path,
    tmp_path: Path,
) -> None:
    check_every_write(command, _filled(name, {"given": given}), tmp_path, each=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_write_that_fails_is_told_by_the_command_and_by_verify(  # noqa: PLR0917 - fixtures
    name: str,
    command: Command,  # noqa: F811 - the fixture
    golden_build: Path,  # noqa: F811
    golden_inputs: Path,  # noqa: F811
    given: Path,
    tmp_path: Path,
) -> None:
    places = {"build": golden_build, "inputs": golden_inputs, "given": given}
    check_every_write(command, _filled(name, places), tmp_path, each=True)
