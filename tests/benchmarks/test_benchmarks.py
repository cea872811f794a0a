"""The benchmarks measure equal work, extrapolate what they say they do, and say it in a table."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mlimages_dataset.tables.schemas import LABELS
from tests.augment.tables import Images, write_parts
from tests.benchmarks import annotate_at_scale, boxes_at_scale, cooccurrence_at_scale, labels_at_scale, serve_at_scale
from tests.benchmarks.labels_at_scale import check_equal
from tests.benchmarks.measurement import Contender, Row, contest, table
from tests.benchmarks.plot import draw, straight_line

if TYPE_CHECKING:
    from pathlib import Path

SCALE = 1e-5


def rest(seconds: float, own: float | None, out: Path) -> float | None:
    out.mkdir(parents=True)
    time.sleep(seconds)
    return own


def fail(out: Path) -> None:
    raise ValueError(out)


@pytest.mark.slow
def test_a_contest_times_each_contender_in_turn_and_extrapolates_samples(tmp_path: Path) -> None:
    contenders = [
        Contender("ours", functools.partial(rest, 0.2, None)),
        Contender("own count", functools.partial(rest, 0.0, 4.0)),
        Contender("sample", functools.partial(rest, 0.0, 1.0), 0.1),
    ]
    ours, counted, sampled = contest("resting", 7, "naps", contenders, tmp_path, repeat=2)
    assert len(ours.seconds) == 2
    assert min(ours.seconds) >= 0.2
    assert counted.seconds == (4.0, 4.0)
    assert sampled.seconds == (10.0, 10.0)
    assert (ours.ratio, counted.ratio) == (1.0, sum(ours.seconds) / 2 / 4)
    assert "sample (from 10.0% of the rows) | 10.0 s" in table([sampled])
    with pytest.raises(RuntimeError, match="a contender ended with 1"):
        contest("failing", 1, "naps", [Contender("ours", fail)], tmp_path, repeat=1)


def test_the_line_is_that_of_least_squares(tmp_path: Path) -> None:
    assert straight_line(np.array([1.0, 2, 4]), np.array([5.0, 7, 11])) == pytest.approx((2, 3, 1))
    rows = [Row("labels", 10**6 * n, "images", "ours", (2.0 * n, 2.0 * n + 1), (1.0,), 1, 1) for n in (1, 2, 4)]
    assert draw(rows, "a machine; its packages", tmp_path / "plot.png") == pytest.approx(1)
    assert (tmp_path / "plot.png").stat().st_size


def test_a_peer_that_wrote_nothing_or_something_else_is_told(tmp_path: Path) -> None:
    rows: Images = [("a", {1: (1.0, 0)}), ("b", {2: (1.0, 0)})]
    for name, some in (("ours", rows), ("equal", rows), ("fewer", rows[:1]), ("other", rows[1:]), ("nothing", [])):
        write_parts(tmp_path / name, some, LABELS)
    check_equal(tmp_path / "ours", [tmp_path / "equal", tmp_path / "fewer"])
    for name in ("other", "nothing"):
        with pytest.raises(RuntimeError, match=f"{name} holds other labels than ours"):
            check_equal(tmp_path / "ours", [tmp_path / name])


@pytest.mark.slow
def test_every_contender_does_the_same_work(tmp_path: Path) -> None:
    # Where peers do all of our work, their module compares the rows, and ends with an error where they differ.
    rows = labels_at_scale.run(tmp_path, SCALE, repeat=1)
    assert [row.who for row in rows].count("mlimages-build labels") == 1 + 5
    rows += annotate_at_scale.run(tmp_path, SCALE, repeat=1)
    rows += cooccurrence_at_scale.run(tmp_path, SCALE, repeat=1)
    rows += boxes_at_scale.run(tmp_path, SCALE, repeat=1)
    assert all(row.seconds and row.ratio > 0 for row in rows)


@pytest.mark.slow
def test_every_page_is_served_and_compared(tmp_path: Path) -> None:
    shown, indexed, *memory = serve_at_scale.run(tmp_path, SCALE, repeat=2)
    assert {one.name for one in shown} >= {"category, largest", "images of the smallest category", "one image"}
    assert all(len(one.seconds) == 2 and one.first > 0 for one in shown)
    assert any(one.peer for one in shown)
    assert indexed > 0 < min(memory)
