"""A checkpoint is there whole or not at all, gives back what it was given, and the oldest make room."""

from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.optim.swa_utils import AveragedModel

from mlimages_dataset.errors import DataError, UsageError
from mlimages_dataset.train.checkpoint import (
    Checkpoint,
    CheckpointWriter,
    Progress,
    best_path,
    checkpoint_path,
    found_checkpoint,
    generator_state,
    newest_checkpoint,
    read_checkpoint,
    save_checkpoint,
    set_generator_state,
)


def checkpoint(total_steps: int = 1, value: float = 0.0) -> Checkpoint:
    return Checkpoint(
        progress=Progress(epoch=1, step=2, total_steps=total_steps, best=0.5),
        model_name="resnet18",
        n_classes=3,
        image_size=32,
        vocabulary="abc",
        science={"seed": "0"},
        model={"weight": torch.full((2, 3), value)},
        average={},
        optimizer={"state": {0: {"momentum_buffer": torch.ones(2)}}, "param_groups": [{"lr": 0.1, "params": [0]}]},
        loss={"streak": torch.tensor([1, -2, 3])},
        scaler={},
        generators=[generator_state()],
        sampler={"epoch": 1, "position": 34, "order": "shuffled"},
    )


def test_what_is_saved_is_read_again(tmp_path: Path) -> None:
    saved = checkpoint()
    save_checkpoint(tmp_path / "one.pt", saved)
    read = read_checkpoint(tmp_path / "one.pt")
    for name in ("progress", "model_name", "n_classes", "image_size", "vocabulary", "science", "sampler", "average"):
        assert getattr(read, name) == getattr(saved, name)
    assert torch.equal(read.model["weight"], saved.model["weight"])
    assert torch.equal(read.loss["streak"], saved.loss["streak"])
    assert torch.equal(read.optimizer["state"][0]["momentum_buffer"], torch.ones(2))


def test_random_numbers_go_on_where_they_were(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "one.pt", checkpoint())
    drawn = torch.rand(3).tolist(), np.random.rand(3).tolist(), [random.random() for _ in range(3)]  # noqa: NPY002, S311
    set_generator_state(read_checkpoint(tmp_path / "one.pt").generators[0])
    again = torch.rand(3).tolist(), np.random.rand(3).tolist(), [random.random() for _ in range(3)]  # noqa: NPY002, S311
    assert drawn == again


def test_the_average_is_what_is_evaluated() -> None:
    model = torch.nn.Linear(3, 2)
    average = AveragedModel(model)
    average.update_parameters(model)
    with torch.no_grad():
        model.weight.add_(1)
    both = dataclasses.replace(checkpoint(), model=model.state_dict(), average=average.state_dict())
    other = torch.nn.Linear(3, 2)
    other.load_state_dict(both.weights())
    torch.testing.assert_close(other.weight, model.weight - 1)
    assert checkpoint().weights().keys() == {"weight"}


@pytest.mark.parametrize("asynchronous", [False, True])
def test_the_newest_stay_and_the_best(tmp_path: Path, asynchronous: bool) -> None:  # noqa: FBT001 - a parameter
    writer = CheckpointWriter(tmp_path, keep=2, asynchronous=asynchronous)
    for step in range(1, 6):
        writer.save(checkpoint(step), best=step == 2, wait=False)
    assert writer.newest() == checkpoint_path(tmp_path, 5)
    assert sorted((tmp_path / "checkpoints").iterdir()) == [
        best_path(tmp_path),
        checkpoint_path(tmp_path, 4),
        checkpoint_path(tmp_path, 5),
    ]
    assert read_checkpoint(best_path(tmp_path)).progress.total_steps == 2


def test_a_cut_between_the_best_and_the_newest_leaves_no_best_that_is_an_older_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = CheckpointWriter(tmp_path, keep=2, asynchronous=False)
    writer.save(checkpoint(1), best=True)

    def cut(path: Path, given: Checkpoint) -> None:
        save_checkpoint(path, given)
        raise KeyboardInterrupt

    monkeypatch.setattr("mlimages_dataset.train.checkpoint.save_checkpoint", cut)
    with pytest.raises(KeyboardInterrupt):
        writer.save(checkpoint(2), best=True)
    assert read_checkpoint(best_path(tmp_path)).progress.total_steps == 2
    assert newest_checkpoint(tmp_path) == checkpoint_path(tmp_path, 1), "from where the best one is made again"


def test_a_checkpoint_is_of_the_moment_it_was_given_at(tmp_path: Path) -> None:
    writer = CheckpointWriter(tmp_path, keep=1, asynchronous=True)
    given = checkpoint(value=1.0)
    writer.save(given, wait=False)
    given.model["weight"].fill_(2.0)  # as the next step does
    newest = writer.newest()
    assert newest is not None
    assert read_checkpoint(newest).model["weight"].unique().tolist() == [1.0]


def test_what_goes_wrong_in_the_thread_is_told_by_the_next_call(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").write_text("no folder")
    writer = CheckpointWriter(tmp_path, keep=1, asynchronous=True)
    writer.save(checkpoint(), wait=False)
    with pytest.raises(UsageError, match="cannot be written"):
        writer.wait()
    writer.wait()


def test_a_cut_write_leaves_the_last_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = checkpoint_path(tmp_path, 1)
    save_checkpoint(path, checkpoint(value=1.0))

    def cut(content: object, stream: object) -> None:  # noqa: ARG001 - as torch.save is called
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", cut)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, checkpoint(value=2.0))
    assert list((tmp_path / "checkpoints").iterdir()) == [path]
    assert read_checkpoint(path).model["weight"].unique().tolist() == [1.0]


def test_a_cut_file_is_no_checkpoint(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "one.pt", checkpoint())
    content = (tmp_path / "one.pt").read_bytes()
    (tmp_path / "one.pt").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="is not a whole checkpoint"):
        read_checkpoint(tmp_path / "one.pt")


def test_a_file_that_would_execute_something_is_refused(tmp_path: Path) -> None:
    torch.save({"format": "mlimages-checkpoint/1", "progress": Path("x")}, tmp_path / "bad.pt")
    with pytest.raises(DataError, match="is not a whole checkpoint"):
        read_checkpoint(tmp_path / "bad.pt")


def test_other_tensors_are_no_checkpoint(tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(2)}, tmp_path / "weights.pt")
    with pytest.raises(DataError, match="its format is None, not mlimages-checkpoint/1; name a checkpoint of"):
        read_checkpoint(tmp_path / "weights.pt")


def test_a_folder_stands_for_its_newest(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path) is None
    with pytest.raises(UsageError, match="holds no checkpoint"):
        found_checkpoint(tmp_path)
    for step in (9, 10):
        save_checkpoint(checkpoint_path(tmp_path, step), checkpoint(step))
    (tmp_path / "checkpoints" / "step-unfinished.pt").touch()
    assert found_checkpoint(tmp_path) == checkpoint_path(tmp_path, 10)
