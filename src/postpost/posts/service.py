"""Use cases of posts: create, read, change, delete, list, retry and validate post groups."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Literal, TypeVar

import msgspec
import structlog

from postpost import errors
from postpost.accounts import limits
from postpost.accounts.limits import Usage
from postpost.clock import utc_now
from postpost.config import Settings
from postpost.database.batching import Batcher
from postpost.database.pool import Connection, Database, Row
from postpost.errors import ApiError
from postpost.ids import normal_id
from postpost.platforms import connector as connector_of
from postpost.posts import requests, rules, store, store_intake, store_operating, validation
from postpost.posts.actor import Actor
from postpost.posts.intake import Intake, raise_if, worth_announcing
from postpost.posts.requests import ListRequest, UpdateRequest
from postpost.posts.rules import GroupStatus, PostStatus, ProcessingStatus
from postpost.posts.store import ListFilter, LogEntry
from postpost.posts.store_intake import IntakeQuestion
from postpost.posts.validation import Target
from postpost.posts.validation_items import Validation
from postpost.posts.validation_media import MediaFacts
from postpost.posts.views import EntryView, GroupView, LogView, UpdatedGroup, entry_views, group_view, log_view
from postpost.times import format_time, resolve_due_time
from postpost.values import Json, falsy

Checked = TypeVar("Checked")

READ_BATCH = 64
"""Most groups that concurrent get-post requests read in one statement."""

_log = structlog.get_logger()


class Posts:
    """The use cases, bound to one database. Concurrent creates share transactions, concurrent reads statements."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._reads: Batcher[tuple[str, str], list[Row]] = Batcher(self._read_batch, most=READ_BATCH)
        self._intake = Intake(database, past_is_now=self._past_is_now)

    @property
    def _past_is_now(self) -> bool:
        return self._settings.past_schedule == "now"

    # Create

    async def create(self, actor: Actor, body: Mapping[str, Any], idempotency_key: str | None) -> str:
        """Take down a post group and return its id; see `Intake.create` for what it commits and raises."""
        return await self._intake.create(actor, body, idempotency_key)

    # Read

    async def fetch(self, account_id: str, group_id: str) -> list[EntryView]:
        """Return the entries of a group in order; raises ApiError G1."""
        normal = normal_id(group_id)
        if normal is None:
            raise ApiError(errors.G1)
        rows = await self._reads.submit((account_id, normal))
        if not rows:
            raise ApiError(errors.G1)
        return [entry for row in rows for entry in entry_views(row)]

    async def _read_batch(self, wanted: Sequence[tuple[str, str]]) -> Sequence[list[Row]]:
        async with self._database.connection() as connection:
            return await store.fetch_entries(connection, wanted)

    async def logs(self, account_id: str, group_id: str) -> list[LogView]:
        """Return the first hundred log entries of a group; raises ApiError P1."""
        normal = normal_id(group_id)
        if normal is None:
            raise ApiError(errors.P1)
        async with self._database.connection() as connection:
            rows = await store.fetch_logs(connection, account_id, normal)
        if rows is None:
            raise ApiError(errors.P1)
        return [log_view(normal, row) for row in rows]

    async def fetch_page(
        self, account_id: str, wanted: ListRequest, *, page: int, limit: int
    ) -> tuple[list[GroupView], int]:
        """Return one page of groups and the number of all that match."""
        filters = ListFilter(
            account_id=account_id,
            status=wanted.status,
            platform=wanted.platform,
            from_time=wanted.from_time,
            to_time=wanted.to_time,
            sort_by=wanted.sort_by,
            descending=wanted.descending,
            limit=limit,
            offset=(page - 1) * limit,
        )
        if wanted.platform is not None and "\0" in wanted.platform:
            return [], 0
        async with self._database.connection() as connection:
            rows = await store.fetch_page(connection, filters)
        return [group_view(row) for row in rows if row["id"] is not None], rows[0]["total"]

    async def validate(self, account_id: str, body: Mapping[str, Any]) -> Validation:
        """Check a stored group, or a post that is not created, against its platforms' rules; stores nothing.

        Raises ApiError V1, or C1 to C11 and V2 in that order where the body itself is wrong.
        """
        if not falsy(body.get("postGroupId")):
            return await self._validate_group(account_id, body["postGroupId"])
        wanted = requests.read_validate(body)
        async with self._database.connection() as connection:
            facts = await store.fetch_connection_facts(connection, account_id, wanted.platform_ids)
        for platform_id in wanted.platform_ids:
            if platform_id not in facts and connector_of(platform_id.partition("-")[0]) is not None:
                raise ApiError(errors.C11, platformId=platform_id)
        media = requests.read_media(body.get("media"))
        return await self._check(wanted.platform_ids, wanted.content, wanted.settings, media, facts)

    async def _validate_group(self, account_id: str, group_id: Any) -> Validation:
        normal = normal_id(group_id) if isinstance(group_id, str) else None
        if normal is None:
            raise ApiError(errors.V1)
        async with self._database.connection() as connection:
            group = await store.fetch_group(connection, account_id, normal)
            if group is None:
                raise ApiError(errors.V1)
            posts = await store.fetch_group_posts(connection, account_id, normal)
            platform_ids = [post["platform_id"] for post in posts]
            facts = await store.fetch_connection_facts(connection, account_id, platform_ids)
        return await self._check(platform_ids, group["content"], group["settings"], (), facts)

    async def _check(
        self,
        platform_ids: Sequence[str],
        content: str,
        settings: Mapping[str, Json],
        media: Sequence[MediaFacts],
        facts: Mapping[str, Mapping[str, Json]],
    ) -> Validation:
        checked = partial(
            validation.check,
            [Target(one.partition("-")[0], facts.get(one, {})) for one in platform_ids],
            content,
            settings,
            media,
            threads_reply_chains=self._settings.threads_reply_chains,
            public_media=self._settings.public_media_url is not None,
            report_failure=_report_failure,
        )
        return await off_loop_if_long(content, checked)

    # Change

    async def update(self, actor: Actor, group_id: str, body: Mapping[str, Any]) -> UpdatedGroup:
        """Change status or time of a group that the dispatcher has not taken; returns it as it is now.

        Raises ApiError U1 to U6 and LimitExceeded; nothing is changed then.
        """
        now = utc_now()
        wanted = requests.read_update(body, now, past_is_now=self._past_is_now)
        normal = normal_id(group_id)
        if normal is None:
            raise ApiError(errors.U5)
        async with self._database.transaction() as connection:
            if wanted.status is not GroupStatus.DRAFT:
                await store_intake.lock_accounts(connection, [actor.billing_id])
            group = await store.lock_group(connection, actor.account_id, normal)
            if group is None:
                raise ApiError(errors.U5)
            posts = await store.fetch_group_posts(connection, actor.account_id, normal)
            _refuse_locked(group, posts)
            # After a retry of some, the others stay failed and are none of this.
            posts = [post for post in posts if post["status"] in (PostStatus.DRAFT, PostStatus.SCHEDULED)]
            change = self._decide(group, wanted, now)
            if change is None:
                return _updated(normal, group["status"], group["scheduled_at"])
            await self._apply(connection, actor, normal, group, posts, change, now)
        return _updated(normal, change.status, change.scheduled_at)

    def _decide(self, group: Row, wanted: UpdateRequest, now: datetime) -> "_Change | None":
        """Return what the table of rest-api.md 3.3 makes of it, None when nothing changes."""
        before = GroupStatus(group["status"])
        status = wanted.status or before
        if status is GroupStatus.DRAFT:
            return _Change(status, wanted.scheduled_at or group["scheduled_at"])
        if wanted.scheduled_at is not None:
            return _Change(status, wanted.scheduled_at)
        if before is GroupStatus.SCHEDULED:
            return None
        if group["scheduled_at"] is None:
            return _Change(status, now)
        stored = resolve_due_time(group["scheduled_at"], now, past_is_now=self._past_is_now)
        if stored is None:
            raise ApiError(errors.U4)
        return _Change(status, stored)

    async def _apply(
        self,
        connection: Connection,
        actor: Actor,
        group_id: str,
        group: Row,
        posts: Sequence[Row],
        change: "_Change",
        now: datetime,
    ) -> None:
        period, _ = limits.period(now)
        scheduled = change.status is GroupStatus.SCHEDULED
        if scheduled:
            await _check_limits(connection, actor, group, posts, change, now)
            fresh = [post for post in posts if post["charged_to"] is None]
            await store.add_charges(
                connection, Counter((actor.billing_id, period, post["platform_id"]) for post in fresh)
            )
        else:
            await store.take_back_charges(connection, _charges_held(posts))
        due_at = change.scheduled_at if scheduled else None
        await store.update_schedule(
            connection,
            actor.account_id,
            group_id,
            status=change.status,
            scheduled_at=change.scheduled_at,
            due_at=due_at,
            now=now,
            charged_to=actor.billing_id if scheduled else None,
            charged_period=period if scheduled else None,
            notify_due=worth_announcing(due_at, now),
        )
        await store.insert_logs(connection, _schedule_logs(group_id, group["status"], posts, change), now)

    async def delete(self, account_id: str, group_id: str) -> None:
        """Delete a group whatever its status; what is already on a platform stays there. Raises ApiError D1."""
        normal = normal_id(group_id)
        if normal is None:
            raise ApiError(errors.D1)
        async with self._database.transaction() as connection:
            if await store.lock_group(connection, account_id, normal) is None:
                raise ApiError(errors.D1)
            posts = await store.lock_group_posts(connection, account_id, normal)
            await store.take_back_charges(connection, _charges_held(posts))
            await store.delete_group(connection, account_id, normal)

    async def retry(self, actor: Actor, group_id: str, *, include_unknown_outcome: bool) -> list[str]:
        """Queue the failed posts of a group again; returns their compound ids in group order.

        Raises ApiError R1 and R2, and LimitExceeded for availability and connections.
        """
        normal = normal_id(group_id)
        if normal is None:
            raise ApiError(errors.R1)
        now = utc_now()
        async with self._database.transaction() as connection:
            await store_intake.lock_accounts(connection, [actor.billing_id])
            group = await store.lock_group(connection, actor.account_id, normal)
            if group is None:
                raise ApiError(errors.R1)
            posts = await store.fetch_group_posts(connection, actor.account_id, normal)
            failed = [post for post in posts if _may_retry(post, include_unknown_outcome=include_unknown_outcome)]
            over = group["processing_status"] == ProcessingStatus.FINISHED
            if not over or not failed:
                raise ApiError(errors.R2)
            usage = await _fetch_usage(connection, actor, [post["platform_id"] for post in failed], now)
            raise_if(limits.for_retry(actor.plan, [post["platform_id"] for post in failed], usage))
            await store.requeue_posts(connection, actor.account_id, normal, [post["id"] for post in failed], now)
            entry = LogEntry(normal, "status_changed", metadata={"from": group["status"], "to": "scheduled"})
            await store.insert_logs(connection, [entry], now)
        return [post["platform_id"] for post in failed]

    # Housekeeping

    async def pause_account(self, account_id: str) -> int:
        """Move the waiting groups of a deactivated account to draft and give their charges back; returns how many."""
        now = utc_now()
        async with self._database.transaction() as connection:
            posts = await store_operating.pause_scheduled_groups(connection, account_id, now)
            await store.take_back_charges(connection, _charges_held(posts))
            groups = sorted({post["group_id"] for post in posts})
            moved = {"from": "scheduled", "to": "draft"}
            await store.insert_logs(
                connection, [LogEntry(group, "status_changed", metadata=moved) for group in groups], now
            )
        return len(groups)

    async def forget_old_keys(self) -> int:
        """Delete idempotency keys past their 24 hours; returns how many."""
        async with self._database.connection() as connection:
            return await store_intake.delete_old_keys(connection, utc_now())


LONG_TEXT = 20_000
"""Characters from which a check takes long enough (a tenth of a second for every 100 kB) to hold others up."""


async def off_loop_if_long(content: str, check: Callable[[], Checked]) -> Checked:
    """Run a check of this text, in a thread when it is so long that other requests would notice."""
    return await asyncio.to_thread(check) if len(content) > LONG_TEXT else check()


def _report_failure(platform: str, error: Exception) -> None:
    _log.error("validation_failed_unexpectedly", platform=platform, exc_info=error)


@dataclass(frozen=True, slots=True)
class _Change:
    status: GroupStatus
    scheduled_at: datetime | None


async def _fetch_usage(connection: Connection, actor: Actor, platform_ids: Sequence[str], now: datetime) -> Usage:
    granted = actor.plan.entitlements
    question = IntakeQuestion(
        account_id=actor.account_id,
        billing_id=actor.billing_id,
        platform_ids=tuple(platform_ids),
        idempotency_key=None,
        count_connections=actor.plan.connection_limit is not None,
        monthly_scope=granted.monthly_posts_scope if granted.monthly_posts is not None else None,
        pending_scope=granted.scheduled_posts_scope if granted.scheduled_posts is not None else None,
    )
    period, _ = limits.period(now)
    [facts] = await store_intake.fetch_intake_facts(connection, [question], period, now)
    return Usage(connections=facts.connections, monthly=facts.monthly, pending=facts.pending)


async def _check_limits(
    connection: Connection, actor: Actor, group: Row, posts: Sequence[Row], change: _Change, now: datetime
) -> None:
    assert change.scheduled_at is not None
    platform_ids = [post["platform_id"] for post in posts]
    usage = await _fetch_usage(connection, actor, platform_ids, now)
    if group["status"] == GroupStatus.SCHEDULED:
        raise_if(limits.for_reschedule(actor.plan, platform_ids, change.scheduled_at, usage, now))
        return
    uncharged = [post["platform_id"] for post in posts if post["charged_to"] is None]
    raise_if(limits.for_schedule(actor.plan, platform_ids, uncharged, change.scheduled_at, usage, now))


def _refuse_locked(group: Row, posts: Sequence[Row]) -> None:
    status = rules.locked_status(
        GroupStatus(group["status"]),
        ProcessingStatus(group["processing_status"]),
        any_published=any(_has_published(post) for post in posts),
    )
    if status is not None:
        raise ApiError(errors.U6, status=status)


def _has_published(post: Row) -> bool:
    parts: list[dict[str, Json]] = post["parts"] or []
    return post["status"] == PostStatus.PUBLISHED or any(part["status"] == PostStatus.PUBLISHED for part in parts)


def _may_retry(post: Row, *, include_unknown_outcome: bool) -> bool:
    if post["status"] != PostStatus.FAILED:
        return False
    return include_unknown_outcome or post["error"]["code"] != "PUBLISH_OUTCOME_UNKNOWN"


def _charges_held(posts: Sequence[Row]) -> Counter[tuple[str, datetime, str]]:
    return Counter(
        (post["charged_to"], post["charged_period"], post["platform_id"])
        for post in posts
        if post["charged_to"] is not None and not post["begun"]
    )


def _schedule_logs(group_id: str, before: str, posts: Sequence[Row], change: _Change) -> list[LogEntry]:
    logs: list[LogEntry] = []
    if change.status is GroupStatus.SCHEDULED and change.scheduled_at is not None:
        metadata = {"scheduledTime": format_time(change.scheduled_at)}
        logs += [
            LogEntry(group_id, "scheduled", post_id=post["id"], platform=post["platform"], metadata=metadata)
            for post in posts
        ]
    if change.status != before:
        logs.append(LogEntry(group_id, "status_changed", metadata={"from": before, "to": change.status}))
    return logs


def _updated(group_id: str, status: str, scheduled_at: datetime | None) -> UpdatedGroup:
    time = format_time(scheduled_at) if scheduled_at is not None else msgspec.UNSET
    shown: Literal["draft", "scheduled"] = "draft" if status == GroupStatus.DRAFT else "scheduled"
    return UpdatedGroup(id=group_id, status=shown, scheduled_time=time)
