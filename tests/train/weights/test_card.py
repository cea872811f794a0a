"""A model card is what Hugging Face's own reader reads, and its figures are those of the run."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from huggingface_hub import ModelCard

from mlimages_dataset.loaders.views import EvaluationView
from mlimages_dataset.tables.files import file_digest
from mlimages_dataset.train.checkpoint import best_path, read_checkpoint
from mlimages_dataset.train.inputs import read_classes
from mlimages_dataset.train.models import create_model
from mlimages_dataset.train.weights.card import Training, model_card
from mlimages_dataset.train.weights.description import Description, Probability, WeightsForm
from mlimages_dataset.train.weights.reading import read_weights
from tests.train.test_main import applied, called, refusal
from tests.train.weights.networks import images, uneven

if TYPE_CHECKING:
    from tests.train.conftest import Photographs

DOCUMENT = Path(__file__).parents[3] / "docs" / "training.md"


def test_a_card_says_what_the_run_says(trained: Path, photographs: Photographs, tmp_path: Path) -> None:
    evaluated = called("evaluate", best_path(trained), *applied(photographs), "--labels", photographs.labels, "--json")
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
    assert "No licence has been chosen" in card.text


def test_what_is_no_run_or_no_evaluation_is_refused(trained: Path, tmp_path: Path) -> None:
    out = ("--out", tmp_path / "README.md")
    assert "holds no run.json; name the folder of a run" in refusal(2, "card", tmp_path, *out)
    (tmp_path / "evaluation.json").write_text('{"n_images": 3}')
    told = refusal(1, "card", trained, *out, "--evaluation", tmp_path / "evaluation.json")
    assert told.endswith("is not what evaluate --json prints; write it again")
    (tmp_path / "evaluation.json").write_text('{"checkpoint_sha256": "of another"}')
    told = refusal(2, "card", trained, *out, "--evaluation", tmp_path / "evaluation.json")
    assert "belongs to another checkpoint; write it with: evaluate " in told
    (tmp_path / "README.md").touch()
    assert "it is there already" in refusal(2, "card", trained, *out)


def carded(run: Path, out: Path) -> str:
    """Return the card that `card` writes of a run."""
    result = called("card", run, "--out", out)
    assert result.exit_code == 0, result.output
    return out.read_text(encoding="utf-8")


@pytest.fixture(name="copied")
def _copied(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained, tmp_path / "run")


@pytest.mark.parametrize(
    "torn", ['{"kind": "eva', '{"kind": "evaluation", "step": 2, "time": 1.0, "f1@5": 0.9}', "\u00e4"]
)
def test_a_last_line_of_the_log_that_a_kill_cut_is_left_out(copied: Path, tmp_path: Path, torn: str) -> None:
    before = carded(copied, tmp_path / "before.md")
    with (copied / "log.jsonl").open("ab") as log:
        log.write(torn.encode() if torn.isascii() else torn.encode()[:1])
    assert carded(copied, tmp_path / "after.md") == before


def test_a_whole_line_that_is_none_of_a_log_is_named(copied: Path, tmp_path: Path) -> None:
    (copied / "log.jsonl").write_text("{}\n[1]\n")
    told = refusal(1, "card", copied, "--out", tmp_path / "README.md")
    assert "log.jsonl, line 2: is not a line of a run's log" in told


def test_the_command_in_the_card_converts_the_checkpoint_that_it_is_of(copied: Path, tmp_path: Path) -> None:
    assert "convert RUN/checkpoints/best.pt --to FORM" in carded(copied, tmp_path / "best.md")
    best_path(copied).unlink()
    assert "convert RUN/checkpoints/step-000000002.pt --to FORM" in carded(copied, tmp_path / "newest.md")


def test_places_of_the_settings_are_left_out(copied: Path, tmp_path: Path) -> None:
    run = json.loads((copied / "run.json").read_text())
    run["model"]["weights"], run["loss"]["pair_counts"] = "/home/me/secret.pt", "s3://mine/pairs"
    (copied / "run.json").write_text(json.dumps(run))
    text = carded(copied, tmp_path / "README.md")
    assert not any(name in text for name in ("secret", "s3://", "model.weights", "loss.pair_counts"))
    assert "| model.batch_norm_epsilon | 0.001 |" in text


def test_digests_are_said_to_be_of_today_and_what_is_gone_is_named(copied: Path, tmp_path: Path) -> None:
    of_today = "Digests of labels and images are of the files as they were when this card was written."
    text = carded(copied, tmp_path / "there.md")
    assert of_today in text
    assert "not there any more" not in text
    run = json.loads((copied / "run.json").read_text())
    run["data"]["labels"] = str(tmp_path / "gone")
    (copied / "run.json").write_text(json.dumps(run))
    text = carded(copied, tmp_path / "gone.md")
    assert "No digest, because the files are not there any more: labels." in text
    assert "| labels | `" not in text
    assert "| validation labels | `" in text
    run["data"].update(images=str(tmp_path / "gone"), validation_labels=None)
    (copied / "run.json").write_text(json.dumps(run))
    text = carded(copied, tmp_path / "none.md")
    assert "No digest, because the files are not there any more: labels, images." in text
    assert of_today not in text


def card_of(description: Description, *, calibrated: bool = False) -> str:
    training = Training(steps=1, epochs=1, digests={}, settings={})
    return model_card(
        "m", description, training, None, checkpoint="checkpoints/best.pt", calibrated=calibrated, license_id=""
    )


def test_the_card_says_how_logits_become_probabilities(trained: Path, tmp_path: Path) -> None:
    plain = Description(architecture="resnet18", n_classes=2, norm_epsilon=1e-3)
    softmax = dataclasses.replace(plain, probability=Probability.SOFTMAX)
    rates = dataclasses.replace(plain, loss="concurrent-softmax")
    assert "Probabilities are the sigmoid of the logits." in card_of(plain)
    assert "slope" not in card_of(plain)
    assert "Probabilities are the softmax of the logits." in card_of(softmax)
    assert "Probabilities are sigmoid(slope * logit + offset)" in card_of(plain, calibrated=True)
    assert "`calibration.slope` and `calibration.offset` of the safetensors file" in card_of(plain, calibrated=True)
    text = card_of(rates, calibrated=True)
    assert "Probabilities are sigmoid(slope * score + offset)" in text
    assert "Only the run's own checkpoint holds the rates" in text
    assert "of the logits." not in card_of(rates)
    assert "Probabilities are sigmoid(slope * logit + offset)" in carded(trained, tmp_path / "README.md")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["googlenet", "resnet18", "timm/resnet18"])
def test_the_snippet_loads_what_convert_wrote(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = 64
    state = uneven(create_model(name, 3)).state_dict()
    torch.save(state, tmp_path / "own.pt")
    form, file = ("timm", "model.safetensors") if name.startswith("timm/") else ("torchvision", "model.pth")
    options = ("--architecture", name, "--image-size", str(size), "--to", form, "--out", tmp_path / file)
    assert called("convert", tmp_path / "own.pt", *options).exit_code == 0
    weights = read_weights(tmp_path / file)
    (snippet,) = re.findall(rf"```python\n(# --to {form}.*?)```", card_of(weights.description), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(snippet, names)  # noqa: S102 - the text under test
    with torch.inference_mode():
        expected, found = weights.model()(images(size)), names["network"](images(size))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * max(1.0, float(expected.abs().max())))


def test_help_needs_no_torch_and_lists_every_choice() -> None:
    program = (
        "import sys; from mlimages_dataset.train.weights.command import convert;"
        "print(*(choice for one in convert.params for choice in getattr(one.type, 'choices', ())));"
        "print('torch' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    enums = (WeightsForm, Probability, EvaluationView)
    assert told == [*(option.value for options in enums for option in options), "False"]


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
