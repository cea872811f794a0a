"""Ids that were met are known, however many they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.images import repeats
from mlimages_dataset.images.repeats import SeenIds


@given(st.lists(st.text(max_size=2), max_size=80))
def test_it_is_a_set(image_ids: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(repeats, "_RECENT", 5)  # so that ids also are among the older ones
        seen, expected = SeenIds(), set[str]()
        for image_id in image_ids:
            assert (image_id in seen) == (image_id in expected)
            assert seen.add(image_id) == (image_id not in expected)
            expected.add(image_id)
