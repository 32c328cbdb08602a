"""The engine's times in one place: leases, deadlines, backoff. Everything follows from the platform time-out."""

import random
from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Timing:
    """How long things may take.

    `call` is the total time-out of one HTTP call to a platform. A public call must start within `start_deadline` of
    its committed intent and cannot live longer than `longest_call` after it: only then may anybody conclude that it
    did not happen (connector.md, Key before call).
    """

    call: timedelta
    attempts: int
    backoff: timedelta
    longest_wait: timedelta

    @property
    def start_deadline(self) -> timedelta:
        """Longest time between committing an intent and sending the call."""
        return self.call / 4

    @property
    def longest_call(self) -> timedelta:
        """After this, counted from the intent, a public call is over whatever happened to it."""
        return self.start_deadline + self.call + self.call / 4

    @property
    def lease(self) -> timedelta:
        """How long a run holds its post without a sign of life."""
        return self.longest_call * 1.5

    def retry_delay(self, failures: int) -> timedelta:
        """Return the wait before the next attempt after `failures` failed ones: doubling, with jitter."""
        return self.backoff * (2.0 ** min(failures - 1, 10) * random.uniform(0.8, 1.2))  # noqa: S311 -- jitter, no secret

    def held_delay(self, asked: timedelta) -> timedelta:
        """Return the platform's own wait with a little jitter on top, so that not all come back at once."""
        return asked + timedelta(seconds=random.uniform(0.0, 1.0))  # noqa: S311 -- jitter, no secret


MAX_QUESTIONS = 8
"""How often a platform is asked about one interrupted call before its outcome counts as unknown."""

SWEEP_INTERVAL = timedelta(seconds=5)
"""How often each worker looks for posts that nobody holds any more."""
