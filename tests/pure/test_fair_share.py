"""Whose turn it is when there are more requests than threads."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from sensedict.errors import TooManyRequests, Unavailable
from sensedict_server.fair_share import WAITING_PER_THREAD, FairShare, Share


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


async def settle() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


def test_a_bucket_fills_with_time() -> None:
    fair = FairShare(threads=4, rate=10, burst=3, in_flight=100)
    for _ in range(3):
        fair.enter("a", 0.0)
    with pytest.raises(TooManyRequests, match="more than 10 requests a second, or 3 at once") as caught:
        fair.enter("a", 0.0)
    assert caught.value.retry_after == pytest.approx(0.1)
    fair.enter("b", 0.0)  # has a bucket of its own
    fair.enter("a", 0.1)
    with pytest.raises(TooManyRequests):
        fair.enter("a", 0.15)
    for _ in range(3):
        fair.enter("a", 1000.0)  # never more than the burst
    with pytest.raises(TooManyRequests):
        fair.enter("a", 1000.0)


def test_without_a_rate_only_what_is_in_flight_counts() -> None:
    fair = FairShare(threads=4, rate=None, burst=1, in_flight=1)
    for _ in range(1000):
        fair.leave(fair.enter("a", 0.0))
    fair.enter("a", 0.0)
    with pytest.raises(TooManyRequests):
        fair.enter("a", 0.0)


def test_requests_in_flight() -> None:
    fair = FairShare(threads=4, rate=1000, burst=1000, in_flight=2)
    first = fair.enter("a", 0.0)
    fair.enter("a", 0.0)
    with pytest.raises(TooManyRequests, match="2 of your requests are not answered yet"):
        fair.enter("a", 0.0)
    fair.leave(first)
    fair.enter("a", 0.0)


def test_nobody_has_every_thread_and_who_has_least_comes_next() -> None:
    async def work() -> None:
        fair = FairShare(threads=3, rate=1e6, burst=1000, in_flight=1000)
        order: list[str] = []
        shares: dict[str, Share] = {name: fair.enter(name, 0.0) for name in "abc"}

        async def one(name: str) -> None:
            await fair.take(shares[name])
            order.append(name)

        tasks = [asyncio.create_task(one("a")) for _ in range(6)]
        await settle()
        assert order == ["a", "a"]  # of three threads
        tasks.append(asyncio.create_task(one("b")))
        await settle()
        assert order == ["a", "a", "b"]  # found one free
        tasks += [asyncio.create_task(one("b")), asyncio.create_task(one("c"))]
        await settle()
        assert order == ["a", "a", "b"]
        fair.give(shares["a"])
        await settle()
        assert order[3:] == ["c"]  # has none; came last
        fair.give(shares["c"])
        await settle()
        assert len(order) == 5
        assert {shares["a"].running, shares["b"].running} <= {1, 2}
        while len(order) < len(tasks):
            busy = next(share for share in shares.values() if share.running)
            fair.give(busy)
            await settle()
        assert sorted(order) == list("aaaaaabbc")

    run(work())


def test_who_gives_up_waiting_leaves_the_line() -> None:
    async def work() -> None:
        fair = FairShare(threads=1, rate=1e6, burst=1000, in_flight=1000)
        share = fair.enter("a", 0.0)
        await fair.take(share)
        waiting = [asyncio.create_task(fair.take(share)) for _ in range(3)]
        await settle()
        waiting[0].cancel()
        fair.give(share)  # before the cancelled one woke
        await settle()
        assert [task.done() for task in waiting] == [True, True, False]
        assert waiting[0].cancelled()
        fair.give(share)
        waiting[2].cancel()  # together with its turn
        await settle()
        assert share.running == 0
        assert not share.waiting
        await asyncio.wait_for(fair.take(share), 5)  # nothing was lost

    run(work())


def test_the_line_has_an_end() -> None:
    async def work() -> None:
        fair = FairShare(threads=1, rate=1e6, burst=1000, in_flight=1000)
        share = fair.enter("a", 0.0)
        await fair.take(share)
        waiting = [asyncio.create_task(fair.take(share)) for _ in range(WAITING_PER_THREAD)]
        await settle()
        with pytest.raises(Unavailable, match=f"every thread is busy and {WAITING_PER_THREAD} requests wait"):
            await fair.take(fair.enter("b", 0.0))
        for task in waiting:
            task.cancel()

    run(work())


def test_callers_that_are_gone_are_forgotten() -> None:
    fair = FairShare(threads=4, rate=10, burst=3, in_flight=10)
    stays = fair.enter("stays", 0.0)
    for number in range(10_000):
        fair.leave(fair.enter(f"@10.0.{number >> 8}.{number & 255}", number * 0.01))
    assert len(fair._shares) <= 4096
    assert fair.enter("stays", 100.0) is stays
