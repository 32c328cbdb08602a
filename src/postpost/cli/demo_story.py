"""The story of `postpost demo`: what is posted, how the platforms are told to answer, and what came of it over HTTP."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from postpost.cli.output import CommandError
from postpost.clock import utc_now
from postpost.outgoing import HttpClient
from postpost.platforms.base import ErrorCode, Json, path_value
from postpost.posts.rules import GroupStatus, PostStatus
from postpost.times import format_time, parse_scheduled_time

POLL_SECONDS = 0.1
_ENDED = (PostStatus.PUBLISHED, PostStatus.FAILED)


@dataclass(frozen=True, slots=True)
class Order:
    """One post group of the story: when it is due, how the sandbox is told to misbehave, how it has to end."""

    title: str
    content: str
    platform_ids: tuple[str, ...]
    ends: GroupStatus = GroupStatus.PUBLISHED
    delay: timedelta = timedelta(0)
    faults: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)
    meets: ErrorCode | None = None
    """An error that has to stand in the group's log on the way to its end."""


ORDERS: tuple[Order, ...] = (
    Order(
        "Four platforms at once",
        "Hello from PostPost, on four platforms at once.",
        ("twitter-1001", "linkedin-demo", "bluesky-did:plc:demo", "mastodon-1001"),
    ),
    Order(
        "One platform refuses",
        "One of two platforms will not take this.",
        ("bluesky-did:plc:demo", "linkedin-strict"),
        ends=GroupStatus.PARTIALLY_PUBLISHED,
        faults={"linkedin-strict": {"kind": "reject"}},
    ),
    Order(
        "Two seconds ahead",
        "This was scheduled two seconds ahead.",
        ("twitter-1001", "mastodon-1001"),
        delay=timedelta(seconds=2),
    ),
    Order(
        "Rate limited first",
        "The platform was busy, so this one had to wait.",
        ("mastodon-busy",),
        faults={"mastodon-busy": {"kind": "rate_limited", "retryAfter": 1}},
        meets=ErrorCode.RATE_LIMITED,
    ),
)

ACCOUNTS: tuple[str, ...] = tuple(dict.fromkeys(one for order in ORDERS for one in order.platform_ids))
"""What has to be connected in the sandbox, by compound id."""


@dataclass(slots=True)
class PostProgress:
    """What the API has said of one platform post. `latency` is from its time until it was out, or had failed."""

    platform_id: str
    status: str = PostStatus.SCHEDULED
    entry: Mapping[str, Json] = field(default_factory=dict)
    latency: timedelta | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more happens to it."""
        return self.status in _ENDED

    @property
    def outcome(self) -> str:
        """The platform's id, or why there is none."""
        error = self.entry.get("error")
        return f"{error['code']}: {error['message']}" if error else self.entry.get("postedId", "")

    @property
    def milliseconds(self) -> int | None:
        """The latency, rounded."""
        return None if self.latency is None else round(self.latency / timedelta(milliseconds=1))


@dataclass(slots=True)
class GroupProgress:
    """What the API has said of one group."""

    order: Order
    id: str
    posts: list[PostProgress]
    status: str = GroupStatus.SCHEDULED
    answer: Json = None
    logs: Sequence[Mapping[str, Json]] = ()

    @property
    def ended(self) -> bool:
        """Whether nothing more happens to it."""
        return all(post.ended for post in self.posts)

    @property
    def due_at(self) -> datetime | None:
        """The time that the service stored for it, as its log says."""
        times = (log["metadata"]["scheduledTime"] for log in self.logs if log["event"] == "scheduled")
        return next((parse_scheduled_time(text) for text in times), None)

    def read(self, answer: Json) -> bool:
        """Take over an answer of get-post; returns whether a post has ended since the last one."""
        self.answer = answer
        ended = False
        for post, entry in zip(self.posts, answer["posts"], strict=True):
            ended |= entry["status"] in _ENDED and not post.ended
            post.status, post.entry = entry["status"], entry
        return ended

    def read_logs(self, logs: Sequence[Mapping[str, Json]]) -> None:
        """Take over an answer of post-logs: it has the times."""
        self.logs = logs
        due = self.due_at
        for post in self.posts:
            own = [log for log in logs if log.get("postId") == post.entry.get("_id")]
            last = next((log for log in reversed(own) if log["event"] in ("publish_succeeded", "publish_failed")), None)
            at = parse_scheduled_time(last["createdAt"]) if last is not None and post.ended else None
            post.latency = at - due if at is not None and due is not None else None

    def problems(self) -> list[str]:
        """Return what did not go as it has to."""
        title = self.order.title
        if not self.ended:
            waiting = ", ".join(f"{post.platform_id} is {post.status}" for post in self.posts if not post.ended)
            return [f'"{title}" did not end: {waiting}']
        found = []
        if self.status != self.order.ends:
            found.append(f'"{title}" ended as {self.status} instead of {self.order.ends}')
        if any(post.latency is None or post.latency < timedelta(0) for post in self.posts):
            found.append(f'"{title}" went out before its time, or its log does not say when')
        met = {log["metadata"]["errorCode"] for log in self.logs if log["event"] == "publish_failed"}
        if self.order.meets is not None and self.order.meets not in met:
            found.append(f'"{title}" never met {self.order.meets}')
        return found


class Api:
    """The service's REST API and the sandbox's control calls, as any client reaches them."""

    def __init__(self, http: HttpClient, url: str, sandbox_url: str, key: str) -> None:
        self._http = http
        self._url = url
        self._sandbox_url = sandbox_url
        self._key = key

    async def call(self, method: str, path: str, body: Json = None) -> Json:
        """Call the REST API. Raises CommandError when it refuses."""
        return await self._send(method, f"{self._url}{path}", body, {"x-api-key": self._key})

    async def sandbox(self, method: str, platform_id: str, what: str, body: Json = None) -> Json:
        """Call the sandbox's control for one of its accounts."""
        platform, _, account = platform_id.partition("-")
        return await self._send(
            method, f"{self._sandbox_url}/_sandbox/{platform}/{path_value(account)}/{what}", body, {}
        )

    async def _send(self, method: str, url: str, body: Json, headers: Mapping[str, str]) -> Json:
        response = await self._http.request(method, url, headers=headers, json=body)
        if response.status >= 300:
            raise CommandError(
                f"{method} {url} answered {response.status}: {response.text()[:500]}",
                "report this, it is a fault of ours.",
            )
        return response.json()


class Story:
    """The orders, placed and followed."""

    def __init__(self) -> None:
        self.groups: list[GroupProgress] = []
        self._problems: list[str] = []
        self._over = False

    @property
    def partial(self) -> Json:
        """The last answer of get-post for the group that was published in part, None when there is none."""
        return next((one.answer for one in self.groups if one.status == GroupStatus.PARTIALLY_PUBLISHED), None)

    def counts(self) -> Counter[str]:
        """Count the platform posts by status."""
        return Counter(post.status for group in self.groups for post in group.posts)

    def problems(self) -> list[str]:
        """Return everything that did not go as it has to; empty when all went well."""
        if not self._over:
            return ["The demonstration was interrupted"]
        return [*(problem for group in self.groups for problem in group.problems()), *self._problems]

    def result(self) -> dict[str, Any]:
        """Return what happened, for machines; times in milliseconds."""
        return {
            "groups": [
                {
                    "title": group.order.title,
                    "postGroupId": group.id,
                    "status": group.status,
                    "posts": [
                        {
                            "platformId": post.platform_id,
                            "status": post.status,
                            "postedId": post.entry.get("postedId"),
                            "error": post.entry.get("error"),
                            "latencyMs": post.milliseconds,
                        }
                        for post in group.posts
                    ],
                }
                for group in self.groups
            ],
            "partial": self.partial,
        }

    async def tell(
        self, api: Api, show: Callable[["Story"], None], stopping: asyncio.Event, *, within_seconds: float
    ) -> None:
        """Place the orders and follow them until all have ended, `within_seconds` are over or `stopping` is set."""
        deadline = time.monotonic() + within_seconds
        for order in ORDERS:
            for platform_id, fault in order.faults.items():
                await api.sandbox("POST", platform_id, "faults", fault)
        for order in ORDERS:
            self.groups.append(await _place(api, order))
        while not all(group.ended for group in self.groups):
            if stopping.is_set():
                return
            if time.monotonic() > deadline:
                break
            show(self)
            await asyncio.sleep(POLL_SECONDS)
            for group in self.groups:
                if not group.ended and group.read(await api.call("GET", f"/get-post/{group.id}")):
                    group.read_logs((await api.call("GET", f"/post-logs/{group.id}"))["logs"])
        listed = await api.call("GET", "/list-posts?limit=100")
        statuses = {post["postGroupId"]: post["status"] for post in listed["posts"]}
        for group in self.groups:
            group.status = statuses.get(group.id, "missing")
        show(self)
        self._problems = await self._compare(api)
        self._over = True

    async def _compare(self, api: Api) -> list[str]:
        """Return where the sandbox holds other posts than the service says that it published."""
        found = []
        for platform_id in ACCOUNTS:
            held = Counter(post["text"] for post in await api.sandbox("GET", platform_id, "posts"))
            told = Counter(
                group.order.content
                for group in self.groups
                for post in group.posts
                if post.platform_id == platform_id and post.status == PostStatus.PUBLISHED
            )
            if held != told:
                found.append(f"the sandbox holds {held.total()} posts of {platform_id} instead of {told.total()}")
        return found


async def _place(api: Api, order: Order) -> GroupProgress:
    body = {
        "content": order.content,
        "platforms": list(order.platform_ids),
        "scheduledTime": format_time(utc_now() + order.delay),
    }
    answer = await api.call("POST", "/create-post", body)
    return GroupProgress(order, answer["postGroupId"], [PostProgress(one) for one in order.platform_ids])
