"""Tables and checkpoints that a stranger hands over are read or refused with one sentence.

A few seconds a kind; `MLIMAGES_FUZZED_FILES=10000` makes so many of each.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

import mlimages_dataset as ml
from mlimages_dataset.core.errors import MLImagesError
from mlimages_dataset.exports.export import export
from mlimages_dataset.images.duplicates_stage import duplicates_stage
from mlimages_dataset.images.subset import Rules
from mlimages_dataset.images.subset_stage import choose_subset
from mlimages_dataset.images.verification import verify_images
from mlimages_dataset.loaders import MLImages, train_transform
from mlimages_dataset.pipeline.folder import OutputFolder
from mlimages_dataset.pipeline.stage import Engine, Workplace, run
from mlimages_dataset.pipeline.verify import verify_folder
from mlimages_dataset.tables.batches import label_batches, region_batches
from mlimages_dataset.tables.parquet import read_range, table_inputs
from mlimages_dataset.tables.parts import MANIFEST_NAME
from mlimages_dataset.tables.schemas import REGIONS
from mlimages_dataset.train.checkpoint import Checkpoint, RunProgress, read_checkpoint, save_checkpoint
from mlimages_dataset.train.models import create_model
from mlimages_dataset.train.tasks.registry import task_of_checkpoint
from mlimages_dataset.vocab.folder import read_vocabulary
from tests.adversary.hostile import FILES, VALUES, changed, check_told
from tests.images.folders import image_folder, picture
from tests.sources.test_fuzz import damaged

if TYPE_CHECKING:
    from collections.abc import Callable

_TYPES = (pa.string(), pa.binary(), pa.int8(), pa.uint64(), pa.float64(), pa.float16(), pa.bool_(), pa.null())


def hostile_table(table: pa.Table, generator: np.random.Generator) -> pa.Table:  # noqa: PLR0911 - a return a kind
    """Return a table with a column less, more, of another type, with nulls, or with other metadata or numbers."""
    at = int(generator.integers(table.num_columns))
    name, column = table.column_names[at], table.column(at)
    metadata = dict(table.schema.metadata or {})
    match int(generator.integers(8)):
        case 0:
            return table.drop_columns([name])
        case 1:
            return table.append_column(name, column)
        case 2:
            return table.append_column("more", pa.nulls(table.num_rows, _TYPES[generator.integers(len(_TYPES))]))
        case 3:
            return table.set_column(at, name, pa.nulls(table.num_rows, _TYPES[generator.integers(len(_TYPES))]))
        case 4:
            return table.set_column(at, name, pa.nulls(table.num_rows, column.type))
        case 5:
            keys = [*metadata, b"more"]
            value = str(VALUES[generator.integers(len(VALUES))]).encode(errors="replace")
            return table.replace_schema_metadata({**metadata, keys[generator.integers(len(keys))]: value})
        case 6:
            return table.slice(0, int(generator.integers(2)))
        case _:
            return _with_value(table, at, generator)


def _with_value(table: pa.Table, at: int, generator: np.random.Generator) -> pa.Table:
    """Return a table with a hostile value in a cell, where its column can hold it."""
    field, rows = table.schema.field(at), table.column(at).to_pylist()
    if rows:
        rows[generator.integers(len(rows))] = changed([rows[0]], generator)
    for one in (rows, [VALUES[generator.integers(len(VALUES))]] * len(rows)):
        try:
            return table.set_column(at, field, pa.chunked_array([pa.array(one, field.type)]))
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            continue
    return table


@dataclass(frozen=True, slots=True)
class TableKind:
    """A table that the package reads: its file in the build of `_build`, and what reads it."""

    file: str
    read: Callable[[Path], object]


def _read_labels(folder: Path) -> None:
    labels = ml.Labels.read(folder / "labels", folder / "vocabulary")
    labels.to_pandas()
    labels.why("rex")
    for what in ("rex", "dog"):
        ml.show(folder, what).lines()
    for part in sorted((folder / "labels").rglob("part-*.parquet")):
        table_inputs(part)
        list(label_batches(part, 99))
    verify_folder(folder / "labels")


def _read_vocabulary(folder: Path) -> None:
    vocabulary = ml.read_vocabulary(folder / "vocabulary")
    assert all(0 <= parent < len(vocabulary) for one in vocabulary.categories for parent in one.parents)
    vocabulary.to_pandas()
    vocabulary.to_pandas("mapping")


def _read_pictures(folder: Path) -> None:
    data = MLImages(
        folder / "images",
        folder / "labels" / "train",
        n_classes=99,
        split=None,
        cache=folder / "cache",
        transform=train_transform(32),
    )
    len(data)


_REGIONS = "regions/part-00000.parquet"
_IMAGES = "shards/part-00000.parquet"


def _read_regions(folder: Path) -> None:
    list(region_batches(folder / _REGIONS, 99))
    read_range([folder / _REGIONS] * 2, REGIONS, "image_id", "a", "z")
    with tempfile.TemporaryDirectory() as out:
        at = Workplace(Path(out), engine=Engine())
        export(read_vocabulary(folder / "vocabulary"), folder / "regions", "coco", at, images=folder / "shards")


def _read_shards(folder: Path) -> None:
    """Read a folder of pictures whose index was made before its table was changed, and the table's size recorded."""
    manifest = json.loads((folder / "shards" / MANIFEST_NAME).read_text())
    manifest["files"]["part-00000.parquet"]["bytes"] = (folder / _IMAGES).stat().st_size
    (folder / "shards" / MANIFEST_NAME).write_text(json.dumps(manifest))
    for read in (_subset, _duplicates):
        with tempfile.TemporaryDirectory() as out, contextlib.suppress(MLImagesError):
            read(folder / "shards", Path(out))
    verify_images(folder / "shards")


def _subset(images: Path, out: Path) -> None:
    choose_subset(out / "subset", Rules(images=2), images=images, shards=True)


def _duplicates(images: Path, out: Path) -> None:
    run(duplicates_stage(images), OutputFolder(out / "duplicates"))


TABLES = {
    "categories": TableKind("vocabulary/categories.parquet", _read_vocabulary),
    "mapping": TableKind("vocabulary/mapping.parquet", _read_vocabulary),
    "labels": TableKind("labels/train/part-00000.parquet", _read_labels),
    "regions": TableKind(_REGIONS, _read_regions),
    "images": TableKind(_IMAGES, _read_shards),
    "labels of pictures": TableKind("labels/train/part-00000.parquet", _read_pictures),
}


@pytest.fixture(name="built", scope="module")
def _built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built") / "build"
    vocabulary = ml.build_vocabulary(imagenet=["n02084071", "n02121808"], out=folder / "vocabulary")
    said = {"image_id": ["rex", "tom", "rex"], "label": ["n02084071", "n02121808", "n02121808"]}
    ml.augment(pa.table(said), vocabulary, out=folder / "labels", validation_images=0)
    sides = {"xmin": [0.0, 0.1, 0.2], "ymin": [0.0] * 3, "xmax": [1.0] * 3, "ymax": [1.0] * 3}
    ml.regions(pa.table({**said, **sides}), vocabulary, out=folder / "regions")
    image_folder(folder / "shards", [{name: picture(seed) for seed, name in enumerate(("rex", "tom", "ben"))}])
    (folder / "images").mkdir()
    for name in ("rex", "tom"):
        (folder / "images" / f"{name}.jpg").write_bytes(b"no picture")
    return folder


@pytest.mark.parametrize("kind", sorted(TABLES))
def test_a_hostile_table_is_read_or_refused_with_a_sentence(kind: str, built: Path, tmp_path: Path) -> None:
    one = TABLES[kind]
    folder = tmp_path / "build"
    shutil.copytree(built, folder)
    path = folder / one.file
    content, table = path.read_bytes(), pq.read_table(path)
    one.read(folder)
    for number in range(FILES):
        generator = np.random.default_rng([len(kind), number])
        if number % 2:
            with contextlib.suppress(pa.ArrowInvalid):  # nulls where there can be none: pyarrow leaves no file
                pq.write_table(hostile_table(table, generator), path)
            path.touch()
        else:
            path.write_bytes(damaged(content, generator))
        check_told(lambda: one.read(folder), path, tmp_path / f"{number}-{path.name}")


N_CLASSES = 3


def _checkpoint() -> Checkpoint:
    return Checkpoint(
        progress=RunProgress(),
        model_name="resnet18",
        n_classes=N_CLASSES,
        image_size=32,
        vocabulary="v" * 64,
        science={"model.name": '"resnet18"', "loss.name": '"softmax"', "model.batch_norm_epsilon": "0.001"},
        model=dict(create_model("resnet18", N_CLASSES).state_dict()),
        average={},
        optimizer={"state": {}, "param_groups": []},
        loss={},
        scaler={},
        generators=[],
        sampler={},
    )


def _read_network(path: Path) -> None:
    checkpoint = read_checkpoint(path)
    task = task_of_checkpoint(checkpoint, where=path)
    task.network(checkpoint, path)
    task.measures(checkpoint.loss, checkpoint.n_classes, device=torch.device("cpu"), where=path)
    task.rows(checkpoint, raw=False, source="a", above=0.5, where=path)


def test_a_hostile_checkpoint_is_read_or_refused_with_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, _checkpoint())
    _read_network(path)
    content: dict[str, Any] = torch.load(path, weights_only=True)
    few = {name: value for name, value in content.items() if name != "model"}
    first = next(iter(content["model"]))
    for number in range(FILES):
        generator = np.random.default_rng(number)
        match number % 4:
            case 0:
                torch.save({**changed(few, generator), "model": content["model"]}, path)
            case 1:
                torch.save(changed({**few, "model": {first: [0]}}, generator), path)
            case 2:
                model = dict(content["model"])
                names = sorted(model)
                name = names[generator.integers(len(names))]
                others: list[Any] = [None, 1, "a", torch.zeros(1), torch.zeros(()), torch.full_like(model[name], 1)]
                model[name] = others[generator.integers(len(others))]
                torch.save({**content, "model": model}, path)
            case _:
                save_checkpoint(path, _checkpoint())
                whole = path.read_bytes()
                path.write_bytes(damaged(whole, generator))
        check_told(lambda: _read_network(path), path, tmp_path / f"{number}-checkpoint.pt")
