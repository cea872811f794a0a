"""Rows are found by id as a dictionary finds them, also where all ids have one hash."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.augment import same_images
from mlimages_dataset.augment.same_images import RepeatedIdError, rows_with

ids = st.lists(st.text(max_size=3))


@pytest.mark.parametrize("colliding", [False, True])
@given(wanted=ids, held=st.lists(st.text(max_size=3), unique=True), before=st.integers(0, 2))
def test_rows_are_those_of_a_dictionary(*, colliding: bool, wanted: list[str], held: list[str], before: int) -> None:
    known = {name: row for row, name in enumerate(held)}
    with pytest.MonkeyPatch.context() as patched:
        if colliding:
            patched.setattr(same_images, "draws_of", lambda names, _: np.zeros(len(names), np.uint64))
        sliced = pa.array([*"xy"[:before], *wanted], pa.string()).slice(before)
        found = rows_with(sliced, pa.array([*"xy"[:before], *held], pa.string()).slice(before))
    assert found.tolist() == [known.get(name, -1) for name in wanted]


@given(st.lists(st.text(max_size=3), min_size=1), st.data())
def test_an_id_in_two_rows_is_named(held: list[str], data: st.DataObject) -> None:
    repeated = data.draw(st.sampled_from(held))
    unique = list(dict.fromkeys(held))
    several = data.draw(st.permutations([*unique, repeated]))
    with pytest.raises(RepeatedIdError) as raised:
        rows_with(pa.array(unique), pa.array(several))
    assert str(raised.value) == repeated
