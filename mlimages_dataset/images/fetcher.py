"""Downloading one URL: redirects are followed here, sizes and times are bounded, and each failure has a name."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import aiohttp
from aiohttp.abc import AbstractResolver

from mlimages_dataset.images.addresses import Refused, check_literal, joined, parsed, without_login
from mlimages_dataset.images.content_encodings import encodings_of, without_encodings
from mlimages_dataset.images.politeness import Host, HostPolicy, Hosts
from mlimages_dataset.images.resolver import CheckedResolver, is_passing
from mlimages_dataset.images.spool import Overflow
from mlimages_dataset.images.statuses import Status
from mlimages_dataset.sources.http import THROTTLING_STATUSES, TRANSIENT_STATUSES, USER_AGENT, retry_after

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

    from yarl import URL

Resolver: TypeAlias = AbstractResolver
"""Resolves host names; a test may give its own."""
OPT_OUTS: Final = frozenset({"noai", "noimageai"})
"""Directives of X-Robots-Tag that ask not to train on a picture; DeviantArt introduced them."""
PLACEHOLDER_TARGETS = (
    r"//[^/]*(?:flickr\.com|yimg\.com)/.*photo_unavailable",
    r"//i\.imgur\.com/removed\.png",
    r"/(?:image|photo|picture)[-_]?(?:not[-_]?(?:found|available)|unavailable|removed|missing)[^/]*\.\w+$",
)
"""Regular expressions of URLs that hosts redirect to for pictures that were removed."""

_DATED = re.compile(r"unavailable_after\s*:[^,]*")
_VALUED = frozenset({"max-image-preview", "max-snippet", "max-video-preview"})
"""Directives with a value after a colon; other names before a colon are names of robots."""
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_OK = 200
_READ_BUFFER = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds that one attempt may take.

    Attributes:
        connect: for resolving the name and connecting, TLS included.
        read: between two pieces of the answer.
        total: for the whole attempt.
    """

    connect: float = 10.0
    read: float = 20.0
    total: float = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchPolicy:
    """How URLs are downloaded.

    Attributes:
        per_host: how fast one host is asked.
        connections: concurrent connections to all hosts, at most.
        timeouts: of one attempt.
        retries: further attempts after a transient failure.
        redirects: redirects that are followed for one URL.
        max_bytes: of a body, at most.
        memory_bytes: of all bodies that arrive at once; the rest of larger ones waits on the disk.
        allow_private: also ask hosts outside the public Internet.
        ignore_opt_out: keep pictures whose X-Robots-Tag forbids training on them.
        placeholder_targets: regular expressions; a redirect to a matching URL means that the picture was removed.
        user_agent: the User-Agent header.
    """

    per_host: HostPolicy = field(default_factory=HostPolicy)
    connections: int = 256
    timeouts: Timeouts = field(default_factory=Timeouts)
    retries: int = 3
    redirects: int = 5
    max_bytes: int = 64 << 20
    memory_bytes: int = 256 << 20
    allow_private: bool = False
    ignore_opt_out: bool = False
    placeholder_targets: tuple[str, ...] = PLACEHOLDER_TARGETS
    user_agent: str = USER_AGENT


@dataclass(frozen=True, slots=True)
class Body:
    """The body of an answer.

    Attributes:
        pieces: its bytes, in pieces; they may be read several times.
        size: their number.
    """

    pieces: Iterable[bytes]
    size: int

    def head(self, size: int) -> bytes:
        """Return the first `size` bytes, or all if there are fewer."""
        head = b""
        for piece in self.pieces:
            head += piece[: size - len(head)]
            if len(head) == size:
                break
        return head


class Fetcher:
    """Downloads URLs over one pool of connections; see `fetcher`."""

    def __init__(self, session: aiohttp.ClientSession, policy: FetchPolicy, room: asyncio.Event, scratch: Path) -> None:
        self.hosts = Hosts(policy.per_host)
        self._room = room
        self._scratch = scratch
        self._kept_bytes = policy.memory_bytes // max(policy.connections, 1)
        self._session = session
        self._policy = policy
        self._connections = asyncio.Semaphore(policy.connections)
        self._placeholder = re.compile("|".join(f"(?:{one})" for one in policy.placeholder_targets) or r"(?!)")

    async def fetch(self, address: str) -> Body:
        """Return the body of a URL; transient failures are tried again.

        Raises:
            Refused: the last attempt failed, or another one would not help.
        """
        url = parsed(address)
        attempt = 0
        while True:
            try:
                return await self._follow(url)
            except Refused as failure:
                if not failure.again or attempt == self._policy.retries:
                    raise
                throttled = failure.status is Status.THROTTLED
            attempt += 1
            if not throttled:  # a throttling host makes all its requests wait anyway
                await asyncio.sleep(self._policy.per_host.jittered(attempt))

    async def _follow(self, url: URL) -> Body:
        """Return the body of a URL, following its redirects."""
        seen = {url}
        while True:
            answer = await self._ask(url)
            if isinstance(answer, Body):
                return answer
            if self._placeholder.search(str(answer)):
                raise Refused(Status.PLACEHOLDER, f"redirected to {answer}"[:200])
            if answer in seen:
                raise Refused(Status.REDIRECTS, f"a loop, back to {answer}"[:200])
            if len(seen) > self._policy.redirects:
                raise Refused(Status.REDIRECTS, f"more than {self._policy.redirects}")
            seen.add(answer)
            url = answer

    async def _ask(self, url: URL) -> Body | URL:
        """Send one request; return the body, or the URL that it redirects to."""
        if not self._policy.allow_private:
            check_literal(url)
        host = self.hosts.of(f"{url.raw_host}:{url.port}")
        began = await host.turn()
        try:
            async with self._connections:
                answer = await self._answer(url, host, began)
                # Holding the turn and the connection until there is room keeps further requests from starting.
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
                    return await self._accepted(url, host, began, response)
            finally:
                # Returns the connection to the pool if the body was read to its end, else closes it.
                response.close()
        except Refused as failure:
            if failure.status in {Status.NO_CONNECTION, Status.NO_HOST} or failure.detail == _NOT_CONNECTED:
                host.failed(failure)
            elif failure.again and failure.status is not Status.THROTTLED:
                host.troubles += 1
            raise

    async def _accepted(self, url: URL, host: Host, began: float, response: aiohttp.ClientResponse) -> Body | URL:
        """Return the body of an answer, or the URL that it redirects to; report the outcome to its host."""
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
        if not self._policy.ignore_opt_out:
            said = opted_out(response.headers.getall("X-Robots-Tag", ()))
            if said:
                raise Refused(Status.OPTED_OUT, f"X-Robots-Tag: {said}")
        length = response.content_length
        if length is not None and length > self._policy.max_bytes:
            raise Refused(Status.TOO_LARGE, f"{length:,} bytes announced, more than {self._policy.max_bytes:,}")

    async def _body(self, response: aiohttp.ClientResponse) -> Body:
        arrived = Overflow(self._scratch, self._kept_bytes)
        while piece := await response.content.readany():
            arrived.add(piece)
            if arrived.size > self._policy.max_bytes:
                raise Refused(Status.TOO_LARGE, f"more than {self._policy.max_bytes:,} bytes")
        if encodings := encodings_of(response.headers.getall("Content-Encoding", ())):
            content = without_encodings(b"".join(arrived), encodings, self._policy.max_bytes)
            arrived = Overflow(self._scratch, self._kept_bytes)
            arrived.add(content)
        return Body(arrived, arrived.size)


@contextlib.asynccontextmanager
async def fetcher(
    policy: FetchPolicy,
    resolver: Resolver | None = None,
    room: asyncio.Event | None = None,
    scratch: Path | None = None,
) -> AsyncIterator[Fetcher]:
    """Yield a fetcher.

    Args:
        policy: how it downloads.
        resolver: resolves host names; None for the system's.
        room: an event; while it is not set, finished downloads are held back. None to hold none back.
        scratch: a folder of this machine for what is too large for memory; None for the system's.
    """
    timeouts = policy.timeouts
    connector = aiohttp.TCPConnector(
        limit=0,  # the fetcher itself limits connections, also per host
        use_dns_cache=False,
        resolver=CheckedResolver(resolver or aiohttp.ThreadedResolver(), allow_private=policy.allow_private),
        keepalive_timeout=2.0,  # else a list of many hosts would hold a descriptor for each
    )
    async with aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        read_bufsize=_READ_BUFFER,
        timeout=aiohttp.ClientTimeout(total=timeouts.total, connect=timeouts.connect, sock_read=timeouts.read),
        headers={
            "User-Agent": policy.user_agent,
            "Accept": "image/jpeg,image/png,image/webp;q=0.9,image/*;q=0.8,*/*;q=0.5",
            "Accept-Encoding": "identity",
        },
    ) as session:
        yield Fetcher(session, policy, room or _always(), scratch or Path(tempfile.gettempdir()))


def _always() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


def opted_out(values: Iterable[str]) -> str:
    """Return the directive of X-Robots-Tag headers that forbids training on the picture; empty if there is none.

    Directives after the name of a robot are for that robot only; this program's name is mlimages-dataset.

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
        raise Refused(Status.REDIRECTS, "no target")
    try:
        target = joined(url, location)
    except (ValueError, IndexError) as error:
        raise Refused(Status.REDIRECTS, without_login(f"the target is not a URL: {error}")[:200]) from error
    try:
        return parsed(target)
    except Refused as refused:
        raise Refused(Status.REDIRECTS, f"to {without_login(target)[:100]}: {refused.detail}") from refused


_ARRIVED = re.compile(r"received (\d{1,18}) of (\d{1,18}) bytes")
"""In aiohttp's message of a body that is shorter than its header says."""
_NOT_CONNECTED = "no connection in time"


@contextlib.contextmanager
def _connection_errors() -> Iterator[None]:
    """Turn errors before the answer's headers into `Refused`."""
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
        # A parser quotes what it met, over many lines.
        why = str(getattr(error, "message", "") or error).strip().partition("\n")[0].rstrip(":")
        raise Refused(Status.HTTP_ERROR, f"not HTTP: {why}"[:200]) from error


@contextlib.contextmanager
def _body_errors() -> Iterator[None]:
    """Turn errors while a body is read into `Refused`."""
    try:
        yield
    except TimeoutError as error:
        raise Refused(Status.TIMEOUT, "not complete in time", again=True) from error
    except (aiohttp.ClientError, OSError) as error:
        counts = _ARRIVED.search(str(error))
        why = f"{int(counts[1]):,} of {int(counts[2]):,} bytes arrived" if counts else f"{error}"[:200]
        raise Refused(Status.CUT, why, again=True) from error
