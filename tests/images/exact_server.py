"""A web server that answers only what it was told to, for exact request targets, byte by byte."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


def answer(body: bytes, **headers: str) -> bytes:
    """Return a whole answer; underscores in the names of headers are hyphens, and a length is given unless stated."""
    told = {"Content-Length": str(len(body)), **{name.replace("_", "-"): value for name, value in headers.items()}}
    lines = "".join(f"{name}: {value}\r\n" for name, value in told.items() if value)
    return f"HTTP/1.1 200 OK\r\n{lines}\r\n".encode("latin-1") + body


def redirect(location: bytes) -> bytes:
    """Return a redirect to a location of any bytes."""
    return b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + location + b"\r\n\r\n"


class ExactServer:
    """A server on a free port of the loopback interface.

    Attributes:
        answers: whole answers by request target; every other target is not found.
        asked: the targets so far.
        hosts: the values of Host so far.
    """

    def __init__(self, answers: Mapping[bytes, bytes]) -> None:
        self.answers = dict(answers)
        self.asked: list[bytes] = []
        self.hosts: list[str] = []
        self.port = 0

    async def serve(self, listening: socket.socket, stop: asyncio.Event) -> None:
        """Serve until stopped."""
        async with await asyncio.start_server(self._answer, sock=listening):
            await stop.wait()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                request, *headers = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
                target = request.removeprefix(b"GET ").removesuffix(b" HTTP/1.1")
                self.asked.append(target)
                self.hosts += [line[5:].strip().decode() for line in headers if line.lower().startswith(b"host:")]
                answered = self.answers.get(target, NOT_FOUND)
                writer.write(answered)
                await writer.drain()
                if b"Connection: close" in answered:
                    return
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            return
        finally:
            writer.close()


@contextlib.contextmanager
def exact_server(answers: Mapping[bytes, bytes], host: str = "127.0.0.1") -> Iterator[ExactServer]:
    """Yield a server that runs in a thread of its own."""
    server = ExactServer(answers)
    listening = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=512)
    server.port = listening.getsockname()[1]
    with asyncio.Runner() as runner:
        stop = asyncio.Event()
        thread = threading.Thread(target=runner.run, args=(server.serve(listening, stop),))
        thread.start()
        try:
            yield server
        finally:
            runner.get_loop().call_soon_threadsafe(stop.set)
            thread.join()
