"""Whatever a file holds, it is read or refused with a sentence: thousands of damaged files of every format.

A minute for all formats; `MLIMAGES_FUZZED_FILES=10000` makes so many of each.
"""

from __future__ import annotations

import gzip
import os
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pytest

from mlimages_dataset.core.errors import MLImagesError
from mlimages_dataset.sources.contract import statements_through
from mlimages_dataset.sources.layout import Layout
from mlimages_dataset.sources.registry import names
from tests.sources.test_contract import sample

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILES = int(os.environ.get("MLIMAGES_FUZZED_FILES", "80"))
HOSTILE = (
    *(
        b"\0",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"\xed\xa0\x80",
        b"\xf0\x9f\x98\x80",
        b"\xc3\xa9",
        b"\xe9",
        b"\x85",
        b"\x1e",
    ),
    *(b'"', b"'", b"\\", b"\n", b"\r", b"\r\n", b"\t", b",", b";", b"|", b":", b" ", b"/", b"{", b"}", b"[", b"]"),
    *(b"NaN", b"-1", b"95", b"1e999", b"1e-400", b"0.99999999999999999999", b"9" * 400, b"null", b"true", b"[]", b"{}"),
    *(b"\\ud800", b"\\u0000", b"[" * 5000, b'{"a":' * 2000, b'"' * 999, b"n99999999", b"n01440764", b"x" * 70_000),
)
"""Bytes that readers of other formats have stumbled over."""


def damaged(content: bytes, generator: np.random.Generator) -> bytes:
    """Return content with one to four damages: flipped bytes, a cut, hostile bytes, a block elsewhere or twice."""
    found = bytearray(content)
    for _ in range(generator.integers(1, 5)):
        first, last = sorted(generator.integers(0, len(found) + 1, 2).tolist())
        match int(generator.integers(6)):
            case 0 if found:
                for at in generator.integers(0, len(found), int(generator.integers(1, 9))):
                    found[at] = int(generator.integers(256))
            case 1:
                del found[last:]
            case 2:
                found[first:first] = HOSTILE[generator.integers(len(HOSTILE))]
            case 3:
                found[first:last] = HOSTILE[generator.integers(len(HOSTILE))]
            case 4:
                found = found[last:] + found[first:last] + found[:first]
            case _:
                found[last:last] = found[first:last]
    return bytes(found)


def damaged_file(content: bytes, generator: np.random.Generator, *, packed: bool) -> bytes:
    """Return damaged content, damaged before or after packing where it is packed."""
    if not packed:
        return damaged(content, generator)
    first = bool(generator.integers(2))
    return gzip.compress(damaged(content, generator)) if first else damaged(gzip.compress(content), generator)


LAYOUTS = {
    "csv": (Layout(separator=" "), Layout(columns=("image_id", "label", "confidence", "location"), separator="|")),
    "parquet": (Layout(separator=" "), Layout(columns=("image_id=label", "label=image_id"))),
    "jsonl": (Layout(separator=" "), Layout(columns=("image_id=label", "label=a.b"))),
}


@pytest.fixture(name="connection", scope="module")
def _connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(config={"threads": 1}) as connection:
        yield connection


@pytest.mark.slow
@pytest.mark.parametrize("name", names())
def test_a_damaged_file_is_read_or_refused_with_a_sentence(
    name: str, tmp_path: Path, connection: duckdb.DuckDBPyConnection
) -> None:
    *_, whole = sample(name, tmp_path)  # of a format with a file for each picture, one of these
    content = whole.read_bytes()
    layouts = (None, *LAYOUTS.get(name, ()))
    for number in range(FILES):
        packed = number % 10 == 0 and whole.suffix == f".{name}"
        path = whole.with_name("damaged.gz" if packed else f"damaged{whole.suffix}")
        path.write_bytes(damaged_file(content, np.random.default_rng([len(name), number]), packed=packed))
        try:
            statements_through(connection, name, [path], layouts[number % len(layouts)])
        except MLImagesError as error:
            wrong = "" if error.remedy and "\n" not in str(error) else f"is told as {error!s}"
        except Exception as error:  # noqa: BLE001 - what is looked for
            wrong = f"ends in {type(error).__name__}: {error}"
        else:
            wrong = ""
        if wrong:
            pytest.fail(f"{path.rename(tmp_path / f'{name}-{number}')} {wrong}")
