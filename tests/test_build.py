"""Builds as Python calls them: stages in order, each told once, each redone only for a reason."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from mlimages_dataset import build
from mlimages_dataset.augment.observations import Format
from mlimages_dataset.augment.simulation import Simulation
from mlimages_dataset.errors import UsageError
from mlimages_dataset.manifest import OutputFolder, StageOutcome, StageResult, read_manifest
from mlimages_dataset.recipe import SIMULATED_SOURCES, CooccurrenceSource, LabelOptions, Recipe, read_recipe
from mlimages_dataset.schemas import ANNOTATIONS, CATEGORIES, LABELS, MAPPING, PREDICTIONS
from mlimages_dataset.storage import read_table, table_inputs, table_parts, write_table
from tests.golden.inputs_and_tables import write_inputs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlimages_dataset.locations import Location


@pytest.fixture(name="golden", scope="module")
def _golden(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """Return the golden recipe: a vocabulary, three collections, co-occurrence, labels."""
    return read_recipe(write_inputs(tmp_path_factory.mktemp("golden") / "inputs"))


@pytest.fixture(name="simulated", scope="module")
def _simulated(golden: Recipe) -> Recipe:
    """Return a recipe that simulates everything but the class lists."""
    return Recipe(
        vocabulary=golden.vocabulary,
        annotations=(),
        simulation=Simulation(imagenet_images=40, open_images=30, seed=1),
        cooccurrence=CooccurrenceSource(annotations=SIMULATED_SOURCES[0]),
        labels=LabelOptions(validation_images=5),
    )


def run(recipe: Recipe, folder: Path, *, overwrite: bool = False) -> dict[str, bool]:
    """Return whether each stage was done now, in the order in which they ended."""
    ended: dict[str, bool] = {}

    def note(stage: str, outcome: StageOutcome) -> None:
        assert stage not in ended
        ended[stage] = outcome.fresh

    build.run(recipe, folder, overwrite=overwrite, ended=note)
    return ended


STAGES = (
    "vocabulary",
    "simulation",
    *(f"annotations/{name}" for name in SIMULATED_SOURCES),
    "cooccurrence",
    "labels",
    "report",
)


def test_stages_end_in_order_and_stand_the_second_time(simulated: Recipe, tmp_path: Path) -> None:
    assert list(run(simulated, tmp_path / "out").items()) == [(stage, True) for stage in STAGES]
    assert list(run(simulated, tmp_path / "out").items()) == [(stage, False) for stage in STAGES]
    assert tuple(read_manifest(tmp_path / "out").stages) == STAGES
    assert build.verify(tmp_path / "out") == []


def test_a_change_redoes_what_follows_from_it_and_no_more(simulated: Recipe, tmp_path: Path) -> None:
    run(simulated, tmp_path)
    salted = replace(simulated, labels=replace(simulated.labels, salt="pepper"))
    redone = run(salted, tmp_path, overwrite=True)
    assert [stage for stage, fresh in redone.items() if fresh] == ["labels", "report"]
    other = replace(salted, simulation=Simulation(imagenet_images=40, open_images=30, seed=2))
    redone = run(other, tmp_path, overwrite=True)
    assert [stage for stage, fresh in redone.items() if not fresh] == ["vocabulary"]
    assert build.verify(tmp_path) == []


def test_simulated_rows_say_that_they_are_simulated(simulated: Recipe, tmp_path: Path) -> None:
    run(simulated, tmp_path)
    for schema in (ANNOTATIONS, LABELS):
        parts = table_parts(tmp_path / schema.name)
        sources = {source for part in parts for source in read_table(part, schema)["source"].to_pylist()}
        assert sources == set(SIMULATED_SOURCES)
    (predictions,) = table_parts(tmp_path / "simulation" / "predictions")
    table = read_table(predictions, PREDICTIONS)
    assert set(table["source"].to_pylist()) == {"simulated"}
    assert table["image_id"].to_pylist() == sorted(table["image_id"].to_pylist())


def test_every_table_carries_the_digests_of_what_it_was_made_from(golden: Recipe, tmp_path: Path) -> None:
    run(golden, tmp_path)
    manifest = read_manifest(tmp_path)

    def sha256(path: str) -> str:
        return manifest.files[path].sha256

    vocabulary: Mapping[str, str] = {
        name: sha256(f"vocabulary/{name}") for name in ("categories.parquet", "mapping.parquet")
    }
    own = table_inputs(tmp_path / "annotations/own/part-00000.parquet")
    assert own.keys() == {*vocabulary, "own.csv"}
    assert own.items() >= vocabulary.items()
    labels = table_inputs(tmp_path / "labels/train/part-00000.parquet")
    assert labels.items() >= vocabulary.items()
    assert labels["implications.parquet"] == sha256("cooccurrence/implications.parquet")
    assert {sha for name, sha in labels.items() if name.startswith("annotations ")} == {
        sha256(f"annotations/{name}/part-00000.parquet") for name in ("imagenet", "open-images", "own")
    }


def test_a_missing_file_is_told_before_anything_is_done(golden: Recipe, tmp_path: Path) -> None:
    source = replace(golden.annotations[0], files=(tmp_path / "absent.txt",))
    with pytest.raises(UsageError, match=f"{tmp_path / 'absent.txt'}: there is no such file; check the path"):
        run(replace(golden, annotations=(source,), cooccurrence=None), tmp_path / "out")
    assert list(read_manifest(tmp_path / "out").stages) == ["vocabulary"], "what is finished stays"


def test_a_folder_of_images_is_an_input_by_its_listing(golden: Recipe, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    (photos / "n02084071").mkdir(parents=True)
    (photos / "n02084071/n02084071_1.JPEG").write_bytes(b"one")
    source = replace(golden.annotations[0], name="photos", format=Format.IMAGENET, files=(photos,))
    recipe = replace(golden, annotations=(source,), cooccurrence=None, labels=LabelOptions())
    run(recipe, tmp_path / "out")
    assert not any(run(recipe, tmp_path / "out").values())
    (photos / "n02084071/n02084071_2.JPEG").write_bytes(b"two")
    with pytest.raises(UsageError, match="in stage annotations/photos, input photos changed"):
        run(recipe, tmp_path / "out")
    assert run(recipe, tmp_path / "out", overwrite=True)["labels"]
    (labels,) = read_manifest(tmp_path / "out").stages["labels"].outputs
    assert read_manifest(tmp_path / "out").files[labels].rows == 2


def test_a_report_needs_the_stages_it_is_about(golden: Recipe, tmp_path: Path) -> None:
    output = OutputFolder(tmp_path)
    with pytest.raises(UsageError, match=f"{tmp_path}: has no stage vocabulary; finish mlimages-build run first"):
        build.build_report(output)
    build.build_vocabulary(output, golden.vocabulary, into="vocabulary")
    with pytest.raises(UsageError, match="has no stage labels"):
        build.build_report(output)


def test_verify_checks_the_vocabulary_itself(golden: Recipe, tmp_path: Path) -> None:
    build.build_vocabulary(OutputFolder(tmp_path / "right"), golden.vocabulary)
    assert build.verify(tmp_path / "right") == []
    categories = read_table(tmp_path / "right/categories.parquet", CATEGORIES)
    mapping = read_table(tmp_path / "right/mapping.parquet", MAPPING)
    at = categories.column_names.index("depth")
    deeper = pa.array([depth + 1 for depth in categories["depth"].to_pylist()], pa.int32())
    wrong = categories.set_column(at, CATEGORIES.arrow.field("depth"), deeper)

    def work(folder: Location) -> StageResult:
        return StageResult(
            (
                write_table(folder / "categories.parquet", wrong, CATEGORIES, {}),
                write_table(folder / "mapping.parquet", mapping, MAPPING, {}),
            )
        )

    OutputFolder(tmp_path / "wrong").run("vocabulary", parameters={}, inputs={}, work=work)
    problems = build.verify(tmp_path / "wrong")
    assert len(problems) == len(categories), "a manifest that agrees with the files says nothing about what they hold"
    assert all(problem.startswith("categories.parquet: ") for problem in problems)
