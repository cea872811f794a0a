"""The benchmarks measure equal work, extrapolate what they say they do, and say it in a table."""

from __future__ import annotations

import functools
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.tables.schemas import LABELS
from tests.augment.tables import Images, write_parts
from tests.benchmarks import (
    annotate_at_scale,
    boxes_at_scale,
    catalogue_at_scale,
    cooccurrence_at_scale,
    labels_at_scale,
    serve_at_scale,
    tally_at_scale,
)
from tests.benchmarks.labels_at_scale import check_equal
from tests.benchmarks.measurement import Contender, Row, contest, table
from tests.benchmarks.plot import draw, over_sizes
from tests.benchmarks.scale_simulation import Cluster, Part, simulate, with_figures

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


def test_tasks_of_several_sizes_are_drawn_ours_first_and_sizes_ascending(tmp_path: Path) -> None:
    def row(task: str, size: int, who: str) -> Row:
        return Row(task, size, "images", who, (float(size),), (1.0,), 1, 1)

    rows = [row("labels", n, who) for n in (30, 10) for who in ("ours", "a peer")] + [row("once", 5, "ours")]
    found = over_sizes(rows)
    assert list(found) == ["labels"]
    assert list(found["labels"]) == ["ours", "a peer"]
    assert all([one.size for one in of_sizes] == [10, 30] for of_sizes in found["labels"].values())
    assert draw(rows, "a machine; its packages", tmp_path / "plot.png") == 1
    assert (tmp_path / "plot.png").stat().st_size
    assert draw(rows[-1:], "a machine", tmp_path / "none.png") == 0
    assert not (tmp_path / "none.png").exists()


def test_a_peer_that_wrote_nothing_or_something_else_is_told(tmp_path: Path) -> None:
    rows: Images = [("a", {1: (1.0, 0)}), ("b", {2: (1.0, 0)})]
    for name, some in (("ours", rows), ("equal", rows), ("fewer", rows[:1]), ("other", rows[1:]), ("nothing", [])):
        write_parts(tmp_path / name, some, LABELS)
    check_equal(tmp_path / "ours", [tmp_path / "equal", tmp_path / "fewer"])
    for name in ("other", "nothing"):
        with pytest.raises(RuntimeError, match=f"{name} holds other labels than ours"):
            check_equal(tmp_path / "ours", [tmp_path / name])


parts = st.builds(
    Part,
    rows=st.just(1000),
    read=st.floats(0, 2),
    compute=st.floats(0, 2),
    write=st.floats(0, 2),
    bytes_read=st.integers(0, 10**9),
    bytes_written=st.integers(0, 10**9),
    bytes_returned=st.integers(0, 10**9),
    merge=st.floats(0, 2),
    around=st.floats(0, 2),
)
clusters = st.builds(
    Cluster,
    workers=st.integers(1, 20),
    dispatch=st.floats(0, 1),
    start=st.floats(0, 10),
    latency=st.floats(0, 1),
    connection=st.floats(1e6, 1e9),
    store=st.floats(1e6, 1e9),
    network=st.floats(1e6, 1e9),
)


@given(part=parts, cluster=clusters, n=st.integers(1, 50))
def test_a_simulated_run_lasts_as_long_as_each_resource_is_busy_and_no_longer_than_one_after_another(
    part: Part, cluster: Cluster, n: int
) -> None:
    found = simulate(part, n, cluster)
    assert found.seconds >= max(found.busy.values()) * (1 - 1e-9)
    connection = min(cluster.connection, cluster.store / cluster.workers)
    of_worker = part.work + 2 * cluster.latency + (part.bytes_read + part.bytes_written) / connection
    of_one = cluster.dispatch + of_worker + part.bytes_returned / cluster.network + part.merge
    assert found.seconds <= (part.around + cluster.start + n * of_one) * (1 + 1e-9)
    assert found.busy[found.bottleneck] == max(found.busy.values())


@given(part=parts, n=st.integers(1, 50), workers=st.integers(1, 5))
def test_parts_without_other_costs_take_turns_on_the_workers(part: Part, n: int, workers: int) -> None:
    alone = replace(part, bytes_returned=0, merge=0.0, around=0.0)
    found = simulate(alone, n, Cluster(workers=workers, dispatch=0.0, start=1.5))
    assert found.seconds == pytest.approx(1.5 + -(-n // workers) * part.work)


def test_figures_are_put_between_the_marks_of_a_page() -> None:
    page = "# Title\n<!-- figures -->\nold\n<!-- end of figures -->\nrest\n"
    assert with_figures(page, "new\n") == with_figures(with_figures(page, "other\n"), "new\n")
    assert "\nnew\n" in with_figures(page, "new\n")
    assert with_figures(page, "new").startswith("# Title\n")
    assert with_figures(page, "new").endswith("rest\n")
    with pytest.raises(ValueError, match="lacks"):
        with_figures("# Title\n", "new")


def test_a_part_of_more_rows_costs_more_and_returns_as_much() -> None:
    part = Part(
        rows=10,
        read=1.0,
        compute=2.0,
        write=3.0,
        bytes_read=10,
        bytes_written=20,
        bytes_returned=30,
        merge=0.5,
        around=0.1,
    )
    larger = part.of_rows(30)
    assert (larger.work, larger.bytes_read, larger.bytes_written) == (18.0, 30, 60)
    assert (larger.bytes_returned, larger.merge, larger.around) == (30, 0.5, 0.1)


@pytest.mark.slow
def test_every_contender_does_the_same_work(tmp_path: Path) -> None:
    # Where peers do all of our work, their module compares the rows, and ends with an error where they differ.
    rows = labels_at_scale.run(tmp_path, SCALE, repeat=1)
    rows += annotate_at_scale.run(tmp_path, SCALE, repeat=1)
    rows += cooccurrence_at_scale.run(tmp_path, SCALE, repeat=1)
    rows += boxes_at_scale.run(tmp_path, SCALE, repeat=1)
    rows += tally_at_scale.run(tmp_path, SCALE, repeat=1)
    rows += catalogue_at_scale.run(tmp_path, SCALE, repeat=1)
    assert all(row.seconds and row.ratio > 0 for row in rows)


@pytest.mark.slow
def test_every_page_is_served_and_compared(tmp_path: Path) -> None:
    shown, indexed, *memory = serve_at_scale.run(tmp_path, SCALE, repeat=2)
    assert {one.name for one in shown} >= {"category, largest", "images of the smallest category", "one image"}
    assert all(len(one.seconds) == 2 and one.first > 0 for one in shown)
    assert any(one.peer for one in shown)
    assert indexed > 0 < min(memory)
