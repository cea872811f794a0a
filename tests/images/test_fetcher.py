"""One address: what is asked for, how failures are named, and what headers mean."""

from __future__ import annotations

import asyncio
import socket
import tempfile
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from mlimages_dataset.core.errors import UsageError
from mlimages_dataset.images.addresses import Refused
from mlimages_dataset.images.fetcher import Body, FetchPolicy, Timeouts, _target, fetcher, opted_out
from mlimages_dataset.images.politeness import HostPolicy
from mlimages_dataset.images.spool import Overflow
from mlimages_dataset.images.statuses import Status
from tests.images import fault_server

if TYPE_CHECKING:
    from collections.abc import Iterator

POLICY = FetchPolicy(
    per_host=HostPolicy(backoff=0.01),
    timeouts=Timeouts(connect=2.0, read=0.5, total=1.0),
    retries=0,
    max_bytes=fault_server.MAX_BYTES,
    allow_private=True,
)


@pytest.fixture(name="port", scope="module")
def _port() -> Iterator[int]:
    with fault_server.started() as port:
        yield port


def fetched(url: str, policy: FetchPolicy = POLICY, resolver: AbstractResolver | None = None) -> Body:
    async def go() -> Body:
        async with fetcher(policy, resolver or fault_server.LoopbackResolver()) as ask:
            return await ask.fetch(url)

    return asyncio.run(go())


def refused(url: str, policy: FetchPolicy = POLICY, resolver: AbstractResolver | None = None) -> Refused:
    with pytest.raises(Refused) as found:
        fetched(url, policy, resolver)
    return found.value


def test_a_body_comes_whole_and_in_order(port: int) -> None:
    body = fetched(f"http://good.test:{port}/good/5.jpg")
    assert b"".join(body.pieces) == fault_server.picture(5)
    assert body.size == len(fault_server.picture(5))


def test_a_body_has_a_head() -> None:
    body = Body([b"ab", b"c", b"def"], 6)
    assert [body.head(size) for size in (0, 1, 2, 4, 6, 9)] == [b"", b"a", b"ab", b"abcd", b"abcdef", b"abcdef"]


@pytest.mark.parametrize("memory_bytes", [0, 1 << 12, 1 << 20])
def test_what_is_too_large_for_memory_waits_on_the_disk(port: int, memory_bytes: int, tmp_path: Path) -> None:
    policy = replace(POLICY, memory_bytes=memory_bytes, connections=2)
    urls = [f"http://host{number}.test:{port}/good/{number}.jpg" for number in range(6)]

    async def go() -> list[Body]:
        async with fetcher(policy, fault_server.LoopbackResolver(), scratch=tmp_path) as ask:
            return await asyncio.gather(*map(ask.fetch, urls))

    for number, body in enumerate(asyncio.run(go())):
        expected = fault_server.picture(number)
        for _ in range(2):
            assert b"".join(body.pieces) == expected
            assert body.head(64) == expected[:64]
    assert list(tmp_path.iterdir()) == [], "the files have no names"


def test_large_bodies_at_once_take_no_memory(tmp_path: Path) -> None:
    n_bodies, piece = 32, bytes(1 << 18)
    tracemalloc.start()
    try:
        bodies = [Overflow(tmp_path, 1 << 20) for _ in range(n_bodies)]
        for _ in range(24):  # of 6 MiB each, 192 MiB together
            for body in bodies:
                body.add(piece[:])
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 48 << 20
    assert {sum(map(len, body)) for body in bodies} == {6 << 20}


@given(pieces=st.lists(st.binary(max_size=9)), kept_bytes=st.integers(0, 30))
def test_a_body_is_its_pieces_wherever_it_waits(pieces: list[bytes], kept_bytes: int) -> None:
    body = Overflow(Path(tempfile.gettempdir()), kept_bytes)
    for number, piece in enumerate(pieces):
        body.add(piece)
        if number % 2:  # reading does not move where the next piece goes
            assert b"".join(body) == b"".join(pieces[: number + 1])
    assert b"".join(body) == b"".join(pieces)
    assert body.size == sum(map(len, pieces))


def test_a_full_disk_is_a_sentence(tmp_path: Path) -> None:
    body = Overflow(tmp_path / "gone", 1)
    with pytest.raises(UsageError, match="cannot be written"):
        body.add(b"abc")


def test_no_more_is_asked_for_while_there_is_no_room(port: int) -> None:
    urls = [f"http://host{number}.test:{port}/good/{number}.jpg" for number in range(6)]
    resolver = fault_server.LoopbackResolver()

    async def go() -> list[Body]:
        room = asyncio.Event()
        async with fetcher(replace(POLICY, connections=2), resolver, room) as ask:
            bodies = asyncio.gather(*map(ask.fetch, urls))
            await asyncio.wait([bodies], timeout=0.3)
            assert resolver.asked == ["host0.test", "host1.test"]
            room.set()
            return await bodies

    bodies = asyncio.run(go())
    assert [b"".join(body.pieces) for body in bodies] == [fault_server.picture(number) for number in range(6)]


def test_redirects_are_followed_so_far(port: int) -> None:
    url = f"http://good.test:{port}/hop/5.jpg"
    assert b"".join(fetched(url).pieces) == fault_server.picture(5)
    none = refused(url, replace(POLICY, redirects=0))
    assert (none.status, none.detail) == (Status.REDIRECTS, "more than 0")


def test_failures_that_pass_are_tried_again_and_others_are_not(port: int) -> None:
    flaky = f"http://good.test:{port}/flaky/900.jpg"
    assert refused(flaky).detail == "500 Internal Server Error"
    assert fetched(f"http://good.test:{port}/flaky/901.jpg", replace(POLICY, retries=1)).size
    resolver = fault_server.LoopbackResolver()
    assert refused("http://nowhere.test/a.jpg", replace(POLICY, retries=5), resolver).status is Status.NO_HOST
    assert resolver.asked == ["nowhere.test"]


def test_opt_outs_are_honoured_unless_ignored(port: int) -> None:
    url = f"http://good.test:{port}/noai/1.jpg"
    assert refused(url).detail == "X-Robots-Tag: noai"
    assert fetched(url, replace(POLICY, ignore_opt_out=True)).size


def test_bodies_are_cut_off_at_the_cap(port: int) -> None:
    for kind in ("huge", "endless", "gzip-bomb"):
        assert refused(f"http://good.test:{port}/{kind}/1.jpg").status is Status.TOO_LARGE


def test_a_redirect_to_a_placeholder_is_told_by_its_target(port: int) -> None:
    url = f"http://good.test:{port}/unavailable/1.jpg"
    assert refused(url).status is Status.PLACEHOLDER
    assert refused(url, replace(POLICY, placeholder_targets=())).status is Status.HTTP_ERROR


def test_private_hosts_are_not_connected_to(port: int) -> None:
    guarded = replace(POLICY, allow_private=False)
    for url in (f"http://127.0.0.1:{port}/good/1.jpg", f"http://good.test:{port}/good/1.jpg", f"http://[::1]:{port}/"):
        assert refused(url, guarded).status is Status.PRIVATE_ADDRESS


class _Raising(AbstractResolver):
    """Fails as a resolver fails."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def resolve(
        self,
        host: str,  # noqa: ARG002 - aiohttp's signature
        port: int = 0,  # noqa: ARG002 - as above
        family: socket.AddressFamily = socket.AF_INET,  # noqa: ARG002 - as above
    ) -> list[ResolveResult]:
        """Raise."""
        raise self._error

    async def close(self) -> None:
        """Do nothing."""


def test_a_resolvers_failures_are_named() -> None:
    url = "http://a.test/"
    later = refused(url, resolver=_Raising(OSError(socket.EAI_AGAIN, "try again")))
    assert (later.status, later.detail, later.again) == (Status.NO_HOST, "try again", True)
    never = refused(url, resolver=_Raising(OSError(socket.EAI_NONAME, "unknown")))
    assert (never.status, never.again) == (Status.NO_HOST, False)
    # What Python's own resolver says of a label of more than 63 characters.
    odd = refused(url, resolver=_Raising(UnicodeError("label too long")))
    assert odd.status is Status.BAD_ADDRESS


def test_what_is_not_http_is_an_error_of_its_own() -> None:
    async def go() -> Refused:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readline()
            writer.write(b"220 mail.example.org ESMTP\r\n")
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server, fetcher(POLICY) as ask:
            with pytest.raises(Refused) as found:
                await ask.fetch(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/a.jpg")
        return found.value

    assert asyncio.run(go()).status is Status.HTTP_ERROR


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([], ""),
        (["all"], ""),
        (["noindex"], ""),
        (["NoAI"], "noai"),
        (["noindex, noimageai"], "noimageai"),
        (["unavailable_after: 25 Jun 2030 15:00:00 PST, noai"], "noai"),
        (["googlebot: noai"], ""),
        (["googlebot: noindex", "noai"], "noai"),
        (["mlimages-dataset: noai"], "noai"),
        (["otherbot: noindex, noai"], ""),
    ],
)
def test_opt_outs_for_all_robots_or_this_one(values: list[str], said: str) -> None:
    assert opted_out(values) == said


@pytest.mark.parametrize(
    "target", ["http://me:secret@good.test/a.jpg", "//me:secret@good.test/", "http://me:secret@[/"]
)
def test_a_redirect_with_a_login_is_told_without_it(target: str) -> None:
    with pytest.raises(Refused) as found:
        _target(URL("http://good.test/"), target)
    assert "secret" not in found.value.detail
    assert found.value.status is Status.REDIRECTS
