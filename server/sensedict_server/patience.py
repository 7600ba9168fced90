"""A database that is away for a moment, as in a fail-over, is waited for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import tenacity

from sensedict.errors import Unavailable

PATIENCE = 60.0  # seconds
backoff = tenacity.wait_exponential(multiplier=0.1, max=5.0) + tenacity.wait_random(0.0, 0.2)


@dataclass
class _Outage:
    """Since when the database has been away, by the monotonic clock; None while it answers."""

    since: float | None = None


_outage: ContextVar[_Outage | None] = ContextVar("outage", default=None)


@contextmanager
def shared_patience() -> Iterator[None]:
    """Inside, and in the tasks and threads begun there, calls one after another wait no longer than a single one."""
    token = _outage.set(_Outage())
    try:
        yield
    finally:
        _outage.reset(token)


def passing(is_away: Callable[[BaseException], bool]) -> Callable[[tenacity.RetryCallState], bool]:
    """Whether to try again: after what `is_away` says; a call that succeeds shows that the database is there."""

    def passes(state: tenacity.RetryCallState) -> bool:
        error = None if state.outcome is None else state.outcome.exception()
        away = error is not None and is_away(error)
        if (outage := _outage.get()) is not None:
            if error is None:  # one that was cancelled shows nothing
                outage.since = None
            elif away and outage.since is None:
                outage.since = time.monotonic()
        return away

    return passes


def is_over(state: tenacity.RetryCallState) -> bool:
    """Whether this call, or those that share its patience, have waited long enough."""
    begun, outage = state.start_time, _outage.get()
    if outage is not None and outage.since is not None:
        begun = min(begun, outage.since)
    return time.monotonic() - begun >= PATIENCE


# For a function that may run twice: a commit whose answer was lost is done again.
patient = tenacity.retry(
    retry=passing(lambda error: isinstance(error, Unavailable)), wait=backoff, stop=is_over, reraise=True
)
