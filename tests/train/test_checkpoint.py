"""A checkpoint is there whole or not at all, gives back what it was given, and the oldest make room."""

from __future__ import annotations

import dataclasses
import os
import pickle
import random
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch.optim.swa_utils import AveragedModel

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.train.checkpoint import (
    FORMAT,
    Checkpoint,
    CheckpointWriter,
    Resumption,
    RunProgress,
    best_path,
    checkpoint_path,
    found_checkpoint,
    generator_state,
    newest_checkpoint,
    read_checkpoint,
    resumption,
    save_checkpoint,
    set_generator_state,
)
from mlimages_dataset.train.saved import NotWholeError

if TYPE_CHECKING:
    from collections.abc import Callable


def checkpoint(total_steps: int = 1, value: float = 0.0) -> Checkpoint:
    return Checkpoint(
        progress=RunProgress(epoch=1, step=2, total_steps=total_steps, best=0.5),
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
    with pytest.raises(UsageError, match="is a file where a folder should be"):
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
    with pytest.raises(DataError, match="is not a complete checkpoint"):
        read_checkpoint(tmp_path / "one.pt")


def test_a_flipped_bit_anywhere_is_damage_or_changes_nothing(tmp_path: Path) -> None:
    whole = dataclasses.replace(checkpoint(), model={"weight": torch.arange(600.0).reshape(20, 30)})
    save_checkpoint(tmp_path / "whole.pt", whole)
    content = bytearray((tmp_path / "whole.pt").read_bytes())
    damaged = 0
    for at in range(0, len(content), len(content) // 300):
        content[at] ^= 4
        (tmp_path / "one.pt").write_bytes(content)
        content[at] ^= 4
        try:
            found = read_checkpoint(tmp_path / "one.pt")
        except DataError as error:
            assert "is not a complete checkpoint (" in str(error)  # noqa: PT017 - it may also pass
            damaged += 1
        else:
            assert torch.equal(found.model["weight"], whole.model["weight"]), at
    assert damaged > 100


class Hostile:
    """An object that runs a program when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch hostile-ran",)


def legacy(content: object, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


def pickled(content: object, path: Path) -> None:
    path.write_bytes(pickle.dumps(content, protocol=4))


WITH_OBJECT = {"format": FORMAT, "progress": Hostile()}


@pytest.mark.parametrize("save", [torch.save, legacy, pickled])
@pytest.mark.parametrize("content", [WITH_OBJECT, {"a": Path("x")}, torch.nn.Linear(2, 2), [Hostile()]])
def test_a_file_that_would_execute_something_is_refused_without_advice_to_load_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save: Callable[[object, Path], None], content: object
) -> None:
    monkeypatch.chdir(tmp_path)
    save(content, tmp_path / "bad.pt")
    with pytest.raises(DataError) as refused:
        read_checkpoint(tmp_path / "bad.pt")
    told = str(refused.value)
    assert "holds Python objects" in told
    assert told.endswith("`convert` makes one from other weights, and --weights starts a run from them")
    assert not isinstance(refused.value, NotWholeError)
    for advice in ("weights_only", "False", "safe_globals", "trust", "torch.load", "pytorch.org"):
        assert advice not in told
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__
    assert not (tmp_path / "hostile-ran").exists()


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_program_is_no_checkpoint(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "program.pt")
    with pytest.raises(
        DataError, match=r"it is a TorchScript archive, which is a program, not a checkpoint; name"
    ) as refused:
        read_checkpoint(tmp_path / "program.pt")
    assert "weights_only" not in str(refused.value)


def changed(**values: object) -> dict[str, object]:
    """Return what a checkpoint's file holds, with other values; `None` leaves one out."""
    whole = {name: getattr(checkpoint(), name) for name in Checkpoint.__slots__}
    progress = dataclasses.asdict(checkpoint().progress)
    content = {**whole, "progress": progress, "format": FORMAT, **values}
    return {name: value for name, value in content.items() if value is not None}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"format": FORMAT}, "it lacks average, generators, image_size, loss, model, "),
        (changed(model=None), "it lacks model: it is of another version"),
        (changed(extra=1), "it holds an unknown extra: it is of another version"),
        (changed(n_classes="3"), "it holds another kind of n_classes: it is of another version"),
        (changed(progress=[1]), "it holds another kind of progress"),
        (changed(progress={"epoch": 1, "hours": 2}), "it is of another version ("),
        (changed(format="mlimages-checkpoint/9"), "its format is mlimages-checkpoint/9, not mlimages-checkpoint/1"),
        ({"state_dict": {"weight": torch.ones(2)}, "pytorch-lightning_version": "2"}, "its format is None, not "),
        (torch.ones(2), "its format is None, not mlimages-checkpoint/1"),
        ([1, 2], "its format is None, not mlimages-checkpoint/1"),
    ],
)
def test_a_checkpoint_of_unknown_make_is_one_sentence(tmp_path: Path, content: object, told: str) -> None:
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(DataError) as refused:
        read_checkpoint(tmp_path / "other.pt")
    assert str(refused.value).startswith(f"{tmp_path / 'other.pt'}: {told}")
    assert str(refused.value).endswith(
        "name a checkpoint of `pretrain`; `convert` makes one from other weights, and --weights starts a run from them"
    )
    assert not isinstance(refused.value, NotWholeError), "it was not damaged"


def damage(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "flipped":
        content[len(content) // 2] ^= 1
    path.write_bytes(bytes({"cut": content[:-100], "empty": b"", "zeros": bytes(len(content))}.get(how, content)))


@pytest.mark.parametrize("how", ["flipped", "cut", "empty", "zeros"])
@pytest.mark.parametrize("n_damaged", [1, 2])
def test_a_run_goes_on_from_its_newest_whole_checkpoint(tmp_path: Path, how: str, n_damaged: int) -> None:
    paths = [checkpoint_path(tmp_path, step) for step in (1, 2, 3)]
    for step, path in enumerate(paths, 1):
        save_checkpoint(path, checkpoint(step))
    kept = {}
    for path in paths[-n_damaged:]:
        damage(path, how)
        kept[path.with_name(f"{path.name}.damaged")] = path.read_bytes()
    found = resumption(tmp_path)
    whole = paths[-n_damaged - 1]
    assert found.path == whole
    assert len(found.set_aside) == n_damaged
    for said, path in zip(found.set_aside, reversed(paths), strict=False):
        assert said.startswith(f"{path} is not a complete checkpoint (")
        assert said.endswith(f": it is now {path.name}.damaged, and the run resumes from {whole.name}")
    assert {path: path.read_bytes() for path in kept} == kept, "nothing is lost"
    assert newest_checkpoint(tmp_path) == whole
    assert resumption(tmp_path) == Resumption(whole), "it is said once"
    CheckpointWriter(tmp_path, keep=1, asynchronous=False).save(checkpoint(2))
    assert read_checkpoint(checkpoint_path(tmp_path, 2)).progress.total_steps == 2, "the damaged one counts no more"


def test_a_run_of_which_no_checkpoint_is_whole_is_not_begun_anew_in_silence(tmp_path: Path) -> None:
    for step in (1, 2):
        save_checkpoint(checkpoint_path(tmp_path, step), checkpoint(step))
        damage(checkpoint_path(tmp_path, step), "cut")
    before = sorted((tmp_path / "checkpoints").iterdir())
    with pytest.raises(DataError) as refused:
        resumption(tmp_path)
    newest = checkpoint_path(tmp_path, 2)
    assert str(refused.value).startswith(
        f"{newest}: all 2 checkpoints of the run are damaged; the newest is not a complete checkpoint ("
    )
    assert str(refused.value).endswith("; replace it by an undamaged copy, or remove them to start again")
    assert sorted((tmp_path / "checkpoints").iterdir()) == before


@pytest.mark.parametrize("content", [WITH_OBJECT, changed(format="mlimages-checkpoint/9"), changed(extra=1)])
def test_a_newest_checkpoint_that_is_not_damaged_is_not_passed_over(tmp_path: Path, content: object) -> None:
    save_checkpoint(checkpoint_path(tmp_path, 1), checkpoint(1))
    torch.save(content, checkpoint_path(tmp_path, 2))
    with pytest.raises(DataError, match=r"step-000000002\.pt: it"):
        resumption(tmp_path)
    assert checkpoint_path(tmp_path, 2).is_file()


def test_a_run_without_checkpoints_begins(tmp_path: Path) -> None:
    assert resumption(tmp_path) == Resumption(None)


def test_other_tensors_are_no_checkpoint(tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(2)}, tmp_path / "weights.pt")
    with pytest.raises(DataError, match="its format is None, not mlimages-checkpoint/1; name a checkpoint of"):
        read_checkpoint(tmp_path / "weights.pt")


def test_safetensors_are_no_checkpoint_and_not_called_broken(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    with pytest.raises(
        UsageError, match=r"holds weights, but is not a checkpoint; .*`convert` makes one from other weights"
    ):
        read_checkpoint(tmp_path / "model.safetensors")


def test_a_folder_stands_for_its_newest(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path) is None
    with pytest.raises(UsageError, match="holds no checkpoint"):
        found_checkpoint(tmp_path)
    for step in (9, 10):
        save_checkpoint(checkpoint_path(tmp_path, step), checkpoint(step))
    (tmp_path / "checkpoints" / "step-unfinished.pt").touch()
    assert found_checkpoint(tmp_path) == checkpoint_path(tmp_path, 10)


def test_a_whole_checkpoint_that_cannot_be_mapped_is_not_taken_for_a_damaged_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = checkpoint_path(tmp_path, 3)
    save_checkpoint(path, checkpoint(3))

    def load(*_: object, **__: object) -> object:
        raise RuntimeError("unable to mmap 4096 bytes from file <x>: Cannot allocate memory (12)")

    monkeypatch.setattr(torch, "load", load)
    with pytest.raises(UsageError, match=r"cannot be read \(unable to mmap .*; free memory, and try again"):
        resumption(tmp_path)
    assert path.is_file()
