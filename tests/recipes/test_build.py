"""Builds as Python calls them: stages in order, each told once, each redone only for a reason."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlimages_dataset.augment.annotate import AnnotatedFiles, annotations_stage
from mlimages_dataset.augment.audit import most_frequent
from mlimages_dataset.augment.label_audit import audit
from mlimages_dataset.augment.labels_stage import LabelOptions, labels_stage
from mlimages_dataset.augment.simulation import Simulation
from mlimages_dataset.augment.simulation_stage import SIMULATED_SOURCES
from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.pipeline.folder import OutputFolder
from mlimages_dataset.pipeline.records import UNFINISHED, Manifest, StageOutcome, StageResult, read_manifest
from mlimages_dataset.pipeline.stage import Engine, NoSummary, Stage, Workplace
from mlimages_dataset.pipeline.stage import run as run_stage
from mlimages_dataset.recipes import build
from mlimages_dataset.recipes.recipe import (
    CooccurrenceSource,
    Recipe,
    default_recipe,
    read_recipe,
)
from mlimages_dataset.report.page import report_stage
from mlimages_dataset.tables.files import file_digest
from mlimages_dataset.tables.parquet import read_table, table_inputs, table_parts, write_table
from mlimages_dataset.tables.schemas import ANNOTATIONS, CATEGORIES, LABELS, MAPPING, PREDICTIONS, REGIONS
from mlimages_dataset.vocab.folder import VOCABULARY, read_vocabulary
from mlimages_dataset.vocab.stage import vocabulary_stage
from tests.golden.inputs_and_tables import write_inputs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from mlimages_dataset.core.decoding import Json
    from mlimages_dataset.pipeline.engine import Mapper


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

    def note(stage: str, outcome: StageOutcome[Any]) -> None:
        assert stage not in ended
        ended[stage] = outcome.fresh

    build.build_recipe(recipe, folder, overwrite=overwrite, ended=note)
    return ended


STAGES = (
    "vocabulary",
    "simulation",
    *(f"annotations/{name}" for name in SIMULATED_SOURCES),
    "cooccurrence",
    "labels",
    "report",
)


@pytest.mark.slow
def test_stages_end_in_order_and_stand_the_second_time(simulated: Recipe, tmp_path: Path) -> None:
    assert list(run(simulated, tmp_path / "out").items()) == [(stage, True) for stage in STAGES]
    assert list(run(simulated, tmp_path / "out").items()) == [(stage, False) for stage in STAGES]
    assert tuple(read_manifest(tmp_path / "out").stages) == STAGES
    assert build.verify(tmp_path / "out") == []


@pytest.mark.slow
def test_a_change_redoes_what_follows_from_it_and_no_more(simulated: Recipe, tmp_path: Path) -> None:
    run(simulated, tmp_path)
    salted = replace(simulated, labels=replace(simulated.labels, salt="pepper"))
    redone = run(salted, tmp_path, overwrite=True)
    assert [stage for stage, fresh in redone.items() if fresh] == ["labels", "report"]
    other = replace(salted, simulation=Simulation(imagenet_images=40, open_images=30, seed=2))
    redone = run(other, tmp_path, overwrite=True)
    assert [stage for stage, fresh in redone.items() if not fresh] == ["vocabulary"]
    assert build.verify(tmp_path) == []


@pytest.mark.slow
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


@pytest.mark.slow
def test_every_table_carries_the_digests_of_what_it_was_made_from(golden: Recipe, tmp_path: Path) -> None:
    run(golden, tmp_path)
    manifest = read_manifest(tmp_path)

    def sha256(path: str) -> str:
        return manifest.files[path].sha256

    vocabulary: Mapping[str, str] = {
        name: sha256(name) for name in ("vocabulary/categories.parquet", "vocabulary/mapping.parquet")
    }
    own = table_inputs(tmp_path / "annotations/own/part-00000.parquet")
    assert own.keys() == {*vocabulary, "files/own.csv"}
    assert own.items() >= vocabulary.items()
    labels = table_inputs(tmp_path / "labels/train/part-00000.parquet")
    assert labels.items() >= vocabulary.items()
    assert labels["implications.parquet"] == sha256("cooccurrence/implications.parquet")
    assert {sha for name, sha in labels.items() if name.startswith("annotations ")} == {
        sha256(f"annotations/{name}/part-00000.parquet") for name in ("imagenet", "open-images", "own")
    }


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"files": ("absent.txt",)}, "absent.txt: there is no such file; check the path"),
        ({"files": ("absent*.txt",)}, r"absent\*.txt: no file matches this pattern; check it"),
        ({"format": "csv", "synsets": "meta.mat"}, "the format csv has no use for synsets; leave it out"),
        ({"format": "coco", "columns": ("image_id", "label")}, "the format coco has no use for columns; leave it out"),
        ({"format": "csv", "regions": True}, "files of the format csv state no boxes; use one of"),
        ({}, "predictions: there is no part"),
    ],
)
def test_what_no_stage_can_read_is_told_before_anything_is_done(
    golden: Recipe, tmp_path: Path, change: dict[str, Any], told: str
) -> None:
    change = {**change, **({"files": tuple(tmp_path / name for name in change["files"])} if "files" in change else {})}
    collections = (*golden.annotations[:-1], replace(golden.annotations[-1], **change))
    learned = CooccurrenceSource(annotations=golden.annotations[0].name, predictions=tmp_path / "predictions")
    recipe = replace(golden, annotations=collections, cooccurrence=None if change else learned)
    with pytest.raises(UsageError, match=told):
        run(recipe, tmp_path / "out")
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").rglob("*"))


@pytest.mark.slow
def test_a_folder_of_images_is_an_input_by_its_listing(golden: Recipe, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    (photos / "n02084071").mkdir(parents=True)
    (photos / "n02084071/n02084071_1.JPEG").write_bytes(b"one")
    source = replace(golden.annotations[0], name="photos", format="imagenet", files=(photos,))
    recipe = replace(golden, annotations=(source,), cooccurrence=None, labels=LabelOptions())
    run(recipe, tmp_path / "out")
    assert not any(run(recipe, tmp_path / "out").values())
    (photos / "n02084071/n02084071_2.JPEG").write_bytes(b"two")
    with pytest.raises(UsageError, match="in stage annotations/photos, input files/photos changed"):
        run(recipe, tmp_path / "out")
    assert run(recipe, tmp_path / "out", overwrite=True)["labels"]
    (labels,) = read_manifest(tmp_path / "out").stages["labels"].outputs
    assert read_manifest(tmp_path / "out").files[labels].rows == 2


def test_a_report_needs_the_stages_it_is_about(golden: Recipe, tmp_path: Path) -> None:
    output = OutputFolder(tmp_path)
    with pytest.raises(UsageError, match=f"{tmp_path}: has no stage vocabulary; finish mlimages-build run first"):
        run_stage(report_stage(output), output)
    run_stage(vocabulary_stage(golden.vocabulary, into="vocabulary"), output)
    with pytest.raises(UsageError, match="has no stage labels"):
        run_stage(report_stage(output), output)


def test_verify_checks_the_vocabulary_itself(golden: Recipe, tmp_path: Path) -> None:
    run_stage(vocabulary_stage(golden.vocabulary), OutputFolder(tmp_path / "right"))
    assert build.verify(tmp_path / "right") == []
    categories = read_table(tmp_path / "right/categories.parquet", CATEGORIES)
    mapping = read_table(tmp_path / "right/mapping.parquet", MAPPING)
    at = categories.column_names.index("depth")
    deeper = pa.array([depth + 1 for depth in categories["depth"].to_pylist()], pa.int32())
    wrong = categories.set_column(at, CATEGORIES.arrow.field("depth"), deeper)

    def work(at: Workplace) -> StageResult[NoSummary]:
        receipts = (
            write_table(at.out / "categories.parquet", wrong, CATEGORIES, {}),
            write_table(at.out / "mapping.parquet", mapping, MAPPING, {}),
        )
        return StageResult(receipts, NoSummary())

    stage = Stage(name="vocabulary", parameters={}, inputs={}, work=work, summary=NoSummary)
    run_stage(stage, OutputFolder(tmp_path / "wrong"))
    problems = build.verify(tmp_path / "wrong")
    assert len(problems) == len(categories), "a manifest that agrees with the files says nothing about what they hold"
    assert all(problem.startswith("categories.parquet: ") for problem in problems)


def parts_of(images: Mapping[str, int], folder: Path) -> Path:
    """Write annotations, three images a part, each with one verified category."""
    rows = [
        {"image_id": name, "source": "s", "location": "", "labels": [label_of(class_index)]}
        for name, class_index in sorted(images.items())
    ]
    for number, start in enumerate(range(0, len(rows), 3)):
        table = pa.Table.from_pylist(rows[start : start + 3], schema=ANNOTATIONS.arrow)
        write_table(folder / f"part-{number:05d}.parquet", table, ANNOTATIONS, {})
    return folder


def label_of(class_index: int) -> dict[str, float]:
    return {"class_index": class_index, "confidence": 1.0, "origin": 0}


class CutError(Exception):
    """Stands for the death of the process."""


def cut_after(jobs: int) -> Mapper:
    """Return a mapper that dies when so many jobs are done."""

    def mapper(function: Callable[[Any], Any], every: Iterable[Any], /) -> Iterator[Any]:
        for number, job in enumerate(every):
            if number == jobs:
                raise CutError
            yield function(job)

    return mapper


@pytest.fixture(name="annotated", scope="module")
def _annotated(golden: Recipe, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the folders of a vocabulary and of six parts of annotations."""
    folder = tmp_path_factory.mktemp("annotated")
    run_stage(vocabulary_stage(golden.vocabulary), OutputFolder(folder / "vocabulary"))
    images = {f"image{number:02d}": number % 5 for number in range(18)}
    return folder / "vocabulary", parts_of(images, folder / "annotations")


def cut_after_all(jobs: int) -> Mapper:
    """Return a mapper that dies when so many jobs are done, those of all its calls counted."""
    done = itertools.count()

    def mapper(function: Callable[[Any], Any], every: Iterable[Any], /) -> Iterator[Any]:
        for job in every:
            if next(done) == jobs:
                raise CutError
            yield function(job)

    return mapper


def test_a_cut_run_of_the_same_files_in_another_order_is_another(annotated: tuple[Path, Path], tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text("".join(f"n02084071_{name}{number}\n" for number in range(10)))
    a, b = (
        AnnotatedFiles(name="s", format="imagenet", files=tuple(tmp_path / f"{name}.txt" for name in order))
        for order in ("ab", "ba")
    )
    run_stage(annotations_stage(annotated[0], b), OutputFolder(tmp_path / "whole"))
    cut = OutputFolder(tmp_path / "cut")
    with pytest.raises(CutError):
        # The first jobs look for the pieces of the two files.
        run_stage(annotations_stage(annotated[0], a), cut, Engine(mapper=cut_after_all(3)))
    assert list((tmp_path / "cut").glob(".partial-done-*")), "the first file is done"
    with pytest.raises(UsageError, match=r"1 finished parts of an interrupted run with another .*order of inputs"):
        run_stage(annotations_stage(annotated[0], b), OutputFolder(tmp_path / "cut"))
    run_stage(annotations_stage(annotated[0], b), OutputFolder(tmp_path / "cut", overwrite=True))
    found, expected = (
        [read_table(part, ANNOTATIONS) for part in table_parts(tmp_path / name)] for name in ("cut", "whole")
    )
    assert sum(part.num_rows for part in expected) == 20
    assert found == expected


def labelled(
    annotated: tuple[Path, Path], out: Path, mapper: Mapper = map, *, salt: str = "a", overwrite: bool = False
) -> dict[str, str]:
    """Return the digests of the labels of some annotations."""
    vocabulary, annotations = annotated
    output = OutputFolder(out, overwrite=overwrite)
    options = LabelOptions(salt=salt, validation_images=4)
    run_stage(labels_stage(vocabulary, [annotations], None, options), output, Engine(mapper=mapper))
    assert build.verify(out) == []
    assert not list(out.rglob(".partial*")), "the journal goes with the run"
    return {path: output.manifest.files[path].sha256 for path in output.manifest.stages["labels"].outputs}


def written(folder: Path) -> dict[str, int]:
    """Return when each part below a folder was written."""
    return {path.relative_to(folder).as_posix(): path.stat().st_mtime_ns for path in folder.rglob("part-*")}


@pytest.mark.parametrize("jobs", [0, 1, 4])
def test_a_cut_labels_stage_keeps_the_parts_it_finished(
    annotated: tuple[Path, Path], tmp_path: Path, jobs: int
) -> None:
    expected = labelled(annotated, tmp_path / "whole")
    # The draw of the validation images takes three passes of six jobs; they are short and begin anew.
    passes = iter([map, map, map, cut_after(jobs)])
    with pytest.raises(CutError):
        labelled(annotated, tmp_path / "cut", lambda function, every, /: next(passes)(function, every))
    kept = written(tmp_path / "cut")
    assert len({path.rpartition("/")[2] for path in kept}) == jobs
    assert labelled(annotated, tmp_path / "cut") == expected
    assert {path: written(tmp_path / "cut")[path] for path in kept} == kept, "finished parts are not written again"
    summaries = [read_manifest(tmp_path / name).stages["labels"].summary for name in ("whole", "cut")]
    assert summaries[0] == summaries[1]


def test_parts_of_a_cut_run_with_other_options_stay_until_they_are_to_be_replaced(
    annotated: tuple[Path, Path], tmp_path: Path
) -> None:
    cut = tmp_path / "cut"
    passes = iter([map, map, map, cut_after(4)])
    with pytest.raises(CutError):
        labelled(annotated, cut, lambda function, every, /: next(passes)(function, every), salt="b")
    before = written(cut)
    with pytest.raises(UsageError, match=r"4 finished parts of an interrupted run with another.* pass --overwrite"):
        labelled(annotated, cut)
    assert written(cut) == before
    assert labelled(annotated, cut, overwrite=True) == labelled(annotated, tmp_path / "whole")


@pytest.mark.slow
def test_a_build_that_was_cut_between_two_stages_is_not_all_fine(tmp_path: Path) -> None:
    output = OutputFolder(tmp_path / "build")
    run_stage(vocabulary_stage(default_recipe().vocabulary, into=VOCABULARY), output)
    assert build.verify(tmp_path / "build") == [UNFINISHED]


@pytest.mark.parametrize("damage", [b"", b"{}", b"[1]", b"\xff"])
def test_a_damaged_journal_does_not_count(annotated: tuple[Path, Path], tmp_path: Path, damage: bytes) -> None:
    passes = iter([map, map, map, cut_after(4)])
    with pytest.raises(CutError):
        labelled(annotated, tmp_path / "cut", lambda function, every, /: next(passes)(function, every))
    entries = list((tmp_path / "cut").glob(".partial-done-*"))
    assert len(entries) == 4
    for entry in entries:
        entry.write_bytes(damage)
    assert labelled(annotated, tmp_path / "cut") == labelled(annotated, tmp_path / "whole")


def test_verify_tells_rows_and_categories_that_differ(annotated: tuple[Path, Path], tmp_path: Path) -> None:
    labelled(annotated, tmp_path)
    part = tmp_path / "train" / "part-00003.parquet"
    table = read_table(part, LABELS)
    roots = len(table["labels"][0])
    write_table(part, pa.concat_tables([table, *[table.slice(0, 1)] * 56]), LABELS, table_inputs(part))
    first, second = build.verify(tmp_path)
    told = f"train/part-00003.parquet: 56 rows more than the manifest: it has {len(table) + 56}, not {len(table)}, "
    assert first.startswith(told)
    assert second.startswith(f"train: {roots} categories have other numbers of images: class_index ")
    counts = re.findall(r"(\d+) has (\d+), not (\d+)", second)
    assert len(counts) == min(roots, 5)
    assert all(int(now) - int(before) == 56 for _, now, before in counts)


def test_verify_tells_categories_that_differ_where_a_part_is_missing(
    annotated: tuple[Path, Path], tmp_path: Path
) -> None:
    labelled(annotated, tmp_path)
    (tmp_path / "train" / "part-00003.parquet").unlink()
    missing, fewer = build.verify(tmp_path)
    assert missing == "train/part-00003.parquet: is missing; run the build again to restore it"
    counts = re.findall(r"(\d+) has (\d+), not (\d+)", fewer)
    assert fewer.startswith("train: ")
    assert counts
    assert all(int(now) < int(before) for _, now, before in counts)


@pytest.mark.parametrize("summary", [{}, {"train": 3}, {"train": {"images_of_class": "many"}}])
def test_verify_tells_files_that_differ_beside_a_summary_of_another_form(
    annotated: tuple[Path, Path], tmp_path: Path, summary: Mapping[str, Json]
) -> None:
    labelled(annotated, tmp_path)
    output = OutputFolder(tmp_path)
    record = replace(output.manifest.stages["labels"], summary=summary)
    (tmp_path / "manifest.json").write_bytes(Manifest(output.manifest.files, {"labels": record}).to_json())
    assert build.verify(tmp_path) == []
    (tmp_path / "train" / "part-00003.parquet").unlink()
    first, second = build.verify(tmp_path)
    assert first == "train/part-00003.parquet: is missing; run the build again to restore it"
    assert re.fullmatch(
        r"manifest\.json: the summary of stage labels does not have the form that this version writes "
        r"\(no conflicts\); build the folder again, to tell which categories have other numbers of images",
        second,
    )


@pytest.mark.slow
def test_a_report_is_written_anew_when_anything_that_it_tells_changes(simulated: Recipe, tmp_path: Path) -> None:
    assert simulated.cooccurrence is not None
    run(simulated, tmp_path)
    tables = {path: sha for path, sha in digests_below(tmp_path).items() if path.endswith(".parquet")}
    # Nothing is predicted between the two probabilities: equal tables, told of with another parameter.
    pairs = replace(simulated.cooccurrence, probability=simulated.cooccurrence.probability + 1e-9)
    redone = run(replace(simulated, cooccurrence=pairs), tmp_path, overwrite=True)
    assert [stage for stage, fresh in redone.items() if fresh] == ["cooccurrence", "report"]
    assert {path: sha for path, sha in digests_below(tmp_path).items() if path.endswith(".parquet")} == tables
    assert str(pairs.probability) in (tmp_path / "report.html").read_text("utf-8")


def digests_below(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): file_digest(path) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_labels_say_how_consistent_each_source_was(golden: Recipe, tmp_path: Path) -> None:
    run(golden, tmp_path)
    audits = read_manifest(tmp_path).stages["labels"].summary["annotations_audit"]
    assert isinstance(audits, dict)
    assert list(audits) == ["imagenet", "open-images", "own"]
    vocabulary = read_vocabulary(tmp_path / "vocabulary")
    for source, found in audits.items():
        expected = audit(vocabulary, [tmp_path / "annotations" / source]).counts
        most = Counter[str]()
        for _, ancestor, rows in most_frequent(expected.missing, vocabulary.closure, expected.missing.size):
            most[vocabulary.categories[ancestor].wnid] += rows
        assert (found["rows"], found["closed_rows"], found["monotone_rows"]) == (
            expected.rows,
            expected.closed,
            expected.monotone,
        )
        assert (found["missing_ancestors"], found["lower_ancestors"]) == (expected.missing.sum(), expected.lower.sum())
        assert found["missing_ancestors"] > 0
        assert [n for _, n in found["most_missing"]] == sorted(most.values(), reverse=True)[:5]
        assert all(most[wnid] == n for wnid, n in found["most_missing"])
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "The annotations as they came" in page


def test_a_collection_gives_its_boxes_where_it_is_asked_to(tmp_path: Path) -> None:
    box = {"image_id": ["a", "b"], "label": ["n02084071"] * 2, "xmin": [0.0, 0.5], "ymin": [0.0] * 2}
    pq.write_table(pa.table({**box, "xmax": [1.0] * 2, "ymax": [0.5] * 2}), tmp_path / "boxes.parquet")
    (tmp_path / "synsets.txt").write_text("n02084071 dog\n")
    collection = '[[annotations]]\nname = "mine"\nformat = "boxes"\nfiles = ["boxes.parquet"]\nregions = true\n'
    (tmp_path / "recipe.toml").write_text(f'[vocabulary]\nimagenet = "synsets.txt"\n{collection}')
    stages = ["vocabulary", "annotations/mine", "regions/mine", "labels", "report"]
    assert list(run(read_recipe(tmp_path / "recipe.toml"), tmp_path / "out")) == stages
    table = read_table(tmp_path / "out" / "regions" / "mine" / "part-00000.parquet", REGIONS)
    assert table["source"].to_pylist() == ["mine"] * 2
    assert build.verify(tmp_path / "out") == []
    path = tmp_path / "recipe.toml"
    path.write_text(path.read_text().replace("regions = true\n", ""))
    assert "regions/mine" not in run(read_recipe(path), tmp_path / "out", overwrite=True)
    assert not (tmp_path / "out" / "regions" / "mine" / "part-00000.parquet").exists()
    csv = path.read_text().replace('format = "boxes"', 'format = "parquet"\nregions = true')
    path.write_text(csv)
    with pytest.raises(UsageError, match="files of the format parquet state no boxes; use one of"):
        run(read_recipe(path), tmp_path / "other")
