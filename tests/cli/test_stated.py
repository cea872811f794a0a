"""What a user states of files is one thing in the command, the Python API and recipes."""

from __future__ import annotations

import gzip
import io
from typing import TYPE_CHECKING, Any

import click
import pytest
from click.testing import CliRunner

import mlimages_dataset as ml
from cli.main import main
from mlimages_dataset.core.errors import ConfigError, UsageError
from mlimages_dataset.recipes.recipe import read_recipe
from mlimages_dataset.sources.layout import Layout
from mlimages_dataset.tables.parquet import read_table
from mlimages_dataset.tables.schemas import ANNOTATIONS
from tests.docs.test_command_examples import CONTEXTS

if TYPE_CHECKING:
    from pathlib import Path


def test_what_comes_through_a_pipe_is_a_file(tmp_path: Path) -> None:
    """Class lists and annotations, as `-`; each is what the same file says."""
    classes, rows = "id,name\nd,dog\nc,house cat\n", "a,d|c\nb,c\n"
    (tmp_path / "rows.csv").write_text(rows, encoding="utf-8")
    runner, vocabulary = CliRunner(), str(tmp_path / "vocabulary")
    made = runner.invoke(main, ["vocab", "--classes", "mine=-", "--out", vocabulary], input=classes)
    assert made.exit_code == 0, made.output
    given = ("--vocab", vocabulary, "--format", "csv", "--columns", "image_id,label", "--separator", "|")
    found: list[list[dict[str, Any]]] = []
    for name, content in (("-", rows.encode()), ("-", gzip.compress(rows.encode())), (str(tmp_path / "rows.csv"), b"")):
        out = tmp_path / f"out-{len(found)}"
        made = runner.invoke(main, ["annotate", *given, name, "--out", str(out)], input=content)
        assert made.exit_code == 0, made.output
        found.append(read_table(out / "part-00000.parquet", ANNOTATIONS).to_pylist())
    assert found[0] == found[1] == found[2]
    assert [len(row["labels"]) for row in found[0]] == [2, 1]
    told = runner.invoke(main, ["annotate", *given, "-", "-", "--out", str(tmp_path / "twice")], input=rows)
    assert (told.exit_code, "standard input is named twice; name files" in told.output) == (2, True)
    told = runner.invoke(main, ["annotate", *given, "-", "--out", str(tmp_path / "empty")], input="")
    assert (told.exit_code, "standard input: is empty" in told.output) == (1, True)
    tallied = ["tally", *given[2:], "-", "--out", str(tmp_path / "counts.csv")]
    assert runner.invoke(main, tallied, input=rows).exit_code == 0
    assert (tmp_path / "counts.csv").read_text().splitlines()[1:] == ['"csv","c",2', '"csv","d",1']


def test_the_api_reads_what_the_command_reads(tmp_path: Path) -> None:
    vocabulary = ml.build_vocabulary(classes={"mine": io.StringIO("id,name\nd,dog\nc,house cat\n")})
    (tmp_path / "rows.csv").write_text("path;class\na;d|c\n", encoding="utf-8")
    columns = {"image_id": "path", "label": "class"}
    frames = [
        ml.annotate(data, vocabulary, columns=columns, separator="|").to_pandas()
        for data in (tmp_path / "rows.csv", io.BytesIO(b"path;class\na;d|c\n"), tmp_path / "*.csv", tmp_path)
    ]
    assert frames[0]["name"].str.split(",").str[0].tolist() == ["dog", "domestic cat"]
    assert all(frame.equals(frames[0]) for frame in frames)
    with pytest.raises(UsageError, match="columns is 'path', but must be a list of names"):
        ml.annotate(tmp_path, vocabulary, columns="path")


def test_a_recipe_states_what_the_command_states(tmp_path: Path) -> None:
    text = (
        '[vocabulary]\nimagenet = "packaged:imagenet11k.txt"\n[[annotations]]\nname = "mine"\nformat = "csv"\n'
        'files = ["parts/*.csv"]\ncolumns = ["image_id=path", "label=class"]\nseparator = " "\nsynsets = "meta.mat"\n'
    )
    (tmp_path / "recipe.toml").write_text(text, encoding="utf-8")
    (given,) = read_recipe(tmp_path / "recipe.toml").annotations
    assert (given.files, given.synsets) == ((tmp_path / "parts/*.csv",), tmp_path / "meta.mat")
    assert given.layout == Layout(
        columns=("image_id=path", "label=class"), separator=" ", synsets=tmp_path / "meta.mat"
    )
    (tmp_path / "recipe.toml").write_text(text.replace('"image_id=path"', '"image_id"'), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"annotations\[0\]\.columns are names and pairs"):
        read_recipe(tmp_path / "recipe.toml")


def test_an_empty_path_is_refused_by_its_name_wherever_a_path_may_stand() -> None:
    asked = set()
    for path, context in CONTEXTS.items():
        for param in context.command.params:
            if param.type.name in {"path", "file", "directory", "filename"}:
                name = max(param.opts, key=len) if isinstance(param, click.Option) else param.human_readable_name
                with pytest.raises(UsageError, match=f"^{name} is an empty text"):
                    param.type.convert("", param, context)
                asked.add(f"{path.rpartition(' ')[2]} {name}")
    assert {"start --out", "run RECIPE", "fetch --out", "vocab --wordnet", "pretrain --out", "card RUN"} <= asked
