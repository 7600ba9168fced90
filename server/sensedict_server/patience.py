"""A database that is away for a moment, as in a fail-over, is waited for."""

from __future__ import annotations

import tenacity

from sensedict.errors import Unavailable

PATIENCE = 60.0  # seconds
backoff = tenacity.wait_exponential(multiplier=0.1, max=5.0) + tenacity.wait_random(0.0, 0.2)

# For a function that may run twice: a commit whose answer was lost is done again.
patient = tenacity.retry(
    retry=tenacity.retry_if_exception_type(Unavailable),
    wait=backoff,
    stop=tenacity.stop_after_delay(PATIENCE),
    reraise=True,
)
