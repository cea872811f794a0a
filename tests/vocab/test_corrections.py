"""A list of corrections wins over the others, and nothing else changes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.core.errors import ConfigError
from mlimages_dataset.sources.classes import SourceClass
from mlimages_dataset.vocab.corrections import corrected
from mlimages_dataset.vocab.merging import ClassList

LISTS = st.lists(
    st.dictionaries(st.sampled_from("123"), st.sampled_from(["dog", "cat", "Dog "]), min_size=1), min_size=1, max_size=4
).map(
    lambda several: [
        ClassList(source=f"list {at}", classes=tuple(SourceClass(*one) for one in ids.items()), own=True)
        for at, ids in enumerate(several)
    ]
)


@given(LISTS, st.data())
def test_each_id_means_what_the_last_correction_says_and_no_id_is_lost(
    lists: list[ClassList], data: st.DataObject
) -> None:
    names = data.draw(st.lists(st.sampled_from([one.source for one in lists]), unique=True))
    kept, renamed = corrected(lists, names)
    of = {one.source: {each.source_id: each.name for each in one.classes} for one in lists}
    left = [(one.source, each.source_id, each.name) for one in kept for each in one.classes]
    assert {class_id for _, class_id, _ in left} == {class_id for ids in of.values() for class_id in ids}
    wins = {class_id: name for source in names for class_id, name in of[source].items()}
    for source, class_id, name in left:
        assert name == wins.get(class_id, of[source][class_id])
    for one in renamed:
        assert (one.source, one.source_id, one.name) not in left
        assert (one.by, one.source_id, one.name_by) in left
        assert one.name.strip().lower() != one.name_by.strip().lower()
    assert all(one.classes for one in kept)
    if not names:
        assert (kept, renamed) == (lists, [])


def test_a_correction_that_is_no_list_is_named() -> None:
    one = ClassList(source="mine", classes=(SourceClass("1", "dog"),), own=True)
    with pytest.raises(ConfigError, match="corrections names 'yours', which is no class list; use one of mine"):
        corrected([one], ["yours"])
