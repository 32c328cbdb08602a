"""The ids of our rows: 24 hexadecimal digits, ordered by time, made without asking the database (rest-api.md 1.4)."""

import os
import random
import re
import secrets
import threading
import time

_HEX_ID = re.compile(r"[0-9a-fA-F]{24}")
_RANDOM_BITS = 30
_COUNTER_BITS = 24
_COUNTER_END = 1 << _COUNTER_BITS


class IdMaker:
    """Makes ids that rise strictly within one process and follow the clock to the millisecond across processes.

    An id has the shape of an ObjectId: 4 bytes of seconds, then 10 bits of milliseconds and 30 bits that are random
    for each maker, then a counter of 24 bits that starts anew, at a random place in its lower half, in every
    millisecond. A clock that steps back does not lower the ids: the last millisecond is kept until the clock has
    caught up.
    """

    def __init__(self) -> None:
        self.start_afresh()

    def start_afresh(self) -> None:
        """Draw new random bits and a new lock: a forked child must share neither with its parent."""
        self._lock = threading.Lock()
        self._salt = secrets.randbits(_RANDOM_BITS) << _COUNTER_BITS
        self._now_ms = -1
        self._prefix = 0
        self._counter = 0

    def __call__(self, now_ms: int | None = None) -> str:
        """Return a new id for `now_ms` (milliseconds since 1970), or for the clock's time."""
        if now_ms is None:
            now_ms = time.time_ns() // 1_000_000
        with self._lock:
            if now_ms > self._now_ms:
                self._start(now_ms)
            else:
                self._counter += 1
                if self._counter == _COUNTER_END:
                    self._start(self._now_ms + 1)
            return f"{self._prefix + self._counter:024x}"

    def _start(self, now_ms: int) -> None:
        self._now_ms = now_ms
        seconds, milliseconds = divmod(now_ms, 1000)
        moment = (seconds & 0xFFFFFFFF) << 10 | milliseconds
        self._prefix = (moment << _RANDOM_BITS + _COUNTER_BITS) | self._salt
        self._counter = random.getrandbits(_COUNTER_BITS - 1)


new_id = IdMaker()
"""Return a new id; `new_id(now_ms)` stamps it with that time unless a later id was made before."""

if hasattr(os, "register_at_fork"):  # Windows has no fork.
    os.register_at_fork(after_in_child=new_id.start_afresh)


def is_id(text: str) -> bool:
    """Say whether the whole of `text` is 24 hexadecimal ASCII digits, in either case."""
    return _HEX_ID.fullmatch(text) is not None


def normal_id(text: str) -> str | None:
    """Return the id in lower case, as it is stored, or None when `text` is no id."""
    return text.lower() if is_id(text) else None
