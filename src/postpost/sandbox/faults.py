"""Misbehaviour on demand: what an account's next calls are told to do instead of what they should."""

from enum import StrEnum
from typing import Annotated

import msgspec

MAX_SECONDS = 3600
MAX_TIMES = 10_000
MAX_PENDING = 100
"""Faults that may wait on one account at once."""


class Kind(StrEnum):
    """What goes wrong. All but AUTH_EXPIRED strike the call that makes a post public."""

    RATE_LIMITED = "rate_limited"
    SERVER_ERROR = "server_error"
    TIMEOUT = "timeout"
    """Hold the connection without accepting and without an answer, then close it."""
    RESET_BEFORE_ACCEPT = "reset_before_accept"
    RESET_AFTER_ACCEPT = "reset_after_accept"
    """Store the post, then close the connection without an answer: the crash case."""
    SLOW = "slow"
    """Wait, then do as always: the post does not exist before the delay is over."""
    SLOW_AFTER_ACCEPT = "slow_after_accept"
    """Store the post, then wait with the answer: whoever gives up or dies meanwhile does not know of it."""
    AUTH_EXPIRED = "auth_expired"
    """Any authorised call finds its token expired."""
    REJECT = "reject"


Seconds = Annotated[float, msgspec.Meta(ge=0, le=MAX_SECONDS)]

_DEFAULT_DELAY_SECONDS = {Kind.TIMEOUT: 60.0, Kind.SLOW: 2.0, Kind.SLOW_AFTER_ACCEPT: 2.0}


class Fault(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """One fault as the control API takes and shows it; `times` counts down, and both times are in seconds."""

    kind: Kind
    times: Annotated[int, msgspec.Meta(ge=1, le=MAX_TIMES)] = 1
    retry_after: Seconds = 1.0
    delay: Seconds | None = None

    @property
    def delay_seconds(self) -> float:
        """How long a time-out holds the connection, or a slow call takes."""
        return _DEFAULT_DELAY_SECONDS.get(self.kind, 0.0) if self.delay is None else self.delay


class Faults:
    """The faults waiting on one account, first come, first served."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: list[Fault] = []

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, fault: Fault) -> bool:
        """Add a fault; False when too many are waiting already."""
        if len(self._waiting) >= MAX_PENDING:
            return False
        self._waiting.append(fault)
        return True

    def clear(self) -> None:
        """Forget all of them."""
        self._waiting.clear()

    def waiting(self) -> list[Fault]:
        """Return those that have not struck as often as they should."""
        return list(self._waiting)

    def strike_token(self) -> bool:
        """Use up one expiry, if there is one."""
        return self._take(expiry=True) is not None

    def strike_publishing(self) -> Fault | None:
        """Use up and return the fault that the publishing call meets, if any."""
        return self._take(expiry=False)

    def _take(self, *, expiry: bool) -> Fault | None:
        for position, fault in enumerate(self._waiting):
            if (fault.kind is Kind.AUTH_EXPIRED) is expiry:
                fault.times -= 1
                if fault.times == 0:
                    del self._waiting[position]
                return fault
        return None
