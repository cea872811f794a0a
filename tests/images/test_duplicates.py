"""Copies are found however they are stored, every pair of near hashes is found, and other pictures are left alone."""

from __future__ import annotations

import io
import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from mlimages_dataset.images.duplicates import (
    Fingerprints,
    HashTolerance,
    alike_pairs,
    distances,
    exact_groups,
    groups_of,
    pairs_within,
    picture_hashes,
)
from mlimages_dataset.samples import photographs
from tests.images.folders import picture

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


FEW = settings(max_examples=15)


def near_hashes(seed: int, n: int, flips: int) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """Return hashes of which many differ in a few bits."""
    rng = np.random.default_rng(seed)
    centres = rng.integers(0, 2**64, max(1, n // 4), np.uint64)
    hashes = centres[rng.integers(0, len(centres), n)]
    for _ in range(flips):
        hashes ^= np.uint64(1) << rng.integers(0, 64, n, np.uint64)
    return hashes


@FEW
@given(st.integers(0, 1000), st.integers(0, 60), st.integers(0, 9), st.integers(0, 15))
@pytest.mark.slow
def test_every_pair_within_the_radius_is_found_once(seed: int, n: int, flips: int, radius: int) -> None:
    hashes = near_hashes(seed, n, flips)
    expected = [
        [i, j]
        for i, j in itertools.combinations(range(n), 2)
        if (int(hashes[i]) ^ int(hashes[j])).bit_count() <= radius
    ]
    assert pairs_within(hashes, radius).tolist() == expected


def test_a_radius_that_the_words_cannot_cover_is_refused() -> None:
    with pytest.raises(ValueError, match="a radius of 16 bits"):
        pairs_within(np.zeros(2, np.uint64), 16)


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1), st.integers(0, 2**64 - 1))
def test_distances_are_set_bits(hashes: list[int], other: int) -> None:
    found = distances(np.array(hashes, np.uint64), np.array(other, np.uint64))
    assert found.tolist() == [(value ^ other).bit_count() for value in hashes]


@FEW
@given(st.integers(0, 1000), st.integers(0, 40), st.integers(0, 3))
def test_groups_are_those_of_comparing_all_pairs(seed: int, n: int, kinds: int) -> None:
    rng = np.random.default_rng(seed)
    frequencies, neighbours = near_hashes(seed, n, 3), near_hashes(seed + 1, n, 4)
    digests = rng.integers(0, 3 + n * kinds, n).astype(np.uint64)
    hashed = rng.random(n) < 0.8
    _, first = np.unique(digests, return_inverse=True)
    for group in range(n):  # equal bytes have equal hashes
        same = np.flatnonzero(first == group)
        frequencies[same], neighbours[same], hashed[same] = (
            frequencies[same[:1]],
            neighbours[same[:1]],
            hashed[same[:1]],
        )
    prints = Fingerprints(digests, frequencies, neighbours, hashed)
    tolerance = HashTolerance(frequencies=7, neighbours=9)
    pairs = [
        (i, j)
        for i, j in itertools.combinations(range(n), 2)
        if digests[i] == digests[j]
        or (
            hashed[i]
            and hashed[j]
            and (int(frequencies[i]) ^ int(frequencies[j])).bit_count() <= 7
            and (int(neighbours[i]) ^ int(neighbours[j])).bit_count() <= 9
        )
    ]
    exact = np.stack([exact_groups(prints), np.arange(n)], axis=1)
    found = groups_of(n, np.concatenate([exact, alike_pairs(prints, tolerance)]))
    expected = groups_of(n, np.array(pairs, np.int64).reshape(-1, 2))
    assert found.tolist() == expected.tolist()


def test_thousands_of_equal_hashes_are_no_thousands_squared_pairs() -> None:
    n = 5000
    prints = Fingerprints(
        np.arange(n, dtype=np.uint64), np.zeros(n, np.uint64), np.zeros(n, np.uint64), np.ones(n, np.bool_)
    )
    assert len(alike_pairs(prints, HashTolerance())) == n - 1


@pytest.mark.parametrize("content", [picture(0, 1, 1), picture(0, 2000, 1)])
def test_tiny_pictures_have_hashes_or_none(content: bytes) -> None:
    found = picture_hashes(content)
    assert found is None or all(0 <= value < 2**64 for value in found)


def test_a_picture_that_shows_nothing_has_none() -> None:
    sink = io.BytesIO()
    Image.new("RGB", (300, 200), "white").save(sink, "JPEG")
    assert picture_hashes(sink.getvalue()) is None


def encoded(image: Image.Image, form: str = "JPEG", **options: int) -> bytes:
    sink = io.BytesIO()
    image.save(sink, form, **options)
    return sink.getvalue()


def cropped(image: Image.Image, share: float) -> Image.Image:
    across, down = round(image.width * share / 2), round(image.height * share / 2)
    return image.crop((across, down, image.width - across, image.height - down))


CHANGES: dict[str, Callable[[Image.Image], bytes]] = {
    "quality 30": lambda image: encoded(image, quality=30),
    "png": lambda image: encoded(image, "PNG"),
    "webp": lambda image: encoded(image, "WEBP", quality=50),
    "half": lambda image: encoded(image.resize((image.width // 2, image.height // 2))),
    "double": lambda image: encoded(image.resize((image.width * 2, image.height * 2))),
    "brighter": lambda image: encoded(ImageEnhance.Brightness(image).enhance(1.2)),
    "grey": lambda image: encoded(image.convert("L")),
    "cropped by 2 %": lambda image: encoded(cropped(image, 0.02)),
}


def recalls(files: list[Path]) -> tuple[dict[str, float], int]:
    """Return the share of changed photographs that are told for copies, and how many pairs of others are."""
    tolerance = HashTolerance()
    originals = [Image.open(path).convert("RGB") for path in files]
    hashes = np.array([picture_hashes(path.read_bytes()) or (0, 0) for path in files], np.uint64)

    def alike(
        others: np.ndarray[tuple[int, int], np.dtype[np.uint64]],
    ) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
        bits = distances(hashes[:, None, :], others[None, :, :])
        return np.asarray((bits[..., 0] <= tolerance.frequencies) & (bits[..., 1] <= tolerance.neighbours))

    found, wrong = {}, 0
    for name, change in CHANGES.items():
        changed = np.array([picture_hashes(change(image)) or (0, 0) for image in originals], np.uint64)
        told = alike(changed)
        found[name] = float(np.diag(told).mean())
        wrong += int(told.sum() - np.diag(told).sum())
    return found, wrong


def test_packaged_photographs_and_their_changed_copies() -> None:
    files = sorted(photographs().glob("*.jpg"))
    found, wrong = recalls(files)
    assert len(files) > 20
    assert wrong == 0
    assert min(found.values()) >= 0.9, found


@pytest.mark.slow
@pytest.mark.shared_data
def test_imagenets_photographs_and_their_changed_copies(shared_data: Path) -> None:
    found, wrong = recalls(sorted((shared_data / "images").glob("*.JPEG")))
    assert wrong == 0
    assert min(found.values()) >= 0.95, found
