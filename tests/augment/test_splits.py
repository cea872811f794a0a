"""Draws are a published hash of the id; quotas hold for any data, repeated images included."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mlimages_dataset.augment.splits import LowestDraws, draws_of, eligible, lowest_draws
from mlimages_dataset.tables.schemas import Origin
from tests.augment.strategies import Row, columns_from, rows

N_CLASSES = 4
U64 = 2**64 - 1


def fnv1a(content: bytes) -> int:
    h = 0xCBF29CE484222325
    for byte in content:
        h = ((h ^ byte) * 0x100000001B3) & U64
    return h


def fmix64(h: int) -> int:
    h = ((h ^ (h >> 33)) * 0xFF51AFD7ED558CCD) & U64
    h = ((h ^ (h >> 33)) * 0xC4CEB9FE1A85EC53) & U64
    return h ^ (h >> 33)


def test_the_reference_hashes_are_the_published_ones() -> None:
    assert fnv1a(b"foobar") == 0x85944171F73967E8  # the test suite of FNV's authors
    assert fmix64(0) == 0
    assert fmix64(1) == 0xB456BCFC34C2CB2C


@given(st.lists(st.text(max_size=12)), st.text(max_size=5))
def test_a_draw_is_the_hash_of_salt_and_id(ids: list[str], salt: str) -> None:
    expected = [fmix64(fnv1a(salt.encode() + b"\0" + image_id.encode())) for image_id in ids]
    assert draws_of(pa.array(ids, pa.string()), salt).tolist() == expected


@given(ids=st.lists(st.text(max_size=5)), data=st.data())
def test_a_draw_does_not_depend_on_the_images_around(ids: list[str], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(ids)))
    stop = data.draw(st.integers(start, len(ids)))
    array = pa.array(ids, pa.string())
    assert draws_of(array.slice(start, stop - start), "s").tolist() == draws_of(array, "s").tolist()[start:stop]


@pytest.mark.parametrize(
    "ids", [pa.array([], pa.string()), pa.array(["a"]).slice(1), pa.chunked_array([], pa.string()).combine_chunks()]
)
def test_no_image_has_no_draw(ids: pa.StringArray) -> None:
    draws = draws_of(ids, "salt")
    assert len(draws) == 0
    assert draws.dtype == np.uint64


IDS = pa.array([f"n01440764_{i}" for i in range(2**14)])


@pytest.mark.parametrize("shift", [58, 29, 0])
def test_draws_of_consecutive_ids_are_uniform(shift: int) -> None:
    buckets = (draws_of(IDS, "val") >> np.uint64(shift)) % np.uint64(64)
    assert stats.chisquare(np.bincount(buckets.astype(np.int64), minlength=64)).pvalue > 0.01


def test_draws_of_two_salts_are_independent() -> None:
    of_one, of_other = ((draws_of(IDS, salt) >> np.uint64(61)).astype(np.int64) for salt in ("1", "2"))
    table = np.bincount(of_one * 8 + of_other, minlength=64).reshape(8, 8)
    assert stats.chi2_contingency(table).pvalue > 0.01


@dataclass(frozen=True, slots=True)
class Pool:
    """Images that could be drawn, with their draws."""

    images: list[Row]
    draws: list[int]

    def lowest(self, per_category: int) -> LowestDraws:
        """Return the lowest draws of the images."""
        return lowest_draws(np.array(self.draws, np.uint64), columns_from(self.images), N_CLASSES, per_category)

    def eligible(self, lowest: LowestDraws) -> list[bool]:
        """Return whether each image is eligible, where images of these lowest draws are to be had."""
        return list(map(bool, eligible(np.array(self.draws, np.uint64), columns_from(self.images), lowest.limits)))

    def part(self, start: int, stop: int | None = None) -> Pool:
        """Return the images of a range."""
        return Pool(self.images[start:stop], self.draws[start:stop])

    def categories(self, image: int) -> set[int]:
        """Return what an image is originally annotated with."""
        return {
            c for c, (confidence, origin) in self.images[image].items() if confidence > 0 and origin == Origin.ORIGINAL
        }


@st.composite
def pools(draw: st.DrawFn) -> Pool:
    """Draw images whose draws often tie."""
    images = draw(rows(N_CLASSES, origins=st.sampled_from([0, 0, 0, 1]), max_images=12))
    draws = st.one_of(st.integers(0, 5), st.integers(0, U64 - 1))
    return Pool(images, draw(st.lists(draws, min_size=len(images), max_size=len(images))))


QUOTAS = st.integers(0, 3)


@given(pools(), QUOTAS)
@pytest.mark.slow
def test_eligible_images_are_below_the_next_draw_of_each_of_their_categories(pool: Pool, quota: int) -> None:
    limits = []
    for c in range(N_CLASSES):
        draws = sorted(draw for image, draw in enumerate(pool.draws) if c in pool.categories(image))
        limits.append(draws[quota] if len(draws) > quota else math.inf)
    expected = [
        bool(pool.categories(image)) and all(draw < limits[c] for c in pool.categories(image))
        for image, draw in enumerate(pool.draws)
    ]
    assert pool.eligible(pool.lowest(quota)) == expected


@given(pools(), QUOTAS)
def test_no_category_exceeds_its_quota(pool: Pool, quota: int) -> None:
    chosen = [image for image, ok in enumerate(pool.eligible(pool.lowest(quota))) if ok]
    for c in range(N_CLASSES):
        assert sum(c in pool.categories(image) for image in chosen) <= quota


@given(st.sets(st.integers(0, U64 - 1), max_size=12), QUOTAS)
def test_a_category_of_single_label_images_fills_its_quota(draws: set[int], quota: int) -> None:
    pool = Pool([{0: (1.0, 0)}] * len(draws), list(draws))
    chosen = {draw for draw, ok in zip(pool.draws, pool.eligible(pool.lowest(quota)), strict=True) if ok}
    assert chosen == set(sorted(draws)[:quota])


def test_an_image_repeated_beyond_the_quota_is_never_drawn() -> None:
    repeated = Pool([{0: (1.0, 0)}] * 4, [7, 7, 7, 9])
    assert repeated.eligible(repeated.lowest(2)) == [False] * 4
    assert repeated.eligible(repeated.lowest(3)) == [True, True, True, False]


@given(pools(), QUOTAS, st.integers(0, 12))
def test_added_images_move_an_old_one_only_out_and_only_by_a_lower_draw_in_its_category(
    pool: Pool, quota: int, n_old: int
) -> None:
    old, added = pool.part(0, n_old), pool.part(n_old)
    before, after = old.eligible(old.lowest(quota)), pool.eligible(pool.lowest(quota))
    for image, was in enumerate(before):
        assert was or not after[image]
        if was and not after[image]:
            displacing = [i for i, draw in enumerate(added.draws) if draw <= old.draws[image]]
            assert any(old.categories(image) & added.categories(i) for i in displacing)


@given(pools(), QUOTAS, st.tuples(st.integers(0, 12), st.integers(0, 12)))
def test_lowest_draws_of_parts_merge_in_any_grouping(pool: Pool, quota: int, cuts: tuple[int, int]) -> None:
    first, second = sorted(cuts)
    a, b, c = (part.lowest(quota) for part in (pool.part(0, first), pool.part(first, second), pool.part(second)))
    whole = pool.lowest(quota).draws
    assert whole.dtype == np.uint64
    for merged in ((a + b) + c, a + (b + c), c + b + a, LowestDraws.empty(N_CLASSES, quota) + pool.lowest(quota)):
        np.testing.assert_array_equal(merged.draws, whole)


@given(pools(), QUOTAS, st.integers(0, 12))
def test_parts_can_be_judged_apart(pool: Pool, quota: int, cut: int) -> None:
    lowest = pool.lowest(quota)
    assert pool.part(0, cut).eligible(lowest) + pool.part(cut).eligible(lowest) == pool.eligible(lowest)


def test_a_class_that_does_not_exist_is_refused() -> None:
    pool = Pool([{N_CLASSES: (1.0, 0)}], [1])
    with pytest.raises(IndexError):
        pool.lowest(1)
    with pytest.raises(IndexError):
        pool.eligible(LowestDraws.empty(N_CLASSES, 1))
