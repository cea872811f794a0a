"""Pieces of two tables hold every row once, and the rows of an image in both tables together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from mlimages_dataset.augment.cooccurrence import annotated_labels
from mlimages_dataset.augment.paired_rows import Rows, Side, pieces
from mlimages_dataset.tables.parquet import table_parts
from mlimages_dataset.tables.schemas import ANNOTATIONS
from tests.augment.tables import write_parts

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

N_CLASSES = 4
_ABSENT = {N_CLASSES - 1: (0.0, 0)}
names = st.lists(st.sampled_from([f"{n:02d}" for n in range(12)]), min_size=1, max_size=12)
sizes = st.lists(st.integers(0, 4), max_size=4)


def side(folder: Path, ids: list[str], cuts: list[int]) -> Side:
    rows = [(name, {int(name) % (N_CLASSES - 1): (1.0, 0), **_ABSENT}) for name in ids]
    write_parts(folder, rows, ANNOTATIONS, cuts)
    return Side(folder.name, tuple(table_parts(folder)), ANNOTATIONS, annotated_labels, N_CLASSES)


def listed(rows: Rows) -> list[tuple[str, list[int]]]:
    offsets, classes = rows.categories.offsets.tolist(), rows.categories.classes.tolist()
    return [(name, classes[offsets[x] : offsets[x + 1]]) for x, name in enumerate(rows.ids.to_pylist())]


@settings(max_examples=50)
@given(left=names, right=names, cuts=st.tuples(sizes, sizes), ascending=st.booleans(), images=st.integers(1, 8))
def test_every_row_is_in_one_piece_with_all_others_of_its_image(
    *,
    tmp_path_factory: pytest.TempPathFactory,
    left: list[str],
    right: list[str],
    cuts: tuple[list[int], list[int]],
    ascending: bool,
    images: int,
) -> None:
    folder = tmp_path_factory.mktemp("pieces")
    ids = [sorted(some) if ascending else some for some in (left, right)]
    first, second = side(folder / "left", ids[0], cuts[0]), side(folder / "right", ids[1], cuts[1])
    with pieces(first, second, images, folder, map) as several:
        found = [(listed(piece.left()), listed(piece.right())) for piece in several]
    assert not list(folder.glob(".partial*"))
    for number, given_ids in enumerate(ids):
        every = sorted(row for piece in found for row in piece[number])
        assert every == sorted((name, [int(name) % (N_CLASSES - 1)]) for name in given_ids)
    places = [{name for rows in piece for name, _ in rows} for piece in found]
    assert sum(map(len, places)) == len(set(left) | set(right))


def test_tables_in_the_order_of_their_ids_are_not_copied(tmp_path: Path) -> None:
    ids = [f"{n:02d}" for n in range(12)]
    left, right = side(tmp_path / "left", ids, [3, 3, 3]), side(tmp_path / "right", ids, [4, 4])
    with pieces(left, right, 3, tmp_path, map) as several:
        assert not list(tmp_path.glob(".partial*"))
        assert len(several) > 2


def test_tables_in_no_order_are_copied_and_the_copies_removed(tmp_path: Path) -> None:
    ids = [f"{n * 5 % 12:02d}" for n in range(12)]
    left, right = side(tmp_path / "left", ids, [3, 3, 3]), side(tmp_path / "right", ids, [4, 4])
    with pieces(left, right, 3, tmp_path, map) as several:
        assert len(list(tmp_path.glob(".partial*.arrow"))) == 7
        assert sorted(name for piece in several for name, _ in listed(piece.left())) == sorted(ids)
    assert not list(tmp_path.glob(".partial*"))


def test_tables_without_statistics_are_copied(tmp_path: Path) -> None:
    ids = [f"{n:02d}" for n in range(12)]
    left, right = side(tmp_path / "left", ids, [3, 3, 3]), side(tmp_path / "right", ids, [4, 4])
    for part in left.parts:
        pq.write_table(pq.read_table(part), part, write_statistics=False)
    with pieces(left, right, 3, tmp_path, map) as several:
        assert list(tmp_path.glob(".partial*.arrow"))
        assert sorted(name for piece in several for name, _ in listed(piece.left())) == ids
