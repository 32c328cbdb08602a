"""Creating post groups: concurrent requests are decided and written together, in one transaction (group commit)."""

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
from postpost.clock import utc_now
from postpost.database.batching import Batcher
from postpost.database.pool import Database
from postpost.errors import ApiError, LimitExceeded
from postpost.ids import new_id
from postpost.posts import requests, store, store_intake
from postpost.posts.actor import Actor
from postpost.posts.requests import CreateRequest
from postpost.posts.rules import GroupStatus
from postpost.posts.store_intake import IntakeFacts, IntakeQuestion, NewGroup
from postpost.values import Json

INTAKE_BATCH = 64
"""Most create-post requests written in one transaction."""

MAX_IDEMPOTENCY_KEY = 255

_canonical = msgspec.json.Encoder(order="deterministic")


@dataclass(frozen=True, slots=True)
class _Intake:
    actor: Actor
    request: CreateRequest
    key: str | None
    digest: bytes | None


class Intake:
    """Takes create-post requests down."""

    def __init__(self, database: Database, *, past_is_now: bool) -> None:
        self._database = database
        self._past_is_now = past_is_now
        self._batcher: Batcher[_Intake, str] = Batcher(self._write_batch, most=INTAKE_BATCH)

    async def create(self, actor: Actor, body: Mapping[str, Any], idempotency_key: str | None) -> str:
        """Take down a post group and return its id; one transaction, shared with other creates of the moment.

        Raises ApiError C1 to C13 and LimitExceeded, in the order of errors.md section 2; nothing is written then.
        """
        key = (idempotency_key or "").strip() or None
        digest = None
        if key is not None:
            if len(key) > MAX_IDEMPOTENCY_KEY:
                raise ApiError(errors.C12)
            digest = _digest(body)
            async with self._database.connection() as connection:
                used = await store_intake.fetch_used_key(connection, actor.account_id, key, utc_now())
            if used is not None:
                return _answer_again(digest, used["body_digest"], used["group_id"])
        request = requests.read_create(body, utc_now(), past_is_now=self._past_is_now)
        return await self._batcher.submit(_Intake(actor, request, key, digest))

    async def _write_batch(self, intakes: Sequence[_Intake]) -> Sequence[str | Exception]:
        now = utc_now()
        period, _ = limits.period(now)
        async with self._database.transaction() as connection:
            lasting = [one.actor for one in intakes if one.key is not None or not one.request.draft]
            # The acting account as well: its idempotency keys are its own, whoever pays.
            locked = {actor.billing_id for actor in lasting} | {actor.account_id for actor in lasting}
            if locked:
                await store_intake.lock_accounts(connection, sorted(locked))
            facts = await store_intake.fetch_intake_facts(connection, [_question(one) for one in intakes], period, now)
            book = _Book(now)
            answers = [book.enter(intake, fact) for intake, fact in zip(intakes, facts, strict=True)]
            if book.groups:
                soonest = min((group.due_at for group in book.groups if group.due_at is not None), default=None)
                await store_intake.insert_groups(
                    connection, book.groups, book.charges, period, now, worth_announcing(soonest, now)
                )
        return answers


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
        if facts.inactive:  # deactivated since the key was looked up
            raise ApiError(errors.A4)
        for platform_id in request.platform_ids:
            if platform_id not in facts.connected:
                raise ApiError(errors.C11, platformId=platform_id)
        usage = Usage(
            connections=facts.connections,
            monthly=self._with_taken(facts.monthly, actor, actor.plan.entitlements.monthly_posts_scope),
            pending=self._with_taken(facts.pending, actor, actor.plan.entitlements.scheduled_posts_scope),
        )
        scheduled_at = None if request.draft else request.scheduled_at
        raise_if(limits.for_create(actor.plan, request.platform_ids, scheduled_at, usage, self.now))
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


def _digest(body: Mapping[str, Any]) -> bytes:
    """Return the same for bodies that are equal as decoded values: order, spacing and `2` or `2.0` do not matter."""
    return hashlib.sha256(_canonical.encode(_with_whole_numbers(body))).digest()


def _with_whole_numbers(value: Json) -> Json:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {name: _with_whole_numbers(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_with_whole_numbers(item) for item in value]
    return value


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


def worth_announcing(due_at: datetime | None, now: datetime) -> datetime | None:
    """Return the time when a dispatcher could sleep past it, else None."""
    return due_at if due_at is not None and due_at - now < store.ANNOUNCE_WITHIN else None


def raise_if(refusal: LimitExceeded | None) -> None:
    """Raise the refusal of a plan limit, if there is one."""
    if refusal is not None:
        raise refusal
