"""The operator's limit of requests per API key, off by default (errors.md T7)."""

import math
from collections import OrderedDict

MAX_KEYS = 100_000
"""Keys remembered at once; the longest unused are forgotten first, and start with a full allowance again."""


class Throttle:
    """A token bucket per key: a minute's allowance at most, refilled evenly. Counts in this process alone."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key_id: str, now_seconds: float) -> int | None:
        """Count one request at `now_seconds` of a monotonic clock.

        Returns None when it is allowed, else the whole seconds after which the next one is.
        """
        if not self._per_minute:
            return None
        rate = self._per_minute / 60
        left, at = self._buckets.pop(key_id, (float(self._per_minute), now_seconds))
        left = min(left + (now_seconds - at) * rate, float(self._per_minute))
        allowed = left >= 1
        self._buckets[key_id] = (left - 1 if allowed else left, now_seconds)
        if len(self._buckets) > MAX_KEYS:
            self._buckets.popitem(last=False)
        return None if allowed else max(math.ceil((1 - left) / rate), 1)
