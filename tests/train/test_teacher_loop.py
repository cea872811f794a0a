"""The documented commands close the loop: a teacher is trained, predicts, and labels gain what it saw together."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from mlimages_dataset import samples
from mlimages_dataset.schemas import CATEGORIES, LABELS, PREDICTIONS, Origin
from mlimages_dataset.storage import read_table, table_parts
from tests.train.conftest import DOCUMENT

TRUTH = Path(__file__).parent / "photograph_truth.txt"


def documented(mark: str, language: str) -> str:
    """Return the block that the documentation has under a mark."""
    pattern = rf"<!-- {mark} -->\n```{language}\n(.*?)^```$"
    (block,) = re.findall(pattern, DOCUMENT.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return str(block)


@pytest.mark.slow
def test_the_documented_commands_close_the_loop(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(documented("teacher loop: recipe", "toml"), encoding="utf-8")
    commands = documented("teacher loop: inputs", "bash") + documented("teacher loop", "bash")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=tmp_path,
        env={
            **os.environ,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "OMP_NUM_THREADS": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr

    # The teacher: better than chance on photographs that it has not learnt from, and as sure as it is right.
    told = {line.split()[0]: line.split() for line in done.stdout.splitlines() if line.strip()}
    by_chance = re.search(r"by chance: precision ([\d.]+), map ([\d.]+)", done.stdout)
    assert by_chance is not None
    assert float(told["precision@5"][1]) >= 2 * float(by_chance[1])
    assert float(told["map"][1]) >= 1.5 * float(by_chance[2])
    labels = re.search(r"labels an image: ([\d.]+), and ([\d.]+) by its probabilities", done.stdout)
    assert labels is not None
    assert 0.5 < float(labels[2]) / float(labels[1]) < 2

    predictions = [
        row for part in table_parts(tmp_path / "predictions") for row in read_table(part, PREDICTIONS).to_pylist()
    ]
    assert [row["image_id"] for row in predictions] == sorted(path.stem for path in samples.photographs().glob("*.jpg"))
    assert {label["origin"] for row in predictions for label in row["labels"]} == {int(Origin.MODEL_PREDICTION)}
    assert all(0.5 < label["confidence"] < 1 for row in predictions for label in row["labels"])

    # Labels grow by some, and what is added is mostly true.
    assert pq.read_table(tmp_path / "cooccurrence" / "implications.parquet").num_rows > 0
    rows = [row for part in table_parts(tmp_path / "labels" / "train") for row in read_table(part, LABELS).to_pylist()]
    present = [[label for label in row["labels"] if label["confidence"] > 0] for row in rows]
    added = [[one for one in labels if one["origin"] == Origin.CO_OCCURRENCE] for labels in present]
    n_present, n_added = sum(map(len, present)), sum(map(len, added))
    assert 0 < n_added <= n_present / 2
    names = [
        name.partition(",")[0]
        for name in read_table(tmp_path / "build" / "vocabulary" / "categories.parquet", CATEGORIES)["name"].to_pylist()
    ]
    held_out = {row["image_id"] for row in rows} - {
        row["image_id"]
        for part in table_parts(tmp_path / "taught" / "train")
        for row in read_table(part, LABELS).to_pylist()
    }
    truth = true_classes()
    pairs = [
        (row["image_id"], names[one["class_index"]]) for row, labels in zip(rows, added, strict=True) for one in labels
    ]
    judged = [name in truth[image_id] for image_id, name in pairs]
    chance = sum(len(truth[row["image_id"]]) for row in rows) / (len(rows) * len(names))
    assert sum(judged) / len(judged) >= 2 * chance
    unseen = [name in truth[image_id] for image_id, name in pairs if image_id in held_out]
    assert not unseen or sum(unseen) / len(unseen) >= 2 * chance


def true_classes() -> dict[str, set[str]]:
    """Return the classes of each photograph that a person sees in it, by name."""
    lines = TRUTH.read_text(encoding="utf-8").splitlines()
    return {line.partition(":")[0]: {name.strip() for name in line.partition(":")[2].split(",")} for line in lines}
