"""One run of one platform post: check, refresh, publish or reconcile, and what became of it."""

from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from postpost.clock import utc_now
from postpost.database.pool import DATABASE_AWAY
from postpost.platforms.base import (
    RAW_MESSAGES,
    Connector,
    ErrorCode,
    Http,
    Json,
    NotPublished,
    PlatformError,
    Post,
    Published,
    Retry,
    Scope,
    Undecided,
)
from postpost.posts.rules import PostStatus
from postpost.posts.store import LogEntry
from postpost.publishing.claimed import ClaimedPost, Tools
from postpost.publishing.steps import (
    LeasedHttp,
    LeaseLostError,
    PostponedError,
    RunSteps,
    TooLateError,
    UnprovenError,
    intent_of,
    new_parts,
)
from postpost.publishing.store import Ending
from postpost.publishing.timing import MAX_QUESTIONS
from postpost.times import format_time

_log = structlog.get_logger()

RETRYABLE = frozenset(
    {ErrorCode.RATE_LIMITED, ErrorCode.PLATFORM_SERVER_ERROR, ErrorCode.NETWORK_ERROR, ErrorCode.TIMEOUT_ERROR}
)
"""Codes for which sending the same post again may work (spec errors.md 5.1)."""

REFRESH_MARGIN = timedelta(minutes=5)
"""Credentials that expire sooner than this are refreshed before they are used."""

SHORTEST_WAIT = timedelta(seconds=1)
"""Least wait after a rate limit, whatever the platform says: `Retry-After: 0` is no invitation to a loop."""

LIMITED_SINCE = "limited-since"
"""Name of the step that notes when a post first met a rate limit; the operator's bound counts from then."""

DEFAULT_RATE_LIMIT_WAIT = timedelta(minutes=1)
"""Wait where a platform limits without saying for how long."""

QUESTION_DELAY_SECONDS = 2.0
"""First wait between two questions about an interrupted call; doubles each time, at most a minute."""


class Run:
    """The life of one claimed post until its lease is given back."""

    def __init__(self, claimed: ClaimedPost, tools: Tools) -> None:
        self._claimed = claimed
        self._tools = tools
        self._timing = tools.timing
        self._refreshed = False
        self._retry_count = claimed.tries or None
        self._steps = self._new_steps(claimed.parts or [])

    def _new_steps(self, parts: list[dict[str, Json]]) -> RunSteps:
        claimed = self._claimed
        steps = RunSteps(
            post_id=claimed.id,
            group_id=claimed.group_id,
            platform=claimed.platform,
            lease_id=claimed.lease_id,
            connection_id=claimed.connection_id or "",
            stored=claimed.steps,
            parts=parts,
            retry_count=self._retry_count,
            journal=self._tools.journal,
            timing=self._timing,
        )
        steps.intent = claimed.intent
        return steps

    async def execute(self) -> Ending:
        """Do what can be done now and return how it ended.

        Database failures are raised: the lease then runs out and another run goes on from the stored steps.
        """
        try:
            return await self._execute()
        except LeaseLostError:
            _log.info("lease_lost", post_id=self._claimed.id, lease_id=self._claimed.lease_id)
            # Changes nothing of a post that is not ours, and gives the connection back where the post was deleted.
            return self._ending(PostStatus.PENDING)
        except PostponedError as postponed:
            return self._ending(PostStatus.PENDING, not_before=utc_now() + postponed.delay)
        except UnprovenError as unproven:
            return self._unproven(unproven.cause)
        except PlatformError as error:
            return self._failed_attempt(error, own_fault=isinstance(error, TooLateError))
        except DATABASE_AWAY:
            raise
        except Exception:  # noqa: BLE001 -- the boundary of a connector call: our own fault must not lose the post
            _log.exception("publish_failed_unexpectedly", post_id=self._claimed.id, platform=self._claimed.platform)
            own = PlatformError(ErrorCode.UNKNOWN_ERROR, "Publishing failed on our side", retry=Retry.BACK_OFF)
            return self._failed_attempt(own, own_fault=True)

    async def _execute(self) -> Ending:
        claimed = self._claimed
        connector = self._tools.connector(claimed.platform)
        if connector is None:
            return self._invalid(f'Platform "{claimed.platform}" is not supported')
        if claimed.locked_away:
            message = "The stored credentials cannot be opened with the keys of this server"
            return self._failed(PlatformError(ErrorCode.UNKNOWN_ERROR, message), own_fault=True, called=False)
        if claimed.account is None:
            return self._invalid(f"Platform connection not found: {claimed.platform_id}")
        if claimed.refused:
            return self._dead_credentials()
        if claimed.failures >= self._timing.attempts and claimed.intent is None:
            message = f"The worker stopped unexpectedly while it was sending this post, {claimed.failures} times"
            return self._failed(PlatformError(ErrorCode.UNKNOWN_ERROR, message), own_fault=True, called=False)
        if not claimed.parts:
            checked = await self._tools.check(claimed)
            if checked.problem is not None and claimed.intent is None:
                return self._invalid(checked.problem, checked.items)
            # A post that was under way when the rules changed has to be asked about in the form it had.
            self._steps = self._new_steps(new_parts(claimed.id, checked.parts or (claimed.content,)))
        if claimed.token_expires_at is not None and claimed.token_expires_at - utc_now() < REFRESH_MARGIN:
            await self._refresh_ahead(connector, claimed.token_expires_at)
        while True:
            try:
                return await self._send(connector)
            except PlatformError as error:
                if error.retry is not Retry.REFRESH or self._refreshed:
                    raise
                await self._refresh(connector, error)

    async def _send(self, connector: Connector) -> Ending:
        assert self._claimed.account is not None
        post = Post(
            self._claimed.id,
            self._claimed.account,
            tuple(part["content"] for part in self._steps.parts),
            self._claimed.settings,
        )
        http = LeasedHttp(self._tools.http, self._steps, self._tools.journal, self._timing, self._claimed.lease_until)
        if self._steps.intent is not None and (unsettled := await self._reconcile(connector, post, http)) is not None:
            return unsettled
        if any(part["status"] != PostStatus.PUBLISHED for part in self._steps.parts):
            await connector.publish(post, self._steps, http)
        return self._published()

    async def _refresh_ahead(self, connector: Connector, expires_at: datetime) -> None:
        try:
            await self._refresh(connector)
        except PlatformError:
            if expires_at <= utc_now():
                raise
            self._refreshed = False  # they hold a while yet; if the platform thinks otherwise it will say so

    async def _refresh(self, connector: Connector, cause: PlatformError | None = None) -> None:
        self._refreshed = True
        try:
            grant = await self._tools.refresh(self._claimed, connector)
        except PlatformError as refusal:
            if cause is None or refusal.code is not ErrorCode.PLATFORM_AUTH_EXPIRED or refusal.status is not None:
                raise
            # There was nothing to ask for new credentials with: what the platform said is the reason (row F1).
            raise cause from refusal
        assert self._claimed.account is not None
        account = replace(self._claimed.account, credentials=grant.credentials)
        self._claimed = replace(self._claimed, account=account, token_expires_at=grant.expires_at)

    # What became of an interrupted public call

    async def _reconcile(self, connector: Connector, post: Post, http: Http) -> Ending | None:
        """Ask the platform about the stored intent. Returns None when publishing can go on."""
        assert self._steps.intent is not None
        stored = self._steps.intent
        intent = intent_of(stored)
        over = intent.began_at + self._timing.longest_call
        if utc_now() < over:
            return self._ending(PostStatus.PENDING, not_before=over, intent=stored)
        # A question without an answer is no look at the platform: the connector must not count it as one.
        unanswered = stored.get("unanswered", 0)
        questions = intent.asked + unanswered
        asked = {**stored, "asked": intent.asked + 1}
        delay = timedelta(seconds=min(QUESTION_DELAY_SECONDS * 2**questions, 60.0))
        try:
            outcome = await connector.reconcile(post, intent, self._steps, http)
        except PlatformError as error:
            asked = {**stored, "unanswered": unanswered + 1}
            if error.retry is Retry.REFRESH and not self._refreshed:
                await self._refresh(connector, error)
                delay = timedelta(0)
            elif error.retry is Retry.WAIT:
                delay = min(error.wait or DEFAULT_RATE_LIMIT_WAIT, self._timing.longest_wait)
            outcome = Undecided(never=error.retry is Retry.NEVER)
        if isinstance(outcome, Published):
            await self._steps.store_published(intent.part, outcome)
            return None
        if isinstance(outcome, NotPublished):
            return self._not_published(stored)
        if outcome.never or questions + 1 >= MAX_QUESTIONS:
            return self._outcome_unknown()
        return self._ending(PostStatus.PENDING, not_before=utc_now() + delay, intent=asked)

    def _not_published(self, stored: dict[str, Json]) -> Ending | None:
        """The call provably did nothing: send again, unless it has been tried often enough."""
        self._steps.intent = None
        cause = stored.get("cause") or {}
        if self._claimed.failures < self._timing.attempts:
            return None
        code = ErrorCode(cause.get("code", ErrorCode.TIMEOUT_ERROR))
        error = PlatformError(
            code, cause.get("message", RAW_MESSAGES[code]), status=cause.get("status"), raw=cause.get("raw")
        )
        return self._failed(error, called=False, logged=bool(cause))

    def _unproven(self, cause: PlatformError) -> Ending:
        """Keep the intent: the call may have been carried out, so its outcome is asked for and it is not repeated."""
        assert self._steps.intent is not None
        intent = {
            **self._steps.intent,
            "cause": {"code": cause.code, "message": cause.message, "status": cause.status, "raw": cause.raw},
        }
        over = intent_of(intent).began_at + self._timing.longest_call
        logs = self._failure_logs(cause, retryable=True)
        return self._ending(
            PostStatus.PENDING, not_before=over, intent=intent, logs=logs, failures=self._claimed.failures + 1
        )

    def _outcome_unknown(self) -> Ending:
        code = ErrorCode.PUBLISH_OUTCOME_UNKNOWN
        return self._failed(PlatformError(code, RAW_MESSAGES[code]), called=False)

    # How a run ends

    def _published(self) -> Ending:
        parts = self._steps.parts
        log = LogEntry(
            self._claimed.group_id, "publish_succeeded", post_id=self._claimed.id, platform=self._claimed.platform
        )
        return self._ending(
            PostStatus.PUBLISHED,
            parts=self._steps.stored_parts(),
            posted_id=parts[0]["postedId"],
            url=parts[0].get("url"),
            logs=(log,),
        )

    def _failed_attempt(self, error: PlatformError, *, own_fault: bool = False) -> Ending:
        """Decide between another attempt and the end (errors.md 5.1, what the engine does by itself)."""
        failures = self._claimed.failures + 1
        if error.retry is Retry.WAIT:
            wait = max(error.wait if error.wait is not None else DEFAULT_RATE_LIMIT_WAIT, SHORTEST_WAIT)
            since = datetime.fromisoformat(self._claimed.steps.get(LIMITED_SINCE, utc_now().isoformat()))
            if utc_now() + wait - since <= self._timing.longest_wait:
                until = utc_now() + self._timing.held_delay(wait)
                held = until if error.scope is not Scope.POST else None
                logs = self._failure_logs(error, retryable=True)
                waiting = {LIMITED_SINCE: since.isoformat()}
                return self._ending(PostStatus.PENDING, not_before=until, held_until=held, logs=logs, steps=waiting)
        elif error.retry is Retry.BACK_OFF and failures < self._timing.attempts:
            delay = error.wait or self._timing.retry_delay(failures)
            logs = self._failure_logs(error, retryable=True)
            return self._ending(PostStatus.PENDING, not_before=utc_now() + delay, failures=failures, logs=logs)
        return self._failed(error, own_fault=own_fault)

    def _failed(
        self,
        error: PlatformError,
        *,
        own_fault: bool = False,
        items: Json = None,
        called: bool = True,
        logged: bool = False,
    ) -> Ending:
        if self._steps.intent is not None and error.code is not ErrorCode.PUBLISH_OUTCOME_UNKNOWN:
            # Whatever stopped us, an earlier call of ours may have published: nobody may send the post again unasked.
            return self._outcome_unknown()
        retryable = error.code in RETRYABLE or own_fault
        shown = {
            "code": error.code,
            "message": error.message,
            "platformStatusCode": error.status,
            "platformError": error.raw,
            "failedAt": format_time(utc_now()),
            "retryable": retryable,
        }
        for part in self._steps.parts:
            if part["status"] != PostStatus.PUBLISHED:
                part.update(status=PostStatus.FAILED, error=shown)
        return self._ending(
            PostStatus.FAILED,
            failures=self._claimed.failures + 1,
            parts=self._steps.stored_parts(),
            error=shown,
            refused=self._claimed.connected_at if error.code is ErrorCode.PLATFORM_AUTH_EXPIRED else None,
            logs=() if logged else self._failure_logs(error, retryable=retryable, items=items, called=called),
        )

    def _invalid(self, message: str, items: Json = None) -> Ending:
        return self._failed(PlatformError(ErrorCode.PLATFORM_VALIDATION_ERROR, message), items=items, called=False)

    def _dead_credentials(self) -> Ending:
        message = "The platform no longer accepts this connection; reconnect the account"
        return self._failed(PlatformError(ErrorCode.PLATFORM_AUTH_EXPIRED, message), called=False)

    def _failure_logs(
        self, error: PlatformError, *, retryable: bool, items: Json = None, called: bool = True
    ) -> tuple[LogEntry, ...]:
        claimed = self._claimed
        metadata: dict[str, Json] = {"errorCode": error.code, "retryable": retryable}
        current = next((n for n, part in enumerate(self._steps.parts) if part["status"] != PostStatus.PUBLISHED), 0)
        metadata |= self._steps.part_metadata(current) or {}
        if items is not None:
            metadata["validation"] = items
        failed = LogEntry(
            claimed.group_id,
            "publish_failed",
            post_id=claimed.id,
            platform=claimed.platform,
            error=error.message,
            http_status=error.status,
            retry_count=self._retry_count,
            metadata=metadata,
        )
        if self._steps.attempt_logged or not called:
            return (failed,)
        self._steps.attempt_logged = True
        return (replace(failed, event="publish_attempted", error=None, http_status=None, metadata=None), failed)

    def _ending(self, status: PostStatus, **changes: Json) -> Ending:
        claimed = self._claimed
        changes.setdefault("failures", claimed.failures)
        if status is PostStatus.PENDING:
            for part in self._steps.parts:
                if part["status"] != PostStatus.PUBLISHED:
                    part["status"] = PostStatus.PENDING
            changes = {"parts": self._steps.stored_parts(), "intent": self._steps.intent} | changes
        return Ending(
            claimed.id,
            claimed.lease_id,
            claimed.group_id,
            claimed.platform,
            status,
            claimed.connection_id,
            attempted=self._steps.attempt_logged and not self._steps.attempt_counted,
            **changes,
        )
