"""Use cases of posts: create, read, change, delete, list, retry and validate post groups."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from postpost import errors
from postpost.accounts import limits
from postpost.accounts.limits import Usage
from postpost.accounts.plans import ActivePlan
from postpost.clock import utc_now
from postpost.config import Settings
from postpost.database.batching import Batcher
from postpost.database.pool import Connection, Database, Row
from postpost.errors import ApiError, LimitExceeded
from postpost.ids import new_id, normal_id
from postpost.platforms.base import Json
from postpost.posts import requests, rules, store
from postpost.posts.requests import CreateRequest, ListRequest, UpdateRequest
from postpost.posts.rules import GroupStatus, PostStatus, ProcessingStatus
from postpost.posts.store import IntakeFacts, IntakeQuestion, ListFilter, LogEntry, NewGroup
from postpost.posts.views import EntryView, GroupView, LogView, UpdatedGroup, entry_views, group_view, log_view
from postpost.times import format_time, resolve_due_time

INTAKE_BATCH = 64
"""Most create-post requests written in one transaction."""

MAX_IDEMPOTENCY_KEY = 255

_canonical = msgspec.json.Encoder(order="deterministic")


@dataclass(frozen=True, slots=True)
class Actor:
    """For whom a use case runs: whose posts are touched, who pays, and what the plan grants."""

    account_id: str
    billing_id: str
    plan: ActivePlan


@dataclass(frozen=True, slots=True)
class _Intake:
    actor: Actor
    request: CreateRequest
    key: str | None
    digest: bytes | None


class Posts:
    """The use cases, bound to one database. Creates of concurrent requests share transactions (group commit)."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._intakes: Batcher[_Intake, str] = Batcher(self._intake_batch, most=INTAKE_BATCH)

    @property
    def _past_is_now(self) -> bool:
        return self._settings.past_schedule == "now"

    # Create

    async def create(self, actor: Actor, body: Mapping[str, Any], idempotency_key: str | None) -> str:
        """Take down a post group and return its id; one transaction, shared with other creates of the moment.

        Raises ApiError C1 to C13 and LimitExceeded, in the order of errors.md section 2; nothing is written then.
        """
        key = (idempotency_key or "").strip() or None
        digest = None
        if key is not None:
            if len(key) > MAX_IDEMPOTENCY_KEY:
                raise ApiError(errors.C12)
            digest = hashlib.sha256(_canonical.encode(body)).digest()
            async with self._database.connection() as connection:
                used = await store.fetch_used_key(connection, actor.account_id, key, utc_now())
            if used is not None:
                return _answer_again(digest, used["body_digest"], used["group_id"])
        request = requests.read_create(body, utc_now(), past_is_now=self._past_is_now)
        return await self._intakes.submit(_Intake(actor, request, key, digest))

    async def _intake_batch(self, intakes: Sequence[_Intake]) -> Sequence[str | Exception]:
        now = utc_now()
        period, _ = limits.period(now)
        async with self._database.transaction() as connection:
            locked = {one.actor.billing_id for one in intakes if one.key is not None or not one.request.draft}
            if locked:
                await store.lock_billing_accounts(connection, sorted(locked))
            facts = await store.fetch_intake_facts(connection, [_question(one) for one in intakes], period, now)
            book = _Book(now)
            answers = [book.enter(intake, fact) for intake, fact in zip(intakes, facts, strict=True)]
            if book.groups:
                soonest = min((group.due_at for group in book.groups if group.due_at is not None), default=None)
                await store.insert_groups(
                    connection, book.groups, book.charges, period, now, _worth_announcing(soonest, now)
                )
        return answers

    # Read

    async def fetch(self, account_id: str, group_id: str) -> list[EntryView]:
        """Return the entries of a group in order; raises ApiError G1."""
        normal = normal_id(group_id)
        if normal is None:
            raise ApiError(errors.G1)
        async with self._database.connection() as connection:
            rows = await store.fetch_entries(connection, account_id, normal)
        if not rows:
            raise ApiError(errors.G1)
        return [entry for row in rows for entry in entry_views(row)]

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

    async def list(
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
                await store.lock_billing_accounts(connection, [actor.billing_id])
            group = await store.lock_group(connection, actor.account_id, normal)
            if group is None:
                raise ApiError(errors.U5)
            posts = await store.fetch_group_posts(connection, actor.account_id, normal)
            _refuse_locked(group, posts)
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
            notify_due=_worth_announcing(due_at, now),
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
            posts = await store.fetch_group_posts(connection, account_id, normal)
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
            await store.lock_billing_accounts(connection, [actor.billing_id])
            group = await store.lock_group(connection, actor.account_id, normal)
            if group is None:
                raise ApiError(errors.R1)
            posts = await store.fetch_group_posts(connection, actor.account_id, normal)
            failed = [post for post in posts if _may_retry(post, include_unknown_outcome=include_unknown_outcome)]
            over = group["processing_status"] == ProcessingStatus.FINISHED
            if not over or not failed:
                raise ApiError(errors.R2)
            usage = await _fetch_usage(connection, actor, [post["platform_id"] for post in failed], now)
            _raise_if(limits.for_retry(actor.plan, [post["platform_id"] for post in failed], usage))
            await store.requeue_posts(connection, actor.account_id, normal, [post["id"] for post in failed], now)
            entry = LogEntry(normal, "status_changed", metadata={"from": group["status"], "to": "scheduled"})
            await store.insert_logs(connection, [entry], now)
        return [post["platform_id"] for post in failed]

    # Housekeeping

    async def pause_account(self, account_id: str) -> int:
        """Move the waiting groups of a deactivated account to draft and give their charges back; returns how many."""
        now = utc_now()
        async with self._database.transaction() as connection:
            posts = await store.pause_scheduled_groups(connection, account_id, now)
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
            return await store.delete_old_keys(connection, utc_now())


@dataclass(frozen=True, slots=True)
class _Change:
    status: GroupStatus
    scheduled_at: datetime | None


class _Book:
    """Decides over the creates of one batch in turn; each sees what the ones before it have taken."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.groups: list[NewGroup] = []
        self.charges: Counter[tuple[str, str]] = Counter()
        self._keys: dict[tuple[str, str], tuple[bytes, str]] = {}

    def enter(self, intake: _Intake, facts: IntakeFacts) -> str | Exception:
        """Return the new group's id, or why there is none."""
        try:
            return self._enter(intake, facts)
        except (ApiError, LimitExceeded) as refusal:
            return refusal

    def _enter(self, intake: _Intake, facts: IntakeFacts) -> str:
        actor, request = intake.actor, intake.request
        if intake.key is not None and intake.digest is not None:
            used = self._keys.get((actor.account_id, intake.key))
            if used is None and facts.used_key_digest is not None and facts.used_key_group is not None:
                used = (facts.used_key_digest, facts.used_key_group)
            if used is not None:
                return _answer_again(intake.digest, *used)
        for platform_id in request.platform_ids:
            if platform_id not in facts.connected:
                raise ApiError(errors.C11, platformId=platform_id)
        usage = Usage(
            connections=facts.connections,
            monthly=self._with_taken(facts.monthly, actor, actor.plan.entitlements.monthly_posts_scope),
            pending=self._with_taken(facts.pending, actor, actor.plan.entitlements.scheduled_posts_scope),
        )
        scheduled_at = None if request.draft else request.scheduled_at
        _raise_if(limits.for_create(actor.plan, request.platform_ids, scheduled_at, usage, self.now))
        group = _new_group(intake)
        self.groups.append(group)
        if not request.draft:
            self.charges.update((actor.billing_id, platform_id) for platform_id in request.platform_ids)
        if intake.key is not None and intake.digest is not None:
            self._keys[actor.account_id, intake.key] = (intake.digest, group.id)
        return group.id

    def _with_taken(self, counted: Mapping[str, int], actor: Actor, scope: str) -> Mapping[str, int]:
        """Return the counts with what this batch has already taken for the same billing owner laid on top."""
        if not self.charges:
            return counted
        taken = Counter(counted)
        for (billing_id, platform_id), count in self.charges.items():
            if billing_id == actor.billing_id:
                taken["" if scope == "account" else platform_id] += count
        return taken


def _new_group(intake: _Intake) -> NewGroup:
    actor, request = intake.actor, intake.request
    return NewGroup(
        id=new_id(),
        account_id=actor.account_id,
        content=request.content,
        settings=request.settings,
        status=GroupStatus.DRAFT if request.draft else GroupStatus.SCHEDULED,
        scheduled_at=request.scheduled_at,
        due_at=None if request.draft else request.scheduled_at,
        posts=tuple((new_id(), one.partition("-")[0], one) for one in request.platform_ids),
        charged_to=None if request.draft else actor.billing_id,
        idempotency_key=intake.key,
        body_digest=intake.digest,
    )


def _question(intake: _Intake) -> IntakeQuestion:
    actor, request = intake.actor, intake.request
    granted = actor.plan.entitlements
    scheduled = not request.draft
    return IntakeQuestion(
        account_id=actor.account_id,
        billing_id=actor.billing_id,
        platform_ids=request.platform_ids,
        idempotency_key=intake.key,
        count_connections=scheduled and actor.plan.connection_limit is not None,
        monthly_scope=granted.monthly_posts_scope if scheduled and granted.monthly_posts is not None else None,
        pending_scope=granted.scheduled_posts_scope if scheduled and granted.scheduled_posts is not None else None,
    )


def _answer_again(digest: bytes, used_digest: bytes, group_id: str) -> str:
    if digest != used_digest:
        raise ApiError(errors.C13)
    return group_id


def _worth_announcing(due_at: datetime | None, now: datetime) -> datetime | None:
    """Return the time when a dispatcher could sleep past it, else None."""
    return due_at if due_at is not None and due_at - now < store.ANNOUNCE_WITHIN else None


def _raise_if(refusal: LimitExceeded | None) -> None:
    if refusal is not None:
        raise refusal


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
    [facts] = await store.fetch_intake_facts(connection, [question], period, now)
    return Usage(connections=facts.connections, monthly=facts.monthly, pending=facts.pending)


async def _check_limits(
    connection: Connection, actor: Actor, group: Row, posts: Sequence[Row], change: _Change, now: datetime
) -> None:
    assert change.scheduled_at is not None
    platform_ids = [post["platform_id"] for post in posts]
    usage = await _fetch_usage(connection, actor, platform_ids, now)
    if group["status"] == GroupStatus.SCHEDULED:
        _raise_if(limits.for_reschedule(actor.plan, platform_ids, change.scheduled_at, usage, now))
        return
    uncharged = [post["platform_id"] for post in posts if post["charged_to"] is None]
    _raise_if(limits.for_schedule(actor.plan, platform_ids, uncharged, change.scheduled_at, usage, now))


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
    return UpdatedGroup(id=group_id, status=status, scheduled_time=time)
