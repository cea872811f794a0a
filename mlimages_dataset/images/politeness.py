"""How hard one host is asked: requests at once, requests a second, pauses it asks for, and when to let it be.

The number of requests at once adapts as congestion control does: halved when the host throttles (429, 503), one more
after as many good answers as are allowed at once, up to the cap. A host that fails to answer at all many times in a row
is let be for a while, so that a list of dead hosts ends.
"""

from __future__ import annotations

import asyncio
import collections
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlimages_dataset.images.addresses import Refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlimages_dataset.images.statuses import Status

REMEMBERED_HOSTS = 10_000
"""Hosts that nobody waits for and whose state is kept all the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Courtesy:
    """How a host is treated.

    Attributes:
        requests: at once, at most.
        requests_per_second: at most; 0 for no such limit.
        backoff: seconds of the first pause after a failure or a 429 without Retry-After, at most; doubled each time.
        longest_pause: seconds; a longer Retry-After is cut to it.
        failures: in a row, after which a host is let be if they took `failing_seconds`.
        failing_seconds: see `failures`.
        rest: seconds for which a host is let be.
    """

    requests: int = 32
    requests_per_second: float = 0.0
    backoff: float = 0.5
    longest_pause: float = 60.0
    failures: int = 20
    failing_seconds: float = 5.0
    rest: float = 60.0

    def jittered(self, failures: int) -> float:
        """Return the seconds to wait after so many failures: "full jitter", uniform below a bound that doubles.

        https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
        """
        bound = min(self.longest_pause, self.backoff * 2.0 ** min(failures - 1, 30))
        return random.uniform(0, bound)  # noqa: S311 - no secret


class Host:
    """The turns of one host: `turn` waits for one, and what became of it is reported."""

    def __init__(self, name: str, courtesy: Courtesy) -> None:
        self.name = name
        self.troubles = 0
        self._courtesy = courtesy
        self._allowed = float(courtesy.requests)
        self._active = 0
        self._waiting: collections.deque[asyncio.Future[None]] = collections.deque()
        self._next = 0.0  # no request starts before
        self._timer: asyncio.TimerHandle | None = None
        self._failures = 0
        self._failing_since = 0.0
        self._throttled_at = -1.0
        self._resting_until = 0.0
        self._why: Refused | None = None

    @property
    def in_use(self) -> bool:
        """Whether somebody has a turn or waits for one."""
        return bool(self._active or self._waiting)

    @property
    def calm(self) -> bool:
        """Whether nothing of it has to be remembered."""
        return not (self.in_use or self._failures or self._next > _now())

    @property
    def allowed(self) -> int:
        """Return the requests that are allowed at once now."""
        return max(1, int(self._allowed))

    async def turn(self) -> float:
        """Wait for a turn and return when it begins, for `throttled`; `done` ends it.

        Raises:
            Refused: the host is let be.
        """
        self._refuse_if_resting()
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._give_turns()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.done()
            raise
        return _now()

    def done(self) -> None:
        """End a turn."""
        self._active -= 1
        self._give_turns()

    def answered(self) -> None:
        """Note an answer that is not of a host in trouble."""
        self._failures = 0
        self._allowed = min(self._courtesy.requests, self._allowed + 1 / self._allowed)

    def failed(self, why: Refused) -> None:
        """Note that there was no answer."""
        self.troubles += 1
        self._count_failure(why)

    def throttled(self, began: float, retry_after: float | None, why: Refused) -> None:
        """Note a 429 or 503 to a request that `began` then, with the seconds that it asks to wait."""
        self.troubles += 1
        if began >= self._throttled_at:
            # The answers to requests that were under way when the first of them came tell nothing new.
            self._throttled_at = _now()
            self._allowed = max(1.0, self._allowed / 2)
            self._count_failure(why)
        pause = self._courtesy.jittered(max(1, self._failures)) if retry_after is None else retry_after
        self._next = max(self._next, _now() + min(pause, self._courtesy.longest_pause))

    def _count_failure(self, why: Refused) -> None:
        if not self._failures:
            self._failing_since = _now()
        self._failures += 1
        courtesy = self._courtesy
        if self._failures >= courtesy.failures and _now() - self._failing_since >= courtesy.failing_seconds:
            self._resting_until = _now() + courtesy.rest
            self._why = why
            while self._waiting:
                waiting = self._waiting.popleft()
                if not waiting.done():
                    waiting.set_exception(self._resting(why.status, why.detail))

    def _refuse_if_resting(self) -> None:
        if self._why is not None and _now() < self._resting_until:
            raise self._resting(self._why.status, self._why.detail)

    def _resting(self, status: Status, detail: str) -> Refused:
        return Refused(status, f"{detail}; its host failed {self._failures} times in a row")

    def _give_turns(self) -> None:
        while self._waiting and self._active < self.allowed:
            now = _now()
            if now < self._next:
                if self._timer is None:
                    self._timer = asyncio.get_running_loop().call_at(self._next, self._wake)
                return
            turn = self._waiting.popleft()
            if turn.done():
                continue
            if self._courtesy.requests_per_second:
                self._next = max(self._next, now) + 1 / self._courtesy.requests_per_second
            self._active += 1
            turn.set_result(None)

    def _wake(self) -> None:
        self._timer = None
        self._give_turns()


class Hosts:
    """The hosts of late: those in use, and a bounded number of others."""

    def __init__(self, courtesy: Courtesy) -> None:
        self._courtesy = courtesy
        self._hosts: collections.OrderedDict[str, Host] = collections.OrderedDict()

    def of(self, name: str) -> Host:
        """Return a host by name and port."""
        host = self._hosts.get(name)
        if host is None:
            host = self._hosts[name] = Host(name, self._courtesy)
            if len(self._hosts) > REMEMBERED_HOSTS:
                self._forget_oldest()
        else:
            self._hosts.move_to_end(name)
        return host

    def _forget_oldest(self) -> None:
        # Those that have failed are forgotten too, only later: a list may name a million dead hosts.
        oldest = list(self._first(REMEMBERED_HOSTS // 10))
        forgotten = [host for host in oldest if host.calm] or [host for host in oldest if not host.in_use]
        for host in forgotten:
            del self._hosts[host.name]

    def _first(self, count: int) -> Iterator[Host]:
        for host, _ in zip(self._hosts.values(), range(count), strict=False):
            yield host

    def troubled(self, count: int) -> list[Host]:
        """Return the hosts with the most trouble, worst first."""
        return sorted((host for host in self._hosts.values() if host.troubles), key=lambda host: -host.troubles)[:count]


def _now() -> float:
    return asyncio.get_running_loop().time()
