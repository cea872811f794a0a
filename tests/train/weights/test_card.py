"""A model card is what Hugging Face's own reader reads, and its figures are those of the run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from huggingface_hub import ModelCard

from mlimages_dataset.storage import file_digest
from mlimages_dataset.train.checkpoint import best_path, read_checkpoint
from mlimages_dataset.train.stage import read_classes
from tests.train.test_main import applied, called, refusal

if TYPE_CHECKING:
    from tests.train.conftest import Photographs

DOCUMENT = Path(__file__).parents[3] / "docs" / "training.md"


def test_a_card_says_what_the_run_says(trained: Path, photographs: Photographs, tmp_path: Path) -> None:
    evaluated = called("evaluate", trained, *applied(photographs), "--labels", photographs.labels, "--json")
    assert evaluated.exit_code == 0, evaluated.output
    (tmp_path / "evaluation.json").write_text(evaluated.stdout)
    options = ("--evaluation", tmp_path / "evaluation.json", "--name", "small: a | b", "--license", "cc-by-4.0")
    result = called("card", trained, *options, "--dataset", "me/photographs", "--out", tmp_path / "README.md")
    assert result.exit_code == 0, result.output

    card = ModelCard.load(tmp_path / "README.md")
    assert (card.data.license, card.data.pipeline_tag) == ("cc-by-4.0", "image-classification")
    assert (card.data.model_name, card.data.datasets) == ("small: a | b", ["me/photographs"])
    told = json.loads(evaluated.stdout)
    found = {one.metric_type: one.metric_value for one in card.data.eval_results}
    assert found["mean average precision"] == pytest.approx(told["mean_average_precision"], rel=1e-5)
    assert found["f1@5"] == pytest.approx(next(one["f1"] for one in told["instance"] if one["k"] == 5), rel=1e-5)
    for group in told["groups"]:
        if group["n_classes"]:
            assert f"| {group['group']} | {group['mean']:.4f} | {group['n_classes']:,} |" in card.text
    checkpoint = read_checkpoint(best_path(trained))
    for text in (
        checkpoint.vocabulary,
        file_digest(best_path(trained)),
        f"{checkpoint.progress.total_steps:,} steps",
        "mean 0.5/0.5/0.5, std 0.5/0.5/0.5",
        "32 x 32 pixels",
        "Batch normalisation adds 0.001 to the variance",
        f"| 0 | {read_classes(photographs.vocabulary).wnids[0]} | ",
        "The weights: cc-by-4.0.",
    ):
        assert text in card.text
    assert str(photographs.images) not in card.text, "paths of this machine are nobody's business"


def test_without_an_evaluation_the_log_counts_and_without_a_licence_it_says_so(trained: Path, tmp_path: Path) -> None:
    assert called("card", trained, "--out", tmp_path / "README.md").exit_code == 0
    card = ModelCard.load(tmp_path / "README.md")
    lines = [json.loads(line) for line in (trained / "log.jsonl").read_text().splitlines()]
    logged = next(line for line in reversed(lines) if line["kind"] == "evaluation")
    found = {one.metric_type: one.metric_value for one in card.data.eval_results}
    assert found["f1@5"] == pytest.approx(logged["f1@5"], rel=1e-5)
    assert card.data.license == "other"
    assert "Nobody has chosen a licence" in card.text


def test_what_is_no_run_or_no_evaluation_is_refused(trained: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "README.md")
    assert "holds no run.json; name the folder of a run" in refusal(2, "card", tmp_path, *out)
    (tmp_path / "evaluation.json").write_text('{"n_images": 3}')
    told = refusal(1, "card", trained, *out, "--evaluation", tmp_path / "evaluation.json")
    assert told.endswith("is not what evaluate --json prints; write it again")
    (tmp_path / "README.md").touch()
    assert "it is there already" in refusal(2, "card", trained, *out)


@pytest.mark.slow
def test_the_documented_commands_run(trained: Path, tmp_path: Path) -> None:
    pattern = r"<!-- weights -->\n```bash\n(.*?)^```$"
    (block,) = re.findall(pattern, DOCUMENT.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    (tmp_path / "run").symlink_to(trained)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", str(block)],
        cwd=tmp_path,
        env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    written = {"README.md", "back.pt", "model.onnx", "model.safetensors", "timm.safetensors", "torchvision.pth"}
    assert {path.name for path in tmp_path.iterdir()} == {*written, "torchvision.pth.json", "run"}
    differences = re.findall(r"logits differ by at most (\S+)", done.stdout)
    assert len(differences) == 5
    assert all(float(one) <= 1e-5 for one in differences), done.stdout
