"""A host is asked as often as it allows: turns, rates, pauses, adaptation, and rest for one that only fails."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from mlimages_dataset.images.addresses import Refused
from mlimages_dataset.images.politeness import REMEMBERED_HOSTS, Host, HostPolicy, Hosts
from mlimages_dataset.images.statuses import Status

THROTTLED = Refused(Status.THROTTLED, "429", again=True)
GONE = Refused(Status.NO_CONNECTION, "refused", again=True)


def test_no_more_turns_at_once_than_allowed_and_all_come() -> None:
    async def go() -> None:
        host = Host("a", HostPolicy(requests=3))
        active = most = 0

        async def visit() -> None:
            nonlocal active, most
            await host.turn()
            active += 1
            most = max(most, active)
            await asyncio.sleep(0)
            active -= 1
            host.done()

        await asyncio.gather(*(visit() for _ in range(50)))
        assert most == 3
        assert not host.in_use

    asyncio.run(go())


def test_turns_keep_the_rate() -> None:
    async def go() -> None:
        host = Host("a", HostPolicy(requests=50, requests_per_second=100))
        begun: list[float] = []

        async def visit() -> None:
            begun.append(await host.turn())
            host.done()

        await asyncio.gather(*(visit() for _ in range(11)))
        assert max(begun) - min(begun) >= 10 / 100 - 0.005

    asyncio.run(go())


def test_a_throttling_host_pauses_all_and_is_asked_less_until_it_answers_again() -> None:
    async def go() -> None:
        host = Host("a", HostPolicy(requests=8, longest_pause=0.2))
        began = [await host.turn() for _ in range(8)]
        start = asyncio.get_running_loop().time()
        for one in began:
            host.throttled(one, 100.0, THROTTLED)  # one episode, however many answers; its pause is cut
            host.done()
        assert host.allowed == 4
        assert await host.turn() - start >= 0.19
        host.done()
        for _ in range(100):
            host.answered()
        assert host.allowed == 8

    asyncio.run(go())


def test_a_host_that_only_fails_is_let_be_and_tried_again_later() -> None:
    async def go() -> None:
        host = Host("a", HostPolicy(requests=1, failures=5, failing_seconds=0.0, cooldown=0.05))
        await host.turn()
        waiting = asyncio.ensure_future(host.turn())
        await asyncio.sleep(0)
        for _ in range(5):
            host.failed(GONE)
        for turn in (waiting, host.turn()):
            with pytest.raises(Refused, match="refused; its host failed 5 times in a row") as refused:
                await turn
            assert refused.value.status is Status.NO_CONNECTION
            assert not refused.value.again
        host.done()
        await asyncio.sleep(0.06)
        await host.turn()
        host.answered()
        host.done()
        await host.turn()
        host.done()

    asyncio.run(go())


def test_failures_are_forgiven_by_an_answer_and_need_time() -> None:
    async def go() -> None:
        host = Host("a", HostPolicy(failures=3, failing_seconds=0.0))
        for _ in range(10):
            host.failed(GONE)
            host.failed(GONE)
            host.answered()
        await host.turn()
        slow = Host("b", HostPolicy(failures=3, failing_seconds=60.0))
        for _ in range(50):
            slow.failed(GONE)
        await slow.turn()

    asyncio.run(go())


def test_one_who_gives_up_waiting_takes_no_turn() -> None:
    async def go() -> None:
        host = Host("a", HostPolicy(requests=1))
        await host.turn()
        leaving = asyncio.ensure_future(host.turn())
        staying = asyncio.ensure_future(host.turn())
        await asyncio.sleep(0)
        host.done()  # the turn is given to the first just when it leaves
        leaving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await leaving
        await asyncio.wait_for(staying, 1)
        host.done()
        assert not host.in_use

    asyncio.run(go())


def test_jitter_is_below_a_bound_that_doubles_up_to_the_longest_pause() -> None:
    policy = HostPolicy(backoff=1.0, longest_pause=10.0)
    for failures, bound in ((1, 1), (2, 2), (3, 4), (5, 10), (1000, 10)):
        waits = [policy.jittered(failures) for _ in range(300)]
        assert 0 <= min(waits) < 0.2 * bound
        assert 0.8 * bound < max(waits) <= bound


def test_remembered_hosts_are_bounded_but_those_in_use_stay() -> None:
    async def go() -> None:
        hosts = Hosts(HostPolicy())
        used = hosts.of("used")
        await used.turn()
        for number in range(3 * REMEMBERED_HOSTS):
            hosts.of(f"dead-{number}").failed(GONE)
        assert hosts.of("used") is used
        assert len(hosts._hosts) <= REMEMBERED_HOSTS + 1
        assert hosts.troubled(3)[0].troubles == 1

    asyncio.run(go())
