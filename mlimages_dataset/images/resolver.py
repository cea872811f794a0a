"""Resolving host names to addresses of the public Internet only; see `addresses`."""

from __future__ import annotations

import asyncio
import collections
import socket
import time
from typing import TYPE_CHECKING

from aiohttp.abc import AbstractResolver, ResolveResult

from mlimages_dataset.images.addresses import Refused, is_public
from mlimages_dataset.images.statuses import Status

if TYPE_CHECKING:
    from collections.abc import Callable

NAME_SECONDS = 60.0
"""How long an answer of the resolver is cached."""
REMEMBERED_NAMES = 10_000


def is_passing(error: OSError) -> bool:
    """Return whether a resolver's error is transient."""
    return error.errno == socket.EAI_AGAIN


class CheckedResolver(AbstractResolver):
    """Resolves host names to public addresses only, and caches recent answers.

    Args:
        inner: the resolver that does the work.
        allow_private: allow addresses that are not public.
        clock: returns the time in seconds.
    """

    def __init__(
        self, inner: AbstractResolver, *, allow_private: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._inner = inner
        self._allow_private = allow_private
        self._clock = clock
        # aiohttp's own cache never drops names that are not asked for again: it would grow with the list.
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
            # Concurrent requests for a name share one lookup, also if the first of them is cancelled.
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
            raise Refused(Status.PRIVATE_ADDRESS, f"{host} is {private[0]}, not in the public Internet"[:200])
        return found

    def _forget_failure(self, key: tuple[str, int, int], done: asyncio.Future[list[ResolveResult]]) -> None:
        error = None if done.cancelled() else done.exception()
        if done.cancelled() or (isinstance(error, OSError) and is_passing(error)):
            self._known.pop(key, None)

    async def close(self) -> None:
        """Close the inner resolver."""
        await self._inner.close()
