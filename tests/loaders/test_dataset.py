"""Samples are the same whoever makes them, bad pictures are replaced, and runs go on where they were."""

from __future__ import annotations

import itertools
import math
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, SequentialSampler, Subset

from mlimages_dataset.core.errors import DataError, UsageError
from mlimages_dataset.loaders import (
    BadImage,
    BadImages,
    Batch,
    Draw,
    EvaluationSampler,
    Loader,
    MLImages,
    Sample,
    ShuffledSampler,
    SoftBalanceSampler,
    StreamedImages,
    collate,
    train_transform,
)
from tests.images.folders import image_folder
from tests.loaders.tables import SMALL, pictures, write_labels

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mlimages_dataset.loaders.samplers import OrderSampler
    from mlimages_dataset.loaders.transforms import Transform

C = 8


def data_set(folder: Path, n: int, *, broken: Sequence[int] = (), transform: Transform = SMALL) -> MLImages:
    """Return small pictures with one to three classes each; the broken ones are cut."""
    contents = pictures(n)
    for name in [list(contents)[k] for k in broken]:
        contents[name] = contents[name][:200]
    image_folder(folder / "images", [contents])
    write_labels(
        folder / "labels" / "train" / "part-00000.parquet",
        [(name, f"source-{k % 2}", "", dict.fromkeys({k % C, k % 3, 5}, 1.0)) for k, name in enumerate(contents)],
    )
    return MLImages(
        folder / "images", folder / "labels", split="train", transform=transform, n_classes=C, cache=folder / "cache"
    )


def same(one: Batch, other: Batch) -> bool:
    return (
        torch.equal(one.images, other.images)
        and torch.equal(one.targets, other.targets)
        and (one.image_ids, one.positions.tolist(), one.epoch, one.replaced)
        == (other.image_ids, other.positions.tolist(), other.epoch, other.replaced)
    )


def test_a_sample_depends_on_seed_epoch_and_position_only(tmp_path: Path) -> None:
    data = data_set(tmp_path, 6, transform=train_transform(16))
    sample = data[Draw(2, epoch=3, position=40)]
    again: MLImages = pickle.loads(pickle.dumps(data))  # noqa: S301 - our own bytes
    again.set_epoch(9)
    assert np.array_equal(again[Draw(2, 3, 40)].image, sample.image)
    assert not np.array_equal(data[Draw(2, 3, 41)].image, sample.image)
    assert not np.array_equal(data[Draw(2, 4, 40)].image, sample.image)
    # For samplers that yield plain numbers the position is the row.
    data.set_epoch(3)
    assert np.array_equal(data[2].image, data[Draw(2, 3, 2)].image)
    with pytest.raises(IndexError, match="row 6 of 6"):
        data[6]


def test_a_draw_is_an_int_that_survives_its_way_to_a_worker() -> None:
    draw: Draw = pickle.loads(pickle.dumps(Draw(5, 1, 7)))  # noqa: S301 - our own bytes
    assert (draw, draw.epoch, draw.position, [10, 20, 30, 40, 50, 60][draw]) == (5, 1, 7, 60)


def test_sources_that_list_everything_make_the_rest_absent(tmp_path: Path) -> None:
    data_set(tmp_path, 4)
    known = []
    for chosen in (False, True, ["source-1"], "source-1"):
        data = MLImages(
            tmp_path / "images",
            tmp_path / "labels",
            split="train",
            transform=SMALL,
            n_classes=C,
            absent_unless_listed=chosen,
            cache=tmp_path / "cache",
        )
        (batch,) = Loader(data, EvaluationSampler(data), batch_size=4)
        known.append(batch.known.all(dim=1).tolist())
    assert known == [[False] * 4, [True] * 4, *[[False, True, False, True]] * 2]
    with pytest.raises(UsageError, match="no source is called 'x'; use some of source-0, source-1"):
        MLImages(
            tmp_path / "images",
            tmp_path / "labels",
            split="train",
            transform=SMALL,
            n_classes=C,
            absent_unless_listed=["x"],
            cache=tmp_path / "cache",
        )


def test_workers_make_the_batches_of_one_process(tmp_path: Path) -> None:
    data = data_set(tmp_path, 20, broken=[4], transform=train_transform(16))
    alone, shared = (
        list(Loader(data, SoftBalanceSampler(data, seed=1), batch_size=6, workers=workers, max_bad_share=1))
        for workers in (0, 2)
    )
    assert len(alone) == 4
    assert all(same(one, other) for one, other in zip(alone, shared, strict=True))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_goes_on_after_every_tenth_of_an_epoch(tmp_path: Path, workers: int) -> None:
    data = data_set(tmp_path, 40, transform=train_transform(16))

    def loader() -> Loader[Batch]:
        sampler = ShuffledSampler(data, seed=2)
        return Loader(data, sampler, batch_size=2, workers=workers, persistent_workers=workers > 0)

    whole = loader()
    expected = [*whole, *itertools.islice(whole, 3)]
    # With workers, which take a while to start, at two places.
    for tenth in (3, 10) if workers else range(11):
        cut = loader()
        head = list(itertools.islice(cut, 2 * tenth))
        resumed = loader()
        resumed.load_state_dict(cut.state_dict())
        got = [*head, *itertools.chain.from_iterable(resumed for _ in range(2))][: len(expected)]
        assert [batch.epoch for batch in got] == [0] * 20 + [1] * 3
        assert all(same(one, other) for one, other in zip(got, expected, strict=True))


@pytest.mark.parametrize("drop_last", [True, False])
def test_a_loop_that_counts_its_steps_comes_to_the_next_epoch_too(tmp_path: Path, *, drop_last: bool) -> None:
    data = data_set(tmp_path, 10, transform=train_transform(16))
    for batch_size in (2, 3, 10):
        loader = Loader(data, ShuffledSampler(data), batch_size=batch_size, drop_last=drop_last)
        for epoch, taken in enumerate((len(loader), len(loader) + 1)):  # with and without asking for one more
            got = [batch.epoch for _, batch in zip(range(taken), loader, strict=False)]
            assert got == [epoch] * len(loader)
            assert (loader.state_dict()["epoch"], loader.order_sampler.epoch) == (epoch + 1, epoch + 1)
        if len(loader) > 1:
            for _ in loader:
                break
            assert [batch.epoch for batch in loader] == [2] * len(loader), "the same epoch from its beginning"


@pytest.mark.parametrize("start_method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_a_plain_data_loader_goes_on_behind_a_batch(tmp_path: Path, start_method: str) -> None:
    data = data_set(tmp_path, 24, transform=train_transform(16))

    def loader(sampler: OrderSampler) -> DataLoader[Sample]:
        return DataLoader(
            data,
            batch_size=4,
            sampler=sampler,
            collate_fn=collate,
            num_workers=1,
            prefetch_factor=3,
            multiprocessing_context=start_method,
        )

    whole: list[Batch] = list(Loader(data, SoftBalanceSampler(data, seed=2), batch_size=4))
    before, after = (SoftBalanceSampler(data, seed=2) for _ in range(2))
    head: list[Batch] = list(itertools.islice(loader(before), 2))
    after.load_state_dict(before.state_after(head[-1]))
    assert len(after) == 16
    got = [*head, *loader(after)]
    assert all(same(one, other) for one, other in zip(got, whole, strict=True))


@pytest.mark.parametrize("after", [1, 3])
def test_two_ranks_are_resumed_by_another_number(tmp_path: Path, after: int) -> None:
    data = data_set(tmp_path, 30)

    def loaders(world: int) -> list[Loader[Batch]]:
        samplers = [ShuffledSampler(data, seed=2, world=world, rank=rank) for rank in range(world)]
        return [Loader(data, sampler, batch_size=6 // world) for sampler in samplers]

    (single,) = loaders(1)
    expected = [set(batch.image_ids) for batch in single]
    first = loaders(2)
    steps = [
        set(itertools.chain(*(batch.image_ids for batch in step)))
        for step in itertools.islice(zip(*first, strict=True), 2)
    ]
    states = [one.state_dict() for one in first]
    assert states[0] == states[1]
    resumed = loaders(after)
    for one in resumed:
        one.load_state_dict(states[0])
    steps += [set(itertools.chain(*(batch.image_ids for batch in step))) for step in zip(*resumed, strict=True)]
    assert steps == expected, "each step reads what one process reads in it"


def test_one_bad_picture_in_a_hundred_does_not_stop_an_epoch(tmp_path: Path) -> None:
    broken = [17, 18, 150]
    data = data_set(tmp_path, 200, broken=broken)
    loader = Loader(data, ShuffledSampler(data, seed=4), batch_size=16)
    batches = list(loader)
    assert sum(map(len, batches)) == 200
    names = [f"picture-{k:04d}" for k in broken]
    # 17 is replaced by 19, for 18 is bad too, so 18 is met twice, but told once.
    assert sorted(bad.image_id for batch in batches for bad in batch.replaced) == names
    assert (loader.bad.count, loader.bad.replaced) == (3, 3)
    assert sorted(bad.image_id for bad in loader.bad.first) == names
    assert str(loader.bad).startswith("3 bad pictures in 200 samples: picture-")
    made = {image_id for batch in batches for image_id in batch.image_ids}
    assert made == set(pictures(200)) - set(names)
    sample = data[17]
    assert (sample.image_id, [bad.row for bad in sample.replaced]) == ("picture-0019", [17, 18])
    assert sample.class_index.tolist() == sorted({19 % C, 19 % 3, 5}), "the labels are of the picture that is shown"


def test_too_many_bad_pictures_are_an_error(tmp_path: Path) -> None:
    data = data_set(tmp_path, 30, broken=range(0, 30, 2))
    loader = Loader(data, EvaluationSampler(data), batch_size=4, max_bad_share=0.005)
    with pytest.raises(DataError, match=r"6 of 12 pictures cannot be used, more than 0\.5%; the first is picture-0000"):
        list(loader)


def test_nothing_but_bad_pictures_are_an_error(tmp_path: Path) -> None:
    data = data_set(tmp_path, 3, broken=range(3))
    with pytest.raises(DataError, match="3 pictures in a row cannot be used, the first because"):
        data[1]


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_is_one_sentence_whoever_meets_it(tmp_path: Path, workers: int) -> None:
    data = data_set(tmp_path, 3)
    (tmp_path / "images" / "shard-00000.tar").unlink()
    loader = Loader(data, ShuffledSampler(data), batch_size=2, workers=workers)
    with pytest.raises(
        UsageError, match=r"shard-00000\.tar: cannot be read .*; check that the shard is there$"
    ) as raised:
        list(loader)
    assert "\n" not in str(raised.value)


def test_bad_pictures_are_counted_and_the_first_are_named() -> None:
    bad = BadImages(most=0.5)
    for k in range(30):
        bad.add(10, [BadImage(k, f"image-{k}", "cut")])
    assert (bad.samples, bad.count, len(bad.first)) == (300, 30, BadImages.LISTED)
    assert str(bad).endswith("image-19 (cut); and 10 more")


@pytest.mark.parametrize("broken", [range(10), range(0, 30, 3), (3, 4, 5, 20, 21, 27, 28, 29, 0, 1)])
@pytest.mark.parametrize("batch_size", [1, 8, 30])
def test_however_bad_pictures_lie_each_is_told_once_in_an_epoch(
    tmp_path: Path, broken: Sequence[int], batch_size: int
) -> None:
    data = data_set(tmp_path, 30, broken=broken)
    loader = Loader(data, ShuffledSampler(data, seed=2), batch_size=batch_size, max_bad_share=1)
    for epochs in (1, 2):
        rows = [bad.row for batch in loader for bad in batch.replaced]
        assert sorted(rows) == sorted(broken)
        assert (loader.bad.count, len(loader.bad.first)) == (10, 10), "a picture is one in every epoch"
        assert (loader.bad.replaced, loader.bad.samples) == (10 * epochs, 30 * epochs), "a share of samples"


def test_counts_of_ranks_add_up_and_their_bad_pictures_are_listed_once() -> None:
    images = [BadImage(k, f"image-{k}", "cut") for k in range(3)]
    one, other = BadImages(most=1), BadImages(most=1)
    one.add(8, images[:2])
    other.add(8, images[1:])
    assert one + BadImages(most=1) == one
    both = one + other
    assert (both.samples, both.replaced, both.count, both.first) == (16, 4, 3, tuple(images))
    assert str(other + BadImages(most=1)).startswith("2 bad pictures in 8 samples: image-1 (cut); image-2 (cut)")


@pytest.mark.parametrize("most", [-0.01, 1.01, math.nan])
def test_a_share_of_bad_pictures_that_is_none_is_refused(most: float) -> None:
    with pytest.raises(UsageError, match="max_bad_share is"):
        BadImages(most)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"num_workers": 1}, "Loader has no option num_workers; pass workers=$"),
        ({"shuffle": True}, r"no option shuffle; the sampler gives the order: pass ShuffledSampler\(data\)"),
        ({"collate_fn": None}, "no option collate_fn; leave it out"),
        ({"in_order": False}, "no option in_order; leave it out"),
        ({"batch_sampler": None}, "no option batch_sampler; pass a sampler and batch_size="),
    ],
)
def test_options_of_pytorchs_loader_that_are_decided_here_are_refused(
    tmp_path: Path, options: dict[str, Any], told: str
) -> None:
    data = data_set(tmp_path, 4)
    with pytest.raises(UsageError, match=told):
        Loader(data, ShuffledSampler(data), batch_size=2, **options)


def test_a_subset_is_refused_and_the_advice_works(tmp_path: Path) -> None:
    data = data_set(tmp_path, 8)
    some: Any = Subset(data, [1, 3, 5])
    with pytest.raises(UsageError, match=r"a Subset is no data set of .*; torch\.utils\.data\.DataLoader takes it"):
        Loader(some, ShuffledSampler(some), batch_size=2)
    batches = list(DataLoader(some, batch_size=2, collate_fn=data.collate))
    assert [row for batch in batches for row in batch.rows.tolist()] == [1, 3, 5]


@pytest.mark.parametrize("sampler", [None, SequentialSampler(range(4)), [0, 1]])
def test_a_sampler_without_a_place_is_refused(tmp_path: Path, sampler: Any) -> None:
    data = data_set(tmp_path, 4)
    with pytest.raises(UsageError, match=r"the sampler is .*, and Loader needs one of mlimages_dataset\.loaders; pass"):
        Loader(data, sampler, batch_size=2)


@pytest.mark.parametrize(
    "change", [{"order": None}, {"position": -1}, {"position": "1"}, {"epoch": True}, {"epoch": None}]
)
def test_what_is_no_place_is_refused_by_all_that_take_one(tmp_path: Path, change: dict[str, Any]) -> None:
    data = data_set(tmp_path, 4)
    sampler: OrderSampler = ShuffledSampler(data)
    loader, stream = Loader(data, sampler, batch_size=2), StreamedImages(data)
    good = loader.state_dict()
    missing = {name: value for name, value in good.items() if name not in change}
    wrong: tuple[Any, ...] = ({**good, **change}, missing, {}, None, [])
    for bad in wrong:
        for taking in (loader, sampler, iter(sampler)):
            with pytest.raises(UsageError, match=r"is no place in an epoch: .*; pass what state_dict\(\) returned$"):
                taking.load_state_dict(bad)
    with pytest.raises(UsageError, match="is no place in an epoch: given is missing"):
        stream.load_state_dict({"epoch": 0})  # type: ignore[typeddict-item]
    loader.load_state_dict(good)


def test_another_size_is_another_transform_between_epochs(tmp_path: Path) -> None:
    data = data_set(tmp_path, 4)
    loader = Loader(data, ShuffledSampler(data), batch_size=4)
    (first,) = loader
    data.transform = SMALL.at_size(8)
    (second,) = loader
    assert (first.images.shape[-1], second.images.shape[-1], second.epoch) == (16, 8, 1)


def test_samplers_count_the_ranks_of_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("RANK", "3")
    sampler: OrderSampler = ShuffledSampler(range(10))
    assert (sampler.world, sampler.rank, len(sampler)) == (4, 3, 3)
