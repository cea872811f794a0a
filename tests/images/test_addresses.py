"""Only http and https addresses of the public Internet are asked, and the connection goes where the check looked."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from mlimages_dataset.images.addresses import (
    MAX_CHARACTERS,
    Refused,
    check_literal,
    is_public,
    parsed,
)
from mlimages_dataset.images.resolver import NAME_SECONDS, REMEMBERED_NAMES, CheckedResolver
from mlimages_dataset.images.statuses import Status


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "cat.jpg",
        "//example.org/cat.jpg",
        "file:///etc/passwd",
        "ftp://example.org/cat.jpg",
        "data:image/png;base64,AAAA",
        "javascript:alert(1)",
        "http://",
        "http:///cat.jpg",
        "http://[::1/cat.jpg",
        "http://[@]cat.jpg",
        "http://[~:ap]",
        "http://example.org:99999/",
        "http://example.org:0/",
        "http://example.org/a\nb.jpg",
        "http://example.org/a\tb.jpg",
        "http://exam\r\nple.org/",
        "http://user:secret@example.org/",
        "http://example.org/" + "x" * 10_000,
        "http://example.org/" + "ü" * (MAX_CHARACTERS // 3),
    ],
)
def test_what_is_no_address_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(Refused) as refused:
        parsed(text)
    assert refused.value.status is Status.BAD_ADDRESS
    assert refused.value.detail


@given(st.text(max_size=200))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    url = None
    with contextlib.suppress(Refused):
        url = parsed("http://" + text)
    assert url is None or (url.scheme == "http" and str(url).isascii())


@given(st.text(alphabet="[]:@%/?#.a0\u00e9 -_~", max_size=12))
def test_brackets_and_colons_in_any_order_are_an_address_or_refused(text: str) -> None:
    with contextlib.suppress(Refused):
        check_literal(parsed("http://" + text))


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0177.0.0.1", "127.0.0.1.", "0", "1.2.3.4.5"])
def test_hosts_that_systems_may_read_as_addresses_are_refused(host: str) -> None:
    with pytest.raises(Refused):
        check_literal(parsed(f"http://{host}/a.jpg"))


def test_international_names_and_paths_are_encoded() -> None:
    assert str(parsed(" https://bücher.example/ä b.jpg#top ")) == "https://xn--bcher-kva.example/%C3%A4%20b.jpg"


TARGETS = (
    "/a/b.jpg?X-Amz-Credential=AK/20240101/us-east-1/s3/aws4_request&X-Amz-Signature=ab+c%2Fd",
    "/a.jpg?user=a@b&sig=x%2fy%2Bz",
    "/proxy/http:%2F%2Fhost%2fa.jpg",
    "/it's,a;path/(1)~x!$&*.jpg?q='1',2;3",
    "/%7Euser/%41.jpg?a=%20+b",
    "/a//b/./c/../d.jpg",
    "/a?b=c?d/e:f@g[0]",
    "/%E4.jpg",
)
QUOTED = {
    "/a b.jpg?c d": "/a%20b.jpg?c%20d",
    "/100%.jpg?50%&x=%zz": "/100%25.jpg?50%25&x=%25zz",
    '/ä"<>\\^`{|}.jpg': "/%C3%A4%22%3C%3E%5C%5E%60%7B%7C%7D.jpg",
    "?a=b": "?a=b",
    "/a.jpg#part": "/a.jpg",
    "": "/",
}


@pytest.mark.parametrize(("written", "target"), [*((one, one) for one in TARGETS), *QUOTED.items()])
def test_a_server_is_asked_for_what_is_written(written: str, target: str) -> None:
    """A server that keeps the bytes that it was asked for."""
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readline())
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async def ask() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        url = parsed(f"http://127.0.0.1:{port}{written}")
        async with server, aiohttp.ClientSession() as session, session.get(url) as response:
            assert response.status == 204

    asyncio.run(ask())
    asked_for = asked[0].split(b" ")[1].decode()
    assert asked_for == (target if target.startswith("/") else f"/{target}")


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.255.0.3", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0"),  # noqa: S104
        *("100.64.0.1", "224.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "240.0.0.1"),
        *("::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "ff02::1", "2001:db8::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2002:a00:1::1"),
        *("::127.0.0.1", "::ffff:0:127.0.0.1", "64:ff9b:1::7f00:1", "fec0::1", "5f00::1", "100::1"),
        *("", "localhost", "999.1.1.1"),
    ],
)
def test_special_addresses_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "151.101.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"]
)
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(address)


@given(st.ip_addresses(v=4))
def test_an_embedded_address_is_as_public_as_itself(inner: ipaddress.IPv4Address) -> None:
    number = int(inner)
    mapped = ipaddress.IPv6Address(0xFFFF << 32 | number)
    translated = ipaddress.IPv6Address(int(ipaddress.IPv6Address("64:ff9b::")) | number)
    assert is_public(str(mapped)) == is_public(str(translated)) == is_public(str(inner))


def test_a_host_that_is_an_address_is_checked_itself() -> None:
    check_literal(URL("http://8.8.8.8/"))
    check_literal(URL("http://localhost/"))  # the resolver's business
    for url in ("http://127.0.0.1:8080/", "http://[::1]/", "http://[::ffff:10.0.0.1]/"):
        with pytest.raises(Refused, match="not in the public Internet"):
            check_literal(URL(url))


class _Table(AbstractResolver):
    """Answers from a table, each name in turn with the next of its answers."""

    def __init__(self, **answers: list[list[str] | OSError]) -> None:
        self.asked: list[str] = []
        self._answers = {name.replace("_", "."): iter(found) for name, found in answers.items()}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the next answer."""
        self.asked.append(host)
        await asyncio.sleep(0)
        found = next(self._answers[host])
        if isinstance(found, OSError):
            raise found
        return [ResolveResult(hostname=host, host=one, port=port, family=family, proto=0, flags=0) for one in found]

    async def close(self) -> None:
        """Do nothing."""


def hosts_of(found: list[ResolveResult]) -> list[str]:
    return [one["host"] for one in found]


def test_one_private_address_among_a_names_addresses_refuses_it() -> None:
    async def go() -> None:
        table = _Table(mixed_org=[["8.8.8.8", "10.0.0.1"]], inside_org=[["127.0.0.1"]])
        resolver = CheckedResolver(table, allow_private=False)
        for name in ("mixed.org", "inside.org"):
            with pytest.raises(Refused) as refused:
                await resolver.resolve(name, 80)
            assert refused.value.status is Status.PRIVATE_ADDRESS
        allowing = CheckedResolver(_Table(inside_org=[["127.0.0.1"]]), allow_private=True)
        assert hosts_of(await allowing.resolve("inside.org", 80)) == ["127.0.0.1"]

    asyncio.run(go())


def test_a_name_that_changes_its_address_is_checked_each_time_it_is_asked() -> None:
    async def go() -> None:
        now = 0.0
        table = _Table(rebound_org=[["8.8.8.8"], ["127.0.0.1"]])
        resolver = CheckedResolver(table, allow_private=False, clock=lambda: now)
        assert hosts_of(await resolver.resolve("rebound.org", 80)) == ["8.8.8.8"]
        assert hosts_of(await resolver.resolve("rebound.org", 80)) == ["8.8.8.8"]
        now += NAME_SECONDS + 1
        with pytest.raises(Refused):
            await resolver.resolve("rebound.org", 80)
        assert table.asked == ["rebound.org", "rebound.org"]

    asyncio.run(go())


def test_many_who_ask_for_one_name_share_an_answer_and_a_passing_failure_is_not_remembered() -> None:
    async def go() -> None:
        later = OSError(socket.EAI_AGAIN, "try again")
        never = OSError(socket.EAI_NONAME, "no such name")
        table = _Table(a_org=[["8.8.8.8"]], later_org=[later, ["8.8.4.4"]], never_org=[never])
        resolver = CheckedResolver(table, allow_private=False)
        await asyncio.gather(*(resolver.resolve("a.org", 80) for _ in range(20)))
        with pytest.raises(OSError, match="try again"):
            await resolver.resolve("later.org", 80)
        assert hosts_of(await resolver.resolve("later.org", 80)) == ["8.8.4.4"]
        for _ in range(3):
            with pytest.raises(OSError, match="no such name"):
                await resolver.resolve("never.org", 80)
        assert table.asked == ["a.org", "later.org", "later.org", "never.org"]

    asyncio.run(go())


def test_remembered_names_are_bounded() -> None:
    async def go() -> None:
        names = [f"n{number}_org" for number in range(REMEMBERED_NAMES + 50)]
        answers: dict[str, list[list[str] | OSError]] = {name: [["8.8.8.8"]] for name in names}
        resolver = CheckedResolver(_Table(**answers), allow_private=False)
        for name in names:
            await resolver.resolve(name.replace("_", "."), 80)
        assert len(resolver._known) == REMEMBERED_NAMES

    asyncio.run(go())
