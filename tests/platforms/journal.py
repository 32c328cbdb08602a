"""A journal in memory that keeps the promises of `Steps`, and builders of what a connector is handed."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from postpost.platforms.base import Account, Intent, Json, PlatformError, Post, Published

NOON = datetime(2026, 5, 4, 12, 0, 0, 123456, tzinfo=UTC)


def as_stored(value: Json) -> Json:
    """Return a value as it comes back from a jsonb column: as JSON, without the order of its keys."""
    return msgspec.json.decode(msgspec.json.encode(value, order="sorted"))


class Journal:
    """Implements `platforms.base.Steps`. `intent` is the public call whose outcome is not known."""

    def __init__(self, now: datetime = NOON) -> None:
        self.time = now
        self.stored: dict[str, Json] = {}
        self.published: dict[int, Published] = {}
        self.keys: list[Json] = []
        self.intent: Intent | None = None

    def now(self) -> datetime:
        return self.time

    async def once(self, name: str, call: Callable[[], Awaitable[Json]]) -> Json:
        if name not in self.stored:
            self.stored[name] = as_stored(await call())
        return self.stored[name]

    async def until(
        self, name: str, check: Callable[[], Awaitable[Json | None]], *, every: timedelta, at_most: timedelta
    ) -> Json:
        return await self.once(name, check)

    async def public(self, part: int, key: Json, call: Callable[[], Awaitable[Published]]) -> Published:
        if part not in self.published:
            self.keys.append(key)
            self.intent = Intent(part, as_stored(key), self.time)
            try:
                self.published[part] = await call()
            except PlatformError as error:
                if error.refused:
                    self.intent = None
                raise
            self.intent = None
        return self.published[part]


def make_account(base_url: str, id: str = "1001", **changes: Any) -> Account:  # noqa: A002
    fields: dict[str, Any] = {
        "id": id,
        "username": "ann",
        "base_url": base_url,
        "credentials": {"access_token": "canary-access", "refresh_token": "canary-refresh"},
    }
    return Account(**(fields | changes))


def make_post(account: Account, *parts: str, settings: Mapping[str, Json] | None = None) -> Post:
    return Post("6650a1b2c3d4e5f601234567", account, parts or ("Hello",), settings or {})
