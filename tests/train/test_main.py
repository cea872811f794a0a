"""`python -m mlimages_dataset.train`: what goes wrong is one sentence with its remedy, and nothing is half done."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner, Result

from cli.main import main as build
from mlimages_dataset import __version__
from mlimages_dataset.loaders import MLImages, train_transform
from mlimages_dataset.tables.parquet import read_table, table_parts
from mlimages_dataset.tables.schemas import PREDICTIONS
from mlimages_dataset.train.__main__ import main
from mlimages_dataset.train.checkpoint import newest_checkpoint, read_checkpoint, save_checkpoint
from mlimages_dataset.train.config import Data, Phase, Run
from mlimages_dataset.train.feed import ImageFeed
from mlimages_dataset.train.inputs import read_classes
from mlimages_dataset.train.tasks.registry import task_of_run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.train.conftest import Photographs

RUN = """
epochs = 1
[model]
name = "resnet18"
[schedule]
learning_rate = 0.001
batch_size = 8
[[phases]]
batch_size = 17
image_size = 32
[execution]
device = "cpu"
precision = "float32"
[data]
workers = 0
[checkpoints]
every_steps = 0
[logs]
every_steps = 1
"""


def called(*arguments: str | Path) -> Result:
    """Return what became of a command."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def refusal(code: int, *arguments: str | Path) -> str:
    """Return the sentence with which a command is refused."""
    result = called(*arguments)
    assert result.exit_code == code, result.output
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1, "one sentence"
    return result.stderr.removeprefix("Error: ").rstrip()


@pytest.fixture(name="run_toml", scope="module")
def _run_toml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run") / "run.toml"
    path.write_text(RUN, encoding="utf-8")
    return path


@pytest.fixture(name="trained", scope="module")
def _trained(run_toml: Path, photographs: Photographs) -> Path:
    """Return the folder of a run of two steps."""
    out = run_toml.parent / "out"
    result = called("pretrain", run_toml, *files(photographs), "--validation-labels", photographs.labels, "--out", out)
    assert result.exit_code == 0, result.output
    return out


def files(photographs: Photographs) -> tuple[str | Path, ...]:
    return (
        *("--images", photographs.images),
        *("--labels", photographs.labels),
        *("--vocabulary", photographs.vocabulary),
    )


def applied(photographs: Photographs) -> tuple[str | Path, ...]:
    return "--images", photographs.images, "--vocabulary", photographs.vocabulary, "--workers", "0"


@pytest.mark.parametrize(
    "ask",
    [
        lambda: torch.empty(1 << 55),
        lambda: np.empty(1 << 55),
        lambda: exec("raise MemoryError"),  # noqa: S102 - a lambda cannot raise
        lambda: exec("import torch; raise torch.OutOfMemoryError('CUDA out of memory.\\nMore')"),  # noqa: S102 - as above
    ],
)
def test_a_lack_of_memory_is_one_sentence(ask: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(main).__mro__[1], "invoke", lambda *_: ask())
    ran = called("plan", "x")
    assert ran.exit_code == 1
    assert ran.stderr.startswith("Error: there is not enough memory")
    assert ran.stderr.endswith("; use a smaller batch_size or image_size, or devices and machines with more\n")
    assert ran.stderr.count("\n") == 1


def test_help_lists_every_command() -> None:
    told = called("--help").output
    assert all(name in told for name in ("pretrain", "finetune", "evaluate", "predict", "extract", "plan"))
    for name in main.commands:
        assert called(name, "--help").exit_code == 0


def test_a_run_leaves_its_checkpoints_its_log_and_what_it_was(trained: Path) -> None:
    newest = newest_checkpoint(trained)
    assert newest is not None
    checkpoint = read_checkpoint(newest)
    assert checkpoint.progress.total_steps == 2
    assert checkpoint.progress.best >= 0
    assert (trained / "checkpoints" / "best.pt").is_file()
    kinds = [json.loads(line)["kind"] for line in (trained / "log.jsonl").read_text().splitlines()]
    assert kinds == ["run", "train", "train", "evaluation"]
    assert json.loads((trained / "run.json").read_text())["model"]["name"] == "resnet18"


def test_a_finished_run_has_nothing_left_to_do(trained: Path, run_toml: Path, photographs: Photographs) -> None:
    before = (trained / "checkpoints").stat().st_mtime_ns
    assert called("pretrain", run_toml, *files(photographs), "--out", trained).exit_code == 0
    assert (trained / "checkpoints").stat().st_mtime_ns == before


def test_predictions_are_a_table_that_stands(trained: Path, photographs: Photographs, tmp_path: Path) -> None:
    arguments = ("predict", trained, *applied(photographs), "--above", "0.3", "--out", tmp_path / "out")
    ran = called(*arguments)
    assert (ran.exit_code, ran.stderr) == (0, ""), "the checkpoint holds a fit"
    rows = [row for part in table_parts(tmp_path / "out") for row in read_table(part, PREDICTIONS).to_pylist()]
    assert [row["image_id"] for row in rows] == sorted(path.stem for path in photographs.images.glob("*.jpg"))
    for row in rows:
        indices = [label["class_index"] for label in row["labels"]]
        assert indices == sorted(set(indices))
        assert all(label["confidence"] > 0.3 for label in row["labels"])
    assert "nothing to do" in called(*arguments).output


def test_features_are_lists_of_the_models_size(trained: Path, photographs: Photographs, tmp_path: Path) -> None:
    assert called("extract", trained, *applied(photographs), "--out", tmp_path / "out").exit_code == 0
    table = pa.concat_tables(pq.read_table(part) for part in table_parts(tmp_path / "out"))
    assert table.num_rows == len(list(photographs.images.glob("*.jpg")))
    assert table.schema.field("features").type == pa.list_(pa.field("element", pa.float32(), nullable=False), 512)


def test_evaluation_tells_every_measure(trained: Path, photographs: Photographs) -> None:
    result = called("evaluate", trained, *applied(photographs), "--labels", photographs.labels, "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["n_images"] == len(list(photographs.images.glob("*.jpg")))
    assert {group["kind"] for group in told["groups"]} == {"root", "depth", "images"}
    lower, upper = told["mean_average_precision_bounds"]
    assert lower <= told["mean_average_precision"] <= upper
    assert upper - lower == pytest.approx(2 * told["error"])
    in_words = called("evaluate", trained, *applied(photographs), "--labels", photographs.labels).stdout.splitlines()
    (line,) = (line for line in in_words if line.split()[0] == "map")
    assert line.split(maxsplit=2)[1:] == [f"{told['mean_average_precision']:.4f}", f"({lower:.4f} to {upper:.4f})"]
    assert f"by chance: precision {told['chance_precision']:.4f}, map {told['chance']:.4f}" in in_words
    assert any(line.startswith(f"labels per image: {told['labels']:.2f}, and ") for line in in_words)


def test_fine_tuning_keeps_all_but_the_head(trained: Path, photographs: Photographs, tmp_path: Path) -> None:
    frozen = dict.fromkeys(("conv1", "bn1", "layer1", "layer2"), 0.0)
    rates = ", ".join(f'"backbone.{name}" = {rate}' for name, rate in frozen.items())
    tuned = tmp_path / "tuned.toml"
    text = RUN.replace("[model]\n", "[model]\nfrozen_statistics = true\n")
    tuned.write_text(f'{text}[loss]\nname = "softmax"\n[optimizer]\nlayer_rates = {{ {rates} }}\n')
    out = tmp_path / "out"
    result = called("finetune", tuned, *files(photographs), "--weights", trained, "--out", out)
    assert result.exit_code == 0, result.output
    before, after = (read_checkpoint(newest_checkpoint(folder) or folder).model for folder in (trained, out))
    stayed = {name for name, value in before.items() if torch.equal(value, after[name])}
    assert {name for name, _ in _parameters(before) if name not in stayed} == {
        name for name, _ in _parameters(before) if not any(name.startswith(f"backbone.{part}.") for part in frozen)
    }
    assert "no model.weights; pass --weights, or write model.weights in the run file" in refusal(
        2, "finetune", tuned, *files(photographs), "--out", tmp_path / "other"
    )


def _parameters(state: dict[str, torch.Tensor]) -> list[tuple[str, torch.Tensor]]:
    return [(name, value) for name, value in state.items() if "running" not in name and "num_batches" not in name]


def test_a_plan_says_what_it_will_take(run_toml: Path, tmp_path: Path) -> None:
    curve = tmp_path / "rate.png"
    size, pace, ranks = ("--dataset-size", "170"), ("--images-per-second", "17"), ("--ranks", "1")
    result = called("plan", run_toml, *size, *pace, *ranks, "--curve", curve)
    assert result.exit_code == 0, result.output
    parameters, memory, steps, hours, *supply = result.stdout.splitlines()
    assert "with a head of 11,166 classes (assumed, those of Tencent ML-Images" in parameters
    assert "17 images per pass" in memory
    assert steps == "10 steps of 1 pass: 1 epochs of 170 images"
    assert hours == "0.0 hours at 17.0 images/s"
    assert len(supply) == 4, "the rate of a core, cores of a rank and of a machine, the storage"
    assert curve.read_bytes().startswith(b"\x89PNG")


def test_a_misspelt_key_is_refused(photographs: Photographs, tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(RUN.replace("batch_size = 17", "batchsize = 17"))
    told = refusal(2, "pretrain", path, *files(photographs), "--out", tmp_path / "out")
    assert told == f"{path}: unknown key phases[0].batchsize; did you mean batch_size?"


def test_a_measure_that_there_is_not_is_refused_before_training(photographs: Photographs, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(RUN.replace("[checkpoints]", '[checkpoints]\nbest = "f2"'))
    validated = (*files(photographs), "--validation-labels", photographs.labels)
    told = refusal(2, "pretrain", tmp_path / "run.toml", *validated, "--out", tmp_path / "out")
    assert told.startswith("checkpoints.best is 'f2', which is not a measure; use precision@1, recall@1, f1@1, ")
    assert not (tmp_path / "out").exists()


def test_labels_of_another_vocabulary_are_refused_for_evaluation_too(
    trained: Path, run_toml: Path, photographs: Photographs, tmp_path: Path
) -> None:
    table = pq.read_table(next(iter(table_parts(photographs.labels))))
    inputs = json.dumps({"vocabulary/categories.parquet": "0" * 64})
    metadata = {**table.schema.metadata, b"mlimages.inputs": inputs.encode()}
    (tmp_path / "labels").mkdir()
    pq.write_table(table.replace_schema_metadata(metadata), tmp_path / "labels" / "part-00000.parquet")
    labels = tmp_path / "labels"
    validated = (*files(photographs), "--validation-labels", labels)
    told = refusal(2, "pretrain", run_toml, *validated, "--out", tmp_path / "out")
    assert "part-00000.parquet: it was made with another vocabulary than the one given" in told
    assert told == refusal(2, "evaluate", trained, *applied(photographs), "--labels", labels)


def test_the_head_starts_at_the_shares_of_the_labels(photographs: Photographs, tmp_path: Path) -> None:
    text = RUN.replace("learning_rate = 0.001", "learning_rate = 1e-9\nwarmup_start = 1e-9")
    (tmp_path / "run.toml").write_text(f"{text}[loss]\nprior_bias = true\n")
    result = called("pretrain", tmp_path / "run.toml", *files(photographs), "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    rows = [row["labels"] for part in table_parts(photographs.labels) for row in pq.read_table(part).to_pylist()]
    newest = newest_checkpoint(tmp_path / "out")
    assert newest is not None
    bias = read_checkpoint(newest).model["head.bias"]
    present = torch.zeros(len(bias))
    for labels in rows:
        present[[label["class_index"] for label in labels if label["confidence"] > 0]] += 1
    torch.testing.assert_close(bias, ((present + 0.5) / (len(rows) - present + 0.5)).log(), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_sigterm_to_all_processes_of_a_job_still_saves(photographs: Photographs, tmp_path: Path) -> None:
    text = RUN.replace("epochs = 1", "epochs = 1000").replace("batch_size = 17", "batch_size = 2")
    (tmp_path / "run.toml").write_text(text.replace("workers = 0", "workers = 1\nprefetch = 1"))
    command = [sys.executable, "-m", "mlimages_dataset.train", "pretrain", tmp_path / "run.toml"]
    out = tmp_path / "out"
    job = subprocess.Popen(
        [*map(str, (*command, *files(photographs), "--out", out))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert job.stdout is not None
    next(line for line in job.stdout if "train:" in line)
    os.killpg(job.pid, signal.SIGTERM)
    _, told = job.communicate(timeout=120)
    assert job.returncode == 75, told
    assert newest_checkpoint(out) is not None


def test_a_run_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    told = refusal(2, "pretrain", tmp_path / "run.toml", "--out", tmp_path / "out")
    assert told.endswith("cannot be read (No such file or directory); check the path")


def test_images_that_are_not_there_are_refused(run_toml: Path, photographs: Photographs, tmp_path: Path) -> None:
    given = dataclasses.replace(photographs, images=tmp_path / "none")
    told = refusal(2, "pretrain", run_toml, *files(given), "--out", tmp_path / "out")
    assert told.startswith(f"{tmp_path / 'none'}: there is no such folder")
    (tmp_path / "none").mkdir()
    told = refusal(2, "pretrain", run_toml, *files(given), "--out", tmp_path / "out")
    assert f"none of 34 labelled images has a picture in {tmp_path / 'none'}" in told
    told = refusal(2, "predict", "x.pt", *applied(given), "--out", tmp_path / "out")
    assert told.startswith("x.pt: there is no such checkpoint")


def test_predicting_for_an_empty_folder_is_refused(trained: Path, photographs: Photographs, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    given = dataclasses.replace(photographs, images=tmp_path / "none")
    assert "holds no picture" in refusal(2, "predict", trained, *applied(given), "--out", tmp_path / "out")


def test_files_that_nobody_names_are_asked_for(run_toml: Path, photographs: Photographs, tmp_path: Path) -> None:
    out, vocabulary = ("--out", tmp_path / "out"), ("--vocabulary", photographs.vocabulary)
    assert refusal(2, "pretrain", run_toml) == (
        "no data.images, data.labels, data.vocabulary and --out; pass --images, --labels, --vocabulary and --out, or "
        "write data.images, data.labels and data.vocabulary in the run file"
    )
    assert refusal(2, "pretrain", run_toml, *out) == (
        "no data.images, data.labels and data.vocabulary; pass --images, --labels and --vocabulary, or write "
        "data.images, data.labels and data.vocabulary in the run file"
    )
    assert refusal(2, "pretrain", run_toml, *out, *vocabulary).startswith("no data.images and data.labels; ")
    assert refusal(2, "pretrain", run_toml, *files(photographs)) == "no --out; pass --out"
    assert refusal(2, "finetune", run_toml, *vocabulary, "--labels", photographs.labels) == (
        "no data.images, model.weights and --out; pass --images, --weights and --out, or write data.images and "
        "model.weights in the run file"
    )
    assert not list(tmp_path.iterdir())


def test_a_run_file_may_name_all_that_a_run_needs(photographs: Photographs, tmp_path: Path) -> None:
    places = {name: str(getattr(photographs, name)) for name in ("images", "labels", "vocabulary")}
    named = "".join(f"{name} = {json.dumps(place)}\n" for name, place in places.items())
    (tmp_path / "run.toml").write_text(RUN.replace("[data]\n", f"[data]\n{named}"))
    assert refusal(2, "pretrain", tmp_path / "run.toml") == "no --out; pass --out"
    result = called("pretrain", tmp_path / "run.toml", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("command", ["pretrain", "finetune"])
def test_the_help_says_what_is_required(command: str) -> None:
    told = " ".join(called(command, "--help").stdout.split())
    command += " --weights PLACE" if command == "finetune" else ""
    assert f"{command} --images PLACE --labels PLACE --vocabulary PLACE --out FOLDER [OPTIONS] RUN_TOML" in told
    options = told.partition("Options:")[2]
    for name in ("images", "labels", "vocabulary", *(["weights"] if "--weights" in command else [])):
        of_one = options.partition(f"--{name} PLACE")[2].partition(" --")[0]
        assert of_one.endswith("[required unless RUN_TOML names it]"), name
    assert "The run's folder. [required]" in options
    assert options.count("[required") == (5 if "--weights" in command else 4)


def test_out_is_the_runs_folder_and_curve_the_picture(run_toml: Path, tmp_path: Path) -> None:
    size = ("--dataset-size", "34", "--images-per-second", "10")
    curve, out = tmp_path / "rate.png", tmp_path / "out"
    result = called("plan", run_toml, *size, "--curve", curve)
    assert result.exit_code == 0, result.output
    assert curve.read_bytes().startswith(b"\x89PNG")
    told = refusal(2, "pretrain", run_toml, "--out", out, "--curve", curve)
    assert told == "--curve goes with --plan; pass both, or neither"
    assert "picture" not in called("pretrain", "--help").stdout.partition("--out")[2].partition("--plan")[0]


@pytest.mark.slow
def test_pretrain_with_plan_writes_the_picture_where_curve_says(
    run_toml: Path, photographs: Photographs, tmp_path: Path
) -> None:
    curve, out = tmp_path / "rate.png", tmp_path / "out"
    result = called("pretrain", run_toml, "--plan", *files(photographs), "--out", out, "--curve", curve)
    assert result.exit_code == 0, result.output
    assert curve.read_bytes().startswith(b"\x89PNG")
    assert not out.exists(), "a plan writes nothing there"


def test_the_version_is_the_packages() -> None:
    result = called("--version")
    assert (result.exit_code, result.stdout) == (0, f"python -m mlimages_dataset.train, version {__version__}\n")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused(photographs: Photographs, tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(RUN.replace('"cpu"', '"cuda"'))
    told = refusal(2, "pretrain", path, *files(photographs), "--out", tmp_path / "out")
    assert told == 'no GPU is found, and device = "cuda" asks for one; write device = "cpu" or "auto"'


def test_a_checkpoint_of_another_vocabulary_is_refused(
    trained: Path, run_toml: Path, photographs: Photographs, tmp_path: Path
) -> None:
    newest = newest_checkpoint(trained)
    assert newest is not None
    checkpoint = read_checkpoint(newest)
    other, fewer = tmp_path / "other.pt", tmp_path / "fewer.pt"
    save_checkpoint(other, dataclasses.replace(checkpoint, vocabulary="0" * 64))
    save_checkpoint(fewer, dataclasses.replace(checkpoint, vocabulary="0" * 64, n_classes=7))
    told = refusal(2, "predict", other, *applied(photographs), "--out", tmp_path / "out")
    assert "it was trained with another vocabulary (digest 000000000000, not " in told
    told = refusal(2, "evaluate", fewer, *applied(photographs), "--labels", photographs.labels)
    assert "its head has 7 classes, but the vocabulary has " in told

    resumed = tmp_path / "run"
    (resumed / "checkpoints").mkdir(parents=True)
    (resumed / "run.json").touch()
    other.rename(resumed / "checkpoints" / newest.name)
    told = refusal(2, "pretrain", run_toml, *files(photographs), "--out", resumed)
    assert "it was trained with another vocabulary" in told


def test_a_folder_of_another_run_is_refused(trained: Path, photographs: Photographs, tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(RUN.replace("learning_rate = 0.001", "learning_rate = 0.002"))
    told = refusal(2, "pretrain", path, *files(photographs), "--out", trained)
    assert "it belongs to another run: schedule.learning_rate was 0.001 and is now 0.002; name another --out" in told
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    told = refusal(2, "pretrain", path, *files(photographs), "--out", tmp_path / "mine")
    assert "the folder holds files but no run.json" in told


def test_weights_of_another_network_are_refused(trained: Path, photographs: Photographs, tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(RUN.replace("resnet18", "resnet34"))
    told = refusal(2, "pretrain", path, *files(photographs), "--weights", trained, "--out", tmp_path / "out")
    assert "its weights belong to resnet18, not to resnet34; " in told
    assert told.endswith("write resnet18 as the model.name (or --architecture) that it was trained with")


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04" + bytes(100)])
def test_a_damaged_checkpoint_is_refused(photographs: Photographs, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "cut.pt").write_bytes(content)
    told = refusal(1, "predict", tmp_path / "cut.pt", *applied(photographs), "--out", tmp_path / "out")
    assert told.startswith(f"{tmp_path / 'cut.pt'}: is not a complete checkpoint (")


@pytest.mark.slow
def test_a_run_goes_on_past_a_damaged_newest_checkpoint_to_the_same_end(
    photographs: Photographs, tmp_path: Path
) -> None:
    (tmp_path / "run.toml").write_text(RUN.replace("every_steps = 0", "every_steps = 1"))
    command = ("pretrain", tmp_path / "run.toml", *files(photographs), "--out", tmp_path / "out")
    assert called(*command).exit_code == 0
    first, newest = sorted((tmp_path / "out" / "checkpoints").glob("step-*.pt"))
    content = bytearray(newest.read_bytes())
    newest.rename(tmp_path / "whole.pt")
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    told = refusal(1, "predict", newest, *applied(photographs), "--out", tmp_path / "predicted")
    assert told.startswith(f"{newest}: is not a complete checkpoint (")
    result = called(*command)
    assert result.exit_code == 0, result.output
    (line,) = [line for line in result.stdout.splitlines() if "damaged" in line]
    assert f"{newest} is not a complete checkpoint (" in line
    assert line.endswith(f": it is now {newest.name}.damaged, and the run resumes from {first.name}")
    assert newest.with_name(f"{newest.name}.damaged").read_bytes() == content
    again, whole = read_checkpoint(newest), read_checkpoint(tmp_path / "whole.pt")
    assert again.progress == whole.progress
    assert all(torch.equal(again.model[name], value) for name, value in whole.model.items())
    assert "damaged" not in called(*command).stdout


def test_a_run_stopped_within_an_epoch_goes_on_with_as_many_images_only(
    trained: Path, run_toml: Path, photographs: Photographs, tmp_path: Path
) -> None:
    newest = newest_checkpoint(trained)
    assert newest is not None
    whole = read_checkpoint(newest)
    place = {"epoch": 0, "position": 17, "order": "16 rows shuffled, seed 0"}
    cut = dataclasses.replace(whole, progress=dataclasses.replace(whole.progress, epoch=0, step=1), sampler=place)
    (tmp_path / "run.json").write_text("{}")
    save_checkpoint(tmp_path / "checkpoints" / newest.name, cut)
    told = refusal(2, "pretrain", run_toml, "--out", tmp_path, *files(photographs))
    assert "saved within an epoch of 16 rows shuffled, seed 0, but the run now has 34 rows shuffled, seed 0" in told


def test_a_pass_of_one_small_image_is_refused(photographs: Photographs, tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(
        RUN.replace('precision = "float32"', 'precision = "float32"\nimages_per_pass = 1'), encoding="utf-8"
    )
    told = refusal(2, "pretrain", path, "--out", tmp_path / "out", *files(photographs))
    assert told.startswith("a pass has one image of 32 pixels, but batch norm needs at least two values per channel")
    assert not (tmp_path / "out").exists()


def test_an_epochs_last_pass_of_one_small_image_is_refused_before_the_first(
    photographs: Photographs, tmp_path: Path
) -> None:
    path = tmp_path / "run.toml"
    path.write_text(RUN.replace("batch_size = 17", "batch_size = 11"), encoding="utf-8")
    told = refusal(2, "pretrain", path, "--out", tmp_path / "out", *files(photographs))  # 34 images: 3 x 11 + 1
    assert told.startswith("a pass has one image of 32 pixels")
    path.write_text(
        RUN.replace("batch_size = 17\nimage_size = 32", "batch_size = 11\nimage_size = 64"), encoding="utf-8"
    )
    ran = called("pretrain", path, "--out", tmp_path / "out", *files(photographs))
    assert ran.exit_code == 0, "a larger image leaves four values"
    assert ran.output.splitlines()[-1].startswith("done: 1 epochs; the last checkpoint is ")


def test_labels_of_all_splits_are_refused(run_toml: Path, photographs: Photographs, tmp_path: Path) -> None:
    both = (*files(photographs), "--labels", photographs.labels.parent)
    told = refusal(2, "pretrain", run_toml, "--out", tmp_path / "out", *both)
    assert "holds the labels of several splits; name " in told


def test_evaluating_the_labels_of_all_splits_is_refused(trained: Path, photographs: Photographs) -> None:
    told = refusal(2, "evaluate", trained, *applied(photographs), "--labels", photographs.labels.parent)
    assert "holds the labels of several splits; name " in told


def test_a_batch_that_cannot_be_divided_is_refused(photographs: Photographs, tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(RUN.replace("[execution]\n", "[execution]\nimages_per_pass = 4\n"))
    told = refusal(2, "pretrain", path, *files(photographs), "--out", tmp_path / "out")
    assert "17 images of a batch cannot be divided into passes of 4" in told


WITHOUT_TORCH = """
import runpy, sys
sys.modules["torch"] = None
sys.argv = ["train", *sys.argv[1:]]
runpy.run_module("mlimages_dataset.train", run_name="__main__")
"""


def test_without_torch_it_says_what_to_install() -> None:
    given = ("plan", "packaged:mlimages-pretrain.toml", "--dataset-size", "9")
    ran = subprocess.run([sys.executable, "-c", WITHOUT_TORCH, *given], capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    (line,) = ran.stderr.splitlines()
    assert line.endswith("run: pip install 'mlimages-dataset[train]'")


def test_reading_draws_nothing_from_the_runs_own_generator(photographs: Photographs) -> None:
    # A run that goes on begins to read once more than the run that was not cut: dropout would differ from there on.
    data = MLImages(
        photographs.images,
        photographs.labels,
        split=None,
        transform=train_transform(32),
        n_classes=len(read_classes(photographs.vocabulary)),
    )
    run = Run(epochs=1, data=Data(workers=0), phases=(Phase(batch_size=8, image_size=32),))
    before = torch.get_rng_state()
    assert len(list(ImageFeed(run, task_of_run(run), data, torch.device("cpu")).steps(0, 0))) == 5
    assert torch.equal(torch.get_rng_state(), before)


def test_a_calibration_is_fitted_kept_and_left_out_on_request(
    trained: Path, photographs: Photographs, tmp_path: Path
) -> None:
    out, plot = tmp_path / "calibrated.pt", tmp_path / "reliability.png"
    result = called(
        "calibrate", trained, *applied(photographs), "--labels", photographs.labels, "--out", out, "--plot", plot
    )
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("fitted on ")
    assert plot.read_bytes().startswith(b"\x89PNG")
    before, after = read_checkpoint(newest_checkpoint(trained) or trained), read_checkpoint(out)
    assert all(torch.equal(value, after.model[name]) for name, value in before.model.items())
    assert int(after.calibration["counts"][0]) > 0

    measured = called("evaluate", out, *applied(photographs), "--labels", photographs.labels, "--json")
    told = json.loads(measured.stdout)
    assert told["labels_said"] == pytest.approx(told["labels"], rel=0.25)

    one = next(iter(sorted(photographs.images.glob("*.jpg"))))
    arguments = ("predict", out, one, "--vocabulary", photographs.vocabulary, "--device", "cpu", "--json", "--top", "1")
    calibrated, raw = (json.loads(called(*arguments, *more).stdout) for more in ((), ("--raw",)))
    assert calibrated != raw


def test_labelled_images_without_a_picture_are_told_by_every_command(
    run_toml: Path, photographs: Photographs, tmp_path: Path
) -> None:
    pictures = tmp_path / "some pictures"
    shutil.copytree(photographs.images, pictures)
    gone = sorted(pictures.rglob("*.jpg"))[:5]
    for path in gone:
        path.unlink()
    out = tmp_path / "out"
    given = ("--images", pictures, *files(photographs)[2:])
    trained = called("pretrain", run_toml, *given, "--validation-labels", photographs.labels, "--out", out)
    assert trained.exit_code == 0, trained.output
    told = f"labelled images in {photographs.labels} have no picture in {pictures}; "
    assert trained.stdout.count(told) == 1, "the training and the validation images are the same"
    (line,) = [
        one for one in map(json.loads, (out / "log.jsonl").read_text().splitlines()) if "no picture" in one["kind"]
    ]
    assert told in line["sentence"]
    assert line["without picture"] == 5
    assert line["sentence"].startswith(f"5 of {line['images'] + 5} ")
    advised = shlex.split(line["sentence"].partition("(")[2].rpartition(" names some)")[0])
    assert advised[0] == "mlimages-build"
    verified = CliRunner().invoke(build, advised[1:])
    assert "5 of " in verified.output, "the advice works as it stands"
    with pytest.warns(UserWarning, match=f"^5 of .* {re.escape(told)}"):
        called("evaluate", out, *given, "--labels", photographs.labels, "--workers", "0")
    with pytest.warns(UserWarning, match=f"^5 of .* {re.escape(told)}"):
        called("plan", run_toml, *given, "--images-per-second", "10", "--dry-run-steps", "0")
