"""Windows into one random order are subsets of the wanted size, however the images are cut."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.train.losses.weighted_sigmoid import Windows


@given(
    n_images=st.integers(1, 30),
    lengths=st.lists(st.integers(0, 30), min_size=1, max_size=8),
    cuts=st.lists(st.integers(0, 30), max_size=3),
    seed=st.integers(0, 1000),
)
def test_windows_hold_exactly_their_length_however_the_images_are_cut(
    n_images: int, lengths: list[int], cuts: list[int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    n_classes = len(lengths)
    length = np.minimum(lengths, n_images)
    start = rng.integers(0, n_images, n_classes)
    position = rng.permutation(n_images)
    windows = Windows(torch.tensor(start), torch.tensor(length), torch.tensor(position), n_images)
    expected = (position[:, None] - start) % n_images < length
    edges = sorted({0, n_images, *(cut for cut in cuts if cut < n_images)})
    parts = []
    for first, last in itertools.pairwise(edges):
        chosen = np.zeros((last - first, n_classes), bool)
        entries = windows.entries(slice(first, last)).numpy()
        assert len(set(entries.tolist())) == len(entries)
        chosen.reshape(-1)[entries] = True
        parts.append(chosen)
    np.testing.assert_array_equal(np.concatenate(parts), expected)
