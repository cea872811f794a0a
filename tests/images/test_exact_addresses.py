"""Servers are asked for addresses as they are listed: what is legal byte by byte, and of the rest nothing is lost."""

from __future__ import annotations

import asyncio
import re
import socket
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mlimages_dataset.images.addresses import Refused
from mlimages_dataset.images.download import download
from mlimages_dataset.images.fetcher import FetchPolicy, fetcher
from mlimages_dataset.images.politeness import HostPolicy
from mlimages_dataset.images.statuses import Status
from mlimages_dataset.tables.parquet import read_table
from mlimages_dataset.tables.schemas import IMAGES
from tests.images import fault_server
from tests.images.exact_server import answer, exact_server, redirect

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

POLICY = FetchPolicy(per_host=HostPolicy(requests=64), retries=0, allow_private=True)
LEGAL = re.compile(rb"(?:%[0-9A-Fa-f]{2}|[A-Za-z0-9._~:/?\[\]@!$&'()*+,;=-])*")

PIECES = [*"abzAZ09-._~:@!$&'()*+,;=", "%2F", "%2f", "%3F", "%23", "%41", "%7E", "%e4", "%25", ".."]
SEGMENT = st.lists(st.sampled_from(PIECES), max_size=6).map("".join)
LEGAL_PATHS = st.lists(SEGMENT, max_size=5).map("/".join)
LEGAL_QUERIES = st.just("") | st.lists(SEGMENT | st.just("?"), max_size=4).map(lambda one: f"?{'/'.join(one)}")
ANY_TEXT = st.text(
    st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"], exclude_characters="#"), max_size=20
)


def fetched(addresses: Sequence[str]) -> list[str]:
    """Return the status of each address; `saved` where there was a body."""

    async def one(ask: object, address: str) -> str:
        try:
            await ask.fetch(address)  # type: ignore[attr-defined]
        except Refused as refused:
            return f"{refused.status}: {refused.detail}"
        return "saved"

    async def every() -> list[str]:
        async with fetcher(POLICY, fault_server.LoopbackResolver()) as ask:
            return list(await asyncio.gather(*(one(ask, address) for address in addresses)))

    return asyncio.run(every())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(LEGAL_PATHS, LEGAL_QUERIES), min_size=1, max_size=20))
@example([("a.jpg", "?"), ("a//b/../c;v=1", "?a=b?c"), ("", "?"), ("..", "?."), ("a.jpg", "?a=%2f&b=%2F+")])
def test_a_legal_target_is_asked_byte_for_byte(targets: list[tuple[str, str]]) -> None:
    written = [f"/{path}{query}" for path, query in targets]
    with exact_server({target.encode(): answer(b"body") for target in written}) as server:
        assert fetched([f"http://127.0.0.1:{server.port}{target}" for target in written]) == ["saved"] * len(written)
    assert sorted(server.asked) == sorted(target.encode() for target in written)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(ANY_TEXT, st.booleans()), min_size=1, max_size=10))
def test_of_any_other_target_only_what_is_illegal_is_encoded(texts: list[tuple[str, bool]]) -> None:
    written = [f"/p{text}{'?' if query else ''}x" for text, query in texts]
    with exact_server({}) as server:
        found = fetched([f"http://127.0.0.1:{server.port}{target}" for target in written])
    assert found == ["http_error: 404 Not Found"] * len(written)
    for asked in server.asked:
        assert LEGAL.fullmatch(asked)
    # A percent sign that begins no escape stands for itself.
    meant = [re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", target) for target in written]
    assert sorted(map(unquote_to_bytes, server.asked)) == sorted(map(unquote_to_bytes, meant))


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        ("/a.jpg#", "/a.jpg"),
        ("/a.jpg?#", "/a.jpg?"),
        ("/a.jpg?x#y?z", "/a.jpg?x"),
        ("?", "/?"),
        ("", "/"),
        ("/a.jpg \t", "/a.jpg"),
        ("/a.jpg?q= ", "/a.jpg?q="),
        ("/a;b", "/a;b"),
        ("/http:%2F%2Fh%2fa.jpg", "/http:%2F%2Fh%2fa.jpg"),
        ("/http://h/a.jpg?u=http://h/b?c", "/http://h/a.jpg?u=http://h/b?c"),
        ("/%", "/%25"),
        ("/%zz%4", "/%25zz%254"),
        ("/%C3%A4ä", "/%C3%A4%C3%A4"),
        ("/a\\b", "/a%5Cb"),
    ],
)
def test_the_ends_of_addresses(written: str, asked: str) -> None:
    with exact_server({asked.encode(): answer(b"body")}) as server:
        assert fetched([f"http://127.0.0.1:{server.port}{written}"]) == ["saved"]


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ("a.test", "a.test"),
        ("A.Test", "a.test"),
        ("bücher.test", "xn--bcher-kva.test"),
        ("BÜCHER.test", "xn--bcher-kva.test"),
        ("xn--bcher-kva.test", "xn--bcher-kva.test"),
        ("a_b.test", "a_b.test"),
        ("@a.test", "a.test"),
    ],
)
def test_hosts_are_told_as_http_wants_them(host: str, told: str) -> None:
    with exact_server({b"/a.jpg?": answer(b"body")}) as server:
        assert fetched([f"http://{host}:{server.port}/a.jpg?", f"HTTP://{host}:0{server.port}/a.jpg?"]) == ["saved"] * 2
    assert server.hosts == [f"{told}:{server.port}"] * 2


def test_an_address_of_ipv6_is_asked() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    with exact_server({b"/a//b?": answer(b"body")}, "::1") as server:
        assert fetched([f"http://[::1]:{server.port}/a//b?", f"http://[0:0::1]:{server.port}/a//b?"]) == ["saved"] * 2
    assert server.hosts[0] == f"[::1]:{server.port}"


@pytest.mark.parametrize(
    ("location", "asked"),
    [
        (b"/b.jpg?", b"/b.jpg?"),
        (b"/b.jpg?#top", b"/b.jpg?"),
        (b"?", b"/d/a.jpg?"),
        (b"?x=/y", b"/d/a.jpg?x=/y"),
        (b"b.jpg", b"/d/b.jpg"),
        (b"/b//c;v=1?X=%2f%2F+", b"/b//c;v=1?X=%2f%2F+"),
        (b"/\xe4 b.jpg", b"/%E4%20b.jpg"),
        ("/ä.jpg".encode(), b"/%C3%A4.jpg"),
    ],
)
@pytest.mark.parametrize("first", ["/d/a.jpg", "/d/a.jpg?", "/d/a.jpg?q=1/2"])
def test_redirects_lead_to_exact_targets_too(first: str, location: bytes, asked: bytes) -> None:
    if asked == first.encode():
        return
    with exact_server({first.encode(): redirect(location), asked: answer(b"body")}) as server:
        assert fetched([f"http://127.0.0.1:{server.port}{first}"]) == ["saved"]
    assert server.asked == [first.encode(), asked]


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252"])
@pytest.mark.slow
def test_a_list_in_another_encoding_is_asked_in_it(tmp_path: Path, encoding: str) -> None:
    targets = ["/ä b.jpg", "/a.jpg?q=é", "/plain.jpg?", "/%E4.jpg", "/€.jpg?x#ü"]
    asked = [
        re.sub(rb"[^!-~]", lambda one: b"%%%02X" % one[0][0], target.partition("#")[0].encode(encoding))
        for target in targets
    ]
    body = {target: answer(fault_server.picture(number)) for number, target in enumerate(asked)}
    with exact_server(body) as server:
        rows = [f"bild-{number}-ü,http://bücher.test:{server.port}{target}" for number, target in enumerate(targets)]
        listed = tmp_path / "list.csv"
        listed.write_bytes("\r\n".join(["image_id,url", *rows, ""]).encode(encoding))
        download([listed], tmp_path / "out", fault_server.options(), resolver=fault_server.LoopbackResolver())
    table = read_table(tmp_path / "out" / "part-00000.parquet", IMAGES)
    assert table["status"].to_pylist() == [Status.SAVED] * len(targets)
    assert table["image_id"].to_pylist() == [f"bild-{number}-ü" for number in range(len(targets))]
    assert sorted(server.asked) == sorted(asked)
