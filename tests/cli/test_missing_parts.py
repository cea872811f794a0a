"""No command takes a table for the whole one if a part of it is missing, or its stage has not ended."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

import mlimages_dataset as ml
from mlimages_dataset.core.errors import DataError
from mlimages_dataset.pipeline.folder import OutputFolder
from mlimages_dataset.pipeline.records import StageResult
from mlimages_dataset.tables.files import write_bytes
from mlimages_dataset.tables.parquet import read_table, table_inputs, table_parts, write_table
from mlimages_dataset.tables.parts import BEGUN_PREFIX, begun_mark
from mlimages_dataset.tables.schemas import ANNOTATIONS, LABELS, PREDICTIONS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mlimages_dataset.core.locations import Location
    from mlimages_dataset.tables.schemas import TableSchema
    from tests.cli.conftest import Command

DOG, CAT, LEASH = "n02084071", "n02121808", "n03652932"
LINES = [f"i{n:02d},{wnid},1\n" for n in range(20) for wnid in {(DOG, CAT, LEASH)[n % 3], LEASH}]
ROWS = "image_id,label,confidence\n" + "".join(LINES)
TABLES = {"annotations": "annotations/own", "predictions": "predictions", "labels": "labels", "train": "labels/train"}


def in_two_parts(out: Path, stage: str, into: str, given: Location, schema: TableSchema) -> None:
    """Write a table as a stage does whose images fill two parts."""
    part = given if given.is_file() else table_parts(given)[0]
    rows, inputs = read_table(part, schema), table_inputs(part)

    def work(folder: Location) -> StageResult[dict[str, int]]:
        halves = (rows.slice(0, len(rows) // 2), rows.slice(len(rows) // 2))
        written = [write_table(folder / f"part-{n:05d}.parquet", half, schema, inputs) for n, half in enumerate(halves)]
        return StageResult(tuple(written), {})

    OutputFolder(out).run(stage, parameters={}, inputs={}, work=work, into=into)


@pytest.fixture(name="whole", scope="module")
def _whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a build, whose tables have two parts."""
    made, out = tmp_path_factory.mktemp("made"), tmp_path_factory.mktemp("built") / "out"
    (made / "own.csv").write_text(ROWS)
    known = ml.build_vocabulary(imagenet=[DOG, CAT, LEASH], out=made / "vocabulary")
    annotations = ml.annotate(made / "own.csv", known, source="own", complete=True)
    predictions = ml.annotate(made / "own.csv", known, source="own", predictions=True)
    labels = ml.augment(annotations, known)
    in_two_parts(out, "annotations/own", TABLES["annotations"], annotations.folder, ANNOTATIONS)
    in_two_parts(out, "predictions", TABLES["predictions"], predictions.folder, PREDICTIONS)
    in_two_parts(out, "labels", TABLES["train"], labels.folder / "train", LABELS)
    shutil.copytree(made / "vocabulary", out / "vocabulary")
    return out


COMMANDS = {
    "labels": ("labels --vocab {vocab} --annotations {annotations} --out {out}", "annotations"),
    "export": ("export --format csv {labels} --vocab {vocab} --out {out}", "labels"),
    "images subset": ("images subset --labels {train} --max-images 3 --out {out}", "train"),
    "cooccurrence": (
        "cooccurrence --vocab {vocab} --annotations {annotations} --predictions {predictions} --out {out}",
        "annotations",
    ),
    "cooccurrence, predictions": (
        "cooccurrence --vocab {vocab} --annotations {annotations} --predictions {predictions} --out {out}",
        "predictions",
    ),
    "evaluate-labels": ("evaluate-labels --vocab {vocab} --truth {annotations}", "annotations"),
    "show": ("show {build} i00", "labels"),
}


def filled(template: str, build: Path, out: Path) -> list[str]:
    places = {name: build / path for name, path in TABLES.items()}
    return [word.format(vocab=build / "vocabulary", build=build, out=out, **places) for word in template.split()]


def spoilt(build: Path, table: str, how: str) -> str:
    """Spoil a table, and return what is to be said of it."""
    folder = build / TABLES["train" if table == "labels" else table]
    inside = folder.relative_to(build).as_posix()
    if how == "missing":
        (folder / "part-00001.parquet").unlink()
        return f"lacks {'train/' * (table == 'labels')}part-00001.parquet, which its manifest lists (10 rows)"
    if how == "added":
        shutil.copy(folder / "part-00001.parquet", folder / "part-00007.parquet")
        return f"has {'train/' * (table == 'labels')}part-00007.parquet, which its manifest does not list"
    write_bytes(build / f"{BEGUN_PREFIX}stage", begun_mark([inside]))
    return "is not finished; run the same command again"


@pytest.mark.parametrize("how", ["missing", "added", "unfinished"])
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_says_that_a_table_is_not_whole(
    name: str, how: str, whole: Path, command: Command, tmp_path: Path
) -> None:
    template, table = COMMANDS[name]
    build = tmp_path / "build"
    shutil.copytree(whole, build)
    told = spoilt(build, table, how)
    ran = command(*filled(template, build, tmp_path / "out"))
    assert ran.code == 1
    assert told in ran.err.replace("\n", " ")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_reads_a_whole_table(name: str, whole: Path, command: Command, tmp_path: Path) -> None:
    ran = command(*filled(COMMANDS[name][0], whole, tmp_path / "out"))
    assert ran.code == 0, ran.err


def _loaded(build: Path) -> object:
    loaders = pytest.importorskip("mlimages_dataset.loaders", reason="torch is not installed")
    return loaders.MLImages(
        build, build / "labels", split="train", transform=loaders.eval_transform(32), n_classes=3, cache=build / "cache"
    )


READERS: dict[str, Callable[[Path], object]] = {
    "loaders": _loaded,
    "Labels.parts": lambda build: ml.Labels.read(build, build / "vocabulary").parts("train"),
    "Labels.write": lambda build: ml.Labels.read(build, build / "vocabulary").write(build / "copy"),
    "Annotations.read": lambda build: ml.Annotations.read(build / TABLES["annotations"], build / "vocabulary"),
    "Predictions.read": lambda build: ml.Predictions.read(build / "predictions", build / "vocabulary"),
}


@pytest.mark.parametrize("how", ["missing", "added", "unfinished"])
@pytest.mark.parametrize("name", READERS)
def test_a_reader_says_that_a_table_is_not_whole(name: str, how: str, whole: Path, tmp_path: Path) -> None:
    build = tmp_path / "build"
    shutil.copytree(whole, build)
    for table in ("labels", "annotations", "predictions"):
        spoilt(build, table, how)
    if how == "unfinished":
        write_bytes(build / f"{BEGUN_PREFIX}stage", begun_mark(TABLES.values()))
    with pytest.raises(DataError, match=r"manifest (lists|does not list)|is not finished"):
        READERS[name](build)


def test_a_split_that_is_gone_altogether_is_missed(whole: Path, tmp_path: Path) -> None:
    build = tmp_path / "build"
    shutil.copytree(whole, build)
    in_two_parts(build, "validation", "labels/val", build / "labels" / "train" / "part-00000.parquet", LABELS)
    shutil.rmtree(build / "labels" / "train")
    with pytest.raises(DataError, match=r"lacks train/part-00000\.parquet"):
        ml.Labels.read(build, build / "vocabulary").parts()
