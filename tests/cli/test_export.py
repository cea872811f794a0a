"""Labels of a build exported through the command: every format, again, with other words, and where it cannot be."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pyarrow.compute as pc
import pytest

from mlimages_dataset.pipeline.records import read_manifest
from mlimages_dataset.tables.parquet import read_table, table_parts
from mlimages_dataset.tables.schemas import LABELS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Command

FILES = {
    "tencent": {"dictionary_and_semantic_hierarchy.txt", "train_urls.txt"},
    "csv": {"train.csv"},
    "huggingface": {"README.md", "categories.parquet", "mapping.parquet"},
    "croissant": {"croissant.json", "categories.parquet", "mapping.parquet", "train/part-00000.parquet"},
}


@pytest.mark.slow
@pytest.mark.parametrize("form", FILES)
def test_a_build_is_exported_once_and_verifies(form: str, golden_build: Path, command: Command, tmp_path: Path) -> None:
    out = tmp_path / form
    arguments = ("export", "--format", form, golden_build / "labels", "--vocab", golden_build / "vocabulary")
    first = command(*arguments, "--out", out, "--json")
    assert first.code == 0, first.err
    content = json.loads(first.out)
    assert content["fresh"]
    assert set(content["outputs"]) >= FILES[form]
    assert set(read_manifest(out).files) == set(content["outputs"])
    labels = [read_table(part, LABELS)["labels"] for part in table_parts(golden_build / "labels")]
    n_labels = sum(pc.sum(pc.list_value_length(column)).as_py() for column in labels)
    assert content["summary"]["labels"] + content["summary"]["absent_labels"] == n_labels
    again = command(*arguments, "--out", out)
    assert (again.code, again.out.splitlines()[-1]) == (0, f"{out} is up to date: nothing to do")
    assert command("verify", out).code == 0


@pytest.mark.slow
def test_what_is_left_out_is_said(golden_build: Path, command: Command, tmp_path: Path) -> None:
    arguments = ("export", golden_build / "labels", "--vocab", golden_build / "vocabulary")
    said = command(*arguments, "--format", "tencent", "--out", tmp_path / "text")
    assert "labels of verified absence left out: the format cannot hold them" in said.out
    assert "left out" not in command(*arguments, "--format", "csv", "--out", tmp_path / "csv").out


@pytest.mark.slow
def test_the_card_says_what_the_publisher_says(golden_build: Path, command: Command, tmp_path: Path) -> None:
    arguments = ("export", golden_build / "labels", "--vocab", golden_build / "vocabulary", "--format", "croissant")
    words = ("--name", "Golden", "--license", "cc0-1.0", "--url", "https://example.org", "--date", "2024-02-29")
    assert command(*arguments, *words, "--out", tmp_path).code == 0
    content = json.loads((tmp_path / "croissant.json").read_text())
    assert [content[key] for key in ("name", "license", "url", "datePublished")] == [
        "Golden",
        "cc0-1.0",
        "https://example.org",
        "2024-02-29",
    ]
    other = command(*arguments, "--name", "Other", "--out", tmp_path)
    assert other.code == 2
    assert "name was" in other.err
    assert "--overwrite" in other.err
    assert command(*arguments, "--name", "Other", "--out", tmp_path, "--overwrite").code == 0
    assert json.loads((tmp_path / "croissant.json").read_text())["name"] == "Other"


def test_a_folder_without_tables_is_wrong_use(golden_build: Path, command: Command, tmp_path: Path) -> None:
    arguments = ("--vocab", golden_build / "vocabulary", "--format", "csv", "--out", tmp_path / "out")
    ran = command("export", tmp_path, *arguments)
    assert ran.code == 2
    assert "there is no part-*.parquet in it" in ran.err
    whole = command("export", golden_build, *arguments)
    assert whole.code == 2
    assert "not only in train and val" in whole.err
