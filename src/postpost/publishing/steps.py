"""The durable steps of one run: what is finished is stored at once, under the run's lease, and never repeated."""

import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Protocol

from postpost.clock import utc_now
from postpost.ids import new_id
from postpost.platforms.base import ErrorCode, Http, Intent, Json, PlatformError, Published, Response, Retry
from postpost.posts.rules import PostStatus
from postpost.posts.store import LogEntry
from postpost.publishing.store import StepWrite
from postpost.publishing.timing import Timing


class LeaseLostError(Exception):
    """Another run holds the post now, or it was deleted: this run ends without a trace."""


class PostponedError(Exception):
    """The platform is still working: the job is released and comes back after `delay`."""

    def __init__(self, delay: timedelta) -> None:
        super().__init__(f"not ready, next look in {delay}")
        self.delay = delay


class UnprovenError(Exception):
    """A public call broke in a way that does not prove that nothing went out: the platform has to be asked."""

    def __init__(self, cause: PlatformError) -> None:
        super().__init__(cause.message)
        self.cause = cause


class TooLateError(PlatformError):
    """The intent took so long to commit that its call might outlive what others wait for: nothing was sent."""

    def __init__(self) -> None:
        super().__init__(ErrorCode.UNKNOWN_ERROR, "The database answered too slowly", retry=Retry.BACK_OFF)


class Journal(Protocol):
    """Where steps are written; every write raises LeaseLostError when the run no longer holds its post."""

    async def write(self, write: StepWrite) -> None:
        """Store one change, durable when this returns."""
        ...


class RunSteps:
    """Implements `platforms.base.Steps` for one run of one platform post."""

    def __init__(
        self,
        *,
        post_id: str,
        group_id: str,
        platform: str,
        lease_id: str,
        connection_id: str,
        stored: dict[str, Json],
        parts: list[dict[str, Json]],
        retry_count: int | None,
        journal: Journal,
        timing: Timing,
    ) -> None:
        self._post_id = post_id
        self._group_id = group_id
        self._platform = platform
        self._lease_id = lease_id
        self._connection_id = connection_id
        self._stored = stored
        self._retry_count = retry_count
        self._journal = journal
        self._timing = timing
        self.parts = parts
        """The parts as stored: `{"id", "content", "status", "postedId"?, "url"?, "extra"?, "error"?}`."""
        self.intent: dict[str, Json] | None = None
        """The public call whose outcome is not known, if there is one."""
        self.sending = False
        self.attempt_logged = False
        self.attempt_counted = False

    def now(self) -> datetime:
        """Return the current time, UTC."""
        return utc_now()

    def write_for(self, **changes: Json) -> StepWrite:
        """Return a write of this run."""
        return StepWrite(self._post_id, self._lease_id, self._connection_id, **changes)

    async def once(self, name: str, call: Callable[[], Awaitable[Json]]) -> Json:
        """Return the stored result of `name`, else run `call` and store its result at once."""
        if name not in self._stored:
            result = await call()
            await self._journal.write(self.write_for(steps={name: result}))
            self._stored[name] = result
        return self._stored[name]

    async def until(
        self, name: str, check: Callable[[], Awaitable[Json | None]], *, every: timedelta, at_most: timedelta
    ) -> Json:
        """Return the stored result; else check once, and release the job when the platform is not ready.

        Raises PostponedError, and PlatformError TIMEOUT_ERROR once `at_most` is over.
        """
        if name in self._stored:
            return self._stored[name]

        since_step = f"{name}:since"
        since = self._stored.get(since_step)
        if since is None:
            since = self.now().isoformat()
            await self._journal.write(self.write_for(steps={since_step: since}))
            self._stored[since_step] = since
        result = await check()
        if result is None:
            if self.now() - datetime.fromisoformat(since) >= at_most:
                # When the user has the post tried again, the wait begins anew.
                await self._journal.write(self.write_for(steps={since_step: None}))
                self._stored[since_step] = None
                raise PlatformError(ErrorCode.TIMEOUT_ERROR, "The platform did not finish processing in time")
            raise PostponedError(every)
        await self._journal.write(self.write_for(steps={name: result}))
        self._stored[name] = result
        return result

    async def public(self, part: int, key: Json, call: Callable[[], Awaitable[Published]]) -> Published:
        """Run the call that shows part `part` to the world, at most once, with its intent committed before it.

        The result of the last part is not written here: it is committed with the end of the post, in one
        transaction. Raises UnprovenError when the call broke and may have been carried out, TooLateError before it.
        """
        state = self.parts[part]
        if state["status"] == PostStatus.PUBLISHED:
            return Published(state["postedId"], state.get("url"), state.get("extra") or {})
        begun = time.monotonic()
        intent = {"part": part, "key": key, "beganAt": self.now().isoformat(), "asked": 0}
        state["status"] = PostStatus.PROCESSING
        await self._journal.write(
            self.write_for(
                intent=intent,
                parts=self.stored_parts(),
                log=self._attempt_log(part),
                attempted=not self.attempt_counted,
            )
        )
        self.attempt_logged = self.attempt_counted = True
        if time.monotonic() - begun > self._timing.start_deadline.total_seconds():
            # Too late to be sure that the call is over when others think it is: do not send, begin anew.
            raise TooLateError
        self.intent = intent
        self.sending = True
        try:
            result = await call()
        except PlatformError as error:
            if error.refused:
                self.intent = None
                raise
            raise UnprovenError(error) from error
        except Exception as error:
            cause = PlatformError(ErrorCode.UNKNOWN_ERROR, "The answer could not be understood", refused=False)
            raise UnprovenError(cause) from error
        finally:
            self.sending = False
        await self.store_published(part, result)
        return result

    async def store_published(self, part: int, result: Published) -> None:
        """Note that a part is live; written at once unless it is the last one."""
        state = self.parts[part]
        state.update(status=PostStatus.PUBLISHED, postedId=result.posted_id, url=result.url)
        state.pop("error", None)
        if result.extra:
            state["extra"] = dict(result.extra)
        self.intent = None
        if part < len(self.parts) - 1:
            await self._journal.write(self.write_for(parts=self.stored_parts(), clear_intent=True))

    def stored_parts(self) -> list[dict[str, Json]] | None:
        """Return the parts as they are stored; a post of one part keeps its state in its own columns."""
        return [dict(part) for part in self.parts] if len(self.parts) > 1 else None

    def part_metadata(self, part: int) -> dict[str, int] | None:
        """Return the log metadata that names a part of a thread."""
        return {"part": part + 1, "parts": len(self.parts)} if len(self.parts) > 1 else None

    def _attempt_log(self, part: int) -> LogEntry:
        return LogEntry(
            self._group_id,
            "publish_attempted",
            post_id=self._post_id,
            platform=self._platform,
            retry_count=self._retry_count,
            metadata=self.part_metadata(part),
        )


class LeasedHttp:
    """HTTP that makes sure, before each call, that the run's lease outlives it."""

    def __init__(self, http: Http, steps: RunSteps, journal: Journal, timing: Timing, lease_until: datetime) -> None:
        self._http = http
        self._steps = steps
        self._journal = journal
        self._timing = timing
        self._lease_until = lease_until

    async def request(self, method: str, url: str, **options: Json) -> Response:
        """Send one request; renews the lease first when it would end before the call can."""
        # A public call has just renewed the lease by writing its intent, and nothing may come between the two.
        if not self._steps.sending and self._lease_until - utc_now() < self._timing.longest_call:
            await self._journal.write(self._steps.write_for())
            self._lease_until = utc_now() + self._timing.lease
        return await self._http.request(method, url, **options)


def intent_of(stored: dict[str, Json]) -> Intent:
    """Read a stored intent."""
    return Intent(stored["part"], stored["key"], datetime.fromisoformat(stored["beganAt"]), stored["asked"])


def new_parts(post_id: str, contents: tuple[str, ...]) -> list[dict[str, Json]]:
    """Return the state of a post about to be sent: its first part keeps the post's id (spec threading.md 7)."""
    return [
        {"id": post_id if index == 0 else new_id(), "content": content, "status": PostStatus.PENDING}
        for index, content in enumerate(contents)
    ]
