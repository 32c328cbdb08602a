"""Use cases of the operator: why a post group is not out yet, in sentences."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from postpost.clock import utc_now
from postpost.database.pool import Database, Row
from postpost.posts import store_operating as store
from postpost.posts.rules import GroupStatus, PostStatus, ProcessingStatus
from postpost.times import format_time

OVERDUE = timedelta(seconds=2)
"""A due group that no dispatcher has taken for this long is waiting for a worker, not for its turn."""

FORGOTTEN = timedelta(minutes=1)
"""A post that nothing holds back and nobody has touched for this long is waiting for a worker."""

_NO_WORKER = "is a worker running? `postpost up` and `postpost work` start one."


class Attempt(msgspec.Struct, frozen=True, rename="camel"):
    """What the platform said to the latest attempt that failed; null where it said nothing."""

    at: str
    code: str | None
    message: str | None
    status: int | None
    platform_error: str | None


class PostExplanation(msgspec.Struct, frozen=True, rename="camel"):
    """Where one platform post stands. `attempts` counts the runs that called the platform."""

    platform_id: str
    status: str
    attempts: int
    posted_id: str | None
    next_try: str | None
    last_failure: Attempt | None
    sentences: list[str]


class GroupExplanation(msgspec.Struct, frozen=True, rename="camel"):
    """Where a post group stands, and each of its platform posts."""

    post_group_id: str
    account_id: str
    status: str
    content: str
    scheduled_time: str | None
    due_at: str | None
    sentences: list[str]
    posts: list[PostExplanation]


async def find_owner(database: Database, group_id: str) -> str | None:
    """Return the id of the account that a group belongs to, None when there is no such group."""
    async with database.connection() as connection:
        return await store.fetch_group_owner(connection, group_id)


async def explain(database: Database, account_id: str, group_id: str, *, most_attempts: int) -> GroupExplanation | None:
    """Say where a group stands and why it is not out; None when it is not this account's.

    `most_attempts` is how often a post may fail before it has failed for good.
    """
    async with database.connection() as connection:
        group = await store.fetch_group_state(connection, account_id, group_id)
        posts = await store.fetch_post_states(connection, account_id, group_id) if group is not None else []
    if group is None:
        return None
    moment = _Moment(utc_now(), most_attempts)
    return GroupExplanation(
        post_group_id=group["id"],
        account_id=account_id,
        status=group["status"],
        content=group["content"],
        scheduled_time=_time(group["scheduled_at"]),
        due_at=_time(group["due_at"]),
        sentences=list(moment.about_group(group)),
        posts=[
            PostExplanation(
                platform_id=post["platform_id"],
                status=post["status"],
                attempts=post["tries"],
                posted_id=post["posted_id"],
                next_try=_time(moment.next_try(post)),
                last_failure=_last_failure(post),
                sentences=list(moment.about_post(post)),
            )
            for post in posts
        ],
    )


def _time(moment: datetime | None) -> str | None:
    return format_time(moment) if moment is not None else None


def _last_failure(post: Row) -> Attempt | None:
    final = post["error"]
    if final is not None:
        return Attempt(
            final["failedAt"], final["code"], final["message"], final["platformStatusCode"], final["platformError"]
        )
    if post["said_at"] is None:
        return None
    code = (post["said_more"] or {}).get("errorCode")
    raw = ((post["intent"] or {}).get("cause") or {}).get("raw")
    return Attempt(format_time(post["said_at"]), code, post["said"], post["said_status"], raw)


@dataclass(frozen=True, slots=True)
class _Moment:
    """Says what is true at one moment. Pure: rows in, sentences out."""

    now: datetime
    most_attempts: int

    def about_group(self, group: Row) -> Iterator[str]:
        """Yield what holds for the whole group."""
        if not group["active"]:
            yield "The account is inactive: nothing is scheduled for it until `postpost accounts set --active`."
        status = GroupStatus(group["status"])
        if status is GroupStatus.DRAFT:
            yield "It is a draft: nothing goes out until it is scheduled with update-post."
        elif status is not GroupStatus.SCHEDULED:
            yield f"It has ended as {status}."
        elif group["processing_status"] == ProcessingStatus.PROCESSING and group["due_at"] is None:
            yield "A worker has taken it; its platform posts say what they wait for."
        elif group["due_at"] is not None and group["due_at"] > self.now:
            yield f"It waits for its time, {self._when(group['due_at'])}."
        elif group["due_at"] is not None and self.now - group["due_at"] < OVERDUE:
            yield "Its time has come; a worker takes it at this moment."
        elif group["due_at"] is not None:
            yield f"It was due {self._when(group['due_at'])} and no worker has taken it: {_NO_WORKER}"

    def next_try(self, post: Row) -> datetime | None:
        """Return before when a waiting post is not tried, None when it may be tried now or has ended."""
        if post["status"] != PostStatus.PENDING:
            return None
        waits = [moment for moment in (post["not_before"], post["held_until"]) if moment and moment > self.now]
        return max(waits, default=None)

    def about_post(self, post: Row) -> Iterator[str]:
        """Yield what holds for one platform post."""
        status = PostStatus(post["status"])
        yield from self._about_parts(post)
        if status is PostStatus.PUBLISHED:
            where = f", {post['url']}" if post["url"] else ""
            yield f"It is published as {post['posted_id']}{where}."
        elif status is PostStatus.FAILED:
            yield from self._about_failure(post)
        elif status is PostStatus.PENDING:
            yield from self._about_waiting(post)
        elif status is PostStatus.PROCESSING:
            yield from self._about_running(post)
        else:
            yield "It waits for its group."
        if status not in (PostStatus.PUBLISHED, PostStatus.FAILED):
            yield from self._about_connection(post)

    def _about_parts(self, post: Row) -> Iterator[str]:
        parts = post["parts"] or []
        out = sum(part["status"] == PostStatus.PUBLISHED for part in parts)
        if parts and out < len(parts):
            yield f"{out} of its {len(parts)} parts are out."

    def _about_failure(self, post: Row) -> Iterator[str]:
        error = post["error"]
        yield f"It has failed for good with {error['code']}: {_sentence(error['message'])}"
        if error["platformStatusCode"] is not None:
            said = f": {error['platformError']}" if error["platformError"] else ""
            yield f"The platform answered with status {error['platformStatusCode']}{said}"
        if error["code"] == "PUBLISH_OUTCOME_UNKNOWN":
            yield "It may be live already: look at the account, then use `postpost posts retry --unknown-outcome`."
        elif error["retryable"]:
            yield "Sending it again may help: `postpost posts retry`."
        else:
            yield "Sending the same again will not help before the cause is mended."

    def _about_waiting(self, post: Row) -> Iterator[str]:
        if post["intent"] is not None:
            yield "An attempt broke off and may have been carried out: the platform is asked before anything is sent."
        if post["said"] is not None:
            yield f"Attempt {post['tries']} failed: {_sentence(post['said'])}"
        if post["failures"]:
            yield f"{post['failures']} of {self.most_attempts} allowed failures are used up."
        following = self.next_try(post)
        if following is not None:
            yield f"The next try is {self._when(following)}."
        elif post["busy_until"] is not None and post["busy_until"] > self.now:
            yield "Another post of the same connection is being published; this one follows."
        elif self.now - post["updated_at"] > FORGOTTEN:
            since = format_time(post["updated_at"])
            yield f"Nothing holds it back, and nobody has taken it since {since}: {_NO_WORKER}"
        else:
            yield "It is in the queue and can be taken at any moment."

    def _about_running(self, post: Row) -> Iterator[str]:
        until = post["lease_until"]
        if until is not None and until > self.now:
            yield f"A worker is publishing it; if that worker dies, another goes on after {format_time(until)}."
        else:
            yield f"The worker that was publishing it has died; another one goes on within seconds: {_NO_WORKER}"

    def _about_connection(self, post: Row) -> Iterator[str]:
        platform_id = post["platform_id"]
        if post["connection_id"] is None:
            yield f"{platform_id} is not connected any more: it will fail. Connect it again first."
            return
        if post["refused_at"] is not None:
            refused = self._when(post["refused_at"])
            yield f"The platform refused the credentials of {platform_id} {refused}: connect it again."
        elif post["token_expires_at"] is not None and post["token_expires_at"] <= self.now:
            expired = self._when(post["token_expires_at"])
            yield f"The token of {platform_id} expired {expired}; it is renewed before use."
        if post["held_until"] is not None and post["held_until"] > self.now:
            yield f"The platform limits how much {platform_id} may post, until {self._when(post['held_until'])}."

    def _when(self, moment: datetime) -> str:
        """Return a time with its distance: `2031-05-04T08:30:00.000Z (in 3 h)`."""
        distance = moment - self.now
        near = _rough(abs(distance))
        return f"{format_time(moment)} ({f'in {near}' if distance > timedelta(0) else f'{near} ago'})"


def _rough(length: timedelta) -> str:
    seconds = int(length.total_seconds())
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
