"""Ranks add up to one order, and a run goes on exactly where it was."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, Dataset, Subset
from torchdata.stateful_dataloader import StatefulDataLoader

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.loaders import (
    ClassAwareSampler,
    Draw,
    EvaluationSampler,
    HybridSampler,
    RepeatFactorSampler,
    ShuffledSampler,
    SoftBalanceSampler,
)
from tests.loaders.tables import long_tailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlimages_dataset.loaders.samplers import OrderSampler

# torchdata asks torch for every name that it exports, deprecated ones included.
pytestmark = pytest.mark.filterwarnings("ignore:.* is deprecated:UserWarning:torch")

N = 103
DATA = long_tailed(N, 7)
SAMPLERS: dict[str, Callable[..., OrderSampler]] = {
    "shuffled": lambda **ranks: ShuffledSampler(DATA, seed=3, **ranks),
    "in blocks": lambda **ranks: ShuffledSampler(DATA, seed=3, block_rows=8, blocks_of_window=3, **ranks),
    "class-aware": lambda **ranks: ClassAwareSampler(DATA, seed=3, **ranks),
    "repeat-factor": lambda **ranks: RepeatFactorSampler(DATA, seed=3, threshold=0.4, **ranks),
    "soft-balance": lambda **ranks: SoftBalanceSampler(DATA, seed=3, length=90, **ranks),
    "hybrid": lambda **ranks: HybridSampler(DATA, seed=3, unbalanced_epochs=1, **ranks),
}


class Draws(Dataset[tuple[int, int, int]]):
    """What a sampler draws, as samples."""

    def __getitem__(self, draw: int) -> tuple[int, int, int]:
        assert isinstance(draw, Draw)
        return draw, draw.epoch, draw.position


def as_lists(batch: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    return batch


def drawn(sampler: OrderSampler) -> list[tuple[int, int, int]]:
    return [Draws()[draw] for draw in sampler]


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("epoch", [0, 1])
@pytest.mark.parametrize("world", [1, 2, 3, 8])
def test_the_ranks_together_read_the_order_of_one_process(name: str, epoch: int, world: int) -> None:
    single = SAMPLERS[name](world=1, rank=0)
    single.set_epoch(epoch)
    expected = drawn(single)
    of_ranks = []
    for rank in range(world):
        sampler = SAMPLERS[name](world=world, rank=rank)
        sampler.set_epoch(epoch)
        of_ranks.append(drawn(sampler))
        assert len(of_ranks[-1]) == len(sampler)
    assert len(set(map(len, of_ranks))) == 1
    together = list(itertools.chain.from_iterable(zip(*of_ranks, strict=True)))
    assert together[: len(expected)] == expected
    padding = together[len(expected) :]
    assert len(padding) < world
    assert [row for row, *_ in padding] == [row for row, *_ in expected[: len(padding)]]


@pytest.mark.parametrize("world", [1, 2, 3, 8])
def test_evaluation_repeats_no_row(world: int) -> None:
    of_ranks = [list(EvaluationSampler(DATA, world=world, rank=rank)) for rank in range(world)]
    assert sorted(itertools.chain.from_iterable(of_ranks)) == list(range(N))
    assert of_ranks[0][:3] == [0, world, 2 * world]


@pytest.mark.parametrize("name", SAMPLERS)
def test_torchdatas_loader_goes_on_after_every_tenth_of_an_epoch(name: str) -> None:
    def loader() -> StatefulDataLoader[list[tuple[int, int, int]]]:
        return StatefulDataLoader(Draws(), batch_size=5, sampler=SAMPLERS[name](world=1, rank=0), collate_fn=as_lists)

    whole = list(loader())
    for tenth in range(1, 11):
        steps = len(whole) * tenth // 10
        cut = loader()
        head = list(itertools.islice(cut, steps))
        resumed = loader()
        resumed.load_state_dict(cut.state_dict())
        assert head + list(resumed) == whole


@pytest.mark.parametrize("steps", [1, 7])
def test_torchdatas_loader_goes_on_with_workers_that_fetched_ahead(steps: int) -> None:
    def loader() -> StatefulDataLoader[list[tuple[int, int, int]]]:
        sampler = SAMPLERS["soft-balance"](world=1, rank=0)
        return StatefulDataLoader(
            Draws(), batch_size=5, sampler=sampler, collate_fn=as_lists, num_workers=2, prefetch_factor=3
        )

    whole = drawn(SAMPLERS["soft-balance"](world=1, rank=0))
    cut = loader()
    head = list(itertools.islice(cut, steps))
    resumed = loader()
    resumed.load_state_dict(cut.state_dict())
    assert list(itertools.chain(*head, *resumed)) == whole


@pytest.mark.parametrize("after", [1, 3])
def test_torchdatas_loader_goes_on_with_other_ranks(after: int) -> None:
    def loader(world: int, rank: int) -> StatefulDataLoader[list[tuple[int, int, int]]]:
        sampler = SAMPLERS["shuffled"](world=world, rank=rank)
        return StatefulDataLoader(Draws(), batch_size=6 // world, sampler=sampler, collate_fn=as_lists)

    first = [loader(2, rank) for rank in range(2)]
    heads = [list(itertools.islice(one, 5)) for one in first]
    state = first[0].state_dict()
    read = sorted(itertools.chain(*itertools.chain(*heads)), key=lambda draw: draw[2])
    tails = []
    for rank in range(after):
        resumed = loader(after, rank)
        resumed.load_state_dict(state)
        tails.append(list(itertools.chain(*resumed)))
    read += list(itertools.chain.from_iterable(zip(*tails, strict=True)))
    assert read[:N] == drawn(SAMPLERS["shuffled"](world=1, rank=0))


def test_torchdatas_loader_begins_the_next_epoch_after_a_resumed_one() -> None:
    sampler = SAMPLERS["shuffled"](world=1, rank=0)
    cut = StatefulDataLoader(Draws(), batch_size=5, sampler=sampler, collate_fn=as_lists)
    next(iter(cut))
    again = SAMPLERS["shuffled"](world=1, rank=0)
    resumed = StatefulDataLoader(Draws(), batch_size=5, sampler=again, collate_fn=as_lists)
    resumed.load_state_dict(cut.state_dict())
    assert len(list(resumed)) == 20
    again.set_epoch(1)
    sampler.set_epoch(1)
    assert list(itertools.chain(*resumed)) == drawn(sampler)


def test_any_data_set_takes_the_draws() -> None:
    data = torch.utils.data.TensorDataset(torch.arange(N))
    batches = list(DataLoader(data, batch_size=10, sampler=SAMPLERS["shuffled"](world=1, rank=0)))
    assert torch.cat([batch for (batch,) in batches]).sort().values.tolist() == list(range(N))


def test_a_place_in_another_order_is_refused() -> None:
    place = SAMPLERS["shuffled"](world=1, rank=0).place(0, 10)
    with pytest.raises(UsageError, match=r"103 rows shuffled, seed 3, but this is 103 rows shuffled, seed 4"):
        ShuffledSampler(DATA, seed=4).load_state_dict(place)


@pytest.mark.parametrize("kind", [ClassAwareSampler, SoftBalanceSampler, RepeatFactorSampler, HybridSampler])
@pytest.mark.parametrize(
    "data", [Subset(Draws(), [0, 1]), ConcatDataset([Subset(Draws(), [0]), Subset(Draws(), [1])]), [1, 2]]
)
def test_samplers_by_class_refuse_data_sets_that_tell_no_classes(kind: Callable[..., object], data: object) -> None:
    with pytest.raises(UsageError, match=f"a {type(data).__name__} does not tell which of its rows have a class"):
        kind(data)
