"""Fair share: how many requests one caller may send, and whose turn it is when there are more than threads.

Each process that answers counts for itself: with `--workers 4` a caller that reaches all four has four times as much.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field

from sensedict.errors import TooManyRequests, Unavailable

_REMEMBERED = 4096  # callers; more, and those are forgotten who have their whole share
WAITING_PER_THREAD = 16  # requests in line; with 10 ms each, the last one waits a sixth of a second


@dataclass(eq=False)
class Share:
    """What one caller has of the service.

    Attributes:
        tokens: requests that may be sent now; one comes back every 1 / rate seconds.
        at: when `tokens` was right.
        in_flight: requests that are not answered yet.
        running: those of them that have a thread, or are about to.
        waiting: the others, first come first served.
    """

    tokens: float
    at: float
    in_flight: int = 0
    running: int = 0
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)


class FairShare:
    """Lets each caller have as much as the others.

    A token bucket bounds how many requests a caller sends, and a count how many it has open. Those that need a thread
    take turns: a thread that gets free goes to the waiting caller who has the fewest, and nobody has all of them, so
    that who comes next never finds every thread in one hand.

    Args:
        threads: that answer requests.
        rate: requests a second that a caller may go on with; None: as many as it likes.
        burst: requests at once, after a pause.
        in_flight: requests of a caller that are not answered yet.
    """

    def __init__(self, threads: int, rate: float | None, burst: int, in_flight: int) -> None:
        self._free = threads
        self._most = max(1, threads - 1)
        self._longest = WAITING_PER_THREAD * threads
        self._rate, self._burst, self._in_flight = rate, burst, in_flight
        self._shares: dict[str, Share] = {}
        self._line: dict[int, Share] = {}  # shares with somebody waiting, by id, the longest there first
        self._waiting = 0

    def enter(self, caller: str, now: float) -> Share:
        """Count a request in; `leave` counts it out.

        Args:
            now: seconds of a clock that only goes forward.

        Raises:
            TooManyRequests: this one is too much; says when to come again.
        """
        share = self._shares.get(caller)
        if share is None:
            share = self._remember(caller, now)
        if share.in_flight >= self._in_flight:
            raise TooManyRequests(f"{share.in_flight} of your requests are not answered yet: wait for them")
        if self._rate is not None:
            self._spend(share, now, self._rate)
        share.in_flight += 1
        return share

    def leave(self, share: Share) -> None:
        """Count a request out."""
        share.in_flight -= 1

    async def take(self, share: Share) -> None:
        """Wait for a turn, which `give` ends.

        Raises:
            Unavailable: so many wait already that another one would only make the line longer.
        """
        if self._free > 0 and share.running < self._most and not share.waiting:
            self._start(share)
            return
        if self._waiting >= self._longest:
            raise Unavailable(f"every thread is busy and {self._waiting} requests wait already: try again in a moment")
        turn = asyncio.get_running_loop().create_future()
        share.waiting.append(turn)
        self._waiting += 1
        self._line[id(share)] = share
        try:
            await turn
        except asyncio.CancelledError:
            if turn in share.waiting:
                self._forget(share, turn)
            elif not turn.cancelled():  # the turn came together with the cancellation
                self.give(share)
            raise

    def give(self, share: Share) -> None:
        """End a turn; the next one begins."""
        share.running -= 1
        self._free += 1
        while self._free > 0:
            able = [waiting for waiting in self._line.values() if waiting.running < self._most]
            if not able:
                return
            following = min(able, key=lambda waiting: waiting.running)
            turn = following.waiting[0]
            self._forget(following, turn)
            if not turn.cancelled():
                self._start(following)
                turn.set_result(None)

    def _spend(self, share: Share, now: float, rate: float) -> None:
        share.tokens = min(self._burst, share.tokens + (now - share.at) * rate)
        share.at = now
        if share.tokens < 1:
            wait = (1 - share.tokens) / rate
            raise TooManyRequests(
                f"more than {rate:g} requests a second, or {self._burst} at once: send fewer, larger ones", wait
            )
        share.tokens -= 1

    def _start(self, share: Share) -> None:
        share.running += 1
        self._free -= 1

    def _forget(self, share: Share, turn: asyncio.Future[None]) -> None:
        share.waiting.remove(turn)
        self._waiting -= 1
        del self._line[id(share)]
        if share.waiting:  # to the end of the line: whoever has as few comes first next time
            self._line[id(share)] = share

    def _remember(self, caller: str, now: float) -> Share:
        if len(self._shares) >= _REMEMBERED:
            full = 0.0 if self._rate is None else self._burst / self._rate
            self._shares = {
                name: share for name, share in self._shares.items() if share.in_flight or now - share.at < full
            }
        share = self._shares[caller] = Share(float(self._burst), now)
        return share
