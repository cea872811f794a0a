"""What became of statements is told from one table of fates."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest

from mlimages_dataset.augment.annotation_counts import FATES, AnnotationSummary, Fate
from mlimages_dataset.augment.regions import RegionSummary

if TYPE_CHECKING:
    from collections.abc import Callable

WITH_FIRST = [fate for fate in FATES if fate.first]


def test_each_list_of_the_first_belongs_to_one_fate() -> None:
    lists = [one.name for one in fields(AnnotationSummary) if one.name.startswith("first_")]
    assert sorted(fate.first for fate in WITH_FIRST) == sorted(lists)


@pytest.mark.parametrize("fate", WITH_FIRST, ids=lambda fate: fate.field)
@pytest.mark.parametrize("listed", [("one", "two"), ()])
def test_findings_tell_the_first_where_it_is_listed(fate: Fate, listed: tuple[str, ...]) -> None:
    given: dict[str, Any] = {fate.field: 3, fate.first: listed}
    (told,) = AnnotationSummary(**given).findings()
    assert told == f"3 {fate.text}" + (": the first is one" if listed else "")


@pytest.mark.parametrize("summary", [AnnotationSummary, RegionSummary])
def test_statements_and_boxes_tell_of_renamed_files_alike(summary: Callable[..., Any]) -> None:
    told = summary(renamed=2, first_renamed=("a.xml",)).lines()
    assert (
        "           2  files that name another picture than their own names do, and are read by their own names" in told
    )
    assert told[-2:] == ["another name: a.xml", "another name: and 1 more"]
