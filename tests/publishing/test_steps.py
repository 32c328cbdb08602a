from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from postpost.platforms.base import ErrorCode, PlatformError, Published, Response, Retry
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
from postpost.publishing.timing import Timing

pytestmark = pytest.mark.anyio

POST = "6b04f6dc1a7821a7817e114f"
EVERY, AT_MOST = timedelta(seconds=7), timedelta(minutes=5)


@dataclass
class Notebook:
    """A journal that keeps what is written, or has lost the lease from its `lost_from`-th write on."""

    writes: list = field(default_factory=list)
    lost_from: int | None = None

    async def write(self, write):
        if self.lost_from is not None and len(self.writes) >= self.lost_from:
            raise LeaseLostError
        self.writes.append(write)


def timing(call_seconds=10.0):
    return Timing(timedelta(seconds=call_seconds), 5, timedelta(seconds=1), timedelta(days=1))


def new_steps(journal, *, contents=("Hello",), stored=None, call_seconds=10.0):
    return RunSteps(
        post_id=POST,
        group_id="g" * 24,
        platform="twitter",
        lease_id="lease",
        connection_id="connection",
        stored={} if stored is None else stored,
        parts=new_parts(POST, contents),
        retry_count=None,
        journal=journal,
        timing=timing(call_seconds),
    )


class Call:
    """A call that counts itself; `outcome` is what it returns, or raises, and `journal` what was written before it."""

    def __init__(self, outcome, journal=None):
        self.outcome = outcome
        self.times = 0
        self.written_before = None
        self._journal = journal

    async def __call__(self):
        self.times += 1
        if self._journal is not None:
            self.written_before = len(self._journal.writes)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


async def test_once_when_new_then_run_and_stored_before_it_returns():
    journal = Notebook()
    assert await new_steps(journal).once("upload", Call({"id": 1})) == {"id": 1}
    assert [write.steps for write in journal.writes] == [{"upload": {"id": 1}}]


async def test_once_when_asked_again_then_not_run_again():
    steps, call = new_steps(Notebook()), Call("first")
    assert [await steps.once("upload", call), await steps.once("upload", call)] == ["first", "first"]
    assert call.times == 1


async def test_once_when_an_earlier_run_stored_it_then_neither_run_nor_written():
    journal, call = Notebook(), Call("new")
    assert await new_steps(journal, stored={"upload": None}).once("upload", call) is None
    assert (call.times, journal.writes) == (0, [])


async def test_once_when_it_fails_then_nothing_is_stored_and_it_can_be_tried_again():
    journal = Notebook()
    steps = new_steps(journal)
    with pytest.raises(PlatformError):
        await steps.once("upload", Call(PlatformError(ErrorCode.NETWORK_ERROR, "away")))
    assert journal.writes == []
    assert await steps.once("upload", Call("second")) == "second"


async def test_once_when_the_lease_is_lost_then_the_result_does_not_count():
    stored = {}
    with pytest.raises(LeaseLostError):
        await new_steps(Notebook(lost_from=0), stored=stored).once("upload", Call("result"))
    assert stored == {}


async def test_until_when_ready_then_stored_and_not_checked_again():
    steps, call = new_steps(Notebook()), Call("done")
    for _ in range(2):
        assert await steps.until("processed", call, every=EVERY, at_most=AT_MOST) == "done"
    assert call.times == 1


async def test_until_when_not_ready_then_one_check_and_the_job_is_released():
    stored, call = {}, Call(None)
    steps = new_steps(Notebook(), stored=stored)
    with pytest.raises(PostponedError) as postponed:
        await steps.until("processed", call, every=EVERY, at_most=AT_MOST)
    assert (postponed.value.delay, call.times) == (EVERY, 1)
    assert "processed" not in stored


async def test_until_when_over_its_time_then_timeout_error_unless_it_is_ready_now():
    since = {"processed:since": (datetime.now(UTC) - AT_MOST - EVERY).isoformat()}
    with pytest.raises(PlatformError) as late:
        await new_steps(Notebook(), stored=dict(since)).until("processed", Call(None), every=EVERY, at_most=AT_MOST)
    assert late.value.code is ErrorCode.TIMEOUT_ERROR
    ready = new_steps(Notebook(), stored=dict(since)).until("processed", Call("done"), every=EVERY, at_most=AT_MOST)
    assert await ready == "done"


async def test_until_when_tried_again_after_its_time_was_over_then_the_wait_begins_anew():
    stored = {"processed:since": (datetime.now(UTC) - AT_MOST - EVERY).isoformat()}
    for expected in (PlatformError, PostponedError, PostponedError):
        journal = Notebook()
        with pytest.raises(expected):
            await new_steps(journal, stored=dict(stored)).until("processed", Call(None), every=EVERY, at_most=AT_MOST)
        # The next run knows what was written, and nothing else.
        for write in journal.writes:
            stored |= write.steps


async def test_until_when_checked_in_several_runs_then_the_time_counts_from_the_first():
    stored = {}
    for _ in range(2):
        with pytest.raises(PostponedError):
            await new_steps(Notebook(), stored=stored).until("processed", Call(None), every=EVERY, at_most=AT_MOST)
    assert list(stored) == ["processed:since"]


async def test_public_when_run_then_the_intent_is_durable_before_the_call():
    journal = Notebook()
    steps, call = new_steps(journal), Call(Published("7"), journal)
    assert await steps.public(0, {"text": "Hello"}, call) == Published("7")
    assert call.written_before == 1
    intent = intent_of(journal.writes[0].intent)
    assert (intent.part, intent.key, intent.asked) == (0, {"text": "Hello"}, 0)
    assert (journal.writes[0].attempted, journal.writes[0].log.event) == (True, "publish_attempted")


async def test_public_when_it_is_the_last_part_then_its_result_is_left_to_the_ending():
    journal = Notebook()
    steps = new_steps(journal)
    await steps.public(0, None, Call(Published("7", "https://x.com/7")))
    assert len(journal.writes) == 1
    assert steps.intent is None
    assert [(part["status"], part["postedId"], part["url"]) for part in steps.parts] == [
        ("published", "7", "https://x.com/7")
    ]


async def test_public_when_more_parts_follow_then_each_result_is_stored_before_the_next_intent():
    journal = Notebook()
    steps = new_steps(journal, contents=("One", "Two"))
    await steps.public(0, None, Call(Published("7")))
    await steps.public(1, None, Call(Published("8")))
    first, stored, second = journal.writes
    assert (first.intent["part"], stored.clear_intent, second.intent["part"]) == (0, True, 1)
    assert [part["status"] for part in stored.parts] == ["published", "pending"]
    assert [first.log.metadata, stored.log, second.log.metadata] == [
        {"part": 1, "parts": 2},
        None,
        {"part": 2, "parts": 2},
    ]
    assert [write.attempted for write in journal.writes] == [True, False, False]


async def test_public_when_the_part_is_out_already_then_the_stored_result_and_no_call():
    journal, call = Notebook(), Call(Published("other"))
    steps = new_steps(journal, contents=("One", "Two"))
    steps.parts[0].update(status="published", postedId="7", url=None, extra={"cid": "c"})
    assert await steps.public(0, None, call) == Published("7", None, {"cid": "c"})
    assert (call.times, journal.writes) == (0, [])


async def test_public_when_the_lease_is_lost_then_no_call():
    call = Call(Published("7"))
    with pytest.raises(LeaseLostError):
        await new_steps(Notebook(lost_from=0)).public(0, None, call)
    assert call.times == 0


async def test_public_when_the_intent_took_too_long_to_commit_then_no_call():
    call = Call(Published("7"))
    steps = new_steps(Notebook(), call_seconds=0.0)
    with pytest.raises(TooLateError) as late:
        await steps.public(0, None, call)
    assert (call.times, steps.intent, late.value.retry) == (0, None, Retry.BACK_OFF)


async def test_public_when_the_platform_provably_refused_then_its_error_and_no_intent_left():
    steps = new_steps(Notebook())
    refusal = PlatformError(ErrorCode.INVALID_CONTENT, "no", refused=True)
    with pytest.raises(PlatformError) as raised:
        await steps.public(0, None, Call(refusal))
    assert (raised.value, steps.intent, steps.sending) == (refusal, None, False)


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (PlatformError(ErrorCode.TIMEOUT_ERROR, "late", refused=False), ErrorCode.TIMEOUT_ERROR),
        (PlatformError(ErrorCode.PLATFORM_SERVER_ERROR, "502", refused=False), ErrorCode.PLATFORM_SERVER_ERROR),
        (KeyError("id"), ErrorCode.UNKNOWN_ERROR),
    ],
)
async def test_public_when_nothing_proves_that_it_did_not_happen_then_the_intent_stays(outcome, code):
    steps = new_steps(Notebook())
    with pytest.raises(UnprovenError) as unproven:
        await steps.public(0, {"text": "Hello"}, Call(outcome))
    assert (unproven.value.cause.code, steps.sending) == (code, False)
    assert steps.intent is not None
    assert steps.intent["key"] == {"text": "Hello"}


async def test_parts_when_there_is_one_then_they_are_not_stored_beside_the_post():
    assert new_steps(Notebook()).stored_parts() is None
    assert len(new_steps(Notebook(), contents=("One", "Two")).stored_parts()) == 2


def test_new_parts_when_made_then_the_first_keeps_the_posts_id():
    first, second = new_parts(POST, ("One", "Two"))
    assert (first["id"], first["content"], second["content"]) == (POST, "One", "Two")
    assert second["id"] != POST


@dataclass
class Echo:
    """An `Http` that answers everything with 200 and notes how much had been written by then."""

    journal: Notebook
    written_before: list[int] = field(default_factory=list)

    async def request(self, method, url, **options):
        self.written_before.append(len(self.journal.writes))
        return Response(200, {}, b"")


def leased(journal, lease_left):
    steps, echo = new_steps(journal), Echo(journal)
    return LeasedHttp(echo, steps, journal, timing(), datetime.now(UTC) + lease_left), echo, steps


async def test_http_when_the_lease_outlives_the_call_then_it_is_not_renewed():
    journal = Notebook()
    http, echo, _ = leased(journal, timing().lease)
    await http.request("GET", "https://example.org")
    assert echo.written_before == [0]


async def test_http_when_the_lease_might_end_during_the_call_then_it_is_renewed_first_and_once():
    journal = Notebook()
    http, echo, _ = leased(journal, timing().longest_call - timedelta(seconds=1))
    for _ in range(2):
        await http.request("GET", "https://example.org")
    assert echo.written_before == [1, 1]


async def test_http_when_the_lease_is_lost_then_no_call():
    journal = Notebook(lost_from=0)
    http, echo, _ = leased(journal, timedelta(0))
    with pytest.raises(LeaseLostError):
        await http.request("GET", "https://example.org")
    assert echo.written_before == []


async def test_http_when_a_public_call_is_being_sent_then_nothing_comes_between_it_and_its_intent():
    journal = Notebook()
    http, echo, steps = leased(journal, timedelta(0))
    steps.sending = True
    await http.request("POST", "https://example.org")
    assert echo.written_before == [0]
