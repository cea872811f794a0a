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
from mlimages_dataset.schemas import PREDICTIONS, Origin
from mlimages_dataset.storage import read_table, table_parts
from tests.train.conftest import DOCUMENT, write_inputs


def commands() -> str:
    """Return the commands that the documentation marks."""
    pattern = r"<!-- teacher loop -->\n```bash\n(.*?)^```$"
    (block,) = re.findall(pattern, DOCUMENT.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return str(block)


@pytest.mark.slow
def test_the_documented_commands_close_the_loop(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PHOTOGRAPHS": str(samples.photographs()),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands()],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr

    predictions = [
        row for part in table_parts(tmp_path / "predictions") for row in read_table(part, PREDICTIONS).to_pylist()
    ]
    assert [row["image_id"] for row in predictions] == sorted(path.stem for path in samples.photographs().glob("*.jpg"))
    labels = [label for row in predictions for label in row["labels"]]
    assert len(labels) > len(predictions), "the teacher has learnt something"
    assert {label["origin"] for label in labels} == {int(Origin.MODEL_PREDICTION)}
    assert min(label["confidence"] for label in labels) > 0.5
    implied = pq.read_table(tmp_path / "cooccurrence" / "implications.parquet").num_rows
    assert implied > 0
    origins = {
        label["origin"]
        for part in table_parts(tmp_path / "labels" / "train")
        for row in pq.read_table(part).to_pylist()
        for label in row["labels"]
    }
    assert int(Origin.CO_OCCURRENCE) in origins
