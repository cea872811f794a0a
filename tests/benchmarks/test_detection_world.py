"""The world of detectors is what its text says, and a detector of it is trained and measured."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

from mlimages_dataset.core.locations import location
from mlimages_dataset.tables.parquet import read_table
from mlimages_dataset.tables.schemas import REGIONS
from tests.benchmarks.detection_world.__main__ import measured_before
from tests.benchmarks.detection_world.learning import LOSSES, SEPARATE, Job, learn, precision, trunk
from tests.benchmarks.detection_world.world import KINDS, PAIR, PARENTS, World, make
from tests.benchmarks.measurement import command

if TYPE_CHECKING:
    from pathlib import Path

SMALL = tuple(dataclasses.replace(kind, objects=4) for kind in KINDS)
NAMES = {*PARENTS, *(name for kind in KINDS for name in kind.names)}
pytestmark = pytest.mark.filterwarnings("ignore:.*their only ancestor here is a root")


@pytest.fixture(name="world", scope="module")
def _world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make(tmp_path_factory.mktemp("world"), SMALL, 11)


def rows(regions: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = read_table(location(str(regions / "part-00000.parquet")), REGIONS).to_pylist()
    return found


def with_ancestors(world: World) -> pa.Table:
    """Return the true boxes of the held-out pictures with what they also are, as a perfect detector finds them."""
    closure = world.vocabulary.closure.toarray()
    found = [
        {**row, "class_index": int(above)}
        for row in rows(world.held_out)
        for above in np.flatnonzero(closure[row["class_index"]])
    ]
    return pa.Table.from_pylist(found, schema=REGIONS.arrow)


def test_every_kind_has_the_parent_that_people_say(world: World) -> None:
    index, closure = world.vocabulary.index_of_wnid, world.vocabulary.closure.toarray()
    for kind in KINDS:
        for wnid in kind.names.values():
            above = {name for name, parent in PARENTS.items() if closure[index[wnid], index[parent]]}
            assert above == ({kind.parent} if kind.parent else set())


def test_the_rarest_kind_has_a_thousandth_of_the_most_frequent() -> None:
    assert max(kind.objects for kind in KINDS) == 1000 * min(kind.objects for kind in KINDS)


def test_all_that_is_true_is_found_by_a_perfect_detector_and_parents_only_by_name(world: World) -> None:
    assert precision(world, with_ancestors(world)) == dict.fromkeys(NAMES, 1.0)
    stated = pa.Table.from_pylist(rows(world.held_out), schema=REGIONS.arrow)
    assert precision(world, stated) == {name: float(name not in PARENTS) for name in NAMES}


def test_what_is_learnt_lacks_leaves_and_names_that_the_held_out_pictures_have(world: World) -> None:
    def counts(regions: Path) -> Counter[str]:
        categories = world.vocabulary.categories
        return Counter(world.name_of[categories[row["class_index"]].wnid] for row in rows(regions))

    learnt, held_out = counts(world.learnt), counts(world.held_out)
    of_parents = Counter({parent: sum(kind.objects for kind in SMALL if kind.parent == parent) for parent in PARENTS})
    leaves = {parent: sum(learnt[n] for k in SMALL if k.parent == parent for n in k.names) for parent in PARENTS}
    assert all(learnt[parent] == of_parents[parent] > leaves[parent] > 0 for parent in PARENTS)
    assert 4 <= sum(learnt[name] for name in PAIR) < 8
    assert set(held_out) == NAMES - set(PARENTS)
    assert set(held_out.values()) == {2}


def test_the_world_is_the_same_each_time(world: World, tmp_path: Path) -> None:
    again = make(tmp_path, SMALL, 11)
    assert rows(again.learnt) == rows(world.learnt)
    pictures = {path.name: path.read_bytes() for path in world.images.iterdir()}
    assert {path.name: path.read_bytes() for path in again.images.iterdir()} == pictures


@pytest.mark.slow
def test_box_heads_of_every_loss_are_trained_on_a_trunk_and_measured(world: World, tmp_path: Path) -> None:
    command("region-pairs", "--vocab", world.vocabulary_folder, world.learnt, "--out", tmp_path / "pairs")
    pairs = tmp_path / "pairs" / "pair_counts.parquet"
    of_seed = trunk(world, 0, tmp_path / "trunk", epochs=1)
    for loss in LOSSES:
        found = learn(of_seed, pairs, Job(loss, 0.7, 0, epochs=1))
        assert set(found) == ({"sigmoid"} if loss in SEPARATE else {"softmax", "concurrent", "relatives"})
        assert all(set(of_way) == NAMES for of_way in found.values())
        assert all(0 <= value <= 1 for of_way in found.values() for value in of_way.values())
        assert learn(of_seed, pairs, Job(loss, 0.7, 0, epochs=1)) == found


def test_half_a_line_of_a_killed_run_is_measured_again(tmp_path: Path) -> None:
    kept, job, found = tmp_path / "results.jsonl", Job("softmax", 0.0, 0), {"softmax": {"car": 0.5}}
    line = json.dumps([dataclasses.asdict(job), found]) + "\n"
    kept.write_text(line + line[:20], encoding="utf-8")
    assert measured_before(kept) == {job: found}
    assert kept.read_text(encoding="utf-8") == line
