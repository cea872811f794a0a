"""No command writes into the folder of another one's table, whatever both are; nothing there is changed."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from cli.main import main
from tests.images.folders import picture

if TYPE_CHECKING:
    from pathlib import Path

CAT, DOG = "n02121620", "n02084071"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with small inputs of every command, and the folders `of-COMMAND` that commands have written."""
    folder = tmp_path_factory.mktemp("others")
    (folder / "synsets.txt").write_text(f"{CAT}\n{DOG}\n")
    (folder / "stated.csv").write_text(f"image_id,label\na,{CAT}\nb,{DOG}\n")
    (folder / "seen.csv").write_text(f"image_id,label,confidence\na,{DOG},0.99\nb,{CAT},0.99\n")
    sides = {"xmin": [0.1], "ymin": [0.1], "xmax": [0.5], "ymax": [0.5]}
    pq.write_table(pa.table({"image_id": ["a"], "label": [CAT], **sides}), folder / "boxes.parquet")
    (folder / "pictures" / CAT).mkdir(parents=True)
    (folder / "pictures" / CAT / "a.png").write_bytes(picture(1, form="PNG"))
    for command in COMMANDS:
        if command != "run":
            result = CliRunner().invoke(main, arguments(command, folder, folder / f"of-{command}"))
            assert result.exit_code == 0, result.output
    return folder


COMMANDS: dict[str, str] = {
    "vocab": "vocab --imagenet {0}/synsets.txt",
    "annotate": "annotate --vocab {0}/of-vocab --format csv {0}/stated.csv --source mine",
    "predictions": "annotate --vocab {0}/of-vocab --format csv {0}/seen.csv --predictions",
    "regions": "regions --vocab {0}/of-vocab --format boxes {0}/boxes.parquet",
    "labels": "labels --vocab {0}/of-vocab --annotations {0}/of-annotate",
    "export": "export --format csv {0}/of-labels --vocab {0}/of-vocab",
    "cooccurrence": "cooccurrence --vocab {0}/of-vocab --annotations {0}/of-annotate --predictions {0}/of-predictions",
    "region-pairs": "region-pairs {0}/of-regions --vocab {0}/of-vocab",
    "region-sample": "region-sample {0}/of-regions --draw one=1",
    "ingest": "images ingest {0}/pictures",
    "duplicates": "images duplicates {0}/of-ingest",
    "subset": "images subset --labels {0}/of-labels --max-images 1",
    "run": "run",
}


def arguments(command: str, folder: Path, out: Path) -> list[str]:
    return [*COMMANDS[command].format(folder).split(), "--out", str(out)]


def content(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
@pytest.mark.parametrize("owner", [one for one in COMMANDS if one != "run"])
def test_a_folder_of_another_command_is_refused_in_a_sentence_and_untouched(
    inputs: Path, tmp_path: Path, owner: str, overwrite: list[str]
) -> None:
    out = tmp_path / "out"
    shutil.copytree(inputs / f"of-{owner}", out)
    before = content(out)
    (stage,) = json.loads((out / "manifest.json").read_text())["stages"]
    for command in COMMANDS:
        if command == owner:
            continue
        result = CliRunner().invoke(main, [*arguments(command, inputs, out), *overwrite])
        assert result.exit_code == 2, (command, result.output)
        assert f"out: the folder holds another build: {stage}; name a" in result.output
        assert content(out) == before, command
