"""A web server with every fault that a list of images meets, and lists of its addresses with what is to become of them.

    python -m tests.images.fault_server serve                      prints its port
    python -m tests.images.fault_server download LIST OUT PORT     downloads such a list

What a path is answered follows from the path (and from how often it was asked, where a fault passes): `/good/17.jpg` is
a picture of its own for every number. Each kind has a host of its own, whose name only `LoopbackResolver` knows.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import functools
import gzip
import hashlib
import io
import socket
import struct
import subprocess
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from PIL import Image

from mlimages_dataset.images.check import Limits
from mlimages_dataset.images.decode_pool import ImageRules, Placeholder
from mlimages_dataset.images.download import DownloadOptions, download
from mlimages_dataset.images.fetcher import FetchPolicy, Timeouts
from mlimages_dataset.images.politeness import HostPolicy
from mlimages_dataset.images.statuses import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_BYTES = 200_000
REPEATS = 5
SUFFIXES = {"png": "PNG", "gif": "GIF", "bmp": "BMP", "tif": "TIFF", "webp": "WEBP"}
REQUESTS_A_SECOND = 50


@functools.cache
def base(form: str = "JPEG", mode: str = "RGB") -> bytes:
    """Return a small picture."""
    content = io.BytesIO()
    Image.radial_gradient("L").resize((64, 48)).convert(mode).save(content, form)
    return content.getvalue()


def picture(number: int, mode: str = "RGB") -> bytes:
    """Return a JPEG that differs from all others by a comment."""
    whole = base(mode=mode)
    comment = f"picture {number}".encode()
    return whole[:2] + b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment + whole[2:]


def png(width: int, height: int, depth: int, number: int = 0) -> bytes:
    """Return a grey PNG; one whose pixels are said to be more than a million has none."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"" if width * height > 1_000_000 else (b"\0" + bytes(width * depth // 8)) * height
    header = struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    text = chunk(b"tEXt", b"Comment\0" + str(number).encode())
    head = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + text
    return head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def animation(number: int) -> bytes:
    """Return a GIF of two frames."""
    frames = [Image.new("L", (8, 8), (number + shade) % 256) for shade in (0, 90)]
    content = io.BytesIO()
    frames[0].save(content, "GIF", save_all=True, append_images=frames[1:], comment=str(number).encode())
    return content.getvalue()


PLACEHOLDER = picture(-1)
KNOWN_PLACEHOLDER = picture(-2)
GZIP_BOMB = gzip.compress(bytes(10 * MAX_BYTES))


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of address: what becomes of it, the bytes that are stored of it, and how many of 200 rows are of it."""

    status: Status
    share: int
    content: Callable[[int], bytes] | None = None


KINDS = {
    "good": Kind(Status.SAVED, 104, picture),
    "hop": Kind(Status.SAVED, 6, picture),
    "flaky": Kind(Status.SAVED, 6, picture),
    "busy": Kind(Status.SAVED, 10, picture),
    "md5": Kind(Status.SAVED, 4, picture),
    "packed": Kind(Status.SAVED, 2, picture),
    "ünïcode": Kind(Status.SAVED, 2, picture),
    "cmyk": Kind(Status.SAVED, 2, lambda number: picture(number, "CMYK")),
    "deep": Kind(Status.SAVED, 2, lambda number: png(16, 16, 16, number)),
    "moving": Kind(Status.SAVED, 2, animation),
    "missing": Kind(Status.HTTP_ERROR, 10),
    "error": Kind(Status.HTTP_ERROR, 1),
    "never": Kind(Status.THROTTLED, 1),
    "slow": Kind(Status.TIMEOUT, 1),
    "dripping": Kind(Status.TIMEOUT, 1),
    "truncated": Kind(Status.BROKEN, 4),
    "short": Kind(Status.CUT, 2),
    "reset": Kind(Status.CUT, 2),
    "silent": Kind(Status.NO_CONNECTION, 1),
    "loop": Kind(Status.REDIRECTS, 3),
    "far": Kind(Status.REDIRECTS, 2),
    "astray": Kind(Status.REDIRECTS, 2),
    "other-md5": Kind(Status.WRONG_DIGEST, 3),
    "other-size": Kind(Status.WRONG_DIGEST, 2),
    "page": Kind(Status.NOT_AN_IMAGE, 4),
    "placeholder": Kind(Status.PLACEHOLDER, 3),
    "known": Kind(Status.PLACEHOLDER, 2),
    "unavailable": Kind(Status.PLACEHOLDER, 2),
    "huge": Kind(Status.TOO_LARGE, 2),
    "endless": Kind(Status.TOO_LARGE, 1),
    "gzip-bomb": Kind(Status.TOO_LARGE, 1),
    "bomb": Kind(Status.TOO_MANY_PIXELS, 2),
    "empty": Kind(Status.EMPTY, 2),
    "noai": Kind(Status.OPTED_OUT, 2),
    "nowhere": Kind(Status.NO_HOST, 1),
    "closed": Kind(Status.NO_CONNECTION, 1),
    "file": Kind(Status.BAD_ADDRESS, 1),
    "ftp": Kind(Status.BAD_ADDRESS, 1),
    "text": Kind(Status.BAD_ADDRESS, 1),
    "long": Kind(Status.BAD_ADDRESS, 1),
    "again": Kind(Status.REPEATED_ID, 1),
}
PATTERN = [name for name, kind in KINDS.items() for _ in range(kind.share)]


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a list, with what is to become of it."""

    image_id: str
    url: str
    md5: str
    size: str
    kind: str
    number: int

    @property
    def status(self) -> Status:
        """What is to become of it."""
        return KINDS[self.kind].status

    @property
    def content(self) -> bytes:
        """The bytes that are to be stored."""
        content = KINDS[self.kind].content
        assert content is not None
        return content(self.number)


def rows(count: int, port: int) -> list[Row]:
    """Return so many rows; the kinds are spread over the list."""
    step = 37  # without a common divisor with the pattern's length
    assert len(PATTERN) % step
    return [row(number, PATTERN[number * step % len(PATTERN)], port) for number in range(count)]


def row(number: int, kind: str, port: int) -> Row:
    """Return a row of a kind."""
    hostname = f"{kind.encode('ascii', 'replace').decode().replace('?', 'x')}.test"
    url = {
        "file": "file:///etc/passwd",
        "ftp": f"ftp://127.0.0.1/{number}.jpg",
        "text": f"a picture of cat {number}",
        "long": f"http://{hostname}:{port}/{'x' * 10_000}/{number}.jpg",
        "closed": f"http://{hostname}:1/{number}.jpg",
    }.get(kind, f"http://{hostname}:{port}/{kind}/{number}.jpg")
    md5 = hashlib.md5(picture(number), usedforsecurity=False).hexdigest()
    return Row(
        image_id="image-0" if kind == "again" and number else f"image-{number}",
        url=url,
        md5={"md5": md5, "other-md5": "0" * 32}.get(kind, ""),
        size={"md5": str(len(picture(number))), "other-size": "12345"}.get(kind, ""),
        kind=kind,
        number=number,
    )


def write_list(path: Path, wanted: list[Row]) -> Path:
    """Write a list as Parquet."""
    columns = {name: [getattr(one, name) for one in wanted] for name in ("image_id", "url", "md5", "size")}
    pq.write_table(pa.table(columns), path)
    return path


class LoopbackResolver(AbstractResolver):
    """Says that every name of `.test` but nowhere's is this machine's."""

    def __init__(self, **others: str) -> None:
        self.asked: list[str] = []
        self._others = others

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return this machine's address, or the one that was given for the name."""
        self.asked.append(host)
        if host == "nowhere.test" or not host.endswith(".test"):
            raise OSError(socket.EAI_NONAME, "no such name")
        address = self._others.get(host.partition(".")[0], "127.0.0.1")
        return [ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)]

    async def close(self) -> None:
        """Do nothing: there is nothing to close."""


def options(**changes: object) -> DownloadOptions:
    """Return how the lists of this server are downloaded."""
    fixed: dict[str, object] = {
        "rules": ImageRules(
            limits=Limits(bytes=MAX_BYTES, pixels=1_000_000),
            placeholders=frozenset({Placeholder.of(KNOWN_PLACEHOLDER)}),
        ),
        "policy": FetchPolicy(
            per_host=HostPolicy(requests=16, backoff=0.02, longest_pause=2.0),
            timeouts=Timeouts(connect=5.0, read=0.7, total=1.5),
            retries=4,
            max_bytes=MAX_BYTES,
            allow_private=True,
        ),
        "shard_images": 100,
        "placeholder_repeats": REPEATS,
        "workers": 1,
    }
    return DownloadOptions(**{**fixed, **changes})  # type: ignore[arg-type]


class _Server:
    """Answers by path."""

    def __init__(self, requests_a_second: int) -> None:
        self._asked: collections.Counter[str] = collections.Counter()
        self._second: collections.Counter[int] = collections.Counter()
        self._limit = requests_a_second

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Return the answer to a request."""
        kind = request.path.split("/")[1]
        if "to" in request.query:
            return web.Response(status=302, headers={"Location": request.query["to"]})
        name = Path(request.path).stem
        number = int(name) if name.isdigit() else 0
        self._asked[request.path] += 1
        if kind not in KINDS or not name.isdigit():
            return web.Response(status=500)
        simple = self._simple(kind, number, self._asked[request.path])
        return simple if simple is not None else await self._odd(request, kind, number)

    def _simple(self, kind: str, number: int, asked: int) -> web.Response | None:
        content = KINDS[kind].content if kind in KINDS else None
        if kind == "busy":
            second = int(asyncio.get_running_loop().time())
            self._second[second] += 1
            if self._second[second] > self._limit:
                return web.Response(status=429, headers={"Retry-After": "1"})
        if kind == "flaky" and asked == 1:
            return web.Response(status=500)
        if kind == "hop":
            return web.Response(status=302, headers={"Location": f"/good/{number}.jpg"})
        if kind == "packed":
            return web.Response(body=gzip.compress(picture(number)), headers={"Content-Encoding": "gzip"})
        if content is not None:
            return web.Response(body=content(number), content_type="image/jpeg")
        return _ANSWERS[kind](number) if kind in _ANSWERS else None

    async def _odd(self, request: web.Request, kind: str, number: int) -> web.StreamResponse:
        transport = request.transport
        assert transport is not None
        response = web.StreamResponse()
        if kind == "silent":
            transport.abort()
            return response
        content = picture(number)
        if kind != "endless":
            response.content_length = 10_000_000_000 if kind == "huge" else len(content)
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            if kind in {"short", "reset"}:
                await response.write(content[:300])
                transport.close() if kind == "short" else transport.abort()
            if kind == "slow":
                await response.write(content[:300])
                await asyncio.sleep(60)
            for start in range(60) if kind == "dripping" else ():
                await response.write(content[start : start + 1])
                await asyncio.sleep(0.4)
            for _ in range(100) if kind in {"endless", "huge"} else ():
                await response.write(bytes(10_000))
        return response


_ANSWERS: dict[str, Callable[[int], web.Response]] = {
    "missing": lambda _: web.Response(status=404, text="<html>not here"),
    "error": lambda _: web.Response(status=500),
    "never": lambda _: web.Response(status=429, headers={"Retry-After": "0"}),
    "truncated": lambda number: web.Response(body=picture(number)[:-200]),
    "loop": lambda number: web.Response(status=301, headers={"Location": f"/loop/{number}.jpg"}),
    "far": lambda number: web.Response(status=302, headers={"Location": f"/far/{number + 1}.jpg"}),
    "astray": lambda _: web.Response(status=302, headers={"Location": "file:///etc/passwd"}),
    "other-md5": lambda number: web.Response(body=picture(number)),
    "other-size": lambda number: web.Response(body=picture(number)),
    "page": lambda _: web.Response(text="<!doctype html><p>Sorry", content_type="image/jpeg"),
    "placeholder": lambda _: web.Response(body=PLACEHOLDER),
    "known": lambda _: web.Response(body=KNOWN_PLACEHOLDER),
    "unavailable": lambda _: web.Response(status=302, headers={"Location": "/photo_unavailable.png"}),
    "gzip-bomb": lambda _: web.Response(
        body=gzip.compress(bytes(10 * MAX_BYTES)), headers={"Content-Encoding": "gzip"}
    ),
    "bomb": lambda number: web.Response(body=png(30_000, 30_000, 8, number)),
    "empty": lambda _: web.Response(body=b""),
    "noai": lambda number: web.Response(body=picture(number), headers={"X-Robots-Tag": "noai, noimageai"}),
}


async def serve(requests_a_second: int) -> None:
    """Serve for ever at a free port of the loopback interface, and print it."""
    app = web.Application()
    app.router.add_get("/{tail:.*}", _Server(requests_a_second).answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        await web.SockSite(runner, listening).start()
        print(listening.getsockname()[1], flush=True)  # noqa: T201 - for the process that waits for it
        await asyncio.Event().wait()


@contextlib.contextmanager
def started(requests_a_second: int = REQUESTS_A_SECOND) -> Iterator[int]:
    """Yield the port of a server in a process of its own: the tests' must not answer itself."""
    command = [sys.executable, "-m", "tests.images.fault_server", "serve", str(requests_a_second)]
    root = Path(__file__).parents[2]
    # What a server says of clients that go away is no news.
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=root) as server:
        try:
            assert server.stdout is not None
            yield int(server.stdout.readline())
        finally:
            server.kill()


def main(arguments: list[str]) -> None:
    """Serve, or download."""
    if arguments[0] == "serve":
        asyncio.run(serve(int(arguments[1])))
    else:
        rows_file, out = map(Path, arguments[1:3])
        download([rows_file], out, options(), resolver=LoopbackResolver())


if __name__ == "__main__":
    main(sys.argv[1:])
