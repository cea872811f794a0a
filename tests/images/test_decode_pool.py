"""Bodies are checked where they lie, by every rule, and one that crashes its worker affects no other."""

from __future__ import annotations

import asyncio
import hashlib
import os
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Any

import pytest

from mlimages_dataset.core.errors import MLImagesError
from mlimages_dataset.images.check import Limits
from mlimages_dataset.images.decode_pool import (
    AHEAD,
    DecodeJob,
    ImageRules,
    Placeholder,
    check_bodies,
    check_header,
    decode_pool,
)
from mlimages_dataset.images.resize import ResizeOptions
from mlimages_dataset.images.statuses import Status
from tests.images import fault_server

if TYPE_CHECKING:
    from pathlib import Path


def laid_out(path: Path, *contents: bytes) -> list[DecodeJob]:
    """Return jobs of contents that lie one after the other in a file."""
    path.write_bytes(b"".join(contents))
    starts = [sum(map(len, contents[:at])) for at in range(len(contents))]
    return [DecodeJob(path, start, len(content)) for start, content in zip(starts, contents, strict=True)]


@pytest.mark.parametrize("decode", [True, False])
def test_each_rule_has_its_status(tmp_path: Path, *, decode: bool) -> None:
    good, placeholder = fault_server.picture(1), fault_server.picture(2)
    jobs = laid_out(tmp_path / "spool", good, placeholder, b"<html>", good, good, good)
    jobs[3] = replace(jobs[3], md5=bytes(16))
    jobs[4] = replace(jobs[4], published_size=3)
    jobs[5] = replace(jobs[5], md5=hashlib.md5(good, usedforsecurity=False).digest(), published_size=len(good))
    found = check_bodies(jobs, ImageRules(decode=decode, placeholders=frozenset({Placeholder.of(placeholder)})))
    assert [one.inspection.status for one in found] == [
        Status.SAVED,
        Status.PLACEHOLDER,
        Status.NOT_AN_IMAGE,
        Status.WRONG_DIGEST,
        Status.WRONG_DIGEST,
        Status.SAVED,
    ]
    assert {(one.inspection.width, one.inspection.height) for one in (found[0], found[5])} == {(64, 48)}


def test_a_verdict_by_the_header_is_that_on_the_whole_body(tmp_path: Path) -> None:
    whole, rules = fault_server.picture(1), ImageRules(decode=False)
    (job,) = laid_out(tmp_path / "spool", whole)
    found = check_header(whole[:-100], job, rules)
    assert found is not None
    assert [found] == check_bodies([job], rules)


def test_a_header_does_not_tell_what_asks_for_more(tmp_path: Path) -> None:
    whole, plain = fault_server.picture(1), ImageRules(decode=False)
    (job,) = laid_out(tmp_path / "spool", whole)
    cases = [
        (whole, job, ImageRules()),
        (whole, job, replace(plain, resize=ResizeOptions(short_edge=24))),
        (whole, job, replace(plain, placeholders=frozenset({Placeholder(len(whole), "0" * 64)}))),
        (whole, job, replace(plain, limits=Limits(bytes=len(whole) - 1))),
        (whole, job, replace(plain, limits=Limits(pixels=1))),
        (whole, replace(job, md5=bytes(16)), plain),
        (whole, replace(job, published_size=len(whole) + 1), plain),
        (whole[:20], job, plain),
        (fault_server.png(16, 16, 8), job, plain),
        (b"<html>", job, plain),
    ]
    assert [check_header(*case) for case in cases] == [None] * len(cases)


def test_a_header_beyond_the_first_bytes_is_found_without_decoding(tmp_path: Path) -> None:
    whole = fault_server.picture(1)
    segment = b"\xff\xe2\xff\xff" + bytes(0xFFFF - 2)
    jobs = laid_out(tmp_path / "spool", whole[:2] + 3 * segment + whole[2:])
    assert check_header(whole[:2] + segment, jobs[0], ImageRules(decode=False)) is None
    assert check_bodies(jobs, ImageRules(decode=False))[0].inspection.width == 64


def test_there_is_room_until_as_many_wait_as_may_and_again_when_workers_caught_up(tmp_path: Path) -> None:
    jobs = laid_out(tmp_path / "spool", fault_server.picture(1)) * (2 * AHEAD)

    async def go() -> list[bool]:
        async with decode_pool(1, ImageRules()) as found:
            seen = [found.room.is_set()]
            waiting = asyncio.gather(*map(found.check, jobs))
            await asyncio.sleep(0)
            seen.append(found.room.is_set())
            await found.room.wait()
            seen.append(waiting.done())
            await waiting
            return [*seen, found.room.is_set()]

    assert asyncio.run(go()) == [True, False, False, True]


def test_smaller_pictures_replace_larger_ones_only(tmp_path: Path) -> None:
    rules = ImageRules(resize=ResizeOptions(short_edge=48))
    larger, smaller = fault_server.picture(1), fault_server.png(16, 16, 8)
    resized, kept = check_bodies(laid_out(tmp_path / "spool", larger, smaller), replace(rules, limits=Limits()))
    assert resized.replacement is None, "it has 48 pixels already"
    assert kept.replacement is None
    half = check_bodies(laid_out(tmp_path / "spool", larger), ImageRules(resize=ResizeOptions(short_edge=24)))[0]
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


@pytest.mark.slow
def test_a_body_that_ends_its_process_is_broken_and_the_others_are_checked(tmp_path: Path) -> None:
    jobs = laid_out(tmp_path / "spool", *(fault_server.picture(number) for number in range(12)))
    jobs[5] = replace(jobs[5], path=Deadly())  # type: ignore[arg-type]  # what a crash in a decoder does

    async def go() -> list[Status]:
        async with decode_pool(1, ImageRules()) as found:
            results = await asyncio.gather(*map(found.check, jobs))
            with pytest.raises(MLImagesError, match="worker processes crash"):
                await found.run(deadly, None)
        return [one.inspection.status for one in results]

    assert asyncio.run(go()) == [Status.SAVED] * 5 + [Status.BROKEN] + [Status.SAVED] * 6
