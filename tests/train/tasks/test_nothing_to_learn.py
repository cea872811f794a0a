"""Labels of which nothing is present: each command says so in one sentence, and none measures nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from PIL import Image

from mlimages_dataset.core.locations import location
from mlimages_dataset.tables.label_columns import LabelColumns, array_of, columns_of
from mlimages_dataset.tables.parquet import read_table, table_inputs, write_table
from mlimages_dataset.tables.schemas import LABELS, REGIONS
from mlimages_dataset.train.__main__ import main
from tests.train.detection.shapes import write_shapes
from tests.train.tasks.test_runs import COMMON, DETECTION

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.train.conftest import Photographs


def refused(code: int, words: Sequence[object]) -> str:
    """Return the sentence with which a command ends."""
    done = CliRunner().invoke(main, list(map(str, words)))
    assert done.exit_code == code, done.output
    *_, last = done.stderr.splitlines()
    assert last.startswith("Error: ")
    return last


def run_file(folder: Path, task: str, best: str, more: str = "") -> Path:
    """Write a run file and return it."""
    path = folder / f"{task}{len(more)}.toml"
    path.write_text(f'task = "{task}"' + COMMON.replace("BEST", best).replace("[logs]\nevery_steps = 1\n", "") + more)
    return path


@pytest.mark.parametrize("flag", ["difficult", "group_of", "crowd", "occluded"])
def test_regions_that_are_all_special_are_refused_unless_they_are_learnt(
    flag: str, photographs: Photographs, tmp_path: Path
) -> None:
    shapes = write_shapes(tmp_path / "shapes", 2, sides=(64, 65))
    (part,) = sorted(shapes.regions.glob("*.parquet"))
    plain = read_table(part, REGIONS)
    flagged = plain.set_column(
        plain.schema.get_field_index(flag), REGIONS.arrow.field(flag), pa.repeat(True, len(plain))
    )
    (tmp_path / "special").mkdir()
    write_table(tmp_path / "special" / part.name, flagged, REGIONS, {})
    files = ["--images", shapes.images, "--vocabulary", photographs.vocabulary, "--out", tmp_path / "out"]
    run = run_file(tmp_path, "detection", "map50", DETECTION)
    command = ["pretrain", run, *files, "--labels", tmp_path / "special"]
    if flag == "occluded":
        assert CliRunner().invoke(main, list(map(str, command))).exit_code == 0
        return
    said = refused(1, command)
    assert "special: marks each box of these pictures as difficult, a group or a crowd" in said
    assert "learn_difficult" in said
    learnt = run_file(tmp_path, "detection", "map50", DETECTION + "learn_difficult = true\n")
    command[1] = learnt
    assert "such boxes are not measured" in refused(1, [*command, "--validation-labels", tmp_path / "special"])
    done = CliRunner().invoke(main, list(map(str, command)))
    assert done.exit_code == 0, done.output
    applied = ["evaluate", tmp_path / "out", *files[:4], "--workers", 0, "--device", "cpu"]
    assert "such boxes are not measured" in refused(1, [*applied, "--labels", tmp_path / "special"])


def with_confidence(table: pa.Table, confidence: float) -> pa.Table:
    """Return a table of labels that all have one confidence."""
    old = columns_of(table["labels"].combine_chunks())
    new = LabelColumns(old.offsets, old.class_index, np.full_like(old.confidence, confidence), old.origin)
    return table.set_column(table.schema.get_field_index("labels"), LABELS.arrow.field("labels"), array_of(new))


def test_labels_of_which_none_is_present_are_refused(photographs: Photographs, tmp_path: Path) -> None:
    (part,) = sorted(photographs.labels.glob("*.parquet"))
    for name, confidence in (("absent", 0.0), ("doubtful", 0.5)):
        (tmp_path / name).mkdir()
        inputs = table_inputs(location(str(part)))
        write_table(tmp_path / name / part.name, with_confidence(read_table(part, LABELS), confidence), LABELS, inputs)
    run = run_file(tmp_path, "multi-label", "map").read_text().replace("softmax", "binary-cross-entropy")
    run_toml = tmp_path / "run.toml"
    run_toml.write_text(run)
    files = ["--images", photographs.images, "--vocabulary", photographs.vocabulary]
    words = ["pretrain", run_toml, *files, "--out", tmp_path / "out"]
    nothing = "says of none of these pictures what is present; name labels that say what is present"
    assert nothing in refused(1, [*words, "--labels", tmp_path / "absent"])
    assert nothing in refused(1, [*words, "--labels", photographs.labels, "--validation-labels", tmp_path / "absent"])
    given = ["--labels", photographs.labels, "--validation-labels", tmp_path / "doubtful"]
    with pytest.warns(UserWarning, match="nothing is measured: .*doubtful says of none of these pictures"):
        done = CliRunner().invoke(main, list(map(str, [*words, *given])))
    assert done.exit_code == 0, done.output
    losses = [line for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines() if '"train"' in line]
    assert [json.loads(line)["step"] for line in losses] == [9, 18], "fewer steps than `logs.every_steps`: one an epoch"
    applied = [tmp_path / "out", *files, "--workers", 0, "--device", "cpu", "--labels", tmp_path / "doubtful"]
    for command in (["evaluate", *applied], ["calibrate", *applied, "--out", tmp_path / "fit.pt"]):
        assert "doubtful: says of none of these pictures what is present; name labels of" in refused(1, command)
    assert not (tmp_path / "fit.pt").exists()


def test_maps_in_which_no_pixel_counts_are_neither_learnt_nor_measured(tmp_path: Path) -> None:
    shapes = write_shapes(tmp_path / "shapes", 2, sides=(64, 65))
    run = run_file(tmp_path, "segmentation", "miou")
    words = ["pretrain", run, "--images", shapes.images, "--out", tmp_path / "out", "--labels"]
    assert CliRunner().invoke(main, list(map(str, [*words, shapes.maps]))).exit_code == 0
    (tmp_path / "empty").mkdir()
    for path in shapes.maps.glob("*.png"):
        with Image.open(path) as image:
            Image.new("L", image.size, 255).save(tmp_path / "empty" / path.name)
    applied = ["evaluate", tmp_path / "out", "--images", shapes.images, "--workers", 0, "--device", "cpu"]
    assert "empty: gives no pixel of these pictures a class" in refused(1, [*applied, "--labels", tmp_path / "empty"])
    words[words.index("--out") + 1] = tmp_path / "other"
    for given in ([tmp_path / "empty"], [shapes.maps, "--validation-labels", tmp_path / "empty"]):
        said = refused(1, [*words, *given])
        assert "empty: gives no pixel of these pictures a class; name maps with other values than 255" in said
    one, *_ = sorted(shapes.maps.glob("*.png"))
    (tmp_path / "empty" / one.name).write_bytes(one.read_bytes())
    assert CliRunner().invoke(main, list(map(str, [*words, tmp_path / "empty"]))).exit_code == 0
