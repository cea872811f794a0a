"""A whole build through the console script: complete, repeatable, resumable, and it never mixes with another."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from mlimages_dataset.pipeline.records import read_manifest
from mlimages_dataset.tables.files import file_digest
from mlimages_dataset.tables.parquet import read_table
from mlimages_dataset.tables.schemas import CATEGORIES, LABELS
from tests.golden.inputs_and_tables import GOLDEN, digests_of_rows, write_inputs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.cli.conftest import Command

TABLES = {
    "vocabulary/categories.parquet",
    "vocabulary/mapping.parquet",
    "annotations/imagenet/part-00000.parquet",
    "annotations/open-images/part-00000.parquet",
    "annotations/own/part-00000.parquet",
    "cooccurrence/pair_counts.parquet",
    "cooccurrence/implications.parquet",
}
STAGES = ("vocabulary", "annotations/imagenet", "annotations/open-images", "annotations/own", "cooccurrence", "labels")


def digests(folder: Path) -> Mapping[str, str]:
    """Return the digests in a build's manifest; equal digests of equal builds."""
    return {path: record.sha256 for path, record in read_manifest(folder).files.items()}


def state(folder: Path) -> dict[str, tuple[int, str]]:
    """Return the modification time and digest of every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, file_digest(path))
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_build_makes_every_file_and_verifies(golden_build: Path, run_script: Command) -> None:
    found = {path.relative_to(golden_build).as_posix() for path in golden_build.rglob("*") if path.is_file()}
    assert found >= TABLES | {"manifest.json", "report.html"}
    for name in ("train", "val"):
        assert any(path.startswith(f"labels/{name}/part-") for path in found)
    assert found - {"manifest.json"} == set(read_manifest(golden_build).files)
    ran = run_script("verify", golden_build)
    assert ran == (0, f"{golden_build}: {len(found) - 1} files, all fine\n", "")


def test_the_tables_hold_what_the_golden_digests_say(golden_build: Path) -> None:
    # After a change that is meant: python -m tests.golden.regenerate, and review the difference.
    assert digests_of_rows(golden_build) == json.loads(GOLDEN.read_text(encoding="utf-8"))


def test_the_rules_can_be_read_off_the_golden_labels(golden_build: Path) -> None:
    rows = [
        row
        for path in sorted((golden_build / "labels").rglob("*.parquet"))
        for row in read_table(path, LABELS).to_pylist()
    ]
    categories = read_table(golden_build / "vocabulary/categories.parquet", CATEGORIES).to_pylist()
    names = [category["name"].split(",")[0] for category in categories]
    said = {row["image_id"]: {names[x["class_index"]]: x["confidence"] for x in row["labels"]} for row in rows}
    assert {"golden retriever", "dog", "canine", "animal"} <= said["n02099601_2"].keys()
    assert said["n02099601_2"]["tree"] == pytest.approx(0.75), "3 of 4 retrievers are predicted with a tree above 0.95"
    assert said["00b"]["golden retriever"] == said["00b"]["dog"] == 0, "no dog is no retriever"
    assert said["00g"]["dog"] == said["00g"]["animal"] == 1, "presence wins over absence"
    assert "00d" not in said
    assert said["00c"]["vehicle"] == pytest.approx(0.8), "the highest of two machine labels, and upwards"


def test_a_second_run_changes_nothing_and_says_so(golden_build: Path, golden_inputs: Path, run_script: Command) -> None:
    before = state(golden_build)
    ran = run_script("run", golden_inputs / "recipe.toml", "--out", golden_build, "--workers", "1")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == f"{golden_build} is up to date: nothing to do\n"
    assert state(golden_build) == before
    ran = run_script("run", golden_inputs / "recipe.toml", "--out", golden_build, "--workers", "1", "--verbose")
    for stage in (*STAGES, "report"):
        assert f"{stage} (up to date)\n" in ran.out


@pytest.mark.slow
def test_another_folder_and_more_workers_give_the_same_digests(
    golden_build: Path, run_script: Command, tmp_path: Path
) -> None:
    recipe = write_inputs(tmp_path / "elsewhere")
    ran = run_script("run", recipe, "--out", tmp_path / "out", "--workers", "2", "--json")
    assert ran.code == 0
    assert {stage: row["fresh"] for stage, row in json.loads(ran.out).items()} == dict.fromkeys(
        (*STAGES, "report"), True
    )
    assert digests(tmp_path / "out") == digests(golden_build)


@pytest.mark.slow
def test_a_run_that_is_killed_at_any_moment_is_finished_by_the_next(
    golden_build: Path, golden_inputs: Path, run_script: Command, script: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    moments = random.Random(2019)  # noqa: S311 - moments, not secrets
    killed = 0
    for _ in range(6):
        arguments = [script, "run", str(golden_inputs / "recipe.toml"), "--out", str(out), "--workers", "1"]
        with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as builder:
            time.sleep(moments.uniform(0.3, 3))
            killed += builder.poll() is None
            builder.send_signal(signal.SIGKILL)
        if (out / "manifest.json").exists():
            recorded = digests(out)
            assert recorded.items() <= digests(golden_build).items(), "what is on record is whole"
            assert all(file_digest(out / path) == sha256 for path, sha256 in recorded.items())
    assert killed
    assert run_script("run", golden_inputs / "recipe.toml", "--out", out, "--workers", "1").code == 0
    assert digests(out) == digests(golden_build)
    assert run_script("verify", out).code == 0
    assert not list(out.rglob(".partial*"))


@pytest.fixture(name="copied")
def _copied(golden_build: Path, tmp_path: Path) -> Path:
    """Return a copy of the build that a test may damage."""
    return shutil.copytree(golden_build, tmp_path / "copied")


def test_verify_explains_every_difference(copied: Path, run_script: Command) -> None:
    part = "annotations/own/part-00000.parquet"
    (copied / part).write_bytes((copied / part).read_bytes()[:-1] + b"?")
    (copied / "vocabulary/mapping.parquet").unlink()
    (copied / "labels/notes.txt").write_text("mine")
    ran = run_script("verify", copied)
    assert (ran.code, ran.err) == (1, "")
    lines = ran.out.splitlines()
    assert len(lines) == 4
    assert lines[-1].endswith("files, 3 problems")
    told = "\n".join(sorted(lines[:-1]))
    assert f"{part}: its bytes changed" in told
    assert "labels/notes.txt: is not in the manifest" in told
    assert "vocabulary/mapping.parquet: is missing" in told
    as_json = run_script("verify", copied, "--json")
    assert as_json.code == 1
    assert json.loads(as_json.out)["problems"] == lines[:-1]


def test_a_file_that_went_is_made_again(
    copied: Path, golden_inputs: Path, golden_build: Path, command: Command
) -> None:
    (copied / "cooccurrence/implications.parquet").unlink()
    ran = command("run", golden_inputs / "recipe.toml", "--out", copied, "--workers", "1")
    assert ran.code == 0
    assert "labels (up to date)" in ran.out
    assert "cooccurrence (up to date)" not in ran.out
    assert digests(copied) == digests(golden_build)
    assert command("verify", copied).code == 0


def test_another_recipe_is_refused_and_explained_unless_asked_for(
    copied: Path, golden_inputs: Path, golden_build: Path, command: Command
) -> None:
    recipe = golden_inputs / "other.toml"
    text = (golden_inputs / "recipe.toml").read_text(encoding="utf-8")
    recipe.write_text(text.replace("validation_images = 3", "validation_images = 1"), encoding="utf-8")
    before = state(copied)
    ran = command("run", recipe, "--out", copied, "--workers", "1")
    assert ran.code == 2
    assert ran.err == (
        f"Error: {copied}: the folder holds another build: in stage labels, validation_images was 3 and is now 1; "
        "name another folder, or pass --overwrite to replace it\n"
    )
    assert state(copied) == before
    ran = command("run", recipe, "--out", copied, "--workers", "1", "--overwrite")
    assert ran.code == 0
    assert "annotations/own (up to date)" in ran.out
    assert sum(record.rows for path, record in read_manifest(copied).files.items() if "labels/val" in path) == 1
    assert command("verify", copied).code == 0
    assert digests(copied) != digests(golden_build)


def test_a_changed_input_is_told_by_its_name(copied: Path, command: Command, tmp_path: Path) -> None:
    recipe = write_inputs(tmp_path / "inputs")
    with (recipe.parent / "own.csv").open("a", encoding="utf-8") as file:
        file.write("more,/m/0bt9lr,\n")
    ran = command("run", recipe, "--out", copied, "--workers", "1")
    assert ran.code == 2
    assert "in stage annotations/own, input files/own.csv changed; name another folder" in ran.err


@pytest.mark.slow
def test_the_embedded_default_is_a_whole_build(run_script: Command, tmp_path: Path) -> None:
    ran = run_script("run", "--out", "build", cwd=tmp_path)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("Building the packaged example in build ...\nvocabulary (")
    assert ran.out.count("  stated: ") == ran.out.count("  why:    ") == 3
    assert ran.out.endswith(
        "\nNext: mlimages-build show build IMAGE, mlimages-build serve build, or open build/report.html\n"
    )
    assert "simulated" not in ran.out
    out = tmp_path / "build"
    manifest = read_manifest(out)
    assert manifest.files.keys() >= {path for path in TABLES if path.startswith(("vocabulary", "cooccurrence"))}
    sources = {path.split("/")[1] for path in manifest.files if path.startswith("annotations/")}
    assert sources == {"photographs", "coco"}
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count('src="data:image/jpeg;base64,') == 34
    assert "simulated" not in page
    assert all(any(path.startswith(f"labels/{name}/") for path in manifest.files) for name in ("train", "val"))
    assert manifest.files["vocabulary/categories.parquet"].rows > 10_900
    assert run_script("verify", "build", cwd=tmp_path).code == 0
    before = state(out)
    again = run_script("run", "--out", "build", cwd=tmp_path)
    assert again.code == 0
    assert again.out == "build is up to date: nothing to do\n"
    assert state(out) == before
