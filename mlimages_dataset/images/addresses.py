"""Which addresses are asked at all: http and https ones whose hosts lie in the public Internet.

A list of image URLs is other people's text. What it names must not make this machine ask its own services or those of
its network, neither at once nor by a redirect, nor by a name that resolves to another address the second time: the
connection goes to exactly the addresses that were checked.
"""

from __future__ import annotations

import asyncio
import collections
import ipaddress
import re
import socket
import time
from typing import TYPE_CHECKING, TypeAlias

from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from mlimages_dataset.images.statuses import Status

if TYPE_CHECKING:
    from collections.abc import Callable

_IpAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_CHARACTERS = 8000
"""Servers refuse longer request lines (nginx at 8 KiB, RFC 9110 section 4.1 asks for 8,000 bytes at least)."""
NAME_SECONDS = 60.0
"""How long an answer of the resolver is used."""
REMEMBERED_NAMES = 10_000

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
"""All that is given out of IPv6 (https://www.iana.org/assignments/ipv6-unicast-address-assignments); Python takes what
stands in no registry, such as `::127.0.0.1` and `fec0::1`, for public."""


class Refused(Exception):  # noqa: N818 - what became of an address, no error of the program's
    """An address gives no picture.

    Attributes:
        status: why not.
        detail: more, in words.
        again: whether another attempt may end otherwise.
    """

    def __init__(self, status: Status, detail: str = "", *, again: bool = False) -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail
        self.again = again


_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def parsed(text: str) -> URL:
    """Return an address as it can be asked, international names and characters encoded.

    Raises:
        Refused: it is no http or https URL with a host, holds a password, or is too long.
    """
    if not text.strip():
        raise Refused(Status.BAD_ADDRESS, "empty")
    if len(text) > MAX_CHARACTERS:
        raise Refused(Status.BAD_ADDRESS, f"{len(text):,} characters")
    if _CONTROL.search(text.strip()):  # yarl leaves line breaks out: another address than the list's
        raise Refused(Status.BAD_ADDRESS, "holds a line break or another control character")
    try:
        url = URL(text.strip()).with_fragment(None)
        host, port, length = url.raw_host, url.port, len(str(url))
        login = url.raw_user is not None or url.raw_password is not None
        if ":" in (host or ""):  # yarl takes whatever stands in brackets
            ipaddress.IPv6Address(str(host).partition("%")[0])
    except (ValueError, IndexError) as error:  # UnicodeError of a host that IDNA cannot encode; yarl's own at "[@]"
        raise Refused(Status.BAD_ADDRESS, f"no URL: {error}"[:200]) from error
    if url.scheme not in {"http", "https"}:
        raise Refused(Status.BAD_ADDRESS, f"{url.scheme[:20]}: is not fetched" if url.scheme else "no scheme")
    if not host or not port or length > MAX_CHARACTERS:
        raise Refused(Status.BAD_ADDRESS, "no host" if not host else f"{length:,} characters when encoded")
    if login:
        raise Refused(Status.BAD_ADDRESS, "holds a user name or a password")
    return url


def is_public(address: str) -> bool:
    """Return whether an IP address is of the public Internet, by the registries of RFC 6890 that Python carries.

    An IPv6 address that embeds an IPv4 one (mapped, NAT64, 6to4, Teredo) is as public as that.
    """
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return all(_is_global(one) for one in _embedded(ip) or [ip])


def _is_global(ip: _IpAddress) -> bool:
    given_out = isinstance(ip, ipaddress.IPv4Address) or ip in _GLOBAL_UNICAST
    return given_out and ip.is_global and not ip.is_multicast


def _embedded(ip: _IpAddress) -> list[_IpAddress]:
    """Return the IPv4 addresses that traffic to an IPv6 address goes to."""
    if isinstance(ip, ipaddress.IPv4Address):
        return []
    if ip.ipv4_mapped is not None:
        return [ip.ipv4_mapped]
    if ip.sixtofour is not None:
        return [ip.sixtofour]
    if ip.teredo is not None:
        return list(ip.teredo)
    return [ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)] if ip in _NAT64 else []


def check_literal(url: URL) -> None:
    """Check a host that is an IP address itself, which no resolver is asked about.

    Raises:
        Refused: it is not public, or of digits and dots (`127.1`, `2130706433`), which systems read in several ways.
    """
    host = url.raw_host or ""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError as error:
        if host.replace(".", "").isdigit():
            raise Refused(Status.BAD_ADDRESS, f"{host} is no whole IP address"[:200]) from error
        return
    if not is_public(host):
        raise Refused(Status.PRIVATE_ADDRESS, f"{host} is not of the public Internet")


def is_passing(error: OSError) -> bool:
    """Return whether a resolver's error is that it has no answer now, rather than that there is none."""
    return error.errno == socket.EAI_AGAIN


class CheckedResolver(AbstractResolver):
    """Resolves names to public addresses only, and remembers the answers of late.

    Args:
        inner: whom to ask.
        allow_private: whether addresses that are not public are allowed.
        clock: seconds.
    """

    def __init__(
        self, inner: AbstractResolver, *, allow_private: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._inner = inner
        self._allow_private = allow_private
        self._clock = clock
        # aiohttp's own cache forgets no name that is not asked for again: it grows with the list.
        self._known: collections.OrderedDict[tuple[str, int, int], tuple[float, asyncio.Future[list[ResolveResult]]]]
        self._known = collections.OrderedDict()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a host.

        Raises:
            Refused: one of them is not public.
            OSError: there is none.
        """
        key = (host, port, int(family))
        until, found = self._known.get(key, (0.0, None))
        if found is None or until < self._clock():
            # All who ask for a name at once wait for one answer, also when the first of them gives up.
            found = asyncio.ensure_future(self._asked(host, port, family))
            found.add_done_callback(lambda done: self._forget_failure(key, done))
            self._known[key] = (self._clock() + NAME_SECONDS, found)
            self._known.move_to_end(key)
            if len(self._known) > REMEMBERED_NAMES:
                self._known.popitem(last=False)
        return await asyncio.shield(found)

    async def _asked(self, host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        if not found:
            raise OSError(socket.EAI_NONAME, "no address")
        private = [one["host"] for one in found if not is_public(one["host"])]
        if private and not self._allow_private:
            raise Refused(Status.PRIVATE_ADDRESS, f"{host} is {private[0]}, not of the public Internet"[:200])
        return found

    def _forget_failure(self, key: tuple[str, int, int], done: asyncio.Future[list[ResolveResult]]) -> None:
        error = None if done.cancelled() else done.exception()
        if done.cancelled() or (isinstance(error, OSError) and is_passing(error)):
            self._known.pop(key, None)

    async def close(self) -> None:
        """Let go of the resolver that is asked."""
        await self._inner.close()
