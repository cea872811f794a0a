"""Bodies are judged where they lie, by every rule, and one that ends its process ends no other's."""

from __future__ import annotations

import asyncio
import hashlib
import os
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Any

import pytest

from mlimages_dataset.errors import MLImagesError
from mlimages_dataset.images.check import Limits
from mlimages_dataset.images.examination import Exhibit, Placeholder, Rules, examine, examiners
from mlimages_dataset.images.reencode import Shrinking
from mlimages_dataset.images.statuses import Status
from tests.images import fault_server

if TYPE_CHECKING:
    from pathlib import Path


def laid_out(path: Path, *contents: bytes) -> list[Exhibit]:
    """Return exhibits of contents that lie one after the other in a file."""
    path.write_bytes(b"".join(contents))
    starts = [sum(map(len, contents[:at])) for at in range(len(contents))]
    return [Exhibit(path, start, len(content)) for start, content in zip(starts, contents, strict=True)]


@pytest.mark.parametrize("decode", [True, False])
def test_each_rule_has_its_status(tmp_path: Path, *, decode: bool) -> None:
    good, placeholder = fault_server.picture(1), fault_server.picture(2)
    exhibits = laid_out(tmp_path / "spool", good, placeholder, b"<html>", good, good, good)
    exhibits[3] = replace(exhibits[3], md5=bytes(16))
    exhibits[4] = replace(exhibits[4], published_size=3)
    exhibits[5] = replace(exhibits[5], md5=hashlib.md5(good, usedforsecurity=False).digest(), published_size=len(good))
    found = examine(exhibits, Rules(decode=decode, placeholders=frozenset({Placeholder.of(placeholder)})))
    assert [one.inspection.status for one in found] == [
        Status.SAVED,
        Status.PLACEHOLDER,
        Status.NOT_AN_IMAGE,
        Status.WRONG_DIGEST,
        Status.WRONG_DIGEST,
        Status.SAVED,
    ]
    assert {(one.inspection.width, one.inspection.height) for one in (found[0], found[5])} == {(64, 48)}


def test_a_header_beyond_the_first_bytes_is_found_without_decoding(tmp_path: Path) -> None:
    whole = fault_server.picture(1)
    segment = b"\xff\xe2\xff\xff" + bytes(0xFFFF - 2)
    exhibits = laid_out(tmp_path / "spool", whole[:2] + 3 * segment + whole[2:])
    assert examine(exhibits, Rules(decode=False))[0].inspection.width == 64


def test_smaller_pictures_replace_larger_ones_only(tmp_path: Path) -> None:
    rules = Rules(shrinking=Shrinking(short_edge=48))
    larger, smaller = fault_server.picture(1), fault_server.png(16, 16, 8)
    shrunken, kept = examine(laid_out(tmp_path / "spool", larger, smaller), replace(rules, limits=Limits()))
    assert shrunken.replacement is None, "it has 48 pixels already"
    assert kept.replacement is None
    half = examine(laid_out(tmp_path / "spool", larger), Rules(shrinking=Shrinking(short_edge=24)))[0]
    assert half.replacement is not None
    assert (half.inspection.width, half.inspection.height) == (32, 24)


class Deadly:
    """The place of a body that ends the process that opens it."""

    def open(self, *_: Any, **__: Any) -> IO[bytes]:
        """End the process."""
        os._exit(1)


def deadly(_: object) -> None:
    """End the process."""
    os._exit(1)


def test_a_body_that_ends_its_process_is_broken_and_the_others_are_judged(tmp_path: Path) -> None:
    exhibits = laid_out(tmp_path / "spool", *(fault_server.picture(number) for number in range(12)))
    exhibits[5] = replace(exhibits[5], path=Deadly())  # type: ignore[arg-type]  # what a crash in a decoder does

    async def go() -> list[Status]:
        async with examiners(1, Rules()) as found:
            verdicts = await asyncio.gather(*map(found.examine, exhibits))
            with pytest.raises(MLImagesError, match="worker processes die"):
                await found.run(deadly, None)
        return [one.inspection.status for one in verdicts]

    assert asyncio.run(go()) == [Status.SAVED] * 5 + [Status.BROKEN] + [Status.SAVED] * 6
