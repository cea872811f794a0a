"""How fast one host is asked: concurrent requests, requests per second, pauses, and a circuit breaker.

The number of concurrent requests adapts as in TCP congestion control: it is halved when the host throttles (429, 503),
and grows by one after as many good answers as may run at once, up to the maximum. A host that fails many times in a row
is not asked for a while: its rows fail at once, so that a list of dead hosts ends.
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
"""Idle hosts whose state is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPolicy:
    """How fast one host is asked.

    Attributes:
        requests: concurrent requests, at most.
        requests_per_second: at most; 0 for no limit.
        backoff: seconds that the first pause lasts at most, after a failure or a 429 without Retry-After; doubled after
            each further one.
        longest_pause: seconds; a longer Retry-After is shortened to this.
        failures: consecutive failures after which the host is not asked for `cooldown` seconds.
        failing_seconds: only if the failures took at least so many seconds.
        cooldown: seconds.
    """

    requests: int = 32
    requests_per_second: float = 0.0
    backoff: float = 0.5
    longest_pause: float = 60.0
    failures: int = 20
    failing_seconds: float = 5.0
    cooldown: float = 60.0

    def jittered(self, failures: int) -> float:
        """Return the seconds to wait after some failures in a row, random below a bound that doubles ("full jitter").

        https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
        """
        bound = min(self.longest_pause, self.backoff * 2.0 ** min(failures - 1, 30))
        return random.uniform(0, bound)  # noqa: S311 - not a secret


class Host:
    """The state of one host: `turn` waits until a request may start, and its outcome is reported afterwards."""

    def __init__(self, name: str, policy: HostPolicy) -> None:
        self.name = name
        self.troubles = 0
        self._policy = policy
        self._allowed = float(policy.requests)
        self._active = 0
        self._waiting: collections.deque[asyncio.Future[None]] = collections.deque()
        self._next = 0.0  # the time before which no request starts
        self._timer: asyncio.TimerHandle | None = None
        self._failures = 0
        self._failing_since = 0.0
        self._throttled_at = -1.0
        self._open_until = 0.0
        self._why: Refused | None = None

    @property
    def in_use(self) -> bool:
        """Whether a request is running or waiting."""
        return bool(self._active or self._waiting)

    @property
    def is_forgettable(self) -> bool:
        """Whether the host is idle and its state is that of a new host."""
        return not (self.in_use or self._failures or self._next > _now())

    @property
    def allowed(self) -> int:
        """The number of requests that may run at once now."""
        return max(1, int(self._allowed))

    async def turn(self) -> float:
        """Wait until a request may start, and return the time; `done` must follow.

        Raises:
            Refused: the host failed too often and is not asked now.
        """
        self._refuse_if_open()
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
        """Note that a request has ended."""
        self._active -= 1
        self._give_turns()

    def answered(self) -> None:
        """Note a good answer."""
        self._failures = 0
        self._allowed = min(self._policy.requests, self._allowed + 1 / self._allowed)

    def failed(self, why: Refused) -> None:
        """Note that the host did not answer."""
        self.troubles += 1
        self._count_failure(why)

    def throttled(self, began: float, retry_after: float | None, why: Refused) -> None:
        """Note a 429 or 503.

        Args:
            began: when the request started, as `turn` returned it.
            retry_after: seconds that the answer asks to wait; None if it does not say.
            why: the failure.
        """
        self.troubles += 1
        if began >= self._throttled_at:
            # Throttled requests that started before the last reduction do not count again.
            self._throttled_at = _now()
            self._allowed = max(1.0, self._allowed / 2)
            self._count_failure(why)
        pause = self._policy.jittered(max(1, self._failures)) if retry_after is None else retry_after
        self._next = max(self._next, _now() + min(pause, self._policy.longest_pause))

    def _count_failure(self, why: Refused) -> None:
        if not self._failures:
            self._failing_since = _now()
        self._failures += 1
        policy = self._policy
        if self._failures >= policy.failures and _now() - self._failing_since >= policy.failing_seconds:
            self._open_until = _now() + policy.cooldown
            self._why = why
            while self._waiting:
                waiting = self._waiting.popleft()
                if not waiting.done():
                    waiting.set_exception(self._refusal(why.status, why.detail))

    def _refuse_if_open(self) -> None:
        if self._why is not None and _now() < self._open_until:
            raise self._refusal(self._why.status, self._why.detail)

    def _refusal(self, status: Status, detail: str) -> Refused:
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
            if self._policy.requests_per_second:
                self._next = max(self._next, now) + 1 / self._policy.requests_per_second
            self._active += 1
            turn.set_result(None)

    def _wake(self) -> None:
        self._timer = None
        self._give_turns()


class Hosts:
    """The hosts in use, and a bounded number of idle ones."""

    def __init__(self, policy: HostPolicy) -> None:
        self._policy = policy
        self._hosts: collections.OrderedDict[str, Host] = collections.OrderedDict()

    def of(self, name: str) -> Host:
        """Return the host of a name and port."""
        host = self._hosts.get(name)
        if host is None:
            host = self._hosts[name] = Host(name, self._policy)
            if len(self._hosts) > REMEMBERED_HOSTS:
                self._forget_oldest()
        else:
            self._hosts.move_to_end(name)
        return host

    def _forget_oldest(self) -> None:
        # Failed hosts are forgotten last, but they are: a list may name a million dead ones.
        oldest = list(self._first(REMEMBERED_HOSTS // 10))
        forgotten = [host for host in oldest if host.is_forgettable] or [host for host in oldest if not host.in_use]
        for host in forgotten:
            del self._hosts[host.name]

    def _first(self, count: int) -> Iterator[Host]:
        for host, _ in zip(self._hosts.values(), range(count), strict=False):
            yield host

    def troubled(self, count: int) -> list[Host]:
        """Return the hosts with the most failures, worst first."""
        return sorted((host for host in self._hosts.values() if host.troubles), key=lambda host: -host.troubles)[:count]


def _now() -> float:
    return asyncio.get_running_loop().time()
