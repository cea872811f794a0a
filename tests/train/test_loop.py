"""The loop computes the same however it is cut, divided over ranks, or divided into passes."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import pytest
import torch

from mlimages_dataset.core.errors import DataError
from mlimages_dataset.train.checkpoint import Checkpoint, checkpoint_path, newest_checkpoint, read_checkpoint
from mlimages_dataset.train.stopping import Stopped
from tests.train.processes import Done, on_ranks
from tests.train.synthetic import Program, train_synthetic

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _as_found() -> Iterator[None]:
    """Undo what a run sets for its process."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(mode=False)


def trained(n_ranks: int, program: Program) -> list[Done]:
    """Return what became of each rank of a program."""
    return on_ranks(n_ranks, "-m", "tests.train.synthetic", json.dumps(dataclasses.asdict(program)))


def losses(out: Path) -> list[float]:
    """Return the loss of every step that a run's log tells."""
    lines = map(json.loads, (out / "log.jsonl").read_text().splitlines())
    return [line["loss"] for line in lines if line["kind"] == "train"]


def last(out: Path) -> Checkpoint:
    path = newest_checkpoint(out)
    assert path is not None
    return read_checkpoint(path)


def differing(left: Checkpoint, right: Checkpoint) -> list[str]:
    """Return the names of what is not equal, bit for bit, in two checkpoints."""
    return [name for name in Checkpoint.__slots__ if not _equal(getattr(left, name), getattr(right, name))]


def _equal(left: object, right: object) -> bool:
    if isinstance(left, torch.Tensor) and isinstance(right, torch.Tensor):
        return left.dtype == right.dtype and torch.equal(left, right)
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_equal(left[name], right[name]) for name in left)
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(_equal, left, right))
    return left == right


@pytest.mark.parametrize("loss", ["binary-cross-entropy", "paper", "released", "softmax", "focal", "asymmetric"])
def test_twenty_steps_are_ten_and_ten_after_a_stop(tmp_path: Path, loss: str) -> None:
    whole = Program(out=str(tmp_path / "whole"), loss=loss, average=0.9)
    train_synthetic(whole)

    cut = dataclasses.replace(whole, out=str(tmp_path / "cut"))
    with pytest.raises(Stopped, match="stopped after step 6 and saved"):
        train_synthetic(dataclasses.replace(cut, ask_after=5))
    train_synthetic(cut)

    assert differing(last(tmp_path / "whole"), last(tmp_path / "cut")) == []
    assert last(tmp_path / "whole").progress.total_steps == 20
    assert losses(tmp_path / "whole") == losses(tmp_path / "cut")


@pytest.mark.slow
@pytest.mark.parametrize("steps", [1, 3, 4, 7, 8])
def test_a_run_that_counts_steps_ends_after_them_and_learns_as_a_longer_one(tmp_path: Path, steps: int) -> None:
    whole, some = (Program(out=str(tmp_path / name), epochs=2) for name in ("whole", "some"))
    train_synthetic(whole)
    train_synthetic(dataclasses.replace(some, steps=steps))
    assert losses(tmp_path / "some") == losses(tmp_path / "whole")[:steps]
    found = last(tmp_path / "some")
    assert found.progress.total_steps == steps
    train_synthetic(dataclasses.replace(some, steps=steps))  # over: nothing is learnt any more
    assert not differing(last(tmp_path / "some"), found)
    assert len(losses(tmp_path / "some")) == steps


@pytest.mark.parametrize(("first", "then"), [(1, 2), (3, 7), (4, 5), (5, 8), (7, 0)])
def test_a_run_that_is_given_more_steps_learns_as_one_that_had_them(tmp_path: Path, first: int, then: int) -> None:
    straight = Program(out=str(tmp_path / "straight"), epochs=3, steps=then)
    longer = dataclasses.replace(straight, out=str(tmp_path / "longer"))
    train_synthetic(straight)
    train_synthetic(dataclasses.replace(longer, steps=first))
    train_synthetic(longer)
    assert losses(tmp_path / "longer") == losses(tmp_path / "straight")
    assert not differing(last(tmp_path / "longer"), last(tmp_path / "straight"))


def test_a_run_that_counts_steps_goes_on_after_a_stop(tmp_path: Path) -> None:
    straight = Program(out=str(tmp_path / "straight"), epochs=3, steps=7)
    stopped = dataclasses.replace(straight, out=str(tmp_path / "stopped"), ask_after=5)
    train_synthetic(straight)
    with pytest.raises(Stopped):
        train_synthetic(stopped)
    train_synthetic(dataclasses.replace(stopped, ask_after=-1))
    assert not differing(last(tmp_path / "stopped"), last(tmp_path / "straight"))


def test_a_killed_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    whole, cut = (Program(out=str(tmp_path / name), loss="paper", average=0.9) for name in ("whole", "cut"))
    train_synthetic(whole)
    (killed,) = trained(1, dataclasses.replace(cut, die_after=11))
    assert killed.code == -9
    # Checkpoints are written beside the next steps: that of step 10 may not have been whole yet.
    assert last(tmp_path / "cut").progress.total_steps in {8, 10}, "what was on the disk when it died"
    train_synthetic(cut)
    assert differing(last(tmp_path / "whole"), last(tmp_path / "cut")) == []
    assert losses(tmp_path / "whole") == losses(tmp_path / "cut")


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["binary-cross-entropy", "paper"])
def test_two_ranks_equal_one_with_the_joint_batch_step_by_step(tmp_path: Path, loss: str) -> None:
    one, two = (Program(out=str(tmp_path / name), loss=loss, frozen=True) for name in ("one", "two"))
    train_synthetic(one)
    assert [done.code for done in trained(2, two)] == [0, 0]
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-4)
    model, theirs = last(tmp_path / "one").model, last(tmp_path / "two").model
    for name, value in model.items():
        torch.testing.assert_close(theirs[name], value, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_a_run_of_two_ranks_goes_on_with_one(tmp_path: Path) -> None:
    one, two = (Program(out=str(tmp_path / name), loss="paper", frozen=True) for name in ("one", "two"))
    train_synthetic(one)
    codes = {done.code for done in trained(2, dataclasses.replace(two, ask_after=5))}
    assert codes == {1}, "stopped"
    assert last(tmp_path / "two").progress.total_steps == 6
    train_synthetic(two)
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-4)


@pytest.mark.parametrize("loss", ["binary-cross-entropy", "paper"])
def test_passes_add_up_to_the_whole_batch(tmp_path: Path, loss: str) -> None:
    whole, parts = (Program(out=str(tmp_path / str(n)), loss=loss, frozen=True, passes=n) for n in (1, 4))
    train_synthetic(whole)
    train_synthetic(parts)
    assert losses(tmp_path / "4") == pytest.approx(losses(tmp_path / "1"), rel=1e-4)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_lower_precision_stays_near(tmp_path: Path, precision: str) -> None:
    exact, rounded = (Program(out=str(tmp_path / name), precision=name) for name in ("float32", precision))
    train_synthetic(exact)
    train_synthetic(rounded)
    assert losses(tmp_path / precision) == pytest.approx(losses(tmp_path / "float32"), rel=0.05)
    assert bool(last(tmp_path / precision).scaler) == (precision == "float16")


def test_a_loss_that_is_not_finite_stops_with_its_images_and_the_last_good_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        train_synthetic(Program(out=str(tmp_path), broken_at=2, every=2))
    told = str(caught.value)
    assert "the loss of step 3 (epoch 0, step 3) is not finite, with the images image-" in told
    assert told.endswith(f"the last good checkpoint is {checkpoint_path(tmp_path, 2)}")
    assert last(tmp_path).progress.total_steps == 2


@pytest.mark.slow
def test_a_loss_that_is_not_finite_on_one_rank_stops_all(tmp_path: Path) -> None:
    ranks = trained(2, Program(out=str(tmp_path), broken_at=2))
    assert [done.code for done in ranks] == [1, 1]
    assert all("is not finite" in done.err for done in ranks)


@pytest.mark.slow
def test_a_rank_that_dies_stops_the_others_with_a_sentence(tmp_path: Path) -> None:
    first, second = trained(2, Program(out=str(tmp_path), die_after=11, dying_rank=1))
    assert second.code == -9
    assert first.code == 1
    assert "rank 0: another rank ended or does not answer" in first.err
    assert last(tmp_path).progress.total_steps == 10


@pytest.mark.slow
def test_all_ranks_go_on_from_the_same_whole_checkpoint(tmp_path: Path) -> None:
    program = Program(out=str(tmp_path / "out"), every=3, epochs=2)
    assert [done.code for done in trained(2, program)] == [0, 0]
    paths = sorted((tmp_path / "out" / "checkpoints").glob("step-*.pt"))
    paths[-1].rename(tmp_path / "whole.pt")
    whole = read_checkpoint(tmp_path / "whole.pt")
    for path in (paths[-1], paths[-2]):
        path.write_bytes(b"damaged")
    ranks = trained(2, program)
    assert [done.code for done in ranks] == [0, 0], ranks[0].err
    told = [line for line in ranks[0].out.splitlines() if "damaged" in line]
    assert len(told) == 2
    assert all(line.endswith(f"and the run resumes from {paths[-3].name}") for line in told)
    assert "damaged" not in ranks[1].out
    assert differing(last(tmp_path / "out"), whole) == []
    for path in (tmp_path / "out" / "checkpoints").glob("step-*.pt"):
        path.write_bytes(b"damaged")
    for done in trained(2, program):
        assert done.code == 1
        assert f"all {len(paths):,} checkpoints of the run are damaged; the newest is not a complete" in done.err
