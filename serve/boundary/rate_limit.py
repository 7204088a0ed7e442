"""How often one token may ask: a bucket for each, which fills at a steady pace."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from amir.config import RateSettings
from serve.boundary.problems import RequestError


class RateLimit:
    """Buckets by the token's name; all starts full."""

    def __init__(self, settings: RateSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = settings.requests_per_minute / 60
        self._most = float(settings.burst)
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}  # what is left, and when that was

    def take(self, name: str) -> None:
        """One request of a token's; RequestError("rate_limited") says when to come again."""
        now = self._clock()
        left, then = self._buckets.get(name, (self._most, now))
        left = min(self._most, left + (now - then) * self._per_second)
        self._buckets[name] = (left - 1 if left >= 1 else left), now
        if left < 1:
            wait = math.ceil((1 - left) / self._per_second)
            raise RequestError(
                "rate_limited",
                f"this token may ask {60 * self._per_second:g} times a minute; wait {wait} s",
                {"Retry-After": str(wait)},
            )
