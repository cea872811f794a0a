"""Counter-based random numbers against the published generator and against chance."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.train.losses.draws import (
    draw_below,
    draw_bits,
    draw_positions,
    draw_uniform,
    seed_scalar,
    stream_key,
)

# Outputs of the reference code for state 1234567 (https://rosettacode.org/wiki/Pseudo-random_numbers/Splitmix64).
PUBLISHED = (
    6457827717110365317,
    3203168211198807973,
    9817491932198370423,
    4593380528125082431,
    16408922859458223821,
)
KEYS = st.integers(-(1 << 63), (1 << 63) - 1)


def key_of(seed: int, step: int, stream: int) -> int:
    return int(stream_key(torch.tensor(seed), torch.tensor(step), stream))


def test_outputs_are_those_of_the_reference_code() -> None:
    outputs = draw_bits(torch.tensor(1234567), len(PUBLISHED)).tolist()
    assert tuple(output % (1 << 64) for output in outputs) == PUBLISHED


@given(key=KEYS, n=st.integers(1, 200))
def test_positions_are_a_permutation(key: int, n: int) -> None:
    assert sorted(draw_positions(torch.tensor(key), n).tolist()) == list(range(n))


@given(key=KEYS, bound=st.integers(1, 1 << 31))
def test_numbers_lie_within_their_ranges(key: int, bound: int) -> None:
    uniform = draw_uniform(torch.tensor(key), 100)
    assert bool(((uniform >= 0) & (uniform < 1)).all())
    integers = draw_below(torch.tensor(key), 100, bound)
    assert bool(((integers >= 0) & (integers < bound)).all())


@given(key=KEYS)
def test_more_numbers_begin_with_the_same_ones(key: int) -> None:
    assert draw_bits(torch.tensor(key), 5).tolist() == draw_bits(torch.tensor(key), 9).tolist()[:5]


def test_seeds_of_64_bits_are_scalars_of_their_own() -> None:
    seeds = [0, 2**63 - 1, 2**63, 2**64 - 1]
    assert [int(seed_scalar(seed)) % 2**64 for seed in seeds] == seeds


def test_seeds_steps_and_streams_have_keys_of_their_own() -> None:
    keys = {key_of(seed, step, stream) for seed in range(10) for step in range(10) for stream in range(3)}
    assert len(keys) == 300


def test_uniform_numbers_fill_the_interval_evenly() -> None:
    counts = torch.histc(draw_uniform(torch.tensor(7), 100_000), 20, 0, 1)
    # Twenty cells of 5,000 on average: the standard deviation is 69, and five of them happen once in 2 million cells.
    assert float((counts - 5000).abs().max()) < 345
