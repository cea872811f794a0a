"""What was measured in a folder is found again there, the last of each benchmark and scale."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.benchmarks.kept import Outcome, keep, kept
from tests.benchmarks.measurement import Row

if TYPE_CHECKING:
    from pathlib import Path


def test_the_last_outcome_of_a_benchmark_at_a_scale_is_found_again(tmp_path: Path) -> None:
    rows = (Row("labels", 7, "images", "ours", (1.5, 2.5), (3.0, 4.0), 1.0, 12.5, 0.1, 0.9),)
    assert kept(tmp_path, "labels", 0.1) is None
    first = keep(tmp_path, Outcome("labels", 0.1, "a machine", rows))
    assert kept(tmp_path, "labels", 0.1) == first
    other = keep(tmp_path, Outcome("labels", 1.0, "a machine", ()))
    last = keep(tmp_path, Outcome("labels", 0.1, "another", rows))
    assert kept(tmp_path, "labels", 0.1) == last
    assert kept(tmp_path, "labels", 1.0) == other
    assert kept(tmp_path, "tally", 0.1) is None
