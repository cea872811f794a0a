"""Images that a worker sends in memory that it uses again never change while anything uses them."""

from __future__ import annotations

import copy
import gc
import os
import pickle
from multiprocessing.reduction import ForkingPickler
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset

from mlimages_dataset.loaders import Batch, Sample, collate, lent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor

N = 96
STEPS = st.lists(st.tuples(st.sampled_from(["make", "send", "view", "copy", "drop"]), st.integers(0, 99)), max_size=80)


@pytest.fixture
def as_worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let this process be a worker that has no blocks yet."""
    monkeypatch.setattr(lent, "get_worker_info", lambda: "a worker")
    lent._blocks.clear()
    yield
    gc.collect()
    lent._blocks.clear()


def filled(number: int, side: int = 4) -> Tensor:
    images = lent.room((2, 3, side, side))
    return images.fill_(number)


def received(images: Tensor) -> Tensor:
    """Return images as another process receives them."""
    got = pickle.loads(ForkingPickler.dumps(lent.Sent(images)))  # noqa: S301 - our own
    assert isinstance(got, torch.Tensor)
    return got


@pytest.mark.usefixtures("as_worker")
@given(steps=STEPS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_no_image_changes_while_anything_uses_it(steps: list[tuple[str, int]]) -> None:
    change: dict[str, Callable[[Tensor], Tensor]] = {
        "send": received,
        "view": lambda images: torch.from_numpy(images[:1].numpy()[:, 1:]),
        "copy": copy.copy,
    }
    kept: list[tuple[int, Tensor]] = []
    for number, (step, which) in enumerate(steps):
        if step == "make" or not kept:
            kept.append((number, filled(number, 1 + which % 9)))
        elif step == "drop":
            kept.pop(which % len(kept))
        else:
            before, images = kept[which % len(kept)]
            kept.append((before, change[step](images)))
        assert all(bool((images == n).all()) for n, images in kept)
        assert len(lent._blocks) <= 8


@pytest.mark.usefixtures("as_worker")
def test_a_block_is_used_again_when_the_loop_has_dropped_its_images() -> None:
    for number in range(20):
        got = received(filled(number))
        assert got.unique().tolist() == [number]
    assert 1 <= len(lent._blocks) <= 2, "that of the images that are still kept, and the one after them"


@pytest.mark.usefixtures("as_worker")
def test_images_that_are_kept_get_memory_of_their_own_when_all_blocks_are_lent() -> None:
    kept = [received(filled(number)) for number in range(30)]
    assert [images.unique().tolist() for images in kept] == [[number] for number in range(30)]
    assert len(lent._blocks) == 8
    assert not any(block.is_free for block in lent._blocks)
    del kept
    assert all(block.is_free for block in lent._blocks)


@pytest.mark.usefixtures("as_worker")
@pytest.mark.parametrize(
    "change",
    [
        lambda images: images[1:],
        lambda images: images.permute(0, 2, 3, 1),
        lambda images: images.view(torch.int8),
        lambda images: images.float(),
        lambda images: images[:, :, :2],
    ],
)
def test_changed_images_are_sent_as_they_are(change: Callable[[Tensor], Tensor]) -> None:
    images = lent.room((2, 3, 4, 4))
    images.copy_(torch.arange(96).view(2, 3, 4, 4))
    got = received(change(images))
    assert got.dtype == change(images).dtype
    assert torch.equal(got, change(images))


@pytest.mark.usefixtures("as_worker")
def test_images_that_are_sent_twice_or_pickled_are_copied() -> None:
    images = filled(7)
    first, second = received(images), received(images)
    pickled = pickle.loads(pickle.dumps(lent.Sent(images)))  # noqa: S301 - our own
    first.fill_(1)
    assert second.unique().tolist() == [7]
    assert pickled.unique().tolist() == [7]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.usefixtures("as_worker")
def test_a_process_that_is_forked_meanwhile_gives_nothing_back() -> None:
    got = received(filled(3))
    if (child := os.fork()) == 0:
        del got
        gc.collect()
        os._exit(len(lent._blocks))
    assert os.waitpid(child, 0)[1] == 0, "a forked process has no blocks"
    assert not any(block.is_free for block in lent._blocks)
    assert filled(4).unique().tolist() == [4]
    assert got.unique().tolist() == [3]


class _Images(Dataset[Sample]):
    """Images of one number each."""

    def __len__(self) -> int:
        return N

    def __getitem__(self, index: int) -> Sample:
        return Sample(
            image=np.full((3, 8, 8), index, np.uint8),
            class_index=np.array([1], np.int32),
            confidence=np.ones(1, np.float32),
            origin=np.zeros(1, np.uint8),
            absent_unless_listed=False,
            n_classes=2,
            row=index,
            image_id=str(index),
            epoch=0,
            position=index,
        )


_before: list[Batch] = []


def _mixed(samples: Sequence[Sample]) -> Batch:
    """Return a batch whose images are the mean of its own and those of the batch before."""
    batch = collate(samples)
    _before.append(batch)
    if len(_before) > 1:
        before = _before.pop(0)
        mean = (batch.images.float() + before.images.float()) / 2
        return Batch(**{**{name: getattr(batch, name) for name in batch.__dataclass_fields__}, "images": mean})
    return batch


@pytest.mark.parametrize("options", [{}, {"persistent_workers": True}, {"prefetch_factor": 9}])
@pytest.mark.parametrize("keep", [0, 1, 3, N])
def test_batches_of_workers_are_those_of_one_process(options: dict[str, int], keep: int) -> None:
    loader = DataLoader(_Images(), batch_size=4, num_workers=2, collate_fn=collate, **options)  # type: ignore[arg-type]  # one kind of option at a time
    for stop in (5, 1000):
        kept: list[Batch] = []
        for k, batch in enumerate(loader):
            kept = [*kept, batch][max(0, len(kept) + 1 - keep) :]
            assert batch.images[:, 0, 0, 0].tolist() == list(range(4 * k, 4 * k + 4))
            for one in kept:
                assert one.images[:, 2, 7, 7].tolist() == one.rows.tolist()
            if k == stop:
                break


def test_a_worker_may_keep_batches_too() -> None:
    seen = [batch.images[:, 0, 0, 0].tolist() for batch in DataLoader(_Images(), 4, num_workers=1, collate_fn=_mixed)]
    assert seen[0] == [0, 1, 2, 3]
    assert seen[1:] == [[4 * k - 2 + x for x in range(4)] for k in range(1, N // 4)]
