"""Kill a build at random moments and see that nothing unfinished ever counts.

    python -m tests.crashes --kills 100 [--seed 2019]

Every file that has its final name, at any moment, must be the file of an undisturbed build; what remains after a kill
must be finished by the next run, with the same digests and nothing left over.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlimages_dataset.pipeline.records import read_manifest
from mlimages_dataset.recipes import build
from mlimages_dataset.tables.files import PARTIAL_PREFIX, file_digest
from mlimages_dataset.tables.parts import BEGUN_PREFIX, MANIFEST_NAME

if TYPE_CHECKING:
    from collections.abc import Mapping

PART_IMAGES = 400
PIECE_BYTES = 20_000
SEVERAL_PARTS = 8
RECIPE = """
annotations = []

[vocabulary]
open_images = "packaged:open_images_boxable.csv"
imagenet = "synsets.txt"

[simulation]
imagenet_images = 3000
open_images = 3000
seed = 2019

[cooccurrence]
annotations = "imagenet-simulated"

[labels]
validation_images = 100
"""
SYNSETS = ("n02084071", "n02121808", "n02958343", "n02083346", "n01317541", "n00015388", "n00007846", "n02012849")

# Parts as small as those of nobody's data set, so that each stage has many.
PROGRAM = f"""
from mlimages_dataset.augment import cooccurrence_stage, runs
from mlimages_dataset.cli.main import main
from mlimages_dataset.sources import pieces
if __name__ == "__main__":
    runs.PART_IMAGES = cooccurrence_stage.PART_IMAGES = {PART_IMAGES}
    pieces.PIECE_BYTES = {PIECE_BYTES}
    main()
"""


@dataclass(frozen=True, slots=True)
class Count:
    """How many runs were killed, and how many came to their end in between."""

    kills: int
    ends: int


def kill_often(folder: Path, kills: int, seed: int) -> Count:
    """Kill a build's process so many times, with one worker and with two, and return the count.

    Raises:
        AssertionError: something unfinished counted, or a rerun did not finish the build.
    """
    (folder / "synsets.txt").write_text("\n".join(SYNSETS) + "\n")
    (folder / "recipe.toml").write_text(RECIPE)
    (folder / "program.py").write_text(PROGRAM)
    start = time.monotonic()
    with started(folder, "whole", workers=1) as undisturbed:
        assert undisturbed.wait() == 0, "an undisturbed build"
    seconds = time.monotonic() - start
    expected = digests(folder / "whole")
    assert sum(path.startswith("labels/train/part-") for path in expected) > SEVERAL_PARTS
    moments = random.Random(seed)  # noqa: S311 - moments, not secrets
    killed = ends = 0
    while killed < kills:
        with started(folder, "cut", workers=1 + killed % 2) as process:
            try:
                assert process.wait(moments.uniform(0.2, seconds)) == 0, "a rerun finishes the build"
            except subprocess.TimeoutExpired:
                process.kill()
                killed += 1
        check(folder / "cut", expected)
        if process.returncode == 0:
            ends += 1
            check_end(folder / "cut", expected)
            shutil.rmtree(folder / "cut")
    with started(folder, "cut", workers=2) as process:
        assert process.wait() == 0, "a rerun finishes the build"
    check_end(folder / "cut", expected)
    return Count(killed, ends)


def started(folder: Path, out: str, *, workers: int) -> subprocess.Popen[bytes]:
    """Return the process of a build."""
    command = [sys.executable, "program.py", "run", "recipe.toml", "--out", out, "--workers", str(workers)]
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)


def digests(out: Path) -> dict[str, str]:
    """Return the digests in a manifest."""
    return {path: record.sha256 for path, record in read_manifest(out).files.items()}


def check(out: Path, expected: Mapping[str, str]) -> None:
    """Check that each file with a final name is that of an undisturbed build, and the manifest speaks of no other."""
    files = [path for path in out.rglob("*") if path.is_file() and path.name != MANIFEST_NAME]
    for path in files:
        name = path.relative_to(out).as_posix()
        if PARTIAL_PREFIX not in name and not path.name.startswith(BEGUN_PREFIX):
            assert file_digest(path) == expected[name], f"{name} is not whole"
    if (out / MANIFEST_NAME).exists():
        recorded = digests(out)
        assert all(expected[name] == sha256 for name, sha256 in recorded.items())
        assert all((out / name).is_file() for name in recorded), "what is on record is there"


def check_end(out: Path, expected: Mapping[str, str]) -> None:
    """Check that a build is whole, verifies, and has nothing left over."""
    assert digests(out) == expected
    assert build.verify(out) == []
    assert not [*out.rglob(f"{PARTIAL_PREFIX}*"), *out.rglob(f"{BEGUN_PREFIX}*")], "nothing is left over"


@click.command()
@click.option("--kills", default=100, show_default=True)
@click.option("--seed", default=2019, show_default=True)
def main(kills: int, seed: int) -> None:
    """Kill a build at random moments."""
    with tempfile.TemporaryDirectory() as folder:
        count = kill_often(Path(folder), kills, seed)
    click.echo(f"{count.kills} kills, {count.ends} ends between them: every rerun finished with the same digests")


if __name__ == "__main__":
    main()
