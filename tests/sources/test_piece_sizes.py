"""Where large files of lines are cut."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st

from mlimages_dataset.sources import pieces

if TYPE_CHECKING:
    from collections.abc import Sequence

SIZES = st.integers(0, 1 << 40)


@given(SIZES, SIZES)
def test_larger_files_have_no_smaller_pieces_and_all_are_within_bounds(one: int, other: int) -> None:
    small, large = sorted((one, other))
    assert pieces.piece_bytes(small) <= pieces.piece_bytes(large) <= pieces.PIECE_BYTES


@given(
    st.lists(st.binary(max_size=9).map(lambda line: line.replace(b"\n", b"") + b"\n"), min_size=1), st.integers(1, 99)
)
def test_pieces_and_blocks_are_whole_lines_that_make_up_the_file(lines: Sequence[bytes], most: int) -> None:
    content = b"".join(lines)
    with mock.patch.object(pieces, "PIECE_BYTES", most):
        ends = pieces.line_ends(io.BytesIO(content), len(content))
        blocks = list(pieces.whole_rows(io.BytesIO(content.replace(b'"', b"'")), ","))
    assert ends[-1] == len(content)
    assert ends == sorted(set(ends))
    assert all(content[end - 1 : end] == b"\n" for end in ends)
    assert b"".join(blocks) == content.replace(b'"', b"'")
    assert all(block.endswith(b"\n") for block in blocks)
