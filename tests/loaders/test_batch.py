"""Batches agree with dense loops over their samples."""

from __future__ import annotations

import contextlib
import copy
import pickle
from multiprocessing.reduction import ForkingPickler
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from mlimages_dataset.loaders import BadImage, Batch, Sample, collate

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

C = 6


def sample(labels: dict[int, float], *, complete: bool = False, position: int = 0) -> Sample:
    classes = sorted(labels)
    return Sample(
        image=np.full((3, 2, 2), position, np.uint8),
        class_index=np.array(classes, np.int32),
        confidence=np.array([labels[c] for c in classes], np.float32),
        origin=np.array([c % 4 for c in classes], np.uint8),
        absent_unless_listed=complete,
        n_classes=C,
        row=10 + position,
        image_id=f"image-{position}",
        epoch=2,
        position=position,
        replaced=(BadImage(9, "bad", "why"),) if position == 1 else (),
    )


LABELS = st.dictionaries(st.integers(0, C - 1), st.sampled_from([0.0, 0.5, 0.8, 1.0]))


@given(rows=st.lists(st.tuples(LABELS, st.booleans()), min_size=1, max_size=5))
def test_targets_and_known_are_those_of_a_dense_loop(rows: list[tuple[dict[int, float], bool]]) -> None:
    batch = collate([sample(labels, complete=complete, position=k) for k, (labels, complete) in enumerate(rows)])
    assert batch.targets.dtype == torch.float32
    assert batch.known.dtype == torch.bool
    assert batch.targets.shape == batch.known.shape == (len(rows), C)
    for k, (labels, complete) in enumerate(rows):
        assert batch.targets[k].tolist() == [np.float32(labels.get(c, 0)) for c in range(C)]
        assert batch.known[k].tolist() == [complete or c in labels for c in range(C)]


def test_what_a_batch_says_of_its_samples() -> None:
    batch = collate([sample({1: 1.0}), sample({}, position=1), sample({0: 0.0, 5: 0.9}, position=2)])
    assert batch.images.dtype == torch.uint8
    assert batch.images[:, 0, 0, 0].tolist() == [0, 1, 2]
    assert batch.origin.tolist() == [1, 0, 1]
    assert batch.rows.tolist() == [10, 11, 12]
    assert batch.positions.tolist() == [0, 1, 2]
    assert (batch.epoch, len(batch), batch.image_ids[2]) == (2, 3, "image-2")
    assert batch.replaced == (BadImage(9, "bad", "why"),)


def test_a_batch_moves_and_travels_whole() -> None:
    batch = collate([sample({1: 1.0}), sample({2: 0.0, 3: 0.5}, complete=True, position=1)])
    meta = batch.to("meta", non_blocking=True)
    assert meta.targets.device == meta.images.device == torch.device("meta")
    back: Batch = pickle.loads(pickle.dumps(batch))  # noqa: S301 - our own bytes
    assert torch.equal(back.targets, batch.targets)
    assert torch.equal(back.known, batch.known)
    assert back.replaced == batch.replaced
    to_a_process = bytes(ForkingPickler.dumps(batch))
    assert to_a_process.count(b"rebuild_tensor") == 1, "one file descriptor a batch"


@pytest.mark.parametrize("mode", [contextlib.nullcontext, torch.no_grad, torch.inference_mode])
def test_batches_of_workers_are_those_of_one_process(mode: Callable[[], AbstractContextManager[object]]) -> None:
    """Many small batches, some of which are kept while others follow."""
    samples = [sample({k % C: 1.0}, position=k) for k in range(200)]
    with mode():
        batches = list(DataLoader(samples, batch_size=3, num_workers=2, collate_fn=collate, prefetch_factor=8))  # type: ignore[arg-type]  # a list is a data set
        for one in (batches[5], copy.copy(batches[5]), copy.deepcopy(batches[5])):
            assert one.images[:, 2, 1, 1].tolist() == one.positions.tolist() == [15, 16, 17]
        assert [k for batch in batches for k in batch.images[:, 0, 0, 0].tolist()] == list(range(200))
