"""Each command alone makes what the whole build makes, and says it to people and to machines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from mlimages_dataset.pipeline.records import read_manifest
from mlimages_dataset.tables.files import file_digest
from mlimages_dataset.tables.parquet import read_table
from mlimages_dataset.tables.schemas import CATEGORIES, MAPPING
from mlimages_dataset.vocab.packaged import packaged_class_list

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Command


def told_as_json(command: Command, *arguments: str | Path, code: int = 0) -> dict[str, Any]:
    ran = command(*arguments, "--json")
    assert (ran.code, ran.err) == (code, "")
    return dict(json.loads(ran.out))


@pytest.fixture(name="steps", scope="module")
def _steps(golden_inputs: Path, command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which each command was run in turn, as README shows."""
    folder = tmp_path_factory.mktemp("steps")
    vocabulary = ("--vocab", folder / "vocabulary")
    calls: list[tuple[str | Path, ...]] = [
        ("vocab", *_given(golden_inputs), "--out", folder / "vocabulary"),
        _annotate(folder, golden_inputs, "imagenet", "imagenet.txt"),
        _annotate(folder, golden_inputs, "open-images", "labels.csv", "images.csv", more=("--min-confidence", "0.7")),
        (*_annotate(folder, golden_inputs, "csv", "own.csv"), "--source", "own"),
        (
            *("cooccurrence", *vocabulary, "--annotations", folder / "annotations/imagenet", "--workers", "1"),
            *("--predictions", golden_inputs / "predictions", "--out", folder / "cooccurrence"),
        ),
        (
            *("labels", *vocabulary, "--implications", folder / "cooccurrence/implications.parquet", "--workers", "1"),
            *("--annotations", folder / "annotations/imagenet", "--annotations", folder / "annotations/open-images"),
            *("--annotations", folder / "annotations/csv", "--val", "3", "--val-per-category", "1"),
            *("--out", folder / "labels"),
        ),
    ]
    for call in calls:
        ran = command(*call)
        assert (ran.code, ran.err) == (0, ""), ran
        assert "files written to" in ran.out
        again = command(*call)
        assert again.code == 0
        assert "is up to date: nothing to do" in again.out
    return folder


def _given(inputs: Path) -> tuple[str | Path, ...]:
    return (
        *("--imagenet", inputs / "synsets.txt", "--open-images", inputs / "classes.csv"),
        *("--image-counts", inputs / "counts.csv", "--reviewed", inputs / "reviewed.toml"),
    )


def _annotate(folder: Path, inputs: Path, form: str, *names: str, more: tuple[str, ...] = ()) -> tuple[str | Path, ...]:
    files = [inputs / name for name in names]
    out = folder / "annotations" / form
    return ("annotate", "--vocab", folder / "vocabulary", "--format", form, *more, *files, "--out", out)


@pytest.mark.parametrize(
    ("alone", "whole"),
    [
        ("vocabulary/categories.parquet", "vocabulary/categories.parquet"),
        ("vocabulary/mapping.parquet", "vocabulary/mapping.parquet"),
        ("annotations/imagenet/part-00000.parquet", "annotations/imagenet/part-00000.parquet"),
        ("annotations/open-images/part-00000.parquet", "annotations/open-images/part-00000.parquet"),
        ("annotations/csv/part-00000.parquet", "annotations/own/part-00000.parquet"),
        ("cooccurrence/implications.parquet", "cooccurrence/implications.parquet"),
        ("labels/train/part-00000.parquet", "labels/train/part-00000.parquet"),
        ("labels/val/part-00001.parquet", "labels/val/part-00001.parquet"),
    ],
)
def test_each_command_alone_writes_the_bytes_of_the_whole_build(
    steps: Path, golden_build: Path, alone: str, whole: str
) -> None:
    assert file_digest(steps / alone) == file_digest(golden_build / whole)


def test_each_folder_verifies(steps: Path, command: Command) -> None:
    for manifest in steps.rglob("manifest.json"):
        assert told_as_json(command, "verify", manifest.parent) == {
            "files": len(read_manifest(manifest.parent).files),
            "problems": [],
        }


def test_what_was_done_is_told_as_json(
    golden_inputs: Path, golden_build: Path, command: Command, tmp_path: Path
) -> None:
    vocabulary = golden_build / "vocabulary"
    told = told_as_json(command, "vocab", *_given(golden_inputs), "--out", tmp_path / "v")
    assert told["fresh"]
    assert told["outputs"] == ["categories.parquet", "mapping.parquet"]
    assert ["imagenet", "entered", 11] in told["summary"]["funnel"]
    told = told_as_json(
        command,
        *("annotate", "--vocab", vocabulary, "--format", "imagenet", golden_inputs / "imagenet.txt"),
        *("--out", tmp_path / "a"),
    )
    summary = told["summary"]
    assert (summary["images"], summary["dropped"], summary["rejected_rows"]) == (7, 2, 1)
    assert summary["first_rejected_rows"] == ["imagenet.txt, line 10: no wnid such as n01440764: 'no class at all'"]
    tally = ("tally", "--format", "imagenet", golden_inputs / "imagenet.txt", "--out", tmp_path / "counts.csv")
    assert told_as_json(command, *tally)["classes"] == 5
    assert told_as_json(command, "report", golden_build)["fresh"] is False


def test_a_tally_feeds_the_vocabulary(golden_inputs: Path, command: Command, tmp_path: Path) -> None:
    ran = command("tally", "--format", "open-images", golden_inputs / "labels.csv", "--out", tmp_path / "counts.csv")
    assert ran.code == 0
    assert ran.out.startswith("6 classes written to ")
    assert "statements without image id, class or valid confidence\nmalformed: " in ran.out
    ran = command(
        *("vocab", "--imagenet", golden_inputs / "synsets.txt", "--open-images", golden_inputs / "classes.csv"),
        *("--image-counts", tmp_path / "counts.csv", "--min-images", "open-images=2", "--out", tmp_path / "v"),
    )
    assert ran.code == 0
    rows = {row["source_id"]: row for row in read_table(tmp_path / "v" / "mapping.parquet", MAPPING).to_pylist()}
    assert rows["/m/0k4j"]["class_index"] >= 0
    assert rows["/m/01lsmm"]["class_index"] == -1
    assert "image" in rows["/m/01lsmm"]["rule"] + rows["/m/01lsmm"]["evidence"]


@pytest.mark.slow
def test_an_audit_says_what_is_wrong_and_ends_with_1(golden_build: Path, command: Command, tmp_path: Path) -> None:
    vocabulary = golden_build / "vocabulary"
    fine = command("audit", "--vocab", vocabulary, golden_build / "labels")
    assert fine.code == 0
    categories = read_table(vocabulary / "categories.parquet", CATEGORIES).to_pylist()
    index = {row["wnid"]: row["class_index"] for row in categories}
    dog, canine, animal = index["n02084071"], index["n02083346"], index["n00015388"]
    (tmp_path / "list.txt").write_text(f"http://a\t{dog}:1\t{animal}:0.5\nbad line\nhttp://a\t999:1\n")
    told = told_as_json(command, "audit", "--vocab", vocabulary, tmp_path / "list.txt", code=1)
    assert (told["rows"], told["closed_rows"], told["monotone_rows"]) == (2, 1, 1)
    assert (told["unknown_labels"], told["repeated_images"], told["malformed_rows"]) == (1, 1, 1)
    assert told["first_malformed_rows"] == [
        f"{tmp_path / 'list.txt'}, line 2: not a URL and class:confidence pairs: 'bad line'"
    ]
    assert (dog, canine) in {(pair["class_index"], pair["ancestor"]) for pair in told["most_missing"]}
    assert [(pair["class_index"], pair["ancestor"]) for pair in told["most_lower"]] == [(dog, animal)]
    ran = command("audit", "--vocab", vocabulary, tmp_path / "list.txt")
    assert ran.code == 1
    assert "           1  rows closed under ancestors" in ran.out


def test_a_report_of_what_is_no_build_is_refused(golden_build: Path, command: Command, tmp_path: Path) -> None:
    assert command("report", golden_build).code == 0
    ran = command("report", tmp_path)
    assert ran.code == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.shared_data
@pytest.mark.slow
def test_the_real_lists_become_one_vocabulary(shared_data: Path, command: Command, tmp_path: Path) -> None:
    imagenet = packaged_class_list("imagenet11k.txt")
    ran = command(
        *("vocab", "--imagenet", imagenet, "--open-images", shared_data / "open_images/dict_v1.csv"),
        *("--out", tmp_path / "v"),
    )
    assert ran.code == 0, ran.err
    rows = read_table(tmp_path / "v" / "mapping.parquet", MAPPING).to_pylist()
    kept = {row["wnid"] for row in rows if row["source"] == "imagenet" and row["class_index"] >= 0}
    assert len(kept) >= 10_900
    assert len([row for row in rows if row["source"] == "imagenet"]) == 11_221
    assert len([row for row in rows if row["source"] == "open-images"]) == 7_881
    assert all(row["rule"] for row in rows)
    assert all(row["evidence"] for row in rows if row["class_index"] < 0), "a reason for every dropped class"


@pytest.mark.shared_data
def test_the_published_rows_are_audited(shared_data: Path, command: Command, tmp_path: Path) -> None:
    folder = shared_data / "tencent"
    dictionary = folder / "dictionary_first_9418.txt"
    assert command("vocab", "--tencent-dictionary", dictionary, "--out", tmp_path / "v").code == 0
    told = told_as_json(command, "audit", "--vocab", tmp_path / "v", folder / "train_urls_61.txt", code=1)
    assert (told["rows"], told["closed_rows"], told["malformed_rows"]) == (61, 26, 0)
