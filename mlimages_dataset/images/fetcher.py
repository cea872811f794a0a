"""The bytes at an address, asked for politely: redirects followed by hand, everything bounded, every failure named."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import aiohttp
from yarl import URL

from mlimages_dataset.images.addresses import CheckedResolver, Refused, check_literal, is_passing, parsed
from mlimages_dataset.images.politeness import Courtesy, Host, Hosts
from mlimages_dataset.images.statuses import Status
from mlimages_dataset.sources.http import THROTTLING_STATUSES, TRANSIENT_STATUSES, USER_AGENT, retry_after

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Sequence

    from aiohttp.abc import AbstractResolver

OPT_OUTS: Final = frozenset({"noai", "noimageai"})
"""Directives of X-Robots-Tag that ask to keep a picture out of training, as DeviantArt introduced them."""
PLACEHOLDER_TARGETS = (
    r"//[^/]*(?:flickr\.com|yimg\.com)/.*photo_unavailable",
    r"//i\.imgur\.com/removed\.png",
    r"/(?:image|photo|picture)[-_]?(?:not[-_]?(?:found|available)|unavailable|removed|missing)[^/]*\.\w+$",
)
"""Where hosts redirect to for a picture that is gone, as regular expressions."""

_DATED = re.compile(r"unavailable_after\s*:[^,]*")
_VALUED = frozenset({"max-image-preview", "max-snippet", "max-video-preview"})
"""Directives that have a value after a colon, as the names of robots have directives."""
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_OK = 200
_READ_BUFFER = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds that one attempt may take.

    Attributes:
        connect: to resolve the name and connect, TLS included.
        read: between two pieces of an answer.
        total: from its turn to its last byte.
    """

    connect: float = 10.0
    read: float = 20.0
    total: float = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """How addresses are asked.

    Attributes:
        courtesy: how one host is treated.
        connections: at once, to all hosts.
        timeouts: of one attempt.
        retries: further attempts after a failure that may pass.
        redirects: hops that are followed.
        max_bytes: of a body.
        allow_private: whether hosts may lie outside the public Internet.
        ignore_opt_out: whether X-Robots-Tag is not honoured.
        placeholder_targets: regular expressions of addresses that stand for pictures that are gone.
        user_agent: as which this program makes itself known.
    """

    courtesy: Courtesy = field(default_factory=Courtesy)
    connections: int = 256
    timeouts: Timeouts = field(default_factory=Timeouts)
    retries: int = 3
    redirects: int = 5
    max_bytes: int = 64 << 20
    allow_private: bool = False
    ignore_opt_out: bool = False
    placeholder_targets: tuple[str, ...] = PLACEHOLDER_TARGETS
    user_agent: str = USER_AGENT


@dataclass(frozen=True, slots=True)
class Body:
    """What an address gave: its bytes in pieces, and their number."""

    pieces: Sequence[bytes]
    size: int

    def head(self, size: int) -> bytes:
        """Return so many of its first bytes, or all where it has fewer."""
        head = b""
        for piece in self.pieces:
            head += piece[: size - len(head)]
            if len(head) == size:
                break
        return head


class Fetcher:
    """Asks addresses over one set of connections; see `fetcher`."""

    def __init__(self, session: aiohttp.ClientSession, manners: Manners, room: asyncio.Event) -> None:
        self.hosts = Hosts(manners.courtesy)
        self._room = room
        self._session = session
        self._manners = manners
        self._connections = asyncio.Semaphore(manners.connections)
        self._placeholder = re.compile("|".join(f"(?:{one})" for one in manners.placeholder_targets) or r"(?!)")

    async def fetch(self, address: str) -> Body:
        """Return the body at an address, after as many attempts as that takes.

        Raises:
            Refused: there is none.
        """
        url = parsed(address)
        attempt = 0
        while True:
            try:
                return await self._follow(url)
            except Refused as failure:
                if not failure.again or attempt == self._manners.retries:
                    raise
                throttled = failure.status is Status.THROTTLED
            attempt += 1
            if not throttled:  # its host makes it wait, as all who ask there
                await asyncio.sleep(self._manners.courtesy.jittered(attempt))

    async def _follow(self, url: URL) -> Body:
        """Return the body that an address leads to."""
        seen = {url}
        while True:
            answer = await self._ask(url)
            if isinstance(answer, Body):
                return answer
            if self._placeholder.search(str(answer)):
                raise Refused(Status.PLACEHOLDER, f"leads to {answer}"[:200])
            if answer in seen:
                raise Refused(Status.REDIRECTS, f"lead in a circle to {answer}"[:200])
            if len(seen) > self._manners.redirects:
                raise Refused(Status.REDIRECTS, f"more than {self._manners.redirects}")
            seen.add(answer)
            url = answer

    async def _ask(self, url: URL) -> Body | URL:
        """Return the body that a host sends for one URL, or where it redirects to."""
        if not self._manners.allow_private:
            check_literal(url)
        host = self.hosts.of(f"{url.raw_host}:{url.port}")
        began = await host.turn()
        try:
            async with self._connections:
                answer = await self._answer(url, host, began)
                # It keeps its turn and its place until there is room: so no more are asked for meanwhile.
                await self._room.wait()
                return answer
        finally:
            host.done()

    async def _answer(self, url: URL, host: Host, began: float) -> Body | URL:
        try:
            with _connection_errors():
                response = await self._session.get(url, allow_redirects=False)
            try:
                with _body_errors():
                    return await self._told(url, host, began, response)
            finally:
                # Gives the connection back if the body was read to its end, else closes it.
                response.close()
        except Refused as failure:
            if failure.status in {Status.NO_CONNECTION, Status.NO_HOST} or failure.detail == _NOT_CONNECTED:
                host.failed(failure)
            elif failure.again and failure.status is not Status.THROTTLED:
                host.troubles += 1
            raise

    async def _told(self, url: URL, host: Host, began: float, response: aiohttp.ClientResponse) -> Body | URL:
        """Return the body of an answer, or where it redirects to; tell its host what it was."""
        if response.status in THROTTLING_STATUSES:
            why = Refused(Status.THROTTLED, str(response.status), again=True)
            host.throttled(began, retry_after(response.headers.get("Retry-After")), why)
            raise why
        host.answered()
        if response.status in _REDIRECTS:
            return _target(url, response.headers.get("Location", ""))
        self._check_head(response)
        return await self._body(response)

    def _check_head(self, response: aiohttp.ClientResponse) -> None:
        if response.status != _OK:
            detail = f"{response.status} {response.reason or ''}".strip()[:200]
            raise Refused(Status.HTTP_ERROR, detail, again=response.status in TRANSIENT_STATUSES)
        if not self._manners.ignore_opt_out:
            said = opted_out(response.headers.getall("X-Robots-Tag", ()))
            if said:
                raise Refused(Status.OPTED_OUT, f"X-Robots-Tag: {said}")
        length = response.content_length
        if length is not None and length > self._manners.max_bytes:
            raise Refused(Status.TOO_LARGE, f"{length:,} bytes announced, more than {self._manners.max_bytes:,}")

    async def _body(self, response: aiohttp.ClientResponse) -> Body:
        pieces: list[bytes] = []
        size = 0
        while piece := await response.content.readany():
            pieces.append(piece)
            size += len(piece)
            if size > self._manners.max_bytes:
                raise Refused(Status.TOO_LARGE, f"more than {self._manners.max_bytes:,} bytes")
        encoding = response.headers.get("Content-Encoding", "").strip().lower()
        if encoding in {"gzip", "x-gzip", "deflate"}:
            pieces = [_unpacked(b"".join(pieces), self._manners.max_bytes)]
            size = len(pieces[0])
        return Body(pieces, size)


@contextlib.asynccontextmanager
async def fetcher(
    manners: Manners, resolver: AbstractResolver | None = None, room: asyncio.Event | None = None
) -> AsyncIterator[Fetcher]:
    """Yield a fetcher.

    Args:
        manners: how it asks.
        resolver: what turns names into addresses, by default the system's.
        room: while it is not set, no answer is given on; None where there is always room.
    """
    timeouts = manners.timeouts
    connector = aiohttp.TCPConnector(
        limit=0,  # the fetcher keeps both limits, and hosts their turns
        use_dns_cache=False,
        resolver=CheckedResolver(resolver or aiohttp.ThreadedResolver(), allow_private=manners.allow_private),
        keepalive_timeout=2.0,  # a list of many hosts would else hold a descriptor for each
    )
    async with aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        read_bufsize=_READ_BUFFER,
        timeout=aiohttp.ClientTimeout(total=timeouts.total, connect=timeouts.connect, sock_read=timeouts.read),
        headers={
            "User-Agent": manners.user_agent,
            "Accept": "image/jpeg,image/png,image/webp;q=0.9,image/*;q=0.8,*/*;q=0.5",
            "Accept-Encoding": "identity",
        },
    ) as session:
        yield Fetcher(session, manners, room or _always())


def _always() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


def opted_out(values: Iterable[str]) -> str:
    """Return the directive of X-Robots-Tag headers that keeps a picture out of training, empty where there is none.

    A directive after the name of a robot is for that one only; this program is none of them unless it is named.

    >>> opted_out(["noindex, noai"]), opted_out(["otherbot: noai"]), opted_out(["otherbot: all", "noimageai"])
    ('noai', '', 'noimageai')
    """
    for value in values:
        ours = True
        for one in _DATED.sub("", value.lower()).split(","):
            robot, colon, directive = one.rpartition(":")
            if colon and robot.strip() not in _VALUED:
                ours = robot.strip() in {"*", "mlimages-dataset"}
            if ours and directive.strip() in OPT_OUTS:
                return directive.strip()
    return ""


def _target(url: URL, location: str) -> URL:
    if not location:
        raise Refused(Status.REDIRECTS, "leads nowhere")
    try:
        target = str(url.join(URL(location)))
    except (ValueError, IndexError) as error:
        raise Refused(Status.REDIRECTS, f"leads to no URL: {error}"[:200]) from error
    try:
        return parsed(target)
    except Refused as refused:
        raise Refused(Status.REDIRECTS, f"leads to {target[:100]}: {refused.detail}") from refused


def _unpacked(packed: bytes, max_bytes: int) -> bytes:
    """Return the bytes of a gzip or zlib stream, or of several one behind the other, never more than allowed."""
    content, ended = b"", False
    while packed or not ended:
        stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # 32: either header
        try:
            content += stream.decompress(packed, max_bytes + 1 - len(content))
        except zlib.error as error:
            raise Refused(Status.BROKEN, f"its compression: {error}") from error
        if len(content) > max_bytes:
            raise Refused(Status.TOO_LARGE, f"more than {max_bytes:,} bytes unpacked")
        if not stream.eof:
            raise Refused(Status.CUT, "its compression does not end", again=True)
        packed, ended = stream.unused_data.lstrip(b"\0"), True
    return content


_NOT_CONNECTED = "no connection in time"


@contextlib.contextmanager
def _connection_errors() -> Iterator[None]:
    """Turn what goes wrong before an answer's head is there into `Refused`."""
    try:
        yield
    except aiohttp.ClientConnectorDNSError as error:
        passing = is_passing(error.os_error)
        raise Refused(Status.NO_HOST, str(error.os_error.strerror or error.os_error)[:200], again=passing) from error
    except (aiohttp.ClientSSLError, ssl.SSLError) as error:
        raise Refused(Status.NO_CONNECTION, f"TLS: {error}"[:200]) from error
    except aiohttp.ConnectionTimeoutError as error:
        raise Refused(Status.TIMEOUT, _NOT_CONNECTED, again=True) from error
    except TimeoutError as error:
        raise Refused(Status.TIMEOUT, "no answer in time", again=True) from error
    except (aiohttp.InvalidURL, UnicodeError) as error:
        raise Refused(Status.BAD_ADDRESS, f"{error}"[:200]) from error
    except (aiohttp.ServerDisconnectedError, OSError) as error:
        reason = getattr(error, "strerror", None) or "closed without an answer"
        raise Refused(Status.NO_CONNECTION, str(reason)[:200], again=True) from error
    except (aiohttp.ClientError, ValueError) as error:
        raise Refused(Status.HTTP_ERROR, f"no HTTP: {error}"[:200]) from error


@contextlib.contextmanager
def _body_errors() -> Iterator[None]:
    """Turn what goes wrong while a body is read into `Refused`."""
    try:
        yield
    except TimeoutError as error:
        raise Refused(Status.TIMEOUT, "not whole in time", again=True) from error
    except (aiohttp.ClientError, OSError) as error:
        raise Refused(Status.CUT, f"{error}"[:200], again=True) from error
