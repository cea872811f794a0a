"""Concurrent rates are counted per object, as by loops over boxes."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlimages_dataset.augment.region_pairs import ObjectPairs, object_pairs
from mlimages_dataset.core.locations import location
from mlimages_dataset.train.losses.pair_rates import with_relatives
from tests.train.detection.shapes import row, write_regions

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

N_CLASSES = 4
ROWS = st.lists(
    st.tuples(st.sampled_from("abcd"), st.integers(0, N_CLASSES - 1), st.integers(0, 2), st.sampled_from([0, 0, 1])),
    max_size=30,
)


def counted(folder: Path, rows: list[tuple[str, int, int, int]]) -> ObjectPairs:
    boxes = ((0, 0, 20, 20), (10, 5, 30, 40), (10, 5, 30, 41))
    folder.mkdir(exist_ok=True)
    write_regions(folder, [row(i, c, boxes[b], (50, 50)) | {"origin": origin} for i, c, b, origin in sorted(rows)])
    return object_pairs([location(str(folder / "part-00000.parquet"))], N_CLASSES)


@settings(max_examples=50)
@given(rows=ROWS)
def test_pairs_are_those_of_loops(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, int, int, int]]
) -> None:
    found = counted(tmp_path_factory.mktemp("regions") / "one", rows)
    labels: dict[tuple[str, int], set[int]] = defaultdict(set)
    for image, c, box, origin in rows:
        if origin == 0:
            labels[image, box].add(c)
    of_class = Counter(c for of_object in labels.values() for c in of_object)
    both = Counter(pair for of_object in labels.values() for pair in itertools.permutations(of_object, 2))
    assert found.objects == len(labels)
    assert found.several == sum(len(of_object) > 1 for of_object in labels.values())
    wanted = [{"left": i, "right": j, "n_left": of_class[i], "n_both": n} for (i, j), n in sorted(both.items())]
    assert found.table().to_pylist() == wanted


@settings(max_examples=20)
@given(rows=ROWS)
def test_counts_of_parts_add_up(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, int, int, int]]
) -> None:
    folder = tmp_path_factory.mktemp("regions")
    whole = counted(folder / "whole", rows)
    parts = [
        counted(folder / name, [one for one in rows if (one[0] in "ab") is first])
        for name, first in (("first", True), ("second", False))
    ]
    assert (parts[0] + parts[1]).table().equals(whole.table())


def test_relatives_concur_in_both_directions() -> None:
    closure = sp.csr_array(np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1]], bool))
    rates = torch.sparse_coo_tensor(
        torch.tensor([[1, 2], [2, 0]]), torch.tensor([0.25, 0.5]), (3, 3), check_invariants=True
    )
    assert with_relatives(rates, closure).to_dense().tolist() == [[0, 1, 0], [1, 0, 0.25], [0.5, 0, 0]]
