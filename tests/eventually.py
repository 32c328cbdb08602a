"""Waiting for what happens in the background: poll with a deadline, never just sleep."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

Result = TypeVar("Result")


async def eventually(check: Callable[[], Awaitable[Result]], *, within: float = 10.0) -> Result:
    """Call `check` until it returns something truthy or passes its assertions; fail after `within` seconds."""
    deadline = time.monotonic() + within
    while True:
        try:
            if result := await check():
                return result
            problem: AssertionError = AssertionError(f"still {result!r} after {within} s")
        except AssertionError as error:
            problem = error
        if time.monotonic() > deadline:
            raise problem
        await asyncio.sleep(0.02)
